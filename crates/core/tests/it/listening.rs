//! A worker receives the addresses of its server's listeners.

use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::AsFd;

use socketserver_core::channel::pair;
use socketserver_core::protocol::encode::Encoder;
use socketserver_core::protocol::error::FrameError;
use socketserver_core::protocol::limits::MAX_LISTENERS;
use socketserver_core::protocol::records::{Hello, Welcome};
use socketserver_core::protocol::version::{LISTENING_SINCE, VERSION};
use socketserver_core::sys::ancillary;
use socketserver_core::worker::{End, Phase};
use socketserver_core::{ListenSpec, ListenerAddress, ProtocolError, Receiver};

use crate::peer::{ParentFrame, hello};
use crate::wait::until;
use crate::world::{World, client, tcp};

fn abstract_name(test: &str, at: usize) -> ListenSpec {
    ListenSpec::Unix {
        path: format!("\0socketserver-listening-{test}-{}-{at}", std::process::id()).into(),
        backlog: 1,
        readable_all: false,
        writable_all: false,
    }
}

fn address(at: u16) -> ListenerAddress {
    ListenerAddress::Tcp(SocketAddr::from((Ipv4Addr::LOCALHOST, at)))
}

/// Sends WELCOME and then LISTENING `count` times to a receiver, which ends.
fn end_of(version: u16, count: usize) -> End {
    let (ours, theirs) = pair().unwrap();
    let receiver = Receiver::start(theirs, || {}).unwrap();
    let mut frames = Encoder::new();
    frames.welcome(Welcome {
        version,
        channel: 1,
        scoreboard: false,
    });
    for _ in 0..count {
        frames.listening(address(1));
    }
    assert_eq!(
        ancillary::send(ours.as_fd(), frames.bytes(), &[]),
        Ok(frames.bytes().len())
    );
    until("the channel ends", || match receiver.phase() {
        Phase::Ended(end) => Some(end),
        _ => None,
    })
}

#[test]
fn a_worker_receives_all_listeners_with_its_welcome_and_each_later_one_before_its_connections() {
    let world = World::new();
    let first = ListenerAddress::Tcp(world.listen());
    let worker = world.worker();
    let await_listeners = |what, listeners: &[ListenerAddress]| {
        until(what, || {
            worker.receiver.phase();
            (worker.receiver.listeners().as_deref() == Some(listeners)).then_some(())
        });
    };
    await_listeners("the worker has the listener", std::slice::from_ref(&first));
    let mut peer = world.peer().join();
    let second = world.server.listen(tcp(Ipv4Addr::LOCALHOST.into(), 0)).unwrap();
    await_listeners("the worker has the second listener", &[first.clone(), second.clone()]);
    let ListenerAddress::Tcp(address) = second.clone() else {
        panic!("{second:?} has no port")
    };
    let _client = client(address);
    drop(worker);
    peer.one();
    assert_eq!(peer.listeners, [first, second]);
}

#[test]
fn a_worker_with_credit_receives_a_listener_before_the_first_connection_of_that_listener() {
    let world = World::new();
    let mut peer = world.peer().join();
    let mut listeners = Vec::new();
    for _ in 0..8 {
        let address = world.listen();
        listeners.push(ListenerAddress::Tcp(address));
        let _client = client(address);
        peer.one();
        assert_eq!(peer.listeners, listeners);
    }
}

#[test]
fn a_worker_receives_no_more_listeners_than_the_protocol_allows() {
    let world = World::new();
    let early = world.peer().join();
    let all: Vec<_> = (0..=MAX_LISTENERS)
        .map(|at| world.server.listen(abstract_name("limit", at)).unwrap())
        .collect();
    let late = world.peer().join();
    for mut peer in [early, late] {
        world.server.retire(peer.channel);
        assert!(matches!(peer.next_frame(), ParentFrame::Retire));
        assert_eq!(peer.listeners, all[..MAX_LISTENERS]);
    }
}

#[test]
fn a_worker_receives_more_listeners_than_fit_the_message_of_its_welcome() {
    let world = World::new();
    let all: Vec<_> = (0..40)
        .map(|at| world.server.listen(abstract_name("more", at)).unwrap())
        .collect();
    let mut peer = world.peer().join_with_scoreboard();
    world.server.retire(peer.channel);
    assert!(matches!(peer.next_frame(), ParentFrame::Retire));
    assert_eq!(peer.listeners, all);
}

#[test]
fn a_worker_of_an_older_version_receives_no_listener() {
    let world = World::new();
    let address = world.listen();
    let mut peer = world.peer();
    peer.send_frames(|frames| {
        frames.hello(Hello {
            oldest: 1,
            newest: LISTENING_SINCE - 1,
            ..hello()
        });
    });
    assert!(matches!(peer.next_frame(), ParentFrame::Welcome(2)));
    world.server.listen(tcp(Ipv4Addr::LOCALHOST.into(), 0)).unwrap();
    let _client = client(address);
    peer.one();
    assert_eq!(peer.listeners, []);
}

#[test]
fn a_listener_in_an_older_version_is_a_protocol_error() {
    let unknown = ProtocolError::Frame(FrameError::Kind(0x89));
    assert_eq!(end_of(LISTENING_SINCE - 1, 1), End::Protocol(unknown));
}

#[test]
fn one_listener_more_than_a_worker_is_told_of_is_a_protocol_error() {
    let error = ProtocolError::TooManyListeners { limit: MAX_LISTENERS };
    assert_eq!(end_of(VERSION, MAX_LISTENERS + 1), End::Protocol(error));
}
