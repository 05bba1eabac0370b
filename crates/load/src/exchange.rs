//! One connection's conversation: send the token, read the answer to its end.

use std::io;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::arguments::Until;
use crate::dialer::{Dialed, send_rest};
use crate::outcome::Ending;

/// How a conversation ended, and when its answer was complete.
#[derive(Clone, Copy, Debug)]
pub struct Finish {
    /// Who ended it, and how.
    pub ending: Ending,
    /// When the answer was complete: at the end of the stream, or at its newline.
    pub at: Instant,
}

impl Finish {
    /// A finish that happens now.
    pub fn now(ending: Ending) -> Self {
        Self {
            ending,
            at: Instant::now(),
        }
    }
}

/// Finishes what a dialer began; `answer` is what came. The error is this machine's, not the server's.
pub async fn converse(
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
            // A refusal is known at once; without this a client that meets nothing else would keep all others waiting.
            tokio::task::yield_now().await;
            return settle(Err(error));
        }
    };
    let talk = async {
        send_rest(&mut stream, &request[sent..]).await?;
        match until {
            Until::Eof => read_to_end(&mut stream, answer).await,
            Until::Newline => {
                let finish = read_line(&mut stream, answer).await?;
                // Our end goes first, but the server's is awaited: an answer that comes twice would else go unseen.
                stream.shutdown().await?;
                let last = read_to_end(&mut stream, answer).await?;
                Ok(Finish {
                    ending: last.ending,
                    at: finish.at,
                })
            }
        }
    };
    let result = within(limit, talk).await;
    if let Ok(Finish {
        ending: Ending::Timeout,
        ..
    }) = result
    {
        abandon(&stream);
    }
    settle(result)
}

/// Runs something that may last as long as `limit`, and is otherwise a timeout.
pub async fn within(limit: Option<Duration>, talk: impl Future<Output = io::Result<Finish>>) -> io::Result<Finish> {
    match limit {
        None => talk.await,
        Some(limit) => match tokio::time::timeout(limit, talk).await {
            Ok(result) => result,
            Err(_) => Ok(Finish::now(Ending::Timeout)),
        },
    }
}

/// Reads until the server has ended, or has said more than any right answer.
pub async fn read_to_end(stream: &mut TcpStream, answer: &mut Vec<u8>) -> io::Result<Finish> {
    while answer.len() < LONGEST && read_some(stream, answer).await? > 0 {}
    Ok(Finish::now(Ending::Eof))
}

/// Reads until a newline, or the end.
pub async fn read_line(stream: &mut TcpStream, answer: &mut Vec<u8>) -> io::Result<Finish> {
    while !answer.contains(&b'\n') && answer.len() < LONGEST && read_some(stream, answer).await? > 0 {}
    Ok(Finish::now(Ending::Eof))
}

/// Reads what is there; 0 bytes mean the end.
pub async fn read_some(stream: &mut TcpStream, answer: &mut Vec<u8>) -> io::Result<usize> {
    answer.reserve(READ_SIZE);
    stream.read_buf(answer).await
}

/// Turns the server's errors into endings, and leaves our own.
pub fn settle(result: io::Result<Finish>) -> io::Result<Finish> {
    result.or_else(|error| Ending::of(&error).map(Finish::now).ok_or(error))
}

/// Resets a connection that we give up, so that it leaves nothing behind that would keep its port for a
/// minute.
pub fn abandon(stream: &TcpStream) {
    // Only a closed socket refuses it, and then there is nothing to leave behind.
    let _ = stream.set_zero_linger();
}

const READ_SIZE: usize = 1024;
const LONGEST: usize = 64 * 1024;
