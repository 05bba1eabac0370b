//! Copies of the sockets that a server listens on.

use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;

use socketserver_core::descriptors::kind::{Domain, Kind};
use socketserver_core::{Config, ListenSpec, Notice, PolicyName};

use crate::file_identity::identity;
use crate::wait::until_true;
use crate::world::{World, answer, answer_to, client, queue_of};

#[test]
fn another_server_listens_on_a_copy_and_serves_the_backlog() {
    let first = World::with(&queue_of(1));
    let address = first.listen();
    let queued = client(address);
    first.await_queued(1);
    // The queue is full, so this connection stays in the backlog.
    let waits = client(address);
    let copies = first.server.listening_sockets().unwrap();
    assert_eq!(Kind::of(copies[0].as_fd()).unwrap(), Kind::Listener(Domain::Network));

    let second = World::new();
    let original = identity(copies[0].as_fd());
    for copy in copies {
        second.server.listen(ListenSpec::Inherited(copy)).unwrap();
    }
    let again = second.server.listening_sockets().unwrap();
    assert_eq!(identity(again[0].as_fd()), original);
    drop(again);
    answer(second.worker().one(), "second");
    assert_eq!(answer_to(waits), "second");
    first.server.destroy();
    drop(queued);
    assert!(first.server.listening_sockets().unwrap().is_empty());
}

#[test]
fn a_server_whose_listener_was_copied_still_closes_it() {
    let world = World::with(&Config::new(8, None, PolicyName::RoundRobin).unwrap());
    let address = world.listen();
    drop(world.server.listening_sockets().unwrap());
    world.server.drain();
    world.notice("it has drained", |notice| {
        matches!(notice, Notice::Drained).then_some(())
    });
    until_true("the listener is closed", || {
        std::net::TcpStream::connect(address).is_err()
    });
    assert!(world.server.listening_sockets().unwrap().is_empty());
}

#[test]
fn a_socket_file_whose_listener_was_copied_is_not_removed() {
    let path = std::env::temp_dir().join(format!("socketserver-{}-lent", std::process::id()));
    let world = World::new();
    let spec = ListenSpec::Unix {
        path: path.clone(),
        backlog: 5,
        readable_all: false,
        writable_all: false,
    };
    world.server.listen(spec).unwrap();
    let copies = world.server.listening_sockets().unwrap();
    world.server.destroy();
    UnixStream::connect(&path).unwrap();
    drop(copies);
    std::fs::remove_file(&path).unwrap();
}
