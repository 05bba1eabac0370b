//! A worker in Rust: joins the server that shares a path, and echoes a line to each client.
//!
//!     cargo run -p socketserver-worker -- /run/app.ctl
//!
//! The core's own [`Receiver`] speaks the protocol, and by the scoreboard: one thread waits for its socket, and a few serve.

use std::error::Error;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use socketserver_core::Receiver;
use socketserver_core::protocol::records::CloseReason;
use socketserver_core::worker::lane::Taken;
use socketserver_core::worker::{End, Phase};

const AT_A_TIME: u32 = 4;
const ANY_PORT: u16 = 0;
const MAX_LINE: u64 = 4096;
const PATIENCE: Duration = Duration::from_secs(30);

fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args_os().nth(1).ok_or("usage: socketserver-worker PATH")?;
    // Before any thread is there: each has it blocked then, and only the one that waits for it gets it.
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
        leaves: AtomicBool::new(false),
    });
    let leaving = Arc::clone(&worker);
    thread::spawn(move || {
        if terminate.wait().is_ok() {
            leaving.leaves.store(true, Ordering::Release);
            leaving.wake();
        }
    });
    let (sender, threads) = serving_threads(&worker);
    let end = worker.run(&woken, &sender)?;
    drop(sender);
    for thread in threads {
        // A panic of one has been printed, and is not the others' affair.
        let _ = thread.join();
    }
    match end {
        None | Some(End::Left | End::Closed(CloseReason::Ended | CloseReason::Dismissed)) => Ok(()),
        Some(end) => Err(format!("the channel is over: {end:?}").into()),
    }
}

/// What the threads of this process share.
struct Worker {
    receiver: Receiver,
    /// Wakes the thread that waits for the channel.
    waker: UnixStream,
    /// Connections that this worker holds.
    leases: AtomicU32,
    /// SIGTERM has come.
    leaves: AtomicBool,
}

impl Worker {
    /// Takes connections until the channel is over, or nothing is held and nothing will come.
    fn run(&self, woken: &UnixStream, sender: &Sender<Taken>) -> Result<Option<End>, Box<dyn Error>> {
        loop {
            if self.leaves.load(Ordering::Acquire) {
                self.receiver.leave();
            }
            self.receiver.read();
            let room = AT_A_TIME - self.leases.load(Ordering::Acquire);
            // What it gives is this worker's alone. It asks for as many more as there is room for.
            for taken in self.receiver.exchange(ANY_PORT, room, room, 0) {
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

    /// Waits for the channel, for a lease's end, or for SIGTERM.
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
        // Empty, most of the time. Looked at after this, so that a wake in between is not lost.
        while woken.read(&mut [0; 64]).is_ok_and(|count| count == 64) {}
        Ok(())
    }

    fn wake(&self) {
        // Full: it is about to wake.
        let _ = (&self.waker).write(&[0]);
    }

    fn serve(&self, taken: Taken) {
        // The client has gone, or says nothing.
        let _ = echo(taken);
        self.leases.fetch_sub(1, Ordering::AcqRel);
        self.receiver.lease_ended();
        self.wake();
    }
}

/// Threads that serve what is sent to them. They are there from the start: one that cannot be started costs no client.
fn serving_threads(worker: &Arc<Worker>) -> (Sender<Taken>, Vec<JoinHandle<()>>) {
    let (sender, connections) = mpsc::channel();
    let connections = Arc::new(Mutex::new(connections));
    let threads = (0..AT_A_TIME)
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

/// What this worker is for: sends the first line back, behind the worker's name.
fn echo(taken: Taken) -> std::io::Result<()> {
    // By whichever port it came: recv(2) and send(2) do not ask for the family.
    let connection = TcpStream::from(taken.fd);
    connection.set_nonblocking(false)?;
    connection.set_read_timeout(Some(PATIENCE))?;
    connection.set_write_timeout(Some(PATIENCE))?;
    let mut line = Vec::new();
    BufReader::new((&connection).take(MAX_LINE)).read_until(b'\n', &mut line)?;
    let mut answer = format!("rust-{} ", std::process::id()).into_bytes();
    answer.append(&mut line);
    (&connection).write_all(&answer)?;
    // close(2) alone says nothing while anybody else has a copy: a worker that had it before, and is stuck.
    connection.shutdown(Shutdown::Write)
}
