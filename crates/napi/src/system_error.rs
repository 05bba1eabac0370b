//! Failed system calls as JavaScript sees them.

use napi_derive::napi;
use socketserver_core::ListenError;
use socketserver_core::error::SystemError as CoreError;

/// A failed system call, with the fields of Node's own errors.
#[napi(object)]
pub struct SystemError {
    /// For example `EADDRINUSE`.
    pub code: String,
    /// Negative, as in Node.
    pub errno: i32,
    /// The name of the system call.
    pub syscall: String,
    /// The system's description, in lower case.
    pub message: String,
}

impl From<CoreError> for SystemError {
    fn from(error: CoreError) -> Self {
        let mut message = error.errno.desc().to_owned();
        message.get_mut(..1).into_iter().for_each(str::make_ascii_lowercase);
        Self {
            code: error.code(),
            errno: -(error.errno as i32),
            syscall: error.syscall.to_owned(),
            message,
        }
    }
}

impl From<ListenError> for SystemError {
    fn from(error: ListenError) -> Self {
        match error {
            ListenError::System(error) => error.into(),
            // TypeScript checks the options and the server's state before it calls the binding.
            ListenError::Config(_) | ListenError::Closed => Self {
                code: "EINVAL".to_owned(),
                errno: -22,
                syscall: "listen".to_owned(),
                message: error.to_string(),
            },
        }
    }
}
