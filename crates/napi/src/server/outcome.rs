//! The results of a server's methods. Exactly one of a result's value and its error is set.

use std::os::fd::OwnedFd;

use napi_derive::napi;
use socketserver_core::error::SystemError as CoreError;
use socketserver_core::ids::ShareId;
use socketserver_core::{ListenError, ListenerAddress as CoreAddress};

use crate::address::ListenerAddress;
use crate::descriptors::descriptor::NativeDescriptor;
use crate::system_error::SystemError;

/// A new channel, and the worker's end of it.
#[napi(object)]
pub struct ChannelEnd {
    /// The number of the channel.
    pub channel: u32,
    /// The worker's end, for a child's `stdio`. It is close-on-exec, and open until `closeWorkerEnd`.
    pub fd: i32,
}

/// The result of a `listen` method.
#[napi(object)]
pub struct ListenOutcome {
    /// The address that the server now listens on.
    pub address: Option<ListenerAddress>,
    /// The system call that failed.
    pub error: Option<SystemError>,
}

/// The result of `share`.
#[napi(object)]
pub struct ShareOutcome {
    /// The number of the shared path.
    pub share: Option<u32>,
    /// The system call that failed.
    pub error: Option<SystemError>,
}

/// The result of `listeningSockets`.
#[napi(object, object_from_js = false)]
pub struct DescriptorsOutcome {
    /// Duplicates of the listening sockets.
    pub descriptors: Option<Vec<NativeDescriptor>>,
    /// The system call that failed.
    pub error: Option<SystemError>,
}

impl From<Result<CoreAddress, ListenError>> for ListenOutcome {
    fn from(outcome: Result<CoreAddress, ListenError>) -> Self {
        let error = match outcome {
            Ok(address) => {
                return Self {
                    address: Some((&address).into()),
                    error: None,
                };
            }
            Err(error) => error.into(),
        };
        Self {
            address: None,
            error: Some(error),
        }
    }
}

impl From<Result<ShareId, ListenError>> for ShareOutcome {
    fn from(outcome: Result<ShareId, ListenError>) -> Self {
        match outcome {
            Ok(share) => Self {
                share: Some(share),
                error: None,
            },
            Err(error) => Self {
                share: None,
                error: Some(error.into()),
            },
        }
    }
}

impl From<Result<Vec<OwnedFd>, CoreError>> for DescriptorsOutcome {
    fn from(outcome: Result<Vec<OwnedFd>, CoreError>) -> Self {
        match outcome {
            Ok(sockets) => Self {
                descriptors: Some(sockets.into_iter().map(NativeDescriptor::from).collect()),
                error: None,
            },
            Err(error) => Self {
                descriptors: None,
                error: Some(error.into()),
            },
        }
    }
}
