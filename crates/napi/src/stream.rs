//! A stream of bytes and descriptors on the event loop of its environment.

use std::cell::{Cell, RefCell};
use std::os::fd::{AsFd, AsRawFd};
use std::rc::Rc;

use napi::bindgen_prelude::{Function, FunctionRef};
use napi::{Env, Error, Result, Status};
use napi_derive::napi;
use socketserver_core::SystemError as CoreError;
use socketserver_core::descriptors::stream;
use socketserver_core::descriptors::stream::{Found, Sent, Settled as CoreSettled, Stream};
use socketserver_core::sys::unix_socket;

use crate::convert::SystemError;
use crate::descriptor;
use crate::stream_outcome::{PairOutcome, ReceiveOutcome, SendOutcome, Settled, StreamOutcome};
use crate::watch::{Seen, Wants, Watch};

/// One end of an AF_UNIX stream. It is not watched before somebody waits, so that one that is never used stays as
/// blocking as it was: the flag belongs to everybody who has a copy.
#[napi]
pub struct NativeStream {
    watch: RefCell<Option<Watch>>,
    inner: Rc<Inner>,
    wake: RefCell<Option<FunctionRef<bool, ()>>>,
}

struct Inner {
    stream: RefCell<Option<Stream>>,
    /// Somebody waits for data.
    is_awaited: Cell<bool>,
    settled: RefCell<Vec<CoreSettled>>,
}

#[napi]
impl NativeStream {
    /// Two ends of a new stream.
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

    /// Connects to a path or, on Linux, an abstract name, which begins with NUL. EAGAIN: the backlog there is full.
    #[napi]
    pub fn connect(name: &[u8]) -> StreamOutcome {
        unix_socket::connect(name).into()
    }

    /// Takes over a connected AF_UNIX stream socket.
    #[napi(factory)]
    pub fn adopt(fd: i32) -> Result<Self> {
        let stream = Stream::adopt(descriptor::adopt(fd)?);
        Ok(Self::from(stream.map_err(|error| {
            Error::new(Status::InvalidArg, format!("file descriptor {fd}: {error}"))
        })?))
    }

    /// Sets what is called when somebody waits and there is something to `receive`, or something has `settled`.
    #[napi]
    pub fn attach(&self, #[napi(ts_arg_type = "() => void")] wake: Function<bool, ()>) -> Result<()> {
        *self.wake.borrow_mut() = Some(wake.create_ref()?);
        Ok(())
    }

    /// Its number; -1 once it is closed.
    #[napi(getter)]
    pub fn fd(&self) -> i32 {
        let stream = self.inner.stream.borrow();
        stream.as_ref().map_or(-1, |stream| stream.as_fd().as_raw_fd())
    }

    /// Sends bytes, and descriptors with the first of them. Both are the caller's again when this returns.
    #[napi]
    pub fn send(&self, env: Env, data: &[u8], descriptors: Vec<i32>) -> Result<SendOutcome> {
        let sent = descriptor::borrow_all(&descriptors, |borrowed| self.inner.send(data, borrowed))?;
        if matches!(sent, Ok(Sent::Waiting(_))) {
            self.watch(env)?;
        }
        Ok(sent.into())
    }

    /// What has settled since the last call.
    #[napi]
    pub fn settled(&self) -> Vec<Settled> {
        self.inner.settled.take().into_iter().map(Settled::from).collect()
    }

    /// Receives what there is, at most `size` bytes.
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

    /// Nobody waits for data any more.
    #[napi]
    pub fn rest(&self) {
        self.inner.is_awaited.set(false);
        if let Some(watch) = self.watch.borrow().as_ref() {
            watch.want(self.inner.wants());
        }
    }

    /// Sends nothing more; the peer sees the end. Null, or why that could not be done.
    #[napi]
    pub fn end(&self) -> Option<SystemError> {
        let mut stream = self.inner.stream.borrow_mut();
        stream
            .as_mut()
            .and_then(|stream| stream.end().err())
            .map(SystemError::from)
    }

    /// Closes it. What waits is not sent.
    #[napi]
    pub fn close(&self) {
        // In this order: libuv must not look at a number that may be somebody else's by then.
        self.watch.take();
        self.inner.stream.take();
    }

    /// Begins to watch when there is something to wait for.
    fn watch(&self, env: Env) -> Result<()> {
        let wants = self.inner.wants();
        let mut watch = self.watch.borrow_mut();
        match (
            watch.as_ref(),
            self.wake.borrow().as_ref(),
            self.inner.stream.borrow().as_ref(),
        ) {
            (Some(watch), ..) => watch.want(wants),
            (None, Some(wake), Some(stream)) if wants.data || wants.room => {
                let looking = Rc::clone(&self.inner);
                let wake = wake.borrow_back(&env)?;
                *watch = Some(Watch::start(&env, stream.as_fd(), &wake, wants, move || {
                    looking.look()
                })?);
            }
            _ => {}
        }
        Ok(())
    }
}

impl Inner {
    fn send(&self, data: &[u8], descriptors: &[std::os::fd::BorrowedFd<'_>]) -> std::result::Result<Sent, CoreError> {
        match self.stream.borrow_mut().as_mut() {
            Some(stream) => stream.send(data, descriptors),
            None => Ok(Sent::Whole),
        }
    }

    /// Reads nothing: what nobody takes has to stay in the kernel.
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
            each: None,
        }
    }
}

impl From<Stream> for NativeStream {
    fn from(stream: Stream) -> Self {
        Self {
            inner: Rc::new(Inner {
                stream: RefCell::new(Some(stream)),
                is_awaited: Cell::new(false),
                settled: RefCell::default(),
            }),
            watch: RefCell::default(),
            wake: RefCell::default(),
        }
    }
}
