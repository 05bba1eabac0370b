//! Threads that handle connections run as SCHED_BATCH at a high accept rate.

use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use socketserver_core::Receiver;
use socketserver_core::sys::{Os, Sys};

use crate::metronome::Metronome;
use crate::wait::until;
use crate::world::{World, queue_of};

fn clients(address: SocketAddr, count: u32) -> Vec<TcpStream> {
    (0..count).map(|_| TcpStream::connect(address).unwrap()).collect()
}

#[test]
fn the_accepting_thread_is_sched_batch_at_a_high_accept_rate() {
    let sys = Metronome::new();
    let world = World::on(sys.clone(), &queue_of(1024));
    let address = world.listen();
    let first = clients(address, 64);
    world.await_queued(64);
    assert!(sys.changes().is_empty(), "the first sample has no rate");
    let more = clients(address, 64);
    world.await_queued(128);
    assert_eq!(sys.changes(), [("socketserver".to_owned(), true)]);
    sys.step(Duration::from_secs(1));
    let last = clients(address, 64);
    world.await_queued(192);
    assert_eq!(sys.changes()[1..], [("socketserver".to_owned(), false)]);
    drop((first, more, last));
}

#[test]
fn the_accepting_thread_is_sched_other_again_when_no_more_connections_arrive() {
    let sys = Metronome::new();
    let world = World::on(sys.clone(), &queue_of(1024));
    let address = world.listen();
    let clients = clients(address, 128);
    world.await_queued(128);
    assert_eq!(sys.batch_changes(), [true]);
    sys.step(Duration::from_secs(1));
    until("the rate is low", || {
        (sys.batch_changes() == [true, false]).then_some(())
    });
    drop(clients);
}

/// Lets a worker take `count` connections.
fn take<S: Sys>(worker: &Receiver<S>, count: usize) {
    let mut taken = Vec::new();
    until("the connections arrive", || {
        worker.read();
        let room = u32::try_from(count - taken.len()).unwrap();
        taken.extend(worker.exchange(0, room, room, 0));
        (taken.len() == count).then_some(())
    });
}

/// Returns a worker that is SCHED_BATCH.
fn worker_at_a_high_rate(world: &World, sys: &Metronome) -> Receiver<Metronome> {
    let address = world.listen();
    let worker = Receiver::attach_on(sys.clone(), world.server.open_channel().unwrap().1).unwrap();
    // The worker samples once per exchange, so 256 connections are at least two samples.
    (0..4).for_each(|_| {
        let clients = clients(address, 64);
        take(&worker, 64);
        drop(clients);
    });
    assert_eq!(sys.batch_changes(), [true]);
    worker
}

/// Lets one worker take `takes` of every 64 connections, and another the rest.
fn a_worker_becomes_sched_batch(takes: usize) {
    let sys = Metronome::new();
    let world = World::new();
    let address = world.listen();
    let [one, other] = [(); 2].map(|()| world.server.open_channel().unwrap().1);
    let worker = Receiver::attach_on(sys.clone(), one).unwrap();
    let other = Receiver::attach(other).unwrap();
    let serve_64 = || {
        let clients = clients(address, 64);
        take(&worker, takes);
        take(&other, 64 - takes);
        drop(clients);
    };
    let this = std::thread::current().name().unwrap().to_owned();
    // As in `worker_at_a_high_rate`.
    (0..4).for_each(|_| serve_64());
    assert_eq!(sys.changes(), [(this.clone(), true)]);
    sys.step(Duration::from_secs(1));
    (0..4).for_each(|_| serve_64());
    assert_eq!(sys.changes()[1..], [(this, false)]);
}

#[test]
fn a_worker_is_sched_batch_at_a_high_accept_rate() {
    a_worker_becomes_sched_batch(64);
}

#[test]
fn a_worker_that_leaves_at_a_high_rate_is_sched_other_again() {
    let sys = Metronome::new();
    let world = World::new();
    let worker = worker_at_a_high_rate(&world, &sys);
    worker.close();
    assert_eq!(sys.batch_changes(), [true, false]);
    drop(worker);
    assert_eq!(sys.batch_changes(), [true, false]);
}

#[test]
fn a_worker_is_sched_other_again_when_no_more_connections_arrive() {
    let sys = Metronome::new();
    let world = World::new();
    let worker = worker_at_a_high_rate(&world, &sys);
    worker.read();
    assert_eq!(sys.batch_changes(), [true], "the sample timeout has not passed");
    assert!(worker.read_interval().is_some());
    sys.step(Duration::from_secs(1));
    worker.read();
    worker.read();
    assert_eq!(sys.batch_changes(), [true, false]);
    assert!(worker.read_interval().is_none());
}

#[test]
fn a_worker_whose_server_has_ended_is_sched_other_again() {
    let sys = Metronome::new();
    let world = World::new();
    let worker = worker_at_a_high_rate(&world, &sys);
    drop(world);
    until("the channel ends", || {
        worker.read();
        worker.has_ended().then_some(())
    });
    assert_eq!(sys.batch_changes(), [true, false]);
}

#[test]
fn a_worker_that_takes_few_of_the_connections_is_sched_batch_too() {
    a_worker_becomes_sched_batch(4);
}

/// Returns the scheduling policy of the calling thread (proc_pid_stat(5)).
#[cfg(target_os = "linux")]
fn policy() -> i32 {
    let stat = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
    // The second field is the name in parentheses, which may contain any character; the 41st is the policy.
    let (_, rest) = stat.rsplit_once(')').unwrap();
    rest.split_whitespace().nth(41 - 3).unwrap().parse().unwrap()
}

#[cfg(target_os = "linux")]
#[test]
fn only_a_policy_that_was_set_here_is_changed_back() {
    use nix::libc::{SCHED_BATCH, SCHED_OTHER};
    assert_eq!(policy(), SCHED_OTHER);
    assert!(Os.set_batch_scheduling(true));
    assert_eq!(policy(), SCHED_BATCH);
    assert!(
        !Os.set_batch_scheduling(true),
        "the thread was SCHED_BATCH before this call"
    );
    assert_eq!(policy(), SCHED_BATCH);
    assert!(!Os.set_batch_scheduling(false));
    assert_eq!(policy(), SCHED_OTHER);
}
