//! A stream that carries bytes and descriptors, on the event loop of its environment.

use std::cell::{Cell, RefCell};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::rc::Rc;

use napi::bindgen_prelude::Function;
use napi::{Env, Error, Result, Status};
use napi_derive::napi;
use socketserver_core::SystemError as CoreError;
use socketserver_core::descriptors::stream;
use socketserver_core::descriptors::stream::{Found, Sent, Settled as CoreSettled, Stream};
use socketserver_core::sys::unix_socket;

use super::awaited::AwaitedWatch;
use super::outcome::{ReceiveOutcome, SendOutcome, Settled};
use crate::raw_fd;
use crate::system_error::SystemError;
use crate::uv::{Seen, Wants};

/// One end of an AF_UNIX stream.
#[napi]
pub struct NativeStream {
    /// Dropped before the stream is closed.
    awaited: AwaitedWatch,
    inner: Rc<Inner>,
}

struct Inner {
    stream: RefCell<Option<Stream>>,
    /// Whether a caller waits for data.
    is_awaited: Cell<bool>,
    settled: RefCell<Vec<CoreSettled>>,
}

/// A stream, or the error. Exactly one field is set.
#[napi(object, object_from_js = false)]
pub struct StreamOutcome {
    /// The stream.
    pub stream: Option<NativeStream>,
    /// The system call that failed.
    pub error: Option<SystemError>,
}

/// Both ends of a stream, or the error.
#[napi(object, object_from_js = false)]
pub struct PairOutcome {
    /// One end.
    pub left: Option<NativeStream>,
    /// The other end.
    pub right: Option<NativeStream>,
    /// The system call that failed.
    pub error: Option<SystemError>,
}

impl From<std::result::Result<OwnedFd, CoreError>> for StreamOutcome {
    fn from(outcome: std::result::Result<OwnedFd, CoreError>) -> Self {
        match outcome.and_then(Stream::adopt) {
            Ok(stream) => Self {
                stream: Some(stream.into()),
                error: None,
            },
            Err(error) => Self {
                stream: None,
                error: Some(error.into()),
            },
        }
    }
}

#[napi]
impl NativeStream {
    /// Creates a stream and returns both ends.
    #[napi]
    pub fn pair() -> PairOutcome {
        let (streams, error) = match stream::pair() {
            Ok(streams) => (Some(streams), None),
            Err(error) => (None, Some(error.into())),
        };
        let (left, right) = streams.unzip();
        PairOutcome {
            left: left.map(Self::from),
            right: right.map(Self::from),
            error,
        }
    }

    /// Connects to a path or, on Linux, to an abstract name, which begins with NUL. Fails with EAGAIN if the listener's backlog
    /// is full.
    #[napi]
    pub fn connect(name: &[u8]) -> StreamOutcome {
        unix_socket::connect(name).into()
    }

    /// Takes over a connected AF_UNIX stream socket.
    #[napi(factory)]
    pub fn adopt(fd: i32) -> Result<Self> {
        let stream = Stream::adopt(raw_fd::adopt(fd)?);
        Ok(Self::from(stream.map_err(|error| {
            Error::new(Status::InvalidArg, format!("file descriptor {fd}: {error}"))
        })?))
    }

    /// Sets the function that is called when a caller waits and there is something to `receive`, or when a send has `settled`.
    #[napi]
    pub fn attach(&self, #[napi(ts_arg_type = "() => void")] wake: Function<bool, ()>) -> Result<()> {
        self.awaited.attach(&wake)
    }

    /// The number of the descriptor; -1 once the stream is closed.
    #[napi(getter)]
    pub fn fd(&self) -> i32 {
        let stream = self.inner.stream.borrow();
        stream.as_ref().map_or(-1, |stream| stream.as_fd().as_raw_fd())
    }

    /// Sends bytes, and descriptors with the first byte. The caller still owns both.
    #[napi]
    pub fn send(&self, env: Env, data: &[u8], descriptors: Vec<i32>) -> Result<SendOutcome> {
        let sent = raw_fd::borrow_all(&descriptors, |borrowed| self.inner.send(data, borrowed))?;
        if matches!(sent, Ok(Sent::Waiting(_))) {
            self.watch(env)?;
        }
        Ok(sent.into())
    }

    /// Returns the waiting sends that have settled since the last call.
    #[napi]
    pub fn settled(&self) -> Vec<Settled> {
        self.inner.settled.take().into_iter().map(Settled::from).collect()
    }

    /// Receives at most `size` bytes and their descriptors, without blocking.
    #[napi]
    pub fn receive(&self, env: Env, size: u32) -> Result<ReceiveOutcome> {
        let found = match self.inner.stream.borrow().as_ref() {
            Some(stream) => stream.receive(size as usize),
            None => Ok(Found::End),
        };
        self.inner.is_awaited.set(matches!(found, Ok(Found::Nothing)));
        self.watch(env)?;
        Ok(found.into())
    }

    /// Stops waiting for data.
    #[napi]
    pub fn rest(&self) {
        self.inner.is_awaited.set(false);
        self.awaited.change(self.inner.wants());
    }

    /// Shuts down the sending side, so that the peer reads the end. Returns null, or the error.
    #[napi]
    pub fn end(&self) -> Option<SystemError> {
        let mut stream = self.inner.stream.borrow_mut();
        stream
            .as_mut()
            .and_then(|stream| stream.end().err())
            .map(SystemError::from)
    }

    /// Closes the stream. Waiting sends are discarded.
    #[napi]
    pub fn close(&self) {
        self.awaited.stop();
        self.inner.stream.take();
    }

    /// Watches the socket for the events that callers wait for.
    fn watch(&self, env: Env) -> Result<()> {
        let inner = Rc::clone(&self.inner);
        match self.inner.stream.borrow().as_ref() {
            Some(stream) => self
                .awaited
                .want(env, stream.as_fd(), self.inner.wants(), move || inner.look()),
            None => Ok(()),
        }
    }
}

impl Inner {
    fn send(&self, data: &[u8], descriptors: &[BorrowedFd<'_>]) -> std::result::Result<Sent, CoreError> {
        match self.stream.borrow_mut().as_mut() {
            Some(stream) => stream.send(data, descriptors),
            None => Ok(Sent::Whole),
        }
    }

    /// Flushes waiting sends. Reads nothing: data that no caller takes stays in the kernel.
    fn look(&self) -> Seen {
        let is_awaited = self.is_awaited.replace(false);
        if let Some(stream) = self.stream.borrow_mut().as_mut() {
            self.settled.borrow_mut().extend(stream.flush());
        }
        Seen {
            wake: (is_awaited || !self.settled.borrow().is_empty()).then_some(true),
            wants: self.wants(),
        }
    }

    fn wants(&self) -> Wants {
        Wants {
            data: self.is_awaited.get(),
            room: self.stream.borrow().as_ref().is_some_and(Stream::wants_room),
            interval: None,
        }
    }
}

impl From<Stream> for NativeStream {
    fn from(stream: Stream) -> Self {
        Self {
            awaited: AwaitedWatch::default(),
            inner: Rc::new(Inner {
                stream: RefCell::new(Some(stream)),
                is_awaited: Cell::new(false),
                settled: RefCell::default(),
            }),
        }
    }
}
