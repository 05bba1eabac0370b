//! The exchange on one connection: send the token, read the answer to its end.

use std::io;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::arguments::Until;
use crate::dialer::{Dialed, send_remaining};

/// The end of an exchange.
#[derive(Clone, Copy, Debug)]
pub struct Finish {
    /// The cause of the end.
    pub reason: EndReason,
    /// When the answer was complete: at the end of the stream, or at its newline.
    pub at: Instant,
}

/// The cause of the end of an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndReason {
    /// The server closed the connection, or sent more bytes than any answer has.
    Eof,
    /// The server reset the connection.
    Reset,
    /// No process listens.
    Refused,
    /// The time limit was exceeded.
    Timeout,
    /// The client released the connection, which was still open.
    Released,
    /// The server closed a connection that the client was holding.
    Dropped,
}

impl Finish {
    /// Returns a finish at the current time.
    pub fn now(reason: EndReason) -> Self {
        Self {
            reason,
            at: Instant::now(),
        }
    }
}

impl EndReason {
    /// Returns the reason that a system error stands for, or `None` for an error of this machine (EMFILE,
    /// EADDRNOTAVAIL). Such an error ends the run, because it is no failure of the server.
    pub fn from_error(error: &io::Error) -> Option<Self> {
        match error.raw_os_error().map(Errno::from_raw)? {
            Errno::ECONNREFUSED => Some(Self::Refused),
            // shutdown(2) after a reset fails with ENOTCONN on macOS.
            Errno::ECONNRESET | Errno::ECONNABORTED | Errno::EPIPE | Errno::ENOTCONN => Some(Self::Reset),
            Errno::ETIMEDOUT => Some(Self::Timeout),
            _ => None,
        }
    }
}

/// Sends the rest of the request and reads the answer into `answer`. Fails only with errors of this machine.
pub async fn exchange(
    dialed: io::Result<Dialed>,
    request: &[u8],
    until: Until,
    limit: Option<Duration>,
    answer: &mut Vec<u8>,
) -> io::Result<Finish> {
    answer.clear();
    let (mut stream, sent) = match dialed {
        Ok(dialed) => dialed.register()?,
        Err(error) => {
            // A refusal is known at once; without the yield a client that only meets refusals would starve the others.
            tokio::task::yield_now().await;
            return classify(Err(error));
        }
    };
    let conversation = async {
        send_remaining(&mut stream, &request[sent..]).await?;
        match until {
            Until::Eof => read_to_end(&mut stream, answer).await,
            Until::Newline => {
                let finish = read_line(&mut stream, answer).await?;
                // Shut down first, but wait for the end of the server: otherwise a second answer would go unnoticed.
                stream.shutdown().await?;
                let Finish { reason, .. } = read_to_end(&mut stream, answer).await?;
                Ok(Finish { reason, ..finish })
            }
        }
    };
    let finish = classify(with_limit(limit, conversation).await)?;
    if finish.reason == EndReason::Timeout {
        reset_on_close(&stream);
    }
    Ok(finish)
}

/// Runs a future; after `limit` it is cancelled and ends with [`EndReason::Timeout`].
pub async fn with_limit(
    limit: Option<Duration>,
    future: impl Future<Output = io::Result<Finish>>,
) -> io::Result<Finish> {
    match limit {
        None => future.await,
        Some(limit) => tokio::time::timeout(limit, future)
            .await
            .unwrap_or_else(|_| Ok(Finish::now(EndReason::Timeout))),
    }
}

/// Reads until the server closes the connection, or has sent more bytes than any answer has.
pub async fn read_to_end(stream: &mut TcpStream, answer: &mut Vec<u8>) -> io::Result<Finish> {
    while answer.len() < MAX_ANSWER && read_some(stream, answer).await? > 0 {}
    Ok(Finish::now(EndReason::Eof))
}

/// Reads until a newline or the end of the stream.
pub async fn read_line(stream: &mut TcpStream, answer: &mut Vec<u8>) -> io::Result<Finish> {
    while !answer.contains(&b'\n') && answer.len() < MAX_ANSWER && read_some(stream, answer).await? > 0 {}
    Ok(Finish::now(EndReason::Eof))
}

/// Reads the available bytes; 0 means the end of the stream.
pub async fn read_some(stream: &mut TcpStream, answer: &mut Vec<u8>) -> io::Result<usize> {
    answer.reserve(READ_SIZE);
    stream.read_buf(answer).await
}

/// Turns errors that the server caused into a finish, and passes on errors of this machine.
pub fn classify(result: io::Result<Finish>) -> io::Result<Finish> {
    result.or_else(|error| EndReason::from_error(&error).map(Finish::now).ok_or(error))
}

/// Makes the close of a connection a reset, so that the connection does not keep its port in TIME_WAIT for a minute.
pub fn reset_on_close(stream: &TcpStream) {
    // Fails only for a socket that is already closed, which keeps no port.
    let _ = stream.set_zero_linger();
}

const READ_SIZE: usize = 1024;
const MAX_ANSWER: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_of_this_machine_is_never_attributed_to_the_server() {
        assert_eq!(EndReason::from_error(&Errno::EMFILE.into()), None);
        assert_eq!(EndReason::from_error(&Errno::EADDRNOTAVAIL.into()), None);
        assert_eq!(
            EndReason::from_error(&Errno::ECONNREFUSED.into()),
            Some(EndReason::Refused)
        );
        assert_eq!(EndReason::from_error(&Errno::EPIPE.into()), Some(EndReason::Reset));
    }
}
