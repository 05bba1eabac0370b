//! Applies random events to the dispatcher's rules.

use std::num::NonZeroU32;
use std::time::Duration;

use proptest::prelude::*;
use proptest::sample::Index;
use socketserver_core::PolicyName;
use socketserver_core::parent::dispatcher::message::SendFailure;
use socketserver_core::parent::dispatcher::rules::recall::{RECALL_AFTER, SUSPECT_FACTOR};
use socketserver_core::parent::dispatcher::rules::requeue::{EXHAUSTED_PAUSE, SEND_PAUSE};
use socketserver_core::parent::dispatcher::rules::select::WITHHELD_FOR;
use socketserver_core::parent::dispatcher::rules::unread::PROBE_AFTER;
use socketserver_core::parent::routing::source_counts::SourceCounts;
use socketserver_core::protocol::limits::WINDOW;
use socketserver_core::protocol::records::{Credit, RefusalReason};

use super::simulation::{Recall, Simulation};

#[derive(Debug, Clone)]
enum Step {
    Accept(u16),
    Burst(u16),
    Open,
    Join(Index),
    Grant(Index, Credit),
    Cancel(Index, Credit),
    Ack(Index, Index),
    Refuse(Index, Index, RefusalReason),
    End(Index, Index),
    HandBack(Index, Index),
    ReportEnd(Index, Index),
    Beat(Index),
    Lose(Index),
    Lie(Index),
    Retire(Index),
    Writable(Index),
    Fail(SendFailure),
    Pass(Duration),
    PassToDeadline,
    Drain,
    CloseListeners,
    Destroy,
}

fn lane() -> impl Strategy<Value = u16> {
    prop::sample::select(vec![80, 81])
}

fn credit() -> impl Strategy<Value = Credit> {
    let lane = prop_oneof![2 => Just(0), 1 => lane()];
    let count = prop_oneof![8 => 1_u32..4, 1 => Just(100)];
    (lane, count).prop_map(|(lane, count)| Credit { lane, count })
}

fn step() -> impl Strategy<Value = Step> {
    let reason = prop::sample::select(vec![
        RefusalReason::Recalled,
        RefusalReason::NoDescriptor,
        RefusalReason::Unwanted,
    ]);
    let failure = prop::sample::select(vec![SendFailure::Full, SendFailure::TooManyInFlight]);
    let index = any::<Index>;
    prop_oneof![
        12 => lane().prop_map(Step::Accept),
        1 => lane().prop_map(Step::Burst),
        2 => Just(Step::Open),
        3 => index().prop_map(Step::Join),
        10 => (index(), credit()).prop_map(|(channel, credit)| Step::Grant(channel, credit)),
        3 => (index(), credit()).prop_map(|(channel, credit)| Step::Cancel(channel, credit)),
        8 => (index(), index()).prop_map(|(channel, which)| Step::Ack(channel, which)),
        5 => (index(), index(), reason).prop_map(|(channel, which, reason)| Step::Refuse(channel, which, reason)),
        5 => (index(), index()).prop_map(|(channel, leases)| Step::End(channel, leases)),
        4 => (index(), index()).prop_map(|(channel, which)| Step::HandBack(channel, which)),
        4 => (index(), index()).prop_map(|(channel, which)| Step::ReportEnd(channel, which)),
        1 => index().prop_map(Step::Beat),
        1 => index().prop_map(Step::Lose),
        1 => index().prop_map(Step::Lie),
        1 => index().prop_map(Step::Retire),
        2 => index().prop_map(Step::Writable),
        2 => failure.prop_map(Step::Fail),
        4 => prop_oneof![8 => 0_u64..30, 2 => Just(100), 1 => Just(1000)].prop_map(|millis| Step::Pass(Duration::from_millis(millis))),
        4 => Just(Step::PassToDeadline),
        1 => Just(Step::Drain),
        1 => Just(Step::CloseListeners),
        1 => Just(Step::Destroy),
    ]
}

fn play(simulation: &mut Simulation, step: &Step, next_channel: &mut u32) {
    let channels = simulation.channels();
    let pick = |index: Index| (!channels.is_empty()).then(|| *index.get(&channels));
    match *step {
        Step::Accept(lane) => simulation.accept(lane),
        Step::Burst(lane) => (0..WINDOW + 6).for_each(|_| simulation.accept(lane)),
        Step::Open => {
            if channels.len() < 5 {
                simulation.open(*next_channel);
                *next_channel += 1;
            }
        }
        Step::Join(channel) => pick(channel)
            .into_iter()
            .for_each(|channel| simulation.welcome(channel)),
        Step::Grant(channel, credit) => pick(channel)
            .into_iter()
            .for_each(|channel| simulation.grant(channel, credit)),
        Step::Cancel(channel, credit) => pick(channel)
            .into_iter()
            .for_each(|channel| simulation.cancel(channel, credit)),
        Step::Ack(channel, which) => {
            if let Some((channel, id)) = in_flight(simulation, pick(channel), which) {
                simulation.ack(channel, id);
            }
        }
        Step::Refuse(channel, which, reason) => {
            if let Some((channel, id)) = in_flight(simulation, pick(channel), which) {
                simulation.refuse(channel, id, reason);
            }
        }
        Step::End(channel, leases) => {
            if let Some(channel) = pick(channel) {
                let held = usize::try_from(simulation.leases(channel)).unwrap();
                simulation.end(channel, u32::try_from(leases.index(held + 1)).unwrap());
            }
        }
        Step::HandBack(channel, which) => {
            if let Some(channel) = pick(channel) {
                let taken = simulation.taken(channel);
                if !taken.is_empty() {
                    simulation.hand_back(channel, *which.get(&taken));
                }
            }
        }
        Step::ReportEnd(channel, which) => {
            if let Some(channel) = pick(channel) {
                let unreported = simulation.unreported(channel);
                if !unreported.is_empty() {
                    simulation.report_end(channel, *which.get(&unreported));
                }
            }
        }
        Step::Beat(channel) => pick(channel).into_iter().for_each(|channel| simulation.beat(channel)),
        Step::Lose(channel) => pick(channel).into_iter().for_each(|channel| simulation.lose(channel)),
        Step::Lie(channel) => pick(channel).into_iter().for_each(|channel| simulation.lie(channel)),
        Step::Retire(channel) => pick(channel).into_iter().for_each(|channel| simulation.retire(channel)),
        Step::Writable(channel) => pick(channel)
            .into_iter()
            .for_each(|channel| simulation.writable(channel)),
        Step::Fail(failure) => simulation.failures.push(failure),
        Step::Pass(time) => simulation.pass(time),
        Step::PassToDeadline => simulation.pass_to_deadline(),
        Step::Drain => simulation.drain(),
        Step::CloseListeners => simulation.close_listeners(),
        Step::Destroy => simulation.destroy(),
    }
}

fn in_flight(simulation: &Simulation, channel: Option<u32>, which: Index) -> Option<(u32, u64)> {
    let channel = channel?;
    let ids = simulation.in_flight(channel);
    (!ids.is_empty()).then(|| (channel, *which.get(&ids)))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn the_invariants_hold(
        steps in prop::collection::vec(step(), 1..150),
        policy in prop::sample::select(vec![PolicyName::LeastBusy, PolicyName::RoundRobin, PolicyName::First]),
        timeout in prop::option::of(20_u64..60),
        recall in prop::sample::select(vec![Recall::Asks, Recall::TakesBack, Recall::TakesBackUnread]),
        max_per_source in prop::option::of(1_u32..40),
    ) {
        let mut simulation = Simulation::new(policy, timeout.map(Duration::from_millis));
        simulation.recall = recall;
        simulation.sources = max_per_source.and_then(NonZeroU32::new).map(SourceCounts::new);
        let mut next_channel = 1;
        for step in [Step::Open, Step::Open].into_iter().chain(steps) {
            play(&mut simulation, &step, &mut next_channel);
        }
        for channel in simulation.channels() {
            simulation.lose(channel);
        }
        simulation.destroy();
        prop_assert!(simulation.sources.is_none_or(|sources| sources.sources() == 0));
    }
}

#[test]
fn a_requeued_connection_takes_its_old_position() {
    let mut simulation = Simulation::new(PolicyName::LeastBusy, None);
    for channel in 1..=2 {
        simulation.open(channel);
        simulation.welcome(channel);
    }
    simulation.grant(1, Credit { lane: 0, count: 3 });
    for _ in 0..6 {
        simulation.accept(80);
    }
    assert_eq!(simulation.in_flight(1), [1, 2, 3]);
    simulation.refuse(1, 2, RefusalReason::Unwanted);
    simulation.lose(1);
    simulation.grant(2, Credit { lane: 0, count: 4 });
    assert_eq!(simulation.in_flight(2), [1, 2, 3, 4]);
}

/// Welcomed workers with this credit.
fn workers(credit: &[u32]) -> Simulation {
    let mut simulation = Simulation::new(PolicyName::LeastBusy, None);
    for (channel, &count) in (1..).zip(credit) {
        simulation.open(channel);
        simulation.welcome(channel);
        if count > 0 {
            simulation.grant(channel, Credit { lane: 0, count });
        }
    }
    simulation
}

#[test]
fn a_worker_that_was_out_of_descriptors_gets_one_connection_and_then_more() {
    let mut simulation = workers(&[64]);
    (0..40).for_each(|_| simulation.accept(80));
    for id in 1..=40 {
        simulation.refuse(1, id, RefusalReason::NoDescriptor);
    }
    simulation.grant(1, Credit { lane: 0, count: 40 });
    assert!(simulation.in_flight(1).is_empty());
    simulation.pass(EXHAUSTED_PAUSE);
    assert_eq!(simulation.in_flight(1), [1]);
    simulation.ack(1, 1);
    assert_eq!(simulation.in_flight(1), [2, 3]);
    simulation.ack(1, 2);
    assert_eq!(simulation.in_flight(1), [3, 4, 5, 6]);
    simulation.refuse(1, 5, RefusalReason::NoDescriptor);
    simulation.end(1, 1);
    assert_eq!(simulation.in_flight(1), [3, 4, 6]);
    for id in [3, 4, 6] {
        simulation.refuse(1, id, RefusalReason::NoDescriptor);
    }
    simulation.end(1, 1);
    assert_eq!(simulation.in_flight(1), [3]);
}

/// Two workers. The first one left a connection untaken, which was recalled and now keeps the second one busy.
fn one_stalled() -> Simulation {
    let mut simulation = workers(&[9, 0]);
    simulation.recall = Recall::TakesBack;
    simulation.accept(80);
    simulation.pass(RECALL_AFTER);
    simulation.grant(2, Credit { lane: 0, count: 1 });
    assert_eq!((simulation.in_flight(1), simulation.in_flight(2)), (vec![], vec![1]));
    simulation.ack(2, 1);
    simulation
}

/// A worker on a scoreboard that shows life and reads nothing, beside one that takes all that is recalled from it. Returns how
/// many were sent to the first before its channel was ended, or before so many tries.
fn handoffs_to_a_worker_that_reads_nothing(simulation: &mut Simulation, tries: u32) -> u64 {
    simulation.recall = Recall::TakesBackUnread;
    for _ in 0..tries {
        (0..WINDOW).for_each(|_| simulation.accept(80));
        simulation.pass(RECALL_AFTER);
        simulation.grant(2, Credit { lane: 0, count: 64 });
        for id in simulation.in_flight(2) {
            simulation.ack(2, id);
        }
        simulation.cancel(2, Credit { lane: 0, count: 64 });
        simulation.beat(1);
        simulation.pass(Duration::from_secs(30));
    }
    simulation.handoffs(1)
}

#[test]
fn a_worker_that_counts_turns_and_never_reads_has_its_window_and_a_few_probes_in_flight() {
    let mut simulation = workers(&[1_000_000, 0]);
    let sent = handoffs_to_a_worker_that_reads_nothing(&mut simulation, 40);
    assert!(sent <= (WINDOW + 10) as u64, "{sent} lie in its socket");
    assert!(simulation.is_closing(1));
}

#[test]
fn the_channel_of_a_worker_that_is_blocked_for_long_stays_open() {
    let mut simulation = workers(&[1_000_000, 0]);
    simulation.recall = Recall::TakesBackUnread;
    for _ in 0..40 {
        simulation.accept(80);
        simulation.pass(RECALL_AFTER);
        simulation.grant(2, Credit { lane: 0, count: 1 });
        for id in simulation.in_flight(2) {
            simulation.ack(2, id);
        }
        simulation.pass(Duration::from_secs(30));
    }
    assert!(!simulation.is_closing(1));
}

#[test]
fn a_worker_that_acks_without_reading_gets_64_connections_and_then_loses_its_channel() {
    let mut simulation = workers(&[1_000_000]);
    simulation.stop_reading(1);
    (0..2 * WINDOW).for_each(|_| simulation.accept(80));
    while let Some(&id) = simulation.in_flight(1).first() {
        simulation.ack(1, id);
    }
    assert_eq!(simulation.handoffs(1), WINDOW as u64);
    assert!(simulation.is_closing(1));
}

#[test]
fn a_worker_that_reads_gets_any_number_of_connections() {
    let mut simulation = workers(&[1_000_000]);
    for _ in 0..10 * WINDOW {
        simulation.accept(80);
        let id = simulation.in_flight(1)[0];
        simulation.ack(1, id);
    }
    assert_eq!(simulation.handoffs(1), 10 * WINDOW as u64);
}

#[test]
fn a_worker_that_has_read_recalled_connections_has_its_whole_window_after_the_next_ack() {
    let mut simulation = workers(&[1_000, 0]);
    simulation.recall = Recall::TakesBack;
    (0..WINDOW).for_each(|_| simulation.accept(80));
    simulation.pass(RECALL_AFTER);
    simulation.grant(2, Credit { lane: 0, count: 64 });
    assert_eq!(
        (simulation.in_flight(1).len(), simulation.in_flight(2).len()),
        (0, WINDOW)
    );
    for id in simulation.in_flight(2) {
        simulation.ack(2, id);
    }
    simulation.beat(1);
    (0..=WINDOW).for_each(|_| simulation.accept(80));
    assert_eq!(simulation.in_flight(1).len(), WINDOW / 2);
    let first = simulation.in_flight(1)[0];
    simulation.ack(1, first);
    assert_eq!(simulation.in_flight(1).len(), WINDOW);
}

#[test]
fn an_untaken_connection_is_recalled_as_soon_as_the_pause_of_another_worker_ends() {
    let mut simulation = workers(&[0, 1]);
    simulation.recall = Recall::TakesBack;
    simulation.accept(80);
    simulation.refuse(2, 1, RefusalReason::NoDescriptor);
    simulation.grant(1, Credit { lane: 0, count: 1 });
    simulation.grant(2, Credit { lane: 0, count: 1 });
    assert_eq!((simulation.in_flight(1), simulation.in_flight(2)), (vec![1], vec![]));
    simulation.pass(EXHAUSTED_PAUSE);
    assert_eq!((simulation.in_flight(1), simulation.in_flight(2)), (vec![], vec![1]));
}

#[test]
fn a_stalled_worker_gets_nothing_while_another_worker_is_only_busy() {
    let mut simulation = one_stalled();
    simulation.accept(80);
    simulation.pass(RECALL_AFTER * 3);
    assert!(simulation.in_flight(1).is_empty());
    simulation.grant(2, Credit { lane: 0, count: 1 });
    assert_eq!(simulation.in_flight(2), [2]);
}

#[test]
fn a_stalled_worker_whose_event_loop_turns_gets_connections_again() {
    let signs: [fn(&mut Simulation); 2] = [
        |simulation| simulation.beat(1),
        |simulation| simulation.grant(1, Credit { lane: 7, count: 1 }),
    ];
    for turn in signs {
        let mut simulation = one_stalled();
        (0..2).for_each(|_| simulation.accept(80));
        turn(&mut simulation);
        assert_eq!(simulation.in_flight(1), [2, 3]);
    }
}

#[test]
fn a_suspect_counts_as_two_leases_more_for_ten_times_the_stall() {
    // Of which `one_stalled` has seen the first quarter.
    let blocked = RECALL_AFTER * 4;
    let mut simulation = one_stalled();
    simulation.pass(blocked * 3 / 4);
    simulation.beat(1);
    simulation.grant(2, Credit { lane: 0, count: 3 });
    (0..2).for_each(|_| simulation.accept(80));
    assert_eq!(
        (simulation.in_flight(1), simulation.in_flight(2)),
        (vec![], vec![2, 3]),
        "though it is idle"
    );
    simulation.accept(80);
    assert_eq!(
        simulation.in_flight(1),
        [4],
        "the other holds three, and it counts as two"
    );
    simulation.ack(1, 4);
    simulation.accept(80);
    assert_eq!(simulation.in_flight(2), [2, 3, 5]);
    simulation.accept(80);
    assert_eq!(simulation.in_flight(1), [6], "no other has credit");
    simulation.ack(1, 6);
    simulation.end(1, 1);
    for id in [2, 3, 5] {
        simulation.ack(2, id);
    }
    simulation.end(2, 3);
    simulation.grant(2, Credit { lane: 0, count: 2 });
    simulation.pass(blocked * SUSPECT_FACTOR * 9 / 10);
    simulation.accept(80);
    assert_eq!(simulation.in_flight(2), [7], "an ack is no proof either");
    simulation.ack(2, 7);
    simulation.pass(blocked * SUSPECT_FACTOR / 10);
    simulation.accept(80);
    assert_eq!(simulation.in_flight(1), [8]);
}

/// Two workers in the order of joining.
fn two_in_order(credit: [u32; 2]) -> Simulation {
    let mut simulation = Simulation::new(PolicyName::First, None);
    simulation.recall = Recall::TakesBack;
    for (channel, count) in (1..).zip(credit) {
        simulation.open(channel);
        simulation.welcome(channel);
        simulation.grant(channel, Credit { lane: 0, count });
    }
    simulation
}

#[test]
fn first_fills_the_first_worker_before_the_next_worker_gets_any() {
    let mut simulation = two_in_order([3, 9]);
    (0..3).for_each(|_| simulation.accept(80));
    assert_eq!(
        (simulation.in_flight(1), simulation.in_flight(2)),
        (vec![1, 2, 3], vec![])
    );
    simulation.accept(80);
    assert_eq!(simulation.in_flight(2), [4]);
    simulation.ack(1, 1);
    simulation.grant(1, Credit { lane: 0, count: 1 });
    simulation.accept(80);
    assert_eq!(simulation.in_flight(1), [2, 3, 5], "as soon as it asks again");
}

#[test]
fn first_goes_on_to_the_next_when_the_first_worker_stalls() {
    let mut simulation = two_in_order([9, 9]);
    simulation.accept(80);
    simulation.pass(RECALL_AFTER);
    simulation.accept(80);
    assert_eq!((simulation.in_flight(1), simulation.in_flight(2)), (vec![], vec![1, 2]));
    simulation.beat(1);
    simulation.accept(80);
    assert_eq!(
        simulation.in_flight(2),
        [1, 2, 3],
        "the first worker is a suspect for a while"
    );
    (1..=3).for_each(|id| simulation.ack(2, id));
    simulation.pass(RECALL_AFTER * SUSPECT_FACTOR);
    simulation.accept(80);
    assert_eq!(simulation.in_flight(1), [4]);
}

#[test]
fn in_round_robin_a_worker_that_has_stalled_keeps_its_turn() {
    let mut simulation = Simulation::new(PolicyName::RoundRobin, None);
    simulation.recall = Recall::TakesBack;
    for channel in 1..=2 {
        simulation.open(channel);
        simulation.welcome(channel);
    }
    simulation.grant(1, Credit { lane: 0, count: 9 });
    simulation.accept(80);
    simulation.pass(RECALL_AFTER);
    simulation.grant(2, Credit { lane: 0, count: 9 });
    simulation.beat(1);
    (0..2).for_each(|_| simulation.accept(80));
    assert_eq!(
        (simulation.in_flight(1), simulation.in_flight(2)),
        (vec![2], vec![1, 3])
    );
}

#[test]
fn a_stalled_worker_gets_connections_that_no_other_worker_serves() {
    let mut simulation = one_stalled();
    simulation.retire(2);
    (0..2).for_each(|_| simulation.accept(80));
    assert_eq!(simulation.in_flight(1), [2, 3]);
}

#[test]
fn a_stalled_worker_gets_one_probe_after_a_pause() {
    let mut simulation = one_stalled();
    (0..3).for_each(|_| simulation.accept(80));
    simulation.pass(PROBE_AFTER);
    assert_eq!(simulation.in_flight(1), [2]);
    simulation.ack(1, 2);
    assert_eq!(simulation.in_flight(1), [3, 4]);
}

#[test]
fn a_recalled_connection_goes_before_later_connections() {
    let mut simulation = workers(&[2, 0]);
    simulation.recall = Recall::TakesBack;
    (0..3).for_each(|_| simulation.accept(80));
    simulation.pass(RECALL_AFTER);
    simulation.grant(2, Credit { lane: 0, count: 1 });
    assert_eq!(simulation.in_flight(2), [1]);
    simulation.grant(2, Credit { lane: 0, count: 2 });
    assert_eq!(simulation.in_flight(2), [1, 2, 3]);
}

#[test]
fn a_handed_back_connection_goes_to_another_worker_before_later_connections() {
    let mut simulation = workers(&[3, 1]);
    (0..5).for_each(|_| simulation.accept(80));
    assert_eq!(
        (simulation.in_flight(1), simulation.in_flight(2)),
        (vec![1, 3, 4], vec![2])
    );
    simulation.ack(1, 1);
    simulation.hand_back(1, 1);
    simulation.grant(1, Credit { lane: 0, count: 1 });
    simulation.grant(2, Credit { lane: 0, count: 1 });
    assert_eq!(
        (simulation.in_flight(1), simulation.in_flight(2)),
        (vec![3, 4, 5], vec![1, 2])
    );
}

#[test]
fn the_only_worker_gets_a_connection_again_at_once_that_it_handed_back() {
    let mut simulation = workers(&[2, 0]);
    simulation.accept(80);
    simulation.ack(1, 1);
    // The other worker has granted no credit yet.
    simulation.hand_back(1, 1);
    assert_eq!(simulation.in_flight(1), [1]);
}

#[test]
fn a_worker_gets_a_connection_again_after_a_pause_while_the_others_are_busy() {
    let mut simulation = workers(&[3, 1]);
    (0..2).for_each(|_| simulation.accept(80));
    simulation.ack(1, 1);
    simulation.ack(2, 2);
    simulation.hand_back(1, 1);
    simulation.pass(WITHHELD_FOR * 9 / 10);
    assert!(simulation.in_flight(1).is_empty());
    // A later connection need not wait for that.
    simulation.accept(80);
    assert_eq!(simulation.in_flight(1), [3]);
    simulation.pass(WITHHELD_FOR / 10);
    assert_eq!(simulation.in_flight(1), [1, 3]);
}

#[test]
fn a_ready_worker_precedes_the_worker_that_handed_a_connection_back() {
    let mut simulation = workers(&[2, 2]);
    simulation.accept(80);
    simulation.ack(1, 1);
    // No worker can be sent a connection for longer than the connection is withheld from its worker.
    simulation.failures = vec![SendFailure::TooManyInFlight; 11];
    simulation.hand_back(1, 1);
    (0..11).for_each(|_| simulation.pass(SEND_PAUSE));
    assert_eq!((simulation.in_flight(1), simulation.in_flight(2)), (vec![], vec![1]));
}

#[test]
fn a_connection_that_all_workers_hand_back_waits_twice_as_long_each_time() {
    let mut simulation = workers(&[64, 64]);
    simulation.accept(80);
    simulation.ack(1, 1);
    simulation.hand_back(1, 1);
    assert_eq!(simulation.in_flight(2), [1], "another at once");
    let mut has = 2;
    for pause in [1, 2, 4, 8, 16, 32, 64, 100, 100] {
        let pause = Duration::from_millis(pause);
        simulation.ack(has, 1);
        simulation.hand_back(has, 1);
        assert!(simulation.in_flight(1).is_empty() && simulation.in_flight(2).is_empty());
        simulation.pass(pause * 9 / 10);
        assert!(simulation.in_flight(1).is_empty() && simulation.in_flight(2).is_empty());
        simulation.pass(pause / 10);
        has = if simulation.in_flight(1) == [1] { 1 } else { 2 };
        assert_eq!(simulation.in_flight(has), [1]);
    }
}

#[test]
fn a_pausing_connection_delays_no_other_connection() {
    let mut simulation = workers(&[64, 64]);
    simulation.accept(80);
    simulation.ack(1, 1);
    simulation.hand_back(1, 1);
    simulation.ack(2, 1);
    simulation.hand_back(2, 1);
    simulation.accept(80);
    assert_eq!(simulation.in_flight(1), [2], "the later connection");
    simulation.ack(1, 2);
    simulation.hand_back(1, 2);
    assert_eq!(
        simulation.in_flight(2),
        [2],
        "and what was handed back for the first time"
    );
}

#[test]
fn a_handed_back_connection_is_for_any_worker_once_the_channel_has_ended() {
    let mut simulation = workers(&[1, 0]);
    simulation.accept(80);
    simulation.ack(1, 1);
    simulation.hand_back(1, 1);
    simulation.lose(1);
    simulation.grant(2, Credit { lane: 80, count: 1 });
    assert_eq!(simulation.in_flight(2), [1]);
}

#[test]
fn a_connection_that_is_handed_back_after_the_queue_timeout_is_shed() {
    let mut simulation = Simulation::new(PolicyName::LeastBusy, Some(Duration::from_millis(50)));
    for channel in 1..=2 {
        simulation.open(channel);
        simulation.welcome(channel);
        simulation.grant(channel, Credit { lane: 0, count: 2 });
    }
    simulation.accept(80);
    simulation.ack(1, 1);
    simulation.pass(Duration::from_millis(50));
    simulation.hand_back(1, 1);
    assert!(simulation.in_flight(2).is_empty());
}

#[test]
fn a_worker_out_of_descriptors_gets_nothing_until_a_lease_ends() {
    let mut simulation = Simulation::new(PolicyName::LeastBusy, None);
    simulation.open(1);
    simulation.welcome(1);
    simulation.grant(1, Credit { lane: 0, count: 10 });
    simulation.accept(80);
    simulation.ack(1, 1);
    simulation.accept(80);
    simulation.refuse(1, 2, RefusalReason::NoDescriptor);
    simulation.pass(Duration::from_millis(99));
    assert!(simulation.in_flight(1).is_empty());
    simulation.end(1, 1);
    assert_eq!(simulation.in_flight(1), [2]);
    simulation.refuse(1, 2, RefusalReason::NoDescriptor);
    simulation.pass(Duration::from_millis(100));
    assert_eq!(simulation.in_flight(1), [2]);
}
