//! Threads that take connections wait their turn while these come fast.

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
fn the_accepting_thread_waits_its_turn_while_connections_come_fast() {
    let sys = Metronome::new();
    let world = World::on(sys.clone(), &queue_of(1024));
    let address = world.listen();
    let first = clients(address, 64);
    world.await_queued(64);
    assert!(sys.wishes().is_empty(), "of the first nobody knows how fast they came");
    let more = clients(address, 64);
    world.await_queued(128);
    assert_eq!(sys.wishes(), [("socketserver".to_owned(), true)]);
    sys.step(Duration::from_secs(1));
    let last = clients(address, 64);
    world.await_queued(192);
    assert_eq!(sys.wishes()[1..], [("socketserver".to_owned(), false)]);
    drop((first, more, last));
}

#[test]
fn the_accepting_thread_no_longer_waits_its_turn_when_no_more_come() {
    let sys = Metronome::new();
    let world = World::on(sys.clone(), &queue_of(1024));
    let address = world.listen();
    let clients = clients(address, 128);
    world.await_queued(128);
    assert_eq!(sys.said(), [true]);
    sys.step(Duration::from_secs(1));
    until("the rush is over", || (sys.said() == [true, false]).then_some(()));
    drop(clients);
}

/// Lets a worker take so many.
fn take<S: Sys>(worker: &Receiver<S>, count: usize) {
    let mut taken = Vec::new();
    until("the connections come", || {
        worker.read();
        let room = u32::try_from(count - taken.len()).unwrap();
        taken.extend(worker.exchange(0, room, room, 0));
        (taken.len() == count).then_some(())
    });
}

/// A worker that waits its turn.
fn worker_in_a_rush(world: &World, sys: &Metronome) -> Receiver<Metronome> {
    let address = world.listen();
    let worker = Receiver::attach_on(sys.clone(), world.server.open_channel().unwrap().1).unwrap();
    // What comes together is counted together, up to 64 and what a window holds: two samples at least.
    (0..4).for_each(|_| {
        let clients = clients(address, 64);
        take(&worker, 64);
        drop(clients);
    });
    assert_eq!(sys.said(), [true]);
    worker
}

/// One worker takes so many of 64, another the rest.
fn a_worker_waits_its_turn(takes: usize) {
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
    // As in `worker_in_a_rush`.
    (0..4).for_each(|_| serve_64());
    assert_eq!(sys.wishes(), [(this.clone(), true)]);
    sys.step(Duration::from_secs(1));
    (0..4).for_each(|_| serve_64());
    assert_eq!(sys.wishes()[1..], [(this, false)]);
}

#[test]
fn a_worker_waits_its_turn_while_connections_come_fast() {
    a_worker_waits_its_turn(64);
}

#[test]
fn a_worker_that_leaves_in_a_rush_no_longer_waits_its_turn() {
    let sys = Metronome::new();
    let world = World::new();
    let worker = worker_in_a_rush(&world, &sys);
    worker.close();
    assert_eq!(sys.said(), [true, false]);
    drop(worker);
    assert_eq!(sys.said(), [true, false]);
}

#[test]
fn a_worker_no_longer_waits_its_turn_when_no_more_come() {
    let sys = Metronome::new();
    let world = World::new();
    let worker = worker_in_a_rush(&world, &sys);
    worker.read();
    assert_eq!(sys.said(), [true], "there was no time in which more could have come");
    assert!(worker.read_interval().is_some());
    sys.step(Duration::from_secs(1));
    worker.read();
    worker.read();
    assert_eq!(sys.said(), [true, false]);
    assert!(worker.read_interval().is_none());
}

#[test]
fn a_worker_whose_server_is_gone_no_longer_waits_its_turn() {
    let sys = Metronome::new();
    let world = World::new();
    let worker = worker_in_a_rush(&world, &sys);
    drop(world);
    until("the end comes", || {
        worker.read();
        worker.has_ended().then_some(())
    });
    assert_eq!(sys.said(), [true, false]);
}

#[test]
fn a_worker_waits_its_turn_however_few_of_them_it_takes() {
    a_worker_waits_its_turn(4);
}

/// The policy of the calling thread, proc_pid_stat(5).
#[cfg(target_os = "linux")]
fn policy() -> i32 {
    let stat = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
    // The name, in parentheses, is the second field, and may contain anything; the policy is the 41st.
    let (_, rest) = stat.rsplit_once(')').unwrap();
    rest.split_whitespace().nth(41 - 3).unwrap().parse().unwrap()
}

#[cfg(target_os = "linux")]
#[test]
fn who_waits_its_turn_runs_as_batch_and_then_as_before() {
    use nix::libc::{SCHED_BATCH, SCHED_OTHER};
    assert_eq!(policy(), SCHED_OTHER);
    assert!(Os.set_batch_scheduling(true));
    assert_eq!(policy(), SCHED_BATCH);
    assert!(
        !Os.set_batch_scheduling(true),
        "it is not by this that it waits, and not for this to undo"
    );
    assert_eq!(policy(), SCHED_BATCH);
    assert!(!Os.set_batch_scheduling(false));
    assert_eq!(policy(), SCHED_OTHER);
}
