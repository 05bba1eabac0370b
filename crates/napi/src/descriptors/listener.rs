//! A listener for AF_UNIX streams, on the event loop of its environment.

use std::cell::{Cell, RefCell};
use std::os::fd::{AsFd, AsRawFd};
use std::rc::Rc;
use std::time::Duration;

use napi::bindgen_prelude::Function;
use napi::{Env, Error, Result, Status};
use napi_derive::napi;
use socketserver_core::UnixListener;
use socketserver_core::sys::closer;

use super::awaited::AwaitedWatch;
use super::stream::StreamOutcome;
use crate::raw_fd;
use crate::system_error::SystemError;
use crate::uv::{Seen, Wants};

/// How long `close` waits for the thread that closes the socket.
const CLOSED_WITHIN: Duration = Duration::from_millis(100);

/// Accepts streams while a caller waits for one.
#[napi]
pub struct NativeUnixListener {
    /// Dropped before the listener is closed.
    awaited: AwaitedWatch,
    listener: RefCell<Option<UnixListener>>,
    is_awaited: Rc<Cell<bool>>,
}

/// A listener, or the error. Exactly one field is set.
#[napi(object, object_from_js = false)]
pub struct UnixListenerOutcome {
    /// The listener.
    pub listener: Option<NativeUnixListener>,
    /// The system call that failed.
    pub error: Option<SystemError>,
}

#[napi]
impl NativeUnixListener {
    /// Binds to a path with the permissions `mode`, or on Linux to an abstract name, which begins with NUL, and listens.
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

    /// Takes over a listening AF_UNIX socket.
    #[napi(factory)]
    pub fn adopt(fd: i32) -> Result<Self> {
        let listener = UnixListener::adopt(raw_fd::adopt(fd)?);
        Ok(Self::from(listener.map_err(|error| {
            Error::new(Status::InvalidArg, format!("file descriptor {fd}: {error}"))
        })?))
    }

    /// Sets the function that is called when a caller waits and there may be a stream to `accept`.
    #[napi]
    pub fn attach(&self, #[napi(ts_arg_type = "() => void")] wake: Function<bool, ()>) -> Result<()> {
        self.awaited.attach(&wake)
    }

    /// The number of the descriptor; -1 once the listener is closed.
    #[napi(getter)]
    pub fn fd(&self) -> i32 {
        let listener = self.listener.borrow();
        listener.as_ref().map_or(-1, |listener| listener.as_fd().as_raw_fd())
    }

    /// Accepts a stream. Returns null if no peer has connected; `wake` will then be called once.
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

    /// Stops waiting.
    #[napi]
    pub fn rest(&self) {
        self.is_awaited.set(false);
        self.awaited.change(wants(&self.is_awaited));
    }

    /// Stops listening, and removes the socket file if `bind` made it.
    #[napi]
    pub fn close(&self) {
        self.awaited.stop();
        self.listener.take();
        // An abstract name is in use until its socket is closed.
        closer::settle(CLOSED_WITHIN);
    }

    fn watch(&self, env: Env, listener: &UnixListener) -> Result<()> {
        let is_awaited = Rc::clone(&self.is_awaited);
        let look = move || Seen {
            wake: is_awaited.replace(false).then_some(true),
            wants: wants(&is_awaited),
        };
        self.awaited.want(env, listener.as_fd(), wants(&self.is_awaited), look)
    }
}

fn wants(is_awaited: &Cell<bool>) -> Wants {
    Wants {
        data: is_awaited.get(),
        room: false,
        interval: None,
    }
}

impl From<UnixListener> for NativeUnixListener {
    fn from(listener: UnixListener) -> Self {
        Self {
            awaited: AwaitedWatch::default(),
            listener: RefCell::new(Some(listener)),
            is_awaited: Rc::default(),
        }
    }
}
