//! A descriptor that a JavaScript object owns. It is closed when the object is collected, at the latest.

use std::cell::RefCell;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::Duration;

use napi::Result;
use napi_derive::napi;
use socketserver_core::SystemError as CoreError;
use socketserver_core::descriptors::kind::{Domain, Kind};
use socketserver_core::error::system_error;
use socketserver_core::sys::ForeignFd;
use socketserver_core::sys::linger::switch_linger_off;

use crate::raw_fd;
use crate::system_error::SystemError;

/// Owns a descriptor until the descriptor is closed or given away, or the object is collected.
#[napi]
pub struct NativeDescriptor {
    /// Closed by the closer, because close(2) waits for a file system or a terminal, and a process that has a copy can make the
    /// close of a socket sleep.
    fd: RefCell<Option<ForeignFd>>,
    /// Whether a process sent the descriptor. That process decides how many such descriptors there are, so `close` does not
    /// wait for each.
    is_received: bool,
}

/// How long `close` waits for the thread that closes the descriptor.
const CLOSED_WITHIN: Duration = Duration::from_millis(100);

/// A descriptor, or the error. Exactly one field is set.
#[napi(object, object_from_js = false)]
pub struct DescriptorOutcome {
    /// The descriptor.
    pub descriptor: Option<NativeDescriptor>,
    /// The system call that failed.
    pub error: Option<SystemError>,
}

/// The kind of file that a descriptor refers to, or the error.
#[napi(object, object_from_js = false)]
pub struct KindOutcome {
    /// The kind.
    #[napi(ts_type = "'file' | 'directory' | 'pipe' | 'device' | 'stream' | 'listener' | 'datagram' | 'other'")]
    pub kind: Option<String>,
    /// Whether the file is an AF_UNIX stream or listener.
    pub is_unix: bool,
    /// EBADF if the descriptor is not open.
    pub error: Option<SystemError>,
}

#[napi]
impl NativeDescriptor {
    /// Takes over an open descriptor.
    #[napi(factory)]
    pub fn adopt(fd: i32) -> Result<Self> {
        Ok(raw_fd::adopt(fd)?.into())
    }

    /// Duplicates a descriptor, which the caller still owns.
    #[napi]
    pub fn copy_of(fd: i32) -> Result<DescriptorOutcome> {
        let copy = raw_fd::borrow(fd, |fd| fd.try_clone_to_owned())?;
        Ok(copy.map_err(|error| system_error("dup", &error)).into())
    }

    /// Returns the kind of file that a descriptor refers to.
    #[napi]
    pub fn kind_of(fd: i32) -> Result<KindOutcome> {
        Ok(raw_fd::borrow(fd, Kind::of)?
            .map_err(CoreError::of("getsockopt"))
            .into())
    }

    /// The number; -1 once the descriptor is closed or given away.
    #[napi(getter)]
    pub fn fd(&self) -> i32 {
        self.fd.borrow().as_ref().map_or(-1, |fd| fd.as_fd().as_raw_fd())
    }

    /// Gives the descriptor to the caller, who must close it. Returns -1 if there is none.
    #[napi]
    pub fn release(&self) -> i32 {
        self.fd.take().map_or(-1, |fd| {
            // Node closes the descriptor on this thread, and SO_LINGER would make that close sleep.
            switch_linger_off(fd.as_fd());
            raw_fd::give_away(fd.into_owned())
        })
    }

    /// Closes the descriptor. The number of a descriptor that was not received is free afterwards, unless close(2) sleeps.
    #[napi]
    pub fn close(&self) {
        match self.fd.take() {
            Some(fd) if !self.is_received => fd.close_within(CLOSED_WITHIN),
            received => drop(received),
        }
    }
}

impl From<OwnedFd> for NativeDescriptor {
    fn from(fd: OwnedFd) -> Self {
        Self {
            fd: RefCell::new(Some(fd.into())),
            is_received: false,
        }
    }
}

impl From<ForeignFd> for NativeDescriptor {
    fn from(fd: ForeignFd) -> Self {
        Self {
            fd: RefCell::new(Some(fd)),
            is_received: true,
        }
    }
}

impl From<std::result::Result<OwnedFd, CoreError>> for DescriptorOutcome {
    fn from(outcome: std::result::Result<OwnedFd, CoreError>) -> Self {
        match outcome {
            Ok(fd) => Self {
                descriptor: Some(fd.into()),
                error: None,
            },
            Err(error) => Self {
                descriptor: None,
                error: Some(error.into()),
            },
        }
    }
}

impl From<std::result::Result<Kind, CoreError>> for KindOutcome {
    fn from(outcome: std::result::Result<Kind, CoreError>) -> Self {
        let kind = match outcome {
            Ok(kind) => kind,
            Err(error) => {
                return Self {
                    kind: None,
                    is_unix: false,
                    error: Some(error.into()),
                };
            }
        };
        let name = match kind {
            Kind::File => "file",
            Kind::Directory => "directory",
            Kind::Pipe => "pipe",
            Kind::Device => "device",
            Kind::Stream(_) => "stream",
            Kind::Listener(_) => "listener",
            Kind::Datagram => "datagram",
            Kind::Other => "other",
        };
        Self {
            kind: Some(name.to_owned()),
            is_unix: matches!(kind, Kind::Stream(Domain::Unix) | Kind::Listener(Domain::Unix)),
            error: None,
        }
    }
}
