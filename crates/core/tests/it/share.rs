//! Programs that join at a shared path.

mod admission;
mod folder;
mod path;
mod rejoin;

use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use socketserver_core::ids::ChannelId;
use socketserver_core::ids::ShareId;
use socketserver_core::parent::notice::{EndReason, Refused};
use socketserver_core::parent::share::Allow;
use socketserver_core::protocol::encode::Encoder;
use socketserver_core::protocol::records::CloseReason;
use socketserver_core::sys::unix_socket;
use socketserver_core::worker::{End, Phase};
use socketserver_core::{Notice, ShareSpec, SystemError};

pub use self::folder::Folder;
use crate::peer::Peer;
use crate::wait::{BOUND, until};
use crate::world::{EventLoop, Worker, World, answer, answer_to, client, is_of};

/// Returns settings with which processes of this user may join, with 4 seats.
pub fn spec(path: &Path) -> ShareSpec {
    ShareSpec {
        path: path.to_path_buf(),
        mode: 0o600,
        allow: Allow::default(),
        max_workers: 4,
        hello_timeout: Some(BOUND),
    }
}

/// Connects a peer that can send any frames. Its channel is 0 until it has joined.
pub fn peer(path: &Path) -> Peer {
    let socket = until("the server listens", || UnixStream::connect(path).ok());
    Peer::new(0, socket.into())
}

/// Connects a peer and joins.
pub fn joined_peer(world: &World, path: &Path) -> Peer {
    let before = admitted(world).len();
    let mut peer = peer(path).join();
    peer.channel = until("it is admitted", || admitted(world).get(before).copied());
    peer
}

/// Connects a receiver and joins.
pub fn worker(world: &World, path: &Path) -> Worker {
    let before = admitted(world).len();
    let receiver = EventLoop::new(dialled(path));
    let channel = until("it is admitted", || admitted(world).get(before).copied());
    Worker { channel, receiver }
}

fn dialled(path: &Path) -> OwnedFd {
    dial(path).unwrap()
}

pub fn dial(path: &Path) -> Result<OwnedFd, SystemError> {
    unix_socket::connect(path.as_os_str().as_bytes())
}

/// Returns the channels of all workers admitted so far.
fn admitted(world: &World) -> Vec<ChannelId> {
    let mut channels = Vec::new();
    world.count(|notice| {
        if let Notice::Admitted { channel, .. } = notice {
            channels.push(*channel);
        }
        false
    });
    channels
}

/// Waits until `count` peers were refused, and returns the reasons.
pub fn refused(world: &World, count: usize) -> Vec<Refused> {
    until("the peers are refused", || {
        let mut reasons = Vec::new();
        world.count(|notice| {
            if let Notice::Refused { reason, .. } = notice {
                reasons.push(reason.clone());
            }
            false
        });
        (reasons.len() >= count).then_some(reasons)
    })
}

#[test]
fn a_joined_worker_behaves_like_a_started_one() {
    let (folder, world) = (Folder::new(), World::new());
    let (path, address) = (folder.file("ctl"), world.listen());
    let share = world.server.share(spec(&path)).unwrap();
    let worker = worker(&world, &path);
    world.notice("it has joined", |notice| match notice {
        Notice::Joined { channel, .. } if *channel == worker.channel => Some(()),
        _ => None,
    });
    let (at, uid, pid) = world.notice("its credentials are reported", |notice| match notice {
        Notice::Admitted { share, peer, .. } => Some((*share, peer.uid, peer.pid)),
        _ => None,
    });
    assert_eq!((at, uid), (share, nix::unistd::geteuid().as_raw()));
    assert!(pid.is_none_or(|pid| pid == std::process::id()));
    for _ in 0..3 {
        let client = client(address);
        let taken = worker.one();
        assert!(is_of(&taken, &client));
        answer(taken, "by one that has joined");
        assert_eq!(answer_to(client), "by one that has joined");
        worker.done(1);
    }
    let stats = world.stats("it is counted", |stats| stats.handed_off == 3 && stats.leases == 0);
    assert_eq!((stats.workers, stats.refused_peers), (1, 0));
    world.server.retire(worker.channel);
    worker.await_phase(|phase| *phase == Phase::Retired);
    worker.receiver.close();
    assert_eq!(world.end_of(worker.channel), EndReason::Left);
}

#[test]
fn joined_and_started_workers_share_one_queue() {
    let (folder, world) = (Folder::new(), World::new());
    let (path, address) = (folder.file("ctl"), world.listen());
    world.server.share(spec(&path)).unwrap();
    let (started, joined) = (world.worker(), worker(&world, &path));
    let clients = [client(address), client(address)];
    let taken = [started.one(), joined.one()];
    assert!(taken.iter().all(|one| clients.iter().any(|client| is_of(one, client))));
    assert_ne!(taken[0].head.id, taken[1].head.id);
}

#[test]
fn an_untaken_connection_of_a_joined_worker_goes_to_another() {
    let (folder, world) = (Folder::new(), World::new());
    let (path, address) = (folder.file("ctl"), world.listen());
    world.server.share(spec(&path)).unwrap();
    let mut doomed = joined_peer(&world, &path);
    let client = client(address);
    let held = doomed.one();
    let channel = doomed.channel;
    drop((doomed, held));
    assert_eq!(world.end_of(channel), EndReason::Lost);
    let other = worker(&world, &path);
    answer(other.one(), "by another");
    assert_eq!(answer_to(client), "by another");
    assert_eq!(world.server.stats().requeued, 1);
}

#[test]
fn a_worker_that_joins_during_a_drain_serves_the_queue() {
    let (folder, world) = (Folder::new(), World::new());
    let (path, address) = (folder.file("ctl"), world.listen());
    world.server.share(spec(&path)).unwrap();
    let client = client(address);
    world.await_queued(1);
    world.server.drain();
    let worker = worker(&world, &path);
    worker.await_phase(|phase| *phase == Phase::Draining);
    answer(worker.one(), "at last");
    worker.done(1);
    assert_eq!(answer_to(client), "at last");
    world.notice("it is drained", |notice| {
        matches!(notice, Notice::Drained).then_some(())
    });
}

#[test]
fn a_worker_that_is_refused_before_its_hello_receives_the_reason() {
    let (folder, world) = (Folder::new(), World::new());
    let path = folder.file("ctl");
    let full = ShareSpec {
        max_workers: 1,
        ..spec(&path)
    };
    world.server.share(full).unwrap();
    let _first = worker(&world, &path);
    let end = dialled(&path);
    refused(&world, 1);
    let late = Worker {
        channel: 0,
        receiver: EventLoop::new(end),
    };
    let phase = late.await_phase(|phase| matches!(phase, Phase::Ended(_)));
    assert_eq!(phase, Phase::Ended(End::Closed(CloseReason::Full(1))));
}

#[test]
fn a_worker_whose_channel_ends_before_its_hello_receives_the_reason() {
    for (close, expected) in [
        (Some(CloseReason::NotAllowed), End::Closed(CloseReason::NotAllowed)),
        (None, End::Gone),
    ] {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let mut frames = Encoder::new();
        if let Some(reason) = close {
            frames.close(reason);
        }
        (&theirs).write_all(frames.bytes()).unwrap();
        // The HELLO fails with EPIPE.
        drop(theirs);
        let worker = Worker {
            channel: 0,
            receiver: EventLoop::new(ours.into()),
        };
        worker.await_phase(|phase| *phase == Phase::Ended(expected.clone()));
    }
}

#[test]
fn after_unshare_no_worker_can_join_and_joined_workers_stay() {
    let (folder, world) = (Folder::new(), World::new());
    let (path, address) = (folder.file("ctl"), world.listen());
    let share: ShareId = world.server.share(spec(&path)).unwrap();
    let worker = worker(&world, &path);
    let silent = peer(&path);
    world.server.unshare(share);
    assert!(!path.exists());
    assert!(dial(&path).is_err());
    let mut silent = silent;
    assert!(silent.remaining_frames().is_empty());
    let client = client(address);
    answer(worker.one(), "still here");
    assert_eq!(answer_to(client), "still here");
    // The path can be shared again.
    world.server.share(spec(&path)).unwrap();
}

#[test]
fn a_server_that_ends_removes_its_shared_paths() {
    let folder = Folder::new();
    let world = World::new();
    for name in ["one", "two"] {
        world.server.share(spec(&folder.file(name))).unwrap();
    }
    let worker = worker(&world, &folder.file("one"));
    world.server.destroy();
    worker.await_phase(|phase| *phase == Phase::Ended(End::Closed(CloseReason::Ended)));
    assert_eq!(folder.names(), [""; 0]);
}

#[test]
fn a_draining_server_cannot_share_a_path() {
    let (folder, world) = (Folder::new(), World::new());
    world.server.drain();
    assert!(matches!(
        world.server.share(spec(&folder.file("ctl"))),
        Err(socketserver_core::ListenError::Closed)
    ));
    assert_eq!(folder.names(), [""; 0]);
}

#[cfg(target_os = "linux")]
#[test]
fn an_abstract_name_can_be_shared() {
    let world = World::new();
    let name = format!("\0socketserver-test-{}", std::process::id());
    let path = Path::new(&name);
    let share = world.server.share(spec(path)).unwrap();
    assert!(world.server.share(spec(path)).is_err());
    let address = world.listen();
    let worker = worker(&world, path);
    let client = client(address);
    answer(worker.one(), "from nowhere");
    assert_eq!(answer_to(client), "from nowhere");
    world.server.unshare(share);
    world.server.share(spec(path)).unwrap();
}

/// The HELLO timeout of tests that wait for it.
pub const SOON: Duration = Duration::from_millis(50);
