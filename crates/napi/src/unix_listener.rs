//! A socket that listens for AF_UNIX streams, on the event loop of its environment.

use std::cell::{Cell, RefCell};
use std::os::fd::{AsFd, AsRawFd};
use std::rc::Rc;
use std::time::Duration;

use napi::bindgen_prelude::{Function, FunctionRef};
use napi::{Env, Error, Result, Status};
use napi_derive::napi;
use socketserver_core::UnixListener;
use socketserver_core::sys::closer;

use crate::convert::SystemError;
use crate::descriptor;
use crate::stream_outcome::StreamOutcome;
use crate::watch::{Seen, Wants, Watch};

/// How long a caller waits for a socket that is closed on a thread of the closer.
const CLOSED_WITHIN: Duration = Duration::from_millis(100);

/// Accepts streams when somebody waits for one.
#[napi]
pub struct NativeUnixListener {
    /// Dropped first: libuv must not look at a number that may be somebody else's.
    watch: RefCell<Option<Watch>>,
    listener: RefCell<Option<UnixListener>>,
    is_awaited: Rc<Cell<bool>>,
    wake: RefCell<Option<FunctionRef<bool, ()>>>,
}

/// Either the one or the other.
#[napi(object, object_from_js = false)]
pub struct UnixListenerOutcome {
    /// The listener.
    pub listener: Option<NativeUnixListener>,
    /// Why there is none.
    pub error: Option<SystemError>,
}

#[napi]
impl NativeUnixListener {
    /// Binds to a path, with these permissions, or on Linux to an abstract name, which begins with NUL; and listens.
    #[napi]
    pub fn bind(name: &[u8], mode: u32, backlog: i32) -> UnixListenerOutcome {
        match UnixListener::bind(name, mode, backlog) {
            Ok(listener) => UnixListenerOutcome {
                listener: Some(listener.into()),
                error: None,
            },
            Err(error) => UnixListenerOutcome {
                listener: None,
                error: Some(error.into()),
            },
        }
    }

    /// Takes over an AF_UNIX socket that listens.
    #[napi(factory)]
    pub fn adopt(fd: i32) -> Result<Self> {
        let listener = UnixListener::adopt(descriptor::adopt(fd)?);
        Ok(Self::from(listener.map_err(|error| {
            Error::new(Status::InvalidArg, format!("file descriptor {fd}: {error}"))
        })?))
    }

    /// Sets what is called when somebody waits and there may be something to `accept`.
    #[napi]
    pub fn attach(&self, #[napi(ts_arg_type = "() => void")] wake: Function<bool, ()>) -> Result<()> {
        *self.wake.borrow_mut() = Some(wake.create_ref()?);
        Ok(())
    }

    /// Its number; -1 once it is closed.
    #[napi(getter)]
    pub fn fd(&self) -> i32 {
        let listener = self.listener.borrow();
        listener.as_ref().map_or(-1, |listener| listener.as_fd().as_raw_fd())
    }

    /// Accepts one; null if nobody has connected, and then `wake` will be called once.
    #[napi]
    pub fn accept(&self, env: Env) -> Result<Option<StreamOutcome>> {
        let listener = self.listener.borrow();
        let Some(listener) = listener.as_ref() else {
            return Ok(None);
        };
        let accepted = listener.accept().transpose();
        self.is_awaited.set(accepted.is_none());
        self.watch(env, listener)?;
        Ok(accepted.map(StreamOutcome::from))
    }

    /// Nobody waits any more.
    #[napi]
    pub fn rest(&self) {
        self.is_awaited.set(false);
        if let Some(watch) = self.watch.borrow().as_ref() {
            watch.want(wants(&self.is_awaited));
        }
    }

    /// Stops listening, and removes the path if it made one.
    #[napi]
    pub fn close(&self) {
        // In this order: libuv must not look at a number that may be somebody else's by then.
        self.watch.take();
        self.listener.take();
        // An abstract name is taken for as long as its socket is open.
        closer::settle(CLOSED_WITHIN);
    }

    fn watch(&self, env: Env, listener: &UnixListener) -> Result<()> {
        let mut watch = self.watch.borrow_mut();
        if let Some(watch) = watch.as_ref() {
            watch.want(wants(&self.is_awaited));
        } else if let Some(wake) = self.wake.borrow().as_ref().filter(|_| self.is_awaited.get()) {
            let is_awaited = Rc::clone(&self.is_awaited);
            let look = move || Seen {
                wake: is_awaited.replace(false).then_some(true),
                wants: wants(&is_awaited),
            };
            let (wake, wants) = (wake.borrow_back(&env)?, wants(&self.is_awaited));
            *watch = Some(Watch::start(&env, listener.as_fd(), &wake, wants, look)?);
        }
        Ok(())
    }
}

fn wants(is_awaited: &Cell<bool>) -> Wants {
    Wants {
        data: is_awaited.get(),
        room: false,
        each: None,
    }
}

impl From<UnixListener> for NativeUnixListener {
    fn from(listener: UnixListener) -> Self {
        Self {
            listener: RefCell::new(Some(listener)),
            is_awaited: Rc::default(),
            watch: RefCell::default(),
            wake: RefCell::default(),
        }
    }
}
