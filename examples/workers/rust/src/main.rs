//! A worker in Rust: joins the server that shares a path, and echoes one line to each client.
//!
//!     cargo run -p socketserver-worker -- /run/app.ctl
//!
//! [`Receiver`] of the core implements the protocol, including the scoreboard. One thread waits for the channel, and the
//! others serve connections.

use std::error::Error;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use socketserver_core::Receiver;
use socketserver_core::protocol::records::CloseReason;
use socketserver_core::worker::lane::Taken;
use socketserver_core::worker::{End, Phase};

const CONCURRENCY: u32 = 4;
const ANY_PORT: u16 = 0;
const MAX_LINE: u64 = 4096;
const TIMEOUT: Duration = Duration::from_secs(30);

fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args_os().nth(1).ok_or("usage: socketserver-worker PATH")?;
    // Blocked before any thread starts: every thread inherits the mask, and only the waiting thread gets the signal.
    let mut terminate = SigSet::empty();
    terminate.add(Signal::SIGTERM);
    terminate.thread_block()?;
    let (woken, waker) = UnixStream::pair()?;
    woken.set_nonblocking(true)?;
    waker.set_nonblocking(true)?;
    let worker = Arc::new(Worker {
        receiver: Receiver::attach(UnixStream::connect(path)?.into())?,
        waker,
        leases: AtomicU32::new(0),
        is_leaving: AtomicBool::new(false),
    });
    let leaving = Arc::clone(&worker);
    thread::spawn(move || {
        if terminate.wait().is_ok() {
            leaving.is_leaving.store(true, Ordering::Release);
            leaving.wake();
        }
    });
    let (sender, threads) = serving_threads(&worker);
    let end = worker.run(&woken, &sender)?;
    drop(sender);
    for thread in threads {
        // A panic was already printed, and does not concern the other threads.
        let _ = thread.join();
    }
    match end {
        None | Some(End::Left | End::Closed(CloseReason::Ended | CloseReason::Dismissed)) => Ok(()),
        Some(end) => Err(format!("the channel is over: {end:?}").into()),
    }
}

/// The state that the threads of this process share.
struct Worker {
    receiver: Receiver,
    /// Wakes the thread that waits for the channel.
    waker: UnixStream,
    /// Connections that this worker holds.
    leases: AtomicU32,
    /// Whether SIGTERM has arrived.
    is_leaving: AtomicBool,
}

impl Worker {
    /// Accepts connections until the channel is closed, or until this worker holds none and gets no more.
    fn run(&self, woken: &UnixStream, sender: &Sender<Taken>) -> Result<Option<End>, Box<dyn Error>> {
        loop {
            if self.is_leaving.load(Ordering::Acquire) {
                self.receiver.leave();
            }
            self.receiver.read();
            let capacity = CONCURRENCY - self.leases.load(Ordering::Acquire);
            // Returns connections that only this worker has, and grants credit for the rest of `capacity`.
            for taken in self.receiver.exchange(ANY_PORT, capacity, capacity, 0) {
                self.leases.fetch_add(1, Ordering::AcqRel);
                sender.send(taken)?;
            }
            match self.receiver.phase() {
                Phase::Ended(end) => return Ok(Some(end)),
                Phase::Retired | Phase::Leaving if self.leases.load(Ordering::Acquire) == 0 => return Ok(None),
                _ => self.wait(woken)?,
            }
        }
    }

    /// Waits for the channel, for the end of a lease, or for SIGTERM.
    fn wait(&self, mut woken: &UnixStream) -> Result<(), Errno> {
        let mut events = PollFlags::POLLIN;
        events.set(PollFlags::POLLOUT, self.receiver.wants_room());
        let mut polled = [
            PollFd::new(self.receiver.as_fd(), events),
            PollFd::new(woken.as_fd(), PollFlags::POLLIN),
        ];
        loop {
            match poll(&mut polled, PollTimeout::NONE) {
                Ok(_) => break,
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno),
            }
        }
        // Drained before the caller checks the state, so that no later wake is lost.
        while woken.read(&mut [0; 64]).is_ok_and(|count| count == 64) {}
        Ok(())
    }

    fn wake(&self) {
        // A full socket already wakes the thread.
        let _ = (&self.waker).write(&[0]);
    }

    fn serve(&self, taken: Taken) {
        let began = Instant::now();
        // An error means that the client has disconnected or timed out.
        let _ = echo(taken);
        self.leases.fetch_sub(1, Ordering::AcqRel);
        self.receiver.lease_ended(began.elapsed());
        self.wake();
    }
}

/// Starts the threads that serve connections. They start before the first connection, so that a failed start affects no
/// client.
fn serving_threads(worker: &Arc<Worker>) -> (Sender<Taken>, Vec<JoinHandle<()>>) {
    let (sender, connections) = mpsc::channel();
    let connections = Arc::new(Mutex::new(connections));
    let threads = (0..CONCURRENCY)
        .map(|_| {
            let (worker, connections) = (Arc::clone(worker), Arc::clone(&connections));
            thread::spawn(move || {
                loop {
                    let next = connections.lock().unwrap_or_else(PoisonError::into_inner).recv();
                    match next {
                        Ok(taken) => worker.serve(taken),
                        Err(_) => return,
                    }
                }
            })
        })
        .collect();
    (sender, threads)
}

/// Echoes the first line, after the name of this worker.
fn echo(taken: Taken) -> std::io::Result<()> {
    // Also correct for a Unix socket: recv(2) and send(2) do not depend on the address family.
    let connection = TcpStream::from(taken.fd);
    connection.set_nonblocking(false)?;
    connection.set_read_timeout(Some(TIMEOUT))?;
    connection.set_write_timeout(Some(TIMEOUT))?;
    let mut line = Vec::new();
    BufReader::new((&connection).take(MAX_LINE)).read_until(b'\n', &mut line)?;
    let mut answer = format!("rust-{} ", std::process::id()).into_bytes();
    answer.append(&mut line);
    (&connection).write_all(&answer)?;
    // close(2) sends no FIN while another process has a copy, such as a stalled worker that had the connection before.
    connection.shutdown(Shutdown::Write)
}
