//! Random events against the dispatcher's rules.

use std::time::Duration;

use proptest::prelude::*;
use proptest::sample::Index;
use socketserver_core::PolicyName;
use socketserver_core::parent::dispatcher::message::SendFailure;
use socketserver_core::parent::dispatcher::rules::recall::{
    PROBE_AFTER as TRY_STALLED_AFTER, RECALL_AFTER, SUSPECT_FACTOR as DOUBT,
};
use socketserver_core::parent::dispatcher::rules::requeue::{EXHAUSTED_PAUSE as REST, SEND_PAUSE as HOLD};
use socketserver_core::parent::dispatcher::rules::select::NOT_AGAIN;
use socketserver_core::protocol::limits::WINDOW;
use socketserver_core::protocol::records::{Credit, RefusalReason};

use super::model::{Model, Recall};

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
    let trouble = prop::sample::select(vec![SendFailure::Full, SendFailure::TooManyInFlight]);
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
        1 => index().prop_map(Step::Beat),
        1 => index().prop_map(Step::Lose),
        1 => index().prop_map(Step::Lie),
        1 => index().prop_map(Step::Retire),
        2 => index().prop_map(Step::Writable),
        2 => trouble.prop_map(Step::Fail),
        4 => prop_oneof![8 => 0_u64..30, 2 => Just(100), 1 => Just(1000)].prop_map(|millis| Step::Pass(Duration::from_millis(millis))),
        4 => Just(Step::PassToDeadline),
        1 => Just(Step::Drain),
        1 => Just(Step::CloseListeners),
        1 => Just(Step::Destroy),
    ]
}

fn play(model: &mut Model, step: &Step, next_channel: &mut u32) {
    let channels = model.channels();
    let pick = |index: Index| (!channels.is_empty()).then(|| *index.get(&channels));
    match *step {
        Step::Accept(lane) => model.accept(lane),
        Step::Burst(lane) => (0..WINDOW + 6).for_each(|_| model.accept(lane)),
        Step::Open => {
            if channels.len() < 5 {
                model.open(*next_channel);
                *next_channel += 1;
            }
        }
        Step::Join(channel) => pick(channel).into_iter().for_each(|channel| model.join(channel)),
        Step::Grant(channel, credit) => pick(channel)
            .into_iter()
            .for_each(|channel| model.grant(channel, credit)),
        Step::Cancel(channel, credit) => pick(channel)
            .into_iter()
            .for_each(|channel| model.cancel(channel, credit)),
        Step::Ack(channel, which) => {
            if let Some((channel, id)) = in_flight(model, pick(channel), which) {
                model.ack(channel, id);
            }
        }
        Step::Refuse(channel, which, reason) => {
            if let Some((channel, id)) = in_flight(model, pick(channel), which) {
                model.refuse(channel, id, reason);
            }
        }
        Step::End(channel, leases) => {
            if let Some(channel) = pick(channel) {
                let held = usize::try_from(model.leases(channel)).unwrap();
                model.end(channel, u32::try_from(leases.index(held + 1)).unwrap());
            }
        }
        Step::HandBack(channel, which) => {
            if let Some(channel) = pick(channel) {
                let taken = model.taken(channel);
                if !taken.is_empty() {
                    model.hand_back(channel, *which.get(&taken));
                }
            }
        }
        Step::Beat(channel) => pick(channel).into_iter().for_each(|channel| model.beat(channel)),
        Step::Lose(channel) => pick(channel).into_iter().for_each(|channel| model.lose(channel)),
        Step::Lie(channel) => pick(channel).into_iter().for_each(|channel| model.lie(channel)),
        Step::Retire(channel) => pick(channel).into_iter().for_each(|channel| model.retire(channel)),
        Step::Writable(channel) => pick(channel).into_iter().for_each(|channel| model.writable(channel)),
        Step::Fail(trouble) => model.failures.push(trouble),
        Step::Pass(time) => model.pass(time),
        Step::PassToDeadline => {
            if let Some(deadline) = model.deadline() {
                model.pass(deadline - model.now);
            }
        }
        Step::Drain => model.drain(),
        Step::CloseListeners => model.close_listeners(),
        Step::Destroy => model.destroy(),
    }
}

fn in_flight(model: &Model, channel: Option<u32>, which: Index) -> Option<(u32, u64)> {
    let channel = channel?;
    let ids = model.in_flight(channel);
    (!ids.is_empty()).then(|| (channel, *which.get(&ids)))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn nobody_is_lost_doubled_or_kept(
        steps in prop::collection::vec(step(), 1..150),
        policy in prop::sample::select(vec![PolicyName::LeastBusy, PolicyName::RoundRobin, PolicyName::First]),
        timeout in prop::option::of(20_u64..60),
        recall in prop::sample::select(vec![Recall::Asks, Recall::TakesBack, Recall::TakesBackUnread]),
    ) {
        let mut model = Model::new(policy, timeout.map(Duration::from_millis));
        model.recall = recall;
        let mut next_channel = 1;
        for step in [Step::Open, Step::Open].into_iter().chain(steps) {
            play(&mut model, &step, &mut next_channel);
        }
    }
}

#[test]
fn what_comes_back_takes_its_old_place() {
    let mut model = Model::new(PolicyName::LeastBusy, None);
    for channel in 1..=2 {
        model.open(channel);
        model.join(channel);
    }
    model.grant(1, Credit { lane: 0, count: 3 });
    for _ in 0..6 {
        model.accept(80);
    }
    assert_eq!(model.in_flight(1), [1, 2, 3]);
    model.refuse(1, 2, RefusalReason::Unwanted);
    model.lose(1);
    model.grant(2, Credit { lane: 0, count: 4 });
    assert_eq!(model.in_flight(2), [1, 2, 3, 4]);
}

/// Workers that have joined and asked for so many.
fn workers(credit: &[u32]) -> Model {
    let mut model = Model::new(PolicyName::LeastBusy, None);
    for (channel, &count) in (1..).zip(credit) {
        model.open(channel);
        model.join(channel);
        if count > 0 {
            model.grant(channel, Credit { lane: 0, count });
        }
    }
    model
}

#[test]
fn a_worker_that_was_out_of_descriptors_is_tried_with_one_and_then_with_more() {
    let mut model = workers(&[64]);
    (0..40).for_each(|_| model.accept(80));
    for id in 1..=40 {
        model.refuse(1, id, RefusalReason::NoDescriptor);
    }
    model.grant(1, Credit { lane: 0, count: 40 });
    assert!(model.in_flight(1).is_empty());
    model.pass(REST);
    assert_eq!(model.in_flight(1), [1]);
    model.ack(1, 1);
    assert_eq!(model.in_flight(1), [2, 3]);
    model.ack(1, 2);
    assert_eq!(model.in_flight(1), [3, 4, 5, 6]);
    model.refuse(1, 5, RefusalReason::NoDescriptor);
    model.end(1, 1);
    assert_eq!(model.in_flight(1), [3, 4, 6]);
    for id in [3, 4, 6] {
        model.refuse(1, id, RefusalReason::NoDescriptor);
    }
    model.end(1, 1);
    assert_eq!(model.in_flight(1), [3]);
}

/// Two workers, of which the first has left what it was given until it was taken back, and the second is busy with that.
fn one_stalled() -> Model {
    let mut model = workers(&[9, 0]);
    model.recall = Recall::TakesBack;
    model.accept(80);
    model.pass(RECALL_AFTER);
    model.grant(2, Credit { lane: 0, count: 1 });
    assert_eq!((model.in_flight(1), model.in_flight(2)), (vec![], vec![1]));
    model.ack(2, 1);
    model
}

/// A worker on a scoreboard that shows life and reads nothing, beside one that takes all that is recalled from it. Returns how
/// many were sent to the first before its channel was ended, or before so many tries.
fn sent_to_one_that_reads_nothing(model: &mut Model, tries: u32) -> u64 {
    model.recall = Recall::TakesBackUnread;
    for _ in 0..tries {
        (0..WINDOW).for_each(|_| model.accept(80));
        model.pass(RECALL_AFTER);
        model.grant(2, Credit { lane: 0, count: 64 });
        for id in model.in_flight(2) {
            model.ack(2, id);
        }
        model.cancel(2, Credit { lane: 0, count: 64 });
        model.beat(1);
        model.pass(Duration::from_secs(30));
    }
    model.sent(1)
}

#[test]
fn a_worker_that_lives_and_never_reads_has_no_more_than_its_window_and_a_few_under_way() {
    let mut model = workers(&[1_000_000, 0]);
    let sent = sent_to_one_that_reads_nothing(&mut model, 40);
    assert!(sent <= (WINDOW + 10) as u64, "{sent} lie in its socket");
    assert!(model.is_condemned(1));
}

#[test]
fn a_worker_that_is_stuck_for_long_is_not_ended_for_it() {
    let mut model = workers(&[1_000_000, 0]);
    model.recall = Recall::TakesBackUnread;
    for _ in 0..40 {
        model.accept(80);
        model.pass(RECALL_AFTER);
        model.grant(2, Credit { lane: 0, count: 1 });
        for id in model.in_flight(2) {
            model.ack(2, id);
        }
        model.pass(Duration::from_secs(30));
    }
    assert!(!model.is_condemned(1));
}

#[test]
fn a_worker_that_has_read_what_was_recalled_has_its_whole_window_again_with_its_next_ack() {
    let mut model = workers(&[1_000, 0]);
    model.recall = Recall::TakesBack;
    (0..WINDOW).for_each(|_| model.accept(80));
    model.pass(RECALL_AFTER);
    model.grant(2, Credit { lane: 0, count: 64 });
    assert_eq!((model.in_flight(1).len(), model.in_flight(2).len()), (0, WINDOW));
    for id in model.in_flight(2) {
        model.ack(2, id);
    }
    model.beat(1);
    (0..=WINDOW).for_each(|_| model.accept(80));
    assert_eq!(model.in_flight(1).len(), WINDOW / 2);
    let first = model.in_flight(1)[0];
    model.ack(1, first);
    assert_eq!(model.in_flight(1).len(), WINDOW);
}

#[test]
fn a_stalled_worker_is_given_nothing_while_another_is_only_busy() {
    let mut model = one_stalled();
    model.accept(80);
    model.pass(RECALL_AFTER * 3);
    assert!(model.in_flight(1).is_empty());
    model.grant(2, Credit { lane: 0, count: 1 });
    assert_eq!(model.in_flight(2), [2]);
}

#[test]
fn a_stalled_worker_that_shows_life_is_given_connections_again() {
    let signs: [fn(&mut Model); 2] = [
        |model| model.beat(1),
        |model| model.grant(1, Credit { lane: 7, count: 1 }),
    ];
    for show_life in signs {
        let mut model = one_stalled();
        (0..2).for_each(|_| model.accept(80));
        show_life(&mut model);
        assert_eq!(model.in_flight(1), [2, 3]);
    }
}

#[test]
fn a_worker_that_has_stalled_counts_as_holding_two_more_for_ten_times_as_long() {
    // Of which `one_stalled` has seen the first quarter.
    let stuck = RECALL_AFTER * 4;
    let mut model = one_stalled();
    model.pass(stuck * 3 / 4);
    model.beat(1);
    model.grant(2, Credit { lane: 0, count: 3 });
    (0..2).for_each(|_| model.accept(80));
    assert_eq!(
        (model.in_flight(1), model.in_flight(2)),
        (vec![], vec![2, 3]),
        "though it is idle"
    );
    model.accept(80);
    assert_eq!(model.in_flight(1), [4], "the other holds three, and it counts as two");
    model.ack(1, 4);
    model.accept(80);
    assert_eq!(model.in_flight(2), [2, 3, 5]);
    model.accept(80);
    assert_eq!(model.in_flight(1), [6], "no other has credit");
    model.ack(1, 6);
    model.end(1, 1);
    for id in [2, 3, 5] {
        model.ack(2, id);
    }
    model.end(2, 3);
    model.grant(2, Credit { lane: 0, count: 2 });
    model.pass(stuck * DOUBT * 9 / 10);
    model.accept(80);
    assert_eq!(model.in_flight(2), [7], "an ack is no proof either");
    model.ack(2, 7);
    model.pass(stuck * DOUBT / 10);
    model.accept(80);
    assert_eq!(model.in_flight(1), [8]);
}

/// Two workers in the order of joining.
fn two_in_order(credit: [u32; 2]) -> Model {
    let mut model = Model::new(PolicyName::First, None);
    model.recall = Recall::TakesBack;
    for (channel, count) in (1..).zip(credit) {
        model.open(channel);
        model.join(channel);
        model.grant(channel, Credit { lane: 0, count });
    }
    model
}

#[test]
fn first_fills_the_first_worker_before_the_next_gets_any() {
    let mut model = two_in_order([3, 9]);
    (0..3).for_each(|_| model.accept(80));
    assert_eq!((model.in_flight(1), model.in_flight(2)), (vec![1, 2, 3], vec![]));
    model.accept(80);
    assert_eq!(model.in_flight(2), [4]);
    model.ack(1, 1);
    model.grant(1, Credit { lane: 0, count: 1 });
    model.accept(80);
    assert_eq!(model.in_flight(1), [2, 3, 5], "as soon as it asks again");
}

#[test]
fn first_goes_on_to_the_next_when_the_first_worker_stalls() {
    let mut model = two_in_order([9, 9]);
    model.accept(80);
    model.pass(RECALL_AFTER);
    model.accept(80);
    assert_eq!((model.in_flight(1), model.in_flight(2)), (vec![], vec![1, 2]));
    model.beat(1);
    model.accept(80);
    assert_eq!(model.in_flight(2), [1, 2, 3], "it is doubted for a while");
    (1..=3).for_each(|id| model.ack(2, id));
    model.pass(RECALL_AFTER * DOUBT);
    model.accept(80);
    assert_eq!(model.in_flight(1), [4]);
}

#[test]
fn in_round_robin_a_worker_that_has_stalled_keeps_its_turn() {
    let mut model = Model::new(PolicyName::RoundRobin, None);
    model.recall = Recall::TakesBack;
    for channel in 1..=2 {
        model.open(channel);
        model.join(channel);
    }
    model.grant(1, Credit { lane: 0, count: 9 });
    model.accept(80);
    model.pass(RECALL_AFTER);
    model.grant(2, Credit { lane: 0, count: 9 });
    model.beat(1);
    (0..2).for_each(|_| model.accept(80));
    assert_eq!((model.in_flight(1), model.in_flight(2)), (vec![2], vec![1, 3]));
}

#[test]
fn a_stalled_worker_is_given_what_it_alone_takes() {
    let mut model = one_stalled();
    model.retire(2);
    (0..2).for_each(|_| model.accept(80));
    assert_eq!(model.in_flight(1), [2, 3]);
}

#[test]
fn a_stalled_worker_that_says_nothing_is_tried_with_one_after_a_while() {
    let mut model = one_stalled();
    (0..3).for_each(|_| model.accept(80));
    model.pass(TRY_STALLED_AFTER);
    assert_eq!(model.in_flight(1), [2]);
    model.ack(1, 2);
    assert_eq!(model.in_flight(1), [3, 4]);
}

#[test]
fn what_is_taken_back_goes_before_what_came_later() {
    let mut model = workers(&[2, 0]);
    model.recall = Recall::TakesBack;
    (0..3).for_each(|_| model.accept(80));
    model.pass(RECALL_AFTER);
    model.grant(2, Credit { lane: 0, count: 1 });
    assert_eq!(model.in_flight(2), [1]);
    model.grant(2, Credit { lane: 0, count: 2 });
    assert_eq!(model.in_flight(2), [1, 2, 3]);
}

#[test]
fn what_is_handed_back_goes_to_another_before_what_came_later() {
    let mut model = workers(&[3, 1]);
    (0..5).for_each(|_| model.accept(80));
    assert_eq!((model.in_flight(1), model.in_flight(2)), (vec![1, 3, 4], vec![2]));
    model.ack(1, 1);
    model.hand_back(1, 1);
    model.grant(1, Credit { lane: 0, count: 1 });
    model.grant(2, Credit { lane: 0, count: 1 });
    assert_eq!((model.in_flight(1), model.in_flight(2)), (vec![3, 4, 5], vec![1, 2]));
}

#[test]
fn who_hands_back_is_given_it_again_at_once_if_nobody_else_is_there() {
    let mut model = workers(&[2, 0]);
    model.accept(80);
    model.ack(1, 1);
    // The other has asked for nothing yet.
    model.hand_back(1, 1);
    assert_eq!(model.in_flight(1), [1]);
}

#[test]
fn who_hands_back_is_given_it_again_after_a_while_if_the_others_are_busy() {
    let mut model = workers(&[3, 1]);
    (0..2).for_each(|_| model.accept(80));
    model.ack(1, 1);
    model.ack(2, 2);
    model.hand_back(1, 1);
    model.pass(NOT_AGAIN * 9 / 10);
    assert!(model.in_flight(1).is_empty());
    // What came later need not wait for that.
    model.accept(80);
    assert_eq!(model.in_flight(1), [3]);
    model.pass(NOT_AGAIN / 10);
    assert_eq!(model.in_flight(1), [1, 3]);
}

#[test]
fn who_hands_back_comes_after_another_that_is_ready_too_however_long_it_has_waited() {
    let mut model = workers(&[2, 2]);
    model.accept(80);
    model.ack(1, 1);
    // Nobody can be sent anything for longer than it is withheld from the one.
    model.failures = vec![SendFailure::TooManyInFlight; 11];
    model.hand_back(1, 1);
    (0..11).for_each(|_| model.pass(HOLD));
    assert_eq!((model.in_flight(1), model.in_flight(2)), (vec![], vec![1]));
}

#[test]
fn what_all_hand_back_waits_twice_as_long_each_time() {
    let mut model = workers(&[64, 64]);
    model.accept(80);
    model.ack(1, 1);
    model.hand_back(1, 1);
    assert_eq!(model.in_flight(2), [1], "another at once");
    let mut has = 2;
    for pause in [1, 2, 4, 8, 16, 32, 64, 100, 100] {
        let pause = Duration::from_millis(pause);
        model.ack(has, 1);
        model.hand_back(has, 1);
        assert!(model.in_flight(1).is_empty() && model.in_flight(2).is_empty());
        model.pass(pause * 9 / 10);
        assert!(model.in_flight(1).is_empty() && model.in_flight(2).is_empty());
        model.pass(pause / 10);
        has = if model.in_flight(1) == [1] { 1 } else { 2 };
        assert_eq!(model.in_flight(has), [1]);
    }
}

#[test]
fn what_waits_for_its_pause_keeps_nothing_else_waiting() {
    let mut model = workers(&[64, 64]);
    model.accept(80);
    model.ack(1, 1);
    model.hand_back(1, 1);
    model.ack(2, 1);
    model.hand_back(2, 1);
    model.accept(80);
    assert_eq!(model.in_flight(1), [2], "what came later");
    model.ack(1, 2);
    model.hand_back(1, 2);
    assert_eq!(model.in_flight(2), [2], "and what was handed back for the first time");
}

#[test]
fn what_a_worker_has_handed_back_is_for_anybody_once_that_one_is_gone() {
    let mut model = workers(&[1, 0]);
    model.accept(80);
    model.ack(1, 1);
    model.hand_back(1, 1);
    model.lose(1);
    model.grant(2, Credit { lane: 80, count: 1 });
    assert_eq!(model.in_flight(2), [1]);
}

#[test]
fn what_has_been_handed_back_too_late_is_shed() {
    let mut model = Model::new(PolicyName::LeastBusy, Some(Duration::from_millis(50)));
    for channel in 1..=2 {
        model.open(channel);
        model.join(channel);
        model.grant(channel, Credit { lane: 0, count: 2 });
    }
    model.accept(80);
    model.ack(1, 1);
    model.pass(Duration::from_millis(50));
    model.hand_back(1, 1);
    assert!(model.in_flight(2).is_empty());
}

#[test]
fn a_worker_out_of_descriptors_rests_until_a_lease_ends() {
    let mut model = Model::new(PolicyName::LeastBusy, None);
    model.open(1);
    model.join(1);
    model.grant(1, Credit { lane: 0, count: 10 });
    model.accept(80);
    model.ack(1, 1);
    model.accept(80);
    model.refuse(1, 2, RefusalReason::NoDescriptor);
    model.pass(Duration::from_millis(99));
    assert!(model.in_flight(1).is_empty());
    model.end(1, 1);
    assert_eq!(model.in_flight(1), [2]);
    model.refuse(1, 2, RefusalReason::NoDescriptor);
    model.pass(Duration::from_millis(100));
    assert_eq!(model.in_flight(1), [2]);
}
