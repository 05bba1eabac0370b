//! A descriptor that a JavaScript object owns: closed when that object is collected, at the latest.

use std::cell::RefCell;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use napi::Result;
use napi_derive::napi;
use socketserver_core::SystemError as CoreError;
use socketserver_core::descriptors::kind::{Domain, Kind};
use socketserver_core::error::system_error;
use socketserver_core::sys::ForeignFd;
use socketserver_core::sys::closer::switch_linger_off;

use crate::convert::SystemError;
use crate::descriptor;

/// Owns a descriptor until it is closed, given away or collected.
#[napi]
pub struct NativeDescriptor {
    fd: RefCell<Option<ForeignFd>>,
}

/// Either the one or the other.
#[napi(object, object_from_js = false)]
pub struct DescriptorOutcome {
    /// The descriptor.
    pub descriptor: Option<NativeDescriptor>,
    /// Why there is none.
    pub error: Option<SystemError>,
}

/// What a descriptor is of, or why that cannot be told.
#[napi(object, object_from_js = false)]
pub struct KindOutcome {
    /// Its kind.
    #[napi(ts_type = "'file' | 'directory' | 'pipe' | 'device' | 'stream' | 'listener' | 'datagram' | 'other'")]
    pub kind: Option<String>,
    /// Whether it is an AF_UNIX stream or listener.
    pub is_unix: bool,
    /// EBADF, if it is not open.
    pub error: Option<SystemError>,
}

#[napi]
impl NativeDescriptor {
    /// Takes over a descriptor, which has to be open.
    #[napi(factory)]
    pub fn adopt(fd: i32) -> Result<Self> {
        Ok(descriptor::adopt(fd)?.into())
    }

    /// Makes a copy of a descriptor that somebody else owns.
    #[napi]
    pub fn copy_of(fd: i32) -> Result<DescriptorOutcome> {
        let copy = descriptor::borrow(fd, |fd| fd.try_clone_to_owned())?;
        Ok(copy.map_err(|error| system_error("dup", &error)).into())
    }

    /// What a descriptor is of.
    #[napi]
    pub fn kind_of(fd: i32) -> Result<KindOutcome> {
        Ok(descriptor::borrow(fd, Kind::of)?.map_err(CoreError::of("fstat")).into())
    }

    /// Its number; -1 once it is closed or given away.
    #[napi(getter)]
    pub fn fd(&self) -> i32 {
        self.fd.borrow().as_ref().map_or(-1, |fd| fd.as_fd().as_raw_fd())
    }

    /// Gives it away: the caller has to close it. -1 if there is none.
    #[napi]
    pub fn release(&self) -> i32 {
        self.fd.take().map_or(-1, |fd| {
            // Node closes it on this thread.
            switch_linger_off(fd.as_fd());
            descriptor::give_away(fd.into_owned())
        })
    }

    /// Closes it; one that has been received is closed on a thread of the closer, as that may sleep.
    #[napi]
    pub fn close(&self) {
        self.fd.take();
    }
}

impl From<OwnedFd> for NativeDescriptor {
    fn from(fd: OwnedFd) -> Self {
        ForeignFd::own(fd).into()
    }
}

impl From<ForeignFd> for NativeDescriptor {
    fn from(fd: ForeignFd) -> Self {
        Self {
            fd: RefCell::new(Some(fd)),
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
