//! Watches the socket of a stream or a listener while a caller waits for the socket.

use std::cell::RefCell;
use std::os::fd::BorrowedFd;

use napi::bindgen_prelude::{Function, FunctionRef};
use napi::{Env, Result};

use crate::uv::{Seen, Wants, Watch};

/// A watch that starts when a caller waits for the first time. A socket for which no caller waits keeps its blocking mode,
/// because all copies of a descriptor share O_NONBLOCK.
#[derive(Default)]
pub struct AwaitedWatch {
    watch: RefCell<Option<Watch>>,
    wake: RefCell<Option<FunctionRef<bool, ()>>>,
}

impl AwaitedWatch {
    /// Sets the function that is called on an event that a caller waits for.
    pub fn attach(&self, wake: &Function<bool, ()>) -> Result<()> {
        *self.wake.borrow_mut() = Some(wake.create_ref()?);
        Ok(())
    }

    /// Sets the events to watch `socket` for. `look` is called on such an event, as in [`Watch::start`].
    pub fn want(
        &self,
        env: Env,
        socket: BorrowedFd<'_>,
        wants: Wants,
        look: impl Fn() -> Seen + 'static,
    ) -> Result<()> {
        let mut watch = self.watch.borrow_mut();
        if let Some(watch) = watch.as_ref() {
            watch.want(wants);
        } else if let Some(wake) = self.wake.borrow().as_ref().filter(|_| wants != Wants::NOTHING) {
            *watch = Some(Watch::start(&env, socket, &wake.borrow_back(&env)?, wants, look)?);
        }
        Ok(())
    }

    /// Sets the events to watch the socket for, if it is watched.
    pub fn change(&self, wants: Wants) {
        if let Some(watch) = self.watch.borrow().as_ref() {
            watch.want(wants);
        }
    }

    /// Stops watching. Call this before the socket is closed: libuv must not poll a number that the system may reuse.
    pub fn stop(&self) {
        self.watch.take();
    }
}
