//! The keys of TLS session tickets, which all workers that the parent has started share.

use std::os::fd::AsFd;

use socketserver_core::channel::pair;
use socketserver_core::protocol::encode::Encoder;
use socketserver_core::protocol::error::FrameError;
use socketserver_core::protocol::records::{Hello, Welcome};
use socketserver_core::protocol::ticket_keys::TicketKeys;
use socketserver_core::protocol::version::TICKET_KEYS_SINCE;
use socketserver_core::sys::ancillary;
use socketserver_core::worker::{End, Phase};
use socketserver_core::{ProtocolError, Receiver};

use crate::peer::{ParentFrame, Peer, hello};
use crate::share::{Folder, joined_peer, spec};
use crate::wait::until;
use crate::world::{World, queue_of};

const KEYS: TicketKeys = TicketKeys([7; 48]);

fn world() -> World {
    World::with(&queue_of(8).sharing_ticket_keys(KEYS))
}

/// Returns what a peer has been sent when its worker is retired.
fn keys_of(world: &World, mut peer: Peer) -> Option<TicketKeys> {
    world.server.retire(peer.channel);
    assert!(matches!(peer.next_frame(), ParentFrame::Retire));
    peer.ticket_keys
}

#[test]
fn every_worker_that_the_parent_has_started_has_the_keys() {
    let world = world();
    for peer in [world.peer().join(), world.peer().join_with_scoreboard()] {
        assert_eq!(keys_of(&world, peer), Some(KEYS));
    }
    let worker = world.worker();
    until("the worker has the keys", || {
        worker.receiver.phase();
        (worker.receiver.ticket_keys() == Some(KEYS)).then_some(())
    });
}

#[test]
fn a_worker_that_joined_at_a_shared_path_gets_no_keys() {
    let (folder, world) = (Folder::new(), world());
    let path = folder.file("ctl");
    world.server.share(spec(&path)).unwrap();
    let peer = joined_peer(&world, &path);
    assert_eq!(keys_of(&world, peer), None);
}

#[test]
fn a_worker_of_an_older_version_gets_no_keys() {
    let world = world();
    let mut peer = world.peer();
    peer.send_frames(|frames| {
        frames.hello(Hello {
            oldest: 1,
            newest: TICKET_KEYS_SINCE - 1,
            ..hello()
        });
    });
    assert!(matches!(peer.next_frame(), ParentFrame::Welcome(3)));
    assert_eq!(keys_of(&world, peer), None);
}

#[test]
fn keys_in_an_older_version_are_a_protocol_error() {
    let (ours, theirs) = pair().unwrap();
    let receiver = Receiver::start(theirs, || {}).unwrap();
    let mut frames = Encoder::new();
    frames.welcome(Welcome {
        version: TICKET_KEYS_SINCE - 1,
        channel: 1,
        scoreboard: false,
    });
    frames.ticket_keys(KEYS);
    let sent = ancillary::send(ours.as_fd(), frames.bytes(), &[]);
    assert_eq!(sent, Ok(frames.bytes().len()));
    let end = until("the channel ends", || match receiver.phase() {
        Phase::Ended(end) => Some(end),
        _ => None,
    });
    let unknown = ProtocolError::Frame(FrameError::Kind(0x8B));
    assert_eq!(end, End::Protocol(unknown));
}

#[test]
fn keys_are_not_shown_in_logs() {
    assert_eq!(format!("{KEYS:?}"), "TicketKeys(..)");
}
