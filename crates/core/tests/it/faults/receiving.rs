//! The worker's side against a parent that is slow, has ended, or breaks the protocol.

use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use nix::errno::Errno;
use socketserver_core::channel::pair;
use socketserver_core::channel::reader::{Fill, Reader};
use socketserver_core::protocol::connection_record::{ConnectionHead, Family};
use socketserver_core::protocol::encode::Encoder;
use socketserver_core::protocol::frame::ToParent;
use socketserver_core::protocol::records::{CloseReason, Credit, Refusal, Welcome};
use socketserver_core::protocol::version::VERSION;
use socketserver_core::sys::ancillary;
use socketserver_core::sys::{Os, Sys};
use socketserver_core::worker::{End, Phase};
use socketserver_core::{ProtocolError, Receiver};

use crate::faulty::Faulty;
use crate::wait::{BOUND, until, until_true};

/// The parent's end of a channel without a server.
struct Parent {
    socket: OwnedFd,
    reader: Reader,
}

impl Parent {
    /// Returns the parent's end, a receiver that has granted `credit`, and the number of its wake-ups.
    fn of<S: Sys>(sys: S, credit: u32) -> (Self, Receiver<S>, Arc<AtomicUsize>) {
        let (ours, theirs) = pair().unwrap();
        let wakes = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&wakes);
        let receiver = Receiver::start_on(sys, theirs, move || {
            counter.fetch_add(1, Ordering::Relaxed);
        })
        .unwrap();
        let parent = Self {
            socket: ours,
            reader: Reader::new(),
        };
        assert!(receiver.exchange(0, credit, credit, 0).is_empty());
        parent.send_frames(
            |frames| {
                frames.welcome(Welcome {
                    version: VERSION,
                    channel: 1,
                    scoreboard: false,
                });
            },
            0,
        );
        // The call of `phase` rearms the waker.
        until_true("it wakes", || wakes.load(Ordering::Relaxed) > 0);
        assert_eq!(receiver.phase(), Phase::Open);
        (parent, receiver, wakes)
    }

    /// Waits until the receiver has read all frames so far.
    fn await_read<S: Sys>(&self, receiver: &Receiver<S>) {
        self.send_frames(Encoder::drain, 0);
        until_true("it has been read", || receiver.phase() == Phase::Draining);
    }

    fn send_frames(&self, write: impl FnOnce(&mut Encoder), descriptors: usize) {
        let mut frames = Encoder::new();
        write(&mut frames);
        let file = std::fs::File::open("/dev/null").unwrap();
        let copies = vec![file.as_fd(); descriptors];
        // Fails if an earlier error has ended the channel.
        let _ = ancillary::send(self.socket.as_fd(), frames.bytes(), &copies);
    }

    fn give(&self, ids: impl IntoIterator<Item = u64>, descriptors: usize) {
        self.send_frames(|frames| frames.connection(ids.into_iter().map(head)), descriptors);
    }

    /// Returns all frames received so far, as text.
    fn frames(&mut self) -> Vec<String> {
        let mut words = Vec::new();
        loop {
            while let Some((frame, _)) = self.reader.next(ToParent::decode).unwrap() {
                match frame {
                    ToParent::Hello(_) => words.push("hello".into()),
                    ToParent::Ack(ids) => words.extend(ids.map(|id| format!("ack {}", id.unwrap()))),
                    ToParent::Refuse(refusals) => words.extend(refusals.map(|refusal| {
                        let Refusal { id, reason } = refusal.unwrap();
                        format!("refuse {id} {reason:?}")
                    })),
                    ToParent::Ended(leases) => words.push(format!("ended {leases}")),
                    ToParent::Credit(credit) => words.extend(credit.map(|one| {
                        let Credit { lane, count } = one.unwrap();
                        format!("credit {count} on {lane}")
                    })),
                    ToParent::Cancel(credit) => words.extend(credit.map(|one| {
                        let Credit { lane, count } = one.unwrap();
                        format!("cancel {count} on {lane}")
                    })),
                    ToParent::Leave => words.push("leave".into()),
                    ToParent::Nudge => words.push("nudge".into()),
                    ToParent::Return(id) => words.push(format!("return {id}")),
                    ToParent::EndedIds(ids) => words.extend(ids.map(|id| format!("ended {}", id.unwrap()))),
                }
            }
            if self.reader.fill(&Os, self.socket.as_fd()) != Ok(Fill::Some) {
                return words;
            }
        }
    }

    /// Waits for a frame, and returns all frames received until then.
    fn await_frame(&mut self, word: &str) -> Vec<String> {
        let mut words = Vec::new();
        until(word, || {
            words.extend(self.frames());
            words.iter().any(|frame| frame == word).then_some(())
        });
        words
    }
}

fn head(id: u64) -> ConnectionHead {
    ConnectionHead {
        id,
        slot: socketserver_core::channel::scoreboard::NO_SLOT,
        reissued: false,
        tracked: false,
        waited: 0,
        lane: 0,
        family: Family::Unix,
        remote: None,
        local_port: 0,
    }
}

fn await_end<S: Sys>(receiver: &Receiver<S>) -> End {
    until("the end", || match receiver.phase() {
        Phase::Ended(end) => Some(end),
        _ => None,
    })
}

#[test]
fn an_exchange_sends_all_its_frames_in_one_message() {
    let (mut parent, receiver, _) = Parent::of(Os, 3);
    assert_eq!(parent.frames(), ["hello", "credit 3 on 0"]);
    parent.give(1..=3, 3);
    parent.await_read(&receiver);
    // The worker has room for two of the three, and one lease has ended.
    let taken = receiver.exchange(0, 2, 2, 1);
    assert_eq!(taken.iter().map(|one| one.head.id).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(parent.frames(), ["ack 1", "ack 2", "refuse 3 Unwanted", "ended 1"]);
    assert!(receiver.exchange(0, 0, 0, 0).is_empty());
    assert_eq!(parent.frames(), [""; 0]);
}

#[test]
fn the_waker_is_called_once_until_the_worker_looks() {
    let (mut parent, receiver, wakes) = Parent::of(Os, 10);
    for id in 1..=5 {
        parent.give([id], 1);
    }
    // The reading thread answers the recall, so it has read all earlier frames.
    parent.send_frames(|frames| frames.recall([5]), 0);
    parent.await_frame("refuse 5 Recalled");
    until_true("it wakes", || wakes.load(Ordering::Relaxed) == 2);
    assert_eq!(receiver.exchange(0, 10, 10, 0).len(), 4);
    parent.give([6], 1);
    until_true("it wakes again", || wakes.load(Ordering::Relaxed) == 3);
}

#[test]
fn a_recall_is_answered_without_the_event_loop() {
    let (mut parent, receiver, _) = Parent::of(Os, 4);
    parent.give(1..=3, 3);
    parent.send_frames(|frames| frames.recall([2, 9]), 0);
    let words = parent.await_frame("refuse 2 Recalled");
    assert_eq!(words, ["hello", "credit 4 on 0", "refuse 2 Recalled"]);
    let taken = receiver.exchange(0, 4, 2, 0);
    assert_eq!(taken.iter().map(|one| one.head.id).collect::<Vec<_>>(), [1, 3]);
    // A later recall does not affect acknowledged connections.
    parent.send_frames(|frames| frames.recall([1, 3]), 0);
    parent.await_read(&receiver);
    assert_eq!(parent.frames(), ["ack 1", "ack 3", "credit 1 on 0"]);
}

#[test]
fn a_connection_whose_ack_cannot_be_sent_is_not_taken() {
    let sys = Faulty::default().send(|call| (call == 2).then_some(Err(Errno::EAGAIN)));
    let (mut parent, receiver, _) = Parent::of(sys, 2);
    parent.give(1..=2, 2);
    parent.await_read(&receiver);
    assert!(receiver.exchange(0, 2, 2, 0).is_empty());
    assert_eq!(receiver.exchange(0, 2, 2, 0).len(), 2);
    let words = parent.await_frame("ack 2");
    assert_eq!(words, ["hello", "credit 2 on 0", "ack 1", "ack 2"]);
}

#[test]
fn nothing_is_taken_and_nothing_is_lost_while_the_parent_does_not_read() {
    let full = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let is_full = Arc::clone(&full);
    let sys = Faulty::default().send(move |_| is_full.load(Ordering::Relaxed).then_some(Err(Errno::EAGAIN)));
    let (mut parent, receiver, _) = Parent::of(sys, 2);
    full.store(true, Ordering::Relaxed);
    parent.give(1..=2, 2);
    parent.await_read(&receiver);
    for _ in 0..100 {
        assert!(receiver.exchange(0, 2, 2, 1).is_empty());
    }
    full.store(false, Ordering::Relaxed);
    let taken = receiver.exchange(0, 2, 0, 0);
    assert_eq!(taken.len(), 2);
    assert_eq!(
        parent.await_frame("ended 100"),
        ["hello", "credit 2 on 0", "ack 1", "ack 2", "ended 100"]
    );
}

#[test]
fn the_waker_is_called_when_a_full_socket_has_room() {
    let sys = Faulty::default().send(|call| (call == 2).then_some(Err(Errno::EAGAIN)));
    let (_parent, receiver, wakes) = Parent::of(sys, 2);
    let before = wakes.load(Ordering::Relaxed);
    assert!(receiver.exchange(0, 1, 1, 0).is_empty());
    until_true("it wakes again", || wakes.load(Ordering::Relaxed) > before);
}

#[test]
#[cfg(target_os = "linux")]
fn any_number_of_attempts_on_a_full_socket_starts_one_thread() {
    let (_parent, receiver, _) = Parent::of(Os, 1);
    let threads = || {
        let tasks = std::fs::read_dir("/proc/self/task").unwrap();
        let names = tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok());
        names.filter(|name| name.trim() == "socketserver").count()
    };
    // Other tests have threads of that name too, so the bound is coarse.
    let before = threads();
    for turn in 0..5000 {
        receiver.exchange(0, turn % 2, turn % 2, 1);
    }
    assert!(threads() < before + 500, "{} threads more", threads() - before);
}

#[test]
fn a_refusal_while_the_socket_is_full_is_sent_once() {
    let full = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let is_full = Arc::clone(&full);
    let sys = Faulty::default().send(move |_| is_full.load(Ordering::Relaxed).then_some(Err(Errno::EAGAIN)));
    let (mut parent, receiver, wakes) = Parent::of(sys.clone(), 2);
    full.store(true, Ordering::Relaxed);
    let before = wakes.load(Ordering::Relaxed);
    parent.give(1..=2, 2);
    until_true("they have arrived", || wakes.load(Ordering::Relaxed) > before);
    let sends = sys.sends();
    parent.send_frames(|frames| frames.recall([1]), 0);
    until_true("the refusal is tried", || sys.sends() > sends + 3);
    // Either the reading thread or the exchange sends it, and the other must not repeat it.
    full.store(false, Ordering::Relaxed);
    receiver.exchange(0, 1, 0, 0);
    parent.await_read(&receiver);
    let words = parent.frames();
    let refusals = words.iter().filter(|word| *word == "refuse 1 Recalled").count();
    assert_eq!(refusals, 1, "{words:?}");
}

#[test]
fn a_message_that_was_sent_in_part_is_finished_before_the_next() {
    let sys = Faulty::default().send(|call| (call > 0).then_some(Ok(3)));
    let (mut parent, receiver, _) = Parent::of(sys, 2);
    parent.give(1..=2, 2);
    parent.await_read(&receiver);
    assert_eq!(receiver.exchange(0, 2, 2, 0).len(), 2);
    receiver.leave();
    assert_eq!(
        parent.await_frame("leave"),
        ["hello", "credit 2 on 0", "ack 1", "ack 2", "leave"]
    );
}

#[test]
fn a_leaving_worker_refuses_waiting_and_later_connections() {
    let (mut parent, receiver, _) = Parent::of(Os, 4);
    parent.give(1..=2, 2);
    parent.await_read(&receiver);
    receiver.leave();
    receiver.leave();
    parent.give([3], 1);
    let words = parent.await_frame("refuse 3 Unwanted");
    assert_eq!(
        words,
        [
            "hello",
            "credit 4 on 0",
            "refuse 1 Unwanted",
            "refuse 2 Unwanted",
            "leave",
            "refuse 3 Unwanted"
        ]
    );
    // No further credit, but ended leases are still reported.
    assert!(receiver.exchange(0, 4, 4, 2).is_empty());
    assert_eq!(parent.frames(), ["ended 2"]);
}

#[test]
fn connections_of_a_dead_parent_are_served() {
    let (parent, receiver, _) = Parent::of(Os, 3);
    parent.give(1..=3, 3);
    drop(parent);
    assert_eq!(await_end(&receiver), End::Gone);
    assert_eq!(receiver.exchange(0, 2, 2, 0).len(), 2);
    assert_eq!(receiver.exchange(0, 2, 2, 0).len(), 1);
    assert!(receiver.exchange(0, 2, 2, 0).is_empty());
}

#[test]
fn connections_of_a_closed_channel_are_not_served() {
    for reason in [CloseReason::Ended, CloseReason::Dismissed, CloseReason::Protocol] {
        let (parent, receiver, wakes) = Parent::of(Os, 3);
        parent.give(1..=3, 3);
        parent.send_frames(|frames| frames.close(reason), 0);
        assert_eq!(await_end(&receiver), End::Closed(reason));
        assert!(receiver.exchange(0, 3, 3, 0).is_empty());
        assert!(wakes.load(Ordering::Relaxed) > 0);
    }
}

#[test]
fn a_withdrawn_connection_is_closed_at_once() {
    let (parent, receiver, _) = Parent::of(Os, 1);
    let (given, mut kept) = UnixStream::pair().unwrap();
    let mut frames = Encoder::new();
    frames.connection([head(1)]);
    ancillary::send(parent.socket.as_fd(), frames.bytes(), &[given.as_fd()]).unwrap();
    drop(given);
    parent.await_read(&receiver);
    parent.send_frames(|frames| frames.close(CloseReason::Dismissed), 0);
    kept.set_read_timeout(Some(BOUND)).unwrap();
    assert_eq!(kept.read(&mut [0]).unwrap(), 0);
    assert_eq!(await_end(&receiver), End::Closed(CloseReason::Dismissed));
}

#[test]
fn closing_wakes_the_reading_thread_and_is_final() {
    let (mut parent, receiver, _) = Parent::of(Os, 3);
    parent.give(1..=3, 3);
    receiver.close();
    receiver.close();
    receiver.leave();
    assert_eq!(receiver.phase(), Phase::Ended(End::Left));
    assert!(receiver.exchange(0, 3, 3, 1).is_empty());
    assert_eq!(parent.frames(), ["hello", "credit 3 on 0"]);
}

#[test]
fn a_missing_descriptor_without_truncation_ends_the_channel() {
    let (parent, receiver, _) = Parent::of(Os, 3);
    parent.give(1..=2, 1);
    let error = ProtocolError::MissingDescriptors {
        declared: 2,
        received: 1,
    };
    assert_eq!(await_end(&receiver), End::Protocol(error));
}

#[test]
fn a_surplus_descriptor_ends_the_channel() {
    let (parent, receiver, _) = Parent::of(Os, 3);
    parent.give([1], 2);
    assert_eq!(await_end(&receiver), End::Protocol(ProtocolError::SurplusDescriptors));
    assert!(receiver.exchange(0, 3, 3, 0).is_empty());
}

#[test]
fn a_connection_without_credit_ends_the_channel() {
    let (parent, receiver, _) = Parent::of(Os, 1);
    parent.give([1], 1);
    parent.give([2], 1);
    let error = ProtocolError::TooMuchCredit { credit: 1, limit: 0 };
    assert_eq!(await_end(&receiver), End::Protocol(error));
}

#[test]
fn a_cancelled_without_a_cancel_ends_the_channel() {
    let (parent, receiver, _) = Parent::of(Os, 1);
    parent.send_frames(|frames| frames.cancelled([Credit { lane: 0, count: 1 }]), 0);
    let error = ProtocolError::TooMuchCredit { credit: 1, limit: 0 };
    assert_eq!(await_end(&receiver), End::Protocol(error));
}

#[test]
fn a_welcome_to_another_version_ends_the_channel() {
    let (ours, theirs) = pair().unwrap();
    let receiver = Receiver::start(theirs, || {}).unwrap();
    let parent = Parent {
        socket: ours,
        reader: Reader::new(),
    };
    parent.send_frames(
        |frames| {
            frames.welcome(Welcome {
                version: VERSION + 1,
                channel: 1,
                scoreboard: false,
            });
        },
        0,
    );
    let error = ProtocolError::Version {
        theirs_min: VERSION + 1,
        theirs_max: VERSION + 1,
        ours: VERSION,
    };
    assert_eq!(await_end(&receiver), End::Protocol(error));
}
