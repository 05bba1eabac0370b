//! How long a worker that has broken the protocol waits before it may join again.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use socketserver_core::ShareSpec;
use socketserver_core::parent::notice::EndReason;
use socketserver_core::sys::Credentials;

use super::{Folder, joined_peer, peer, spec};
use crate::faulty::Faulty;
use crate::peer::{Peer, hello};
use crate::world::{World, queue_of};

const OFFENDER: u32 = 1;

fn process(pid: u32) -> Credentials {
    Credentials {
        pid: Some(pid),
        uid: nix::unistd::geteuid().as_raw(),
        gid: nix::unistd::getegid().as_raw(),
        groups: Vec::new(),
    }
}

/// Sends invalid bytes, and waits until the channel has ended with a protocol error.
fn break_protocol(world: &World, worker: &Peer) {
    let channel = worker.channel;
    worker.send(&[0xff; 64], &[]);
    assert!(matches!(world.end_of(channel), EndReason::Protocol(_)));
}

#[test]
fn a_worker_that_breaks_the_protocol_waits_longer_each_time_it_joins_again() {
    let (folder, world) = (Folder::new(), World::new());
    let path = folder.file("ctl");
    world.server.share(spec(&path)).unwrap();
    let mut worker = joined_peer(&world, &path);
    for pause in [100, 200, 400].map(Duration::from_millis) {
        let start = Instant::now();
        break_protocol(&world, &worker);
        worker = joined_peer(&world, &path);
        assert!(start.elapsed() >= pause, "after {:?}, not {pause:?}", start.elapsed());
    }
}

#[test]
fn a_worker_of_the_same_user_joins_while_one_that_broke_the_protocol_waits() {
    let pid = Arc::new(AtomicU32::new(OFFENDER));
    let next = Arc::clone(&pid);
    let sys = Faulty::default().credentials(move |_| Some(process(next.load(Ordering::Relaxed))));
    let (folder, world) = (Folder::new(), World::on(sys, &queue_of(4)));
    let path = folder.file("ctl");
    let eight = ShareSpec {
        max_workers: 8,
        ..spec(&path)
    };
    world.server.share(eight).unwrap();
    let workers: Vec<Peer> = (0..8).map(|_| joined_peer(&world, &path)).collect();
    for worker in &workers {
        break_protocol(&world, worker);
    }
    let offender = peer(&path);
    offender.send_frames(|frames| frames.hello(hello()));
    // The server reads the credentials in the order of accept: when the probe is refused, it has read those of the offender.
    let probe = peer(&path);
    probe.send(&[0xff; 64], &[]);
    super::refused(&world, 1);
    pid.store(OFFENDER + 1, Ordering::Relaxed);
    let other = joined_peer(&world, &path);
    offender
        .socket
        .set_read_timeout(Some(Duration::from_millis(1)))
        .unwrap();
    let mut byte = [0];
    let read = std::io::Read::read(&mut &offender.socket, &mut byte);
    assert_eq!(read.map_err(|error| error.kind()), Err(std::io::ErrorKind::WouldBlock));
    drop(other);
}

#[test]
fn a_peer_that_breaks_the_protocol_before_its_hello_waits_longer_each_time_it_joins() {
    let (folder, world) = (Folder::new(), World::new());
    let path = folder.file("ctl");
    world.server.share(spec(&path)).unwrap();
    for (errors, pause) in (1..).zip([100, 200, 400].map(Duration::from_millis)) {
        let start = Instant::now();
        peer(&path).send(&[0xff; 64], &[]);
        super::refused(&world, errors);
        drop(joined_peer(&world, &path));
        assert!(start.elapsed() >= pause, "after {:?}, not {pause:?}", start.elapsed());
    }
}

#[test]
fn a_peer_that_is_refused_because_no_seat_is_free_joins_without_a_pause() {
    let (folder, world) = (Folder::new(), World::new());
    let path = folder.file("ctl");
    world.server.share(spec(&path)).unwrap();
    let mut seated: Vec<Peer> = (0..4).map(|_| joined_peer(&world, &path)).collect();
    // After so many protocol errors the pause would be 30 seconds, which is longer than `joined_peer` waits.
    for refusals in 1..=12 {
        let one = peer(&path);
        one.send_frames(|frames| frames.hello(hello()));
        super::refused(&world, refusals);
    }
    let channel = seated.remove(0).channel;
    world.end_of(channel);
    joined_peer(&world, &path);
}

#[test]
fn a_process_that_forks_for_each_error_waits_too() {
    let forks = AtomicU32::new(1);
    let sys = Faulty::default().credentials(move |_| Some(process(forks.fetch_add(1, Ordering::Relaxed))));
    let (folder, world) = (Folder::new(), World::on(sys, &queue_of(4)));
    let path = folder.file("ctl");
    world.server.share(spec(&path)).unwrap();
    let mut worker = joined_peer(&world, &path);
    for pause in [100, 200, 250].map(Duration::from_millis) {
        let start = Instant::now();
        break_protocol(&world, &worker);
        worker = joined_peer(&world, &path);
        assert!(start.elapsed() >= pause, "after {:?}, not {pause:?}", start.elapsed());
    }
}
