//! Admission: which peers may join, and what refused peers receive.

use std::os::fd::AsFd;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use socketserver_core::parent::notice::{EndReason, Refused};
use socketserver_core::parent::share::Allow;
use socketserver_core::protocol::encode::Encoder;
use socketserver_core::protocol::records::{CloseReason, Credit, Hello};
use socketserver_core::protocol::version::VERSION;
use socketserver_core::sys::Credentials;
use socketserver_core::sys::ancillary;
use socketserver_core::{Notice, ProtocolError, ShareSpec};

use super::{Folder, SOON, joined_peer, peer, refused, spec, worker};
use crate::faulty::Faulty;
use crate::peer::{ParentFrame, Peer, hello};
use crate::wait::until_true;
use crate::world::{World, queue_of};

/// An unused user id, an unused group id, and an unused supplementary group id.
const STRANGER: u32 = 54_321;
const STRANGERS: u32 = 54_322;
const CLUB: u32 = 54_323;

/// Starts a server for which every peer has the user id [`STRANGER`].
fn among_strangers() -> World {
    let stranger = Credentials {
        pid: Some(1),
        uid: STRANGER,
        gid: STRANGERS,
        groups: vec![7, CLUB],
    };
    World::on(
        Faulty::default().credentials(move |_| Some(stranger.clone())),
        &queue_of(4),
    )
}

/// Returns the reason in the CLOSE that a refused peer receives before the end of the stream.
fn close_reason(peer: &mut Peer) -> CloseReason {
    match peer.remaining_frames()[..] {
        [ParentFrame::Close(reason)] => reason,
        ref other => panic!("{other:?}"),
    }
}

fn peer_with_hello(path: &Path, hello: Hello) -> Peer {
    let peer = peer(path);
    peer.send_frames(|frames| frames.hello(hello));
    peer
}

#[test]
fn a_peer_of_another_user_is_refused_before_its_hello() {
    let (folder, world) = (Folder::new(), among_strangers());
    let path = folder.file("ctl");
    world.server.share(spec(&path)).unwrap();
    assert_eq!(close_reason(&mut peer(&path)), CloseReason::NotAllowed);
    assert_eq!(refused(&world, 1), [Refused::NotAllowed]);
    let stats = world.server.stats();
    assert_eq!((stats.refused_peers, stats.workers), (1, 0));
    let known =
        world.count(|notice| matches!(notice, Notice::Refused { peer: Some(peer), .. } if peer.uid == STRANGER));
    assert_eq!(known, 1);
}

/// Sends 7 bytes of a HELLO with these descriptors to a server without a HELLO timeout. Returns why the server refuses the peer.
fn refusal_of_unfinished_hello(descriptors: &[std::os::fd::BorrowedFd<'_>]) -> Refused {
    let (folder, world) = (Folder::new(), World::new());
    let path = folder.file("ctl");
    let untimed = ShareSpec {
        hello_timeout: None,
        ..spec(&path)
    };
    world.server.share(untimed).unwrap();
    let mut peer = peer(&path);
    let mut frames = Encoder::new();
    frames.hello(hello());
    peer.send(&frames.bytes()[..7], descriptors);
    assert_eq!(close_reason(&mut peer), CloseReason::Protocol);
    refused(&world, 1).remove(0)
}

#[test]
fn a_pending_peer_that_sends_a_descriptor_with_a_part_of_its_hello_is_refused_at_once() {
    let file = std::fs::File::open("/dev/null").unwrap();
    let expected = Refused::Protocol(ProtocolError::SurplusDescriptors);
    assert_eq!(refusal_of_unfinished_hello(&[file.as_fd()]), expected);
}

#[test]
fn a_pending_peer_that_does_not_finish_its_hello_is_refused_even_without_a_hello_timeout() {
    assert_eq!(
        refusal_of_unfinished_hello(&[]),
        Refused::Protocol(ProtocolError::UnfinishedFrame)
    );
}

#[test]
fn users_and_groups_can_be_allowed_by_id() {
    for allow in [
        Allow {
            uids: vec![1, STRANGER],
            gids: vec![],
        },
        Allow {
            uids: vec![],
            gids: vec![STRANGERS],
        },
        Allow {
            uids: vec![],
            gids: vec![CLUB],
        },
    ] {
        let (folder, world) = (Folder::new(), among_strangers());
        let path = folder.file("ctl");
        world.server.share(ShareSpec { allow, ..spec(&path) }).unwrap();
        joined_peer(&world, &path);
    }
}

#[test]
fn allowing_other_users_and_groups_does_not_allow_this_one() {
    let (folder, world) = (Folder::new(), among_strangers());
    let path = folder.file("ctl");
    // Group ids as user ids, and a user id as a group id.
    let allow = Allow {
        uids: vec![STRANGERS, CLUB],
        gids: vec![STRANGER],
    };
    world.server.share(ShareSpec { allow, ..spec(&path) }).unwrap();
    assert_eq!(close_reason(&mut peer(&path)), CloseReason::NotAllowed);
}

#[test]
fn the_credentials_of_a_peer_come_from_the_kernel() {
    use std::os::unix::net::UnixStream;
    let (one, _other) = UnixStream::pair().unwrap();
    let peer = socketserver_core::sys::Sys::credentials(&socketserver_core::sys::Os, &one.into()).unwrap();
    assert_eq!(peer.uid, nix::unistd::geteuid().as_raw());
    assert_eq!(peer.gid, nix::unistd::getegid().as_raw());
    #[cfg(target_os = "linux")]
    {
        let mut own: Vec<u32> = nix::unistd::getgroups()
            .unwrap()
            .iter()
            .map(|gid| gid.as_raw())
            .collect();
        let mut groups = peer.groups;
        own.sort_unstable();
        groups.sort_unstable();
        assert_eq!(groups, own);
        assert_eq!(peer.pid, Some(std::process::id()));
    }
}

#[test]
fn a_worker_above_the_maximum_is_refused_until_a_seat_is_free_again() {
    let (folder, world) = (Folder::new(), World::new());
    let path = folder.file("ctl");
    let two = ShareSpec {
        max_workers: 2,
        ..spec(&path)
    };
    world.server.share(two).unwrap();
    let (first, _second) = (joined_peer(&world, &path), joined_peer(&world, &path));
    let mut third = peer_with_hello(&path, hello());
    assert_eq!(close_reason(&mut third), CloseReason::Full(2));
    assert_eq!(refused(&world, 1), [Refused::Full { limit: 2 }]);
    let channel = first.channel;
    drop(first);
    world.end_of(channel);
    joined_peer(&world, &path);
}

#[test]
fn one_of_two_simultaneous_hellos_gets_the_last_seat() {
    let (folder, world) = (Folder::new(), World::new());
    let path = folder.file("ctl");
    let one = ShareSpec {
        max_workers: 1,
        ..spec(&path)
    };
    world.server.share(one).unwrap();
    // Peers are accepted in order, so when the last one is refused, both are pending.
    let mut peers = [peer(&path), peer(&path)];
    let last = peer(&path);
    last.send(&[0xff; 64], &[]);
    refused(&world, 1);
    for peer in &peers {
        peer.send_frames(|frames| frames.hello(hello()));
    }
    let answers = peers.each_mut().map(Peer::next_frame);
    let welcomed = answers
        .iter()
        .filter(|answer| matches!(answer, ParentFrame::Welcome(_)))
        .count();
    let refused = answers
        .iter()
        .filter(|answer| matches!(answer, ParentFrame::Close(CloseReason::Full(1))))
        .count();
    assert_eq!((welcomed, refused), (1, 1));
}

#[test]
fn a_refused_peer_can_still_send_and_read_the_reason_afterwards() {
    let (folder, world) = (Folder::new(), among_strangers());
    let path = folder.file("ctl");
    world.server.share(spec(&path)).unwrap();
    let mut peer = peer(&path);
    refused(&world, 1);
    for _ in 0..100 {
        let mut bytes = Encoder::new();
        bytes.hello(hello());
        bytes.credit([Credit { lane: 0, count: 1 }]);
        let sent = ancillary::send(peer.socket.as_fd(), bytes.bytes(), &[]);
        assert_eq!(sent, Ok(bytes.bytes().len()));
    }
    assert_eq!(close_reason(&mut peer), CloseReason::NotAllowed);
}

#[test]
fn a_peer_without_a_complete_hello_is_refused_after_the_timeout() {
    let (folder, world) = (Folder::new(), World::new());
    let path = folder.file("ctl");
    let soon = ShareSpec {
        hello_timeout: Some(SOON),
        ..spec(&path)
    };
    world.server.share(soon).unwrap();
    let mut bytes = Encoder::new();
    bytes.hello(hello());
    for length in [0, 1, 23] {
        let mut peer = peer(&path);
        peer.send(&bytes.bytes()[..length], &[]);
        assert_eq!(close_reason(&mut peer), CloseReason::Late(50), "{length} bytes");
    }
    assert_eq!(refused(&world, 3), vec![Refused::Late { limit: 50 }; 3]);
    // After its HELLO a worker may be silent for any time.
    let mut silent = joined_peer(&world, &path);
    peer(&path).remaining_frames();
    silent.socket.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
    assert_eq!(world.server.stats().workers, 1);
    silent.send_frames(|frames| frames.cancel([Credit { lane: 0, count: 1 }]));
    silent.socket.set_read_timeout(Some(crate::wait::BOUND)).unwrap();
    assert!(matches!(silent.next_frame(), ParentFrame::Cancelled(_)));
}

#[test]
fn any_number_of_silent_peers_does_not_prevent_a_worker_from_joining() {
    let (folder, world) = (Folder::new(), World::new());
    let (path, address) = (folder.file("ctl"), world.listen());
    let without_timeout = ShareSpec {
        hello_timeout: None,
        max_workers: 1,
        ..spec(&path)
    };
    world.server.share(without_timeout).unwrap();
    let mut silent: Vec<Peer> = (0..200).map(|_| peer(&path)).collect();
    let correct = worker(&world, &path);
    let client = crate::world::client(address);
    crate::world::answer(correct.one(), "in time");
    assert_eq!(crate::world::answer_to(client), "in time");
    // The oldest peers were evicted and received a CLOSE.
    let refusals = refused(&world, 200 - 64);
    assert!(refusals.iter().all(|reason| *reason == Refused::Late { limit: 0 }));
    assert_eq!(close_reason(&mut silent[0]), CloseReason::Late(0));
    assert!(refusals.len() <= 200 - 63, "{} were evicted", refusals.len());
}

#[test]
fn refused_peers_do_not_evict_a_peer_that_may_still_join() {
    let folder = Folder::new();
    let path = folder.file("ctl");
    let is_first = AtomicBool::new(true);
    let own = Credentials {
        pid: Some(1),
        uid: nix::unistd::geteuid().as_raw(),
        gid: STRANGERS,
        groups: vec![],
    };
    let stranger = Credentials {
        uid: STRANGER,
        ..own.clone()
    };
    let world = World::on(
        Faulty::default().credentials(move |_| {
            let is_own = is_first.swap(false, Ordering::Relaxed);
            Some(if is_own { own.clone() } else { stranger.clone() })
        }),
        &queue_of(4),
    );
    world.server.share(spec(&path)).unwrap();
    let mut silent = peer(&path);
    let strangers: Vec<Peer> = (0..200).map(|_| peer(&path)).collect();
    assert!(refused(&world, 200).iter().all(|reason| *reason == Refused::NotAllowed));
    silent.send_frames(|frames| frames.hello(hello()));
    assert!(matches!(silent.next_frame(), ParentFrame::Welcome(_)));
    drop(strangers);
}

/// The test below runs this one in a user namespace.
#[cfg(target_os = "linux")]
#[test]
#[ignore = "runs in a user namespace that the next test creates"]
fn in_a_user_namespace_without_a_map_every_peer_is_unknown() {
    let (folder, world) = (Folder::new(), World::new());
    let path = folder.file("ctl");
    world.server.share(spec(&path)).unwrap();
    assert_eq!(close_reason(&mut peer(&path)), CloseReason::NotAllowed);
}

#[cfg(target_os = "linux")]
#[test]
fn the_overflow_user_of_a_user_namespace_is_not_admitted_as_the_servers_own() {
    let unshare = |command: &std::ffi::OsStr, arguments: &[&str]| {
        let mut unshare = std::process::Command::new("unshare");
        unshare.arg("--user").arg(command).args(arguments).output()
    };
    if !unshare("true".as_ref(), &[]).is_ok_and(|tried| tried.status.success()) {
        // User namespaces are forbidden, or unshare(1) is missing.
        return;
    }
    let inner = "share::admission::in_a_user_namespace_without_a_map_every_peer_is_unknown";
    let executable = std::env::current_exe().unwrap();
    let output = unshare(executable.as_os_str(), &["--exact", "--include-ignored", inner]).unwrap();
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && stdout.contains("1 passed"), "{stdout}");
}

#[test]
fn a_peer_without_a_common_version_is_refused() {
    let (folder, world) = (Folder::new(), World::new());
    let path = folder.file("ctl");
    world.server.share(spec(&path)).unwrap();
    for (oldest, newest) in [(VERSION + 1, VERSION + 2), (0, 0), (VERSION + 1, VERSION)] {
        let mut peer = peer_with_hello(
            &path,
            Hello {
                oldest,
                newest,
                ..hello()
            },
        );
        assert_eq!(close_reason(&mut peer), CloseReason::Version(VERSION));
        let error = ProtocolError::Version {
            theirs_min: oldest,
            theirs_max: newest,
            ours: VERSION,
        };
        until_true("it is reported", || refused(&world, 1).contains(&error.clone().into()));
    }
    // A peer whose range includes this version is admitted.
    let mut peer = peer_with_hello(
        &path,
        Hello {
            oldest: 0,
            newest: VERSION + 7,
            ..hello()
        },
    );
    assert!(matches!(peer.next_frame(), ParentFrame::Welcome(VERSION)));
}

#[test]
fn a_peer_whose_first_frame_is_not_a_hello_is_refused() {
    let (folder, world) = (Folder::new(), World::new());
    let path = folder.file("ctl");
    world.server.share(spec(&path)).unwrap();
    let mut credit = Encoder::new();
    credit.credit([Credit { lane: 0, count: 1 }]);
    for bytes in [b"GET / HTTP/1.1\r\n\r\n".as_slice(), credit.bytes(), &[0xff; 4096]] {
        let mut peer = peer(&path);
        peer.send(bytes, &[]);
        assert_eq!(close_reason(&mut peer), CloseReason::Protocol);
    }
    assert!(
        refused(&world, 3)
            .iter()
            .all(|reason| matches!(reason, Refused::Protocol(_)))
    );
    assert_eq!(world.server.stats().workers, 0);
}

#[test]
fn a_peer_that_disconnects_without_a_frame_is_not_reported() {
    let (folder, world) = (Folder::new(), World::new());
    let path = folder.file("ctl");
    world.server.share(spec(&path)).unwrap();
    drop(peer(&path));
    let channel = joined_peer(&world, &path).channel;
    assert_eq!(world.end_of(channel), EndReason::Lost);
    assert_eq!(world.server.stats().refused_peers, 0);
}
