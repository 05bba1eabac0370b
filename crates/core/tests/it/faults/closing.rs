//! A close(2) that sleeps because another process has set SO_LINGER delays no other client.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::libc;
use nix::sys::socket::{setsockopt, sockopt};
use socketserver_core::protocol::encode::Encoder;
use socketserver_core::sys::{Credentials, ancillary};
use socketserver_core::{Config, ListenSpec, PolicyName};

use crate::faulty::Faulty;
use crate::peer::{ParentFrame, Peer, hello};
use crate::share::{Folder, spec, worker};
use crate::wait::BOUND;
use crate::world::{Worker, World, answer, answer_to, client, queue_of};

/// How long a close sleeps, in seconds.
const LINGER: i32 = 15;

/// The bound for other clients: much longer than they wait on a busy machine, and much shorter than a close sleeps.
const PROMPT: Duration = Duration::from_secs(5);

/// Fills the send buffer towards a peer that does not read, and makes the last close sleep.
fn have_close_sleep(mut near: &TcpStream) {
    near.set_nonblocking(true).unwrap();
    while near.write(&[b'.'; 1 << 14]).is_ok() {}
    let linger = libc::linger {
        l_onoff: 1,
        l_linger: LINGER,
    };
    setsockopt(&near, sockopt::Linger, &linger).unwrap();
}

/// Returns a connection whose last close sleeps, and its peer, which does not read.
fn lingering() -> (OwnedFd, TcpStream) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let far = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (near, _) = listener.accept().unwrap();
    have_close_sleep(&near);
    (near.into(), far)
}

/// Checks that a new client is answered promptly after `start`, when the hostile peer had acted.
fn assert_prompt(start: Instant, address: SocketAddr, worker: &Worker) {
    let client = client(address);
    answer(worker.one(), "soon");
    assert_eq!(answer_to(client), "soon");
    assert!(start.elapsed() < PROMPT, "{:?}", start.elapsed());
}

#[test]
fn a_worker_that_lingers_and_closes_before_its_ack_delays_no_other_client() {
    let world = World::new();
    let address = world.listen();
    let mut peer = world.peer().join();
    let _silent = client(address);
    let (head, fd) = peer.one();
    let connection = TcpStream::from(fd);
    have_close_sleep(&connection);
    drop(connection);
    let other = world.worker();
    let start = Instant::now();
    peer.send_frames(|frames| frames.ack([head.id]));
    assert_prompt(start, address, &other);
}

#[test]
fn a_worker_that_lingers_and_returns_a_connection_delays_no_other_client() {
    let world = World::new();
    let address = world.listen();
    let mut peer = world.peer().join();
    let _silent = client(address);
    let (head, fd) = peer.one();
    peer.send_frames(|frames| frames.ack([head.id]));
    let connection = TcpStream::from(fd);
    have_close_sleep(&connection);
    peer.hand_back(head.id, connection.as_fd());
    assert!(matches!(peer.next_frame(), ParentFrame::Returned(_)));
    drop(connection);
    let mut next = world.peer().join();
    let (head, fd) = next.one();
    drop(fd);
    let other = world.worker();
    let start = Instant::now();
    next.send_frames(|frames| frames.ack([head.id]));
    assert_prompt(start, address, &other);
}

#[test]
fn a_client_that_sends_lingering_sockets_to_a_unix_socket_delays_no_other_client() {
    let folder = Folder::new();
    let config = Config::new(8, Some(Duration::from_millis(50)), PolicyName::LeastBusy).unwrap();
    let world = World::with(&config);
    let path = folder.file("listener");
    world
        .server
        .listen(ListenSpec::Unix {
            path: path.clone(),
            backlog: 8,
            readable_all: false,
            writable_all: false,
        })
        .unwrap();
    let address = world.listen();
    let hostile = UnixStream::connect(&path).unwrap();
    let (near, _far) = lingering();
    ancillary::send(hostile.as_fd(), b"x", &[near.as_fd()]).unwrap();
    drop(near);
    let start = Instant::now();
    world.stats("the connection is shed", |stats| stats.shed == 1);
    assert_prompt(start, address, &world.worker());
}

#[test]
fn unread_descriptors_in_a_channel_that_ends_delay_no_other_client() {
    let world = World::new();
    let address = world.listen();
    let other = world.worker();
    world.stats("it has joined", |stats| stats.workers == 1);
    let (hostile, _silent) = Program::start("channel");
    let end = world.server.open_channel().unwrap().1;
    let start = hostile.give(end);
    world.notice("its channel has ended", |notice| {
        matches!(notice, socketserver_core::Notice::Ended { .. }).then_some(())
    });
    assert_prompt(start, address, &other);
}

#[test]
fn a_peer_that_may_not_join_delays_no_client() {
    let folder = Folder::new();
    let stranger = Credentials {
        pid: None,
        uid: 54_321,
        gid: 54_322,
        groups: Vec::new(),
    };
    let sys = Faulty::default().credentials(move |_| Some(stranger.clone()));
    let world = World::on(sys, &queue_of(8));
    let path = folder.file("ctl");
    world.server.share(spec(&path)).unwrap();
    let address = world.listen();
    let other = world.worker();
    world.stats("it has joined", |stats| stats.workers == 1);
    let (hostile, _silent) = Program::start("share");
    let start = hostile.give(UnixStream::connect(&path).unwrap().into());
    world.stats("it is refused", |stats| stats.refused_peers == 1);
    assert_prompt(start, address, &other);
}

#[test]
fn a_program_that_joins_and_lingers_delays_no_other_client() {
    let folder = Folder::new();
    let world = World::new();
    let path = folder.file("ctl");
    world.server.share(spec(&path)).unwrap();
    let address = world.listen();
    let (hostile, _silent) = Program::start("joins");
    let _waiting = client(address);
    let start = hostile.give(UnixStream::connect(&path).unwrap().into());
    world.stats("it has taken one", |stats| stats.handed_off == 1);
    assert_prompt(start, address, &worker(&world, &path));
}

/// A hostile peer: this test binary in another process.
struct Program(Child, UnixStream);

const WHAT: &str = "SOCKETSERVER_TEST_HOSTILE";

impl Program {
    /// Starts the program. Its sockets connect to the returned listener, which does not read.
    fn start(what: &str) -> (Self, Silent) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let child = Command::new(std::env::current_exe().unwrap())
            .args([
                "faults::closing::hostile_program",
                "--exact",
                "--ignored",
                "--nocapture",
            ])
            .env(WHAT, what)
            .stdin(OwnedFd::from(theirs))
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let silent = Silent(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap());
        let port = silent.0.local_addr().unwrap().port().to_le_bytes();
        (&ours).write_all(&port).unwrap();
        ours.set_read_timeout(Some(BOUND)).unwrap();
        (Self(child, ours), silent)
    }

    /// Sends the end of a channel to the program, waits until the program has acted, and returns the time.
    fn give(&self, end: OwnedFd) -> Instant {
        ancillary::send(self.1.as_fd(), b"x", &[end.as_fd()]).unwrap();
        drop(end);
        let mut done = [0];
        (&self.1).read_exact(&mut done).unwrap();
        Instant::now()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // Both fail if the process has ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Listens, but neither accepts nor reads.
struct Silent(TcpListener);

#[test]
#[ignore = "the program of the tests above"]
fn hostile_program() {
    let Ok(what) = std::env::var(WHAT) else { return };
    let mut commands = UnixStream::from(std::io::stdin().as_fd().try_clone_to_owned().unwrap());
    let mut port = [0; 2];
    commands.read_exact(&mut port).unwrap();
    let lingering = || {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, u16::from_le_bytes(port))).unwrap();
        have_close_sleep(&stream);
        OwnedFd::from(stream)
    };
    let mut received = ancillary::receive(commands.as_fd(), &mut [0]).unwrap();
    let mut peer = Peer::new(0, received.descriptors.remove(0).into_owned());
    match &what[..] {
        // The parent reads the first, which is surplus; the second is unread when the socket is closed.
        "channel" | "share" => {
            let sockets = [lingering(), lingering()];
            let mut frames = Encoder::new();
            frames.hello(hello());
            frames.nudge();
            for socket in sockets {
                peer.send(frames.bytes(), &[socket.as_fd()]);
            }
        }
        "joins" => {
            peer = peer.join();
            let (head, fd) = peer.one();
            let connection = TcpStream::from(fd);
            have_close_sleep(&connection);
            drop(connection);
            peer.send_frames(|frames| frames.ack([head.id]));
        }
        other => panic!("{other}"),
    }
    commands.write_all(b"x").unwrap();
    // Wait to be killed: the exit of this process would close its channel.
    let _ = commands.read(&mut [0]);
}
