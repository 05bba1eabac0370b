//! The dispatcher's rules told a second time, as plainly as they can be: who waits, who holds what, who may be given
//! more. Every action of the real ones is checked against it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use socketserver_core::ids::ChannelId;
use socketserver_core::parent::dispatcher::message::{Action, Event, SendFailure, WorkerEvent};
use socketserver_core::parent::dispatcher::rules::State;
use socketserver_core::parent::dispatcher::rules::recall::{PROBE_AFTER as TRY_STALLED_AFTER, RECALL_AFTER};
use socketserver_core::parent::dispatcher::rules::requeue::{EXHAUSTED_PAUSE as REST, SEND_PAUSE as HOLD};
use socketserver_core::parent::dispatcher::rules::select::NOT_AGAIN;
use socketserver_core::parent::dispatcher::rules::timeouts::ANSWER_WITHIN;
use socketserver_core::parent::dispatcher::rules::unread::LONGEST_PROBE_PAUSE as LONGEST_TRY;
use socketserver_core::parent::notice::ShedReason;
use socketserver_core::parent::queue::{HandBack, Waiting};
use socketserver_core::protocol::limits::{MAX_IGNORED_ROUNDS, WINDOW};
use socketserver_core::protocol::records::{CloseReason, Credit, Refusal, RefusalReason};
use socketserver_core::{Config, PolicyName};

/// What stands in for a connection. Its token is dropped with it.
#[derive(Debug)]
pub struct Conn {
    id: u64,
    lane: u16,
    since: Instant,
    waits: bool,
    hand_back: Option<HandBack>,
    times_given: u32,
    _token: Arc<()>,
}

impl Waiting for Conn {
    fn id(&self) -> u64 {
        self.id
    }

    fn lane(&self) -> u16 {
        self.lane
    }

    fn since(&self) -> Instant {
        self.since
    }

    fn leave_queue(&mut self) {
        self.waits = false;
    }

    fn mark_reissued(&mut self) {}

    type Metadata = (u64, u16, Instant, u32);

    fn metadata(&self) -> Self::Metadata {
        (self.id, self.lane, self.since, self.times_given)
    }

    fn hand_back(&self) -> Option<HandBack> {
        self.hand_back
    }

    fn handed_back(&mut self, by: ChannelId, at: Instant) {
        self.times_given += 1;
        let times = self.times_given;
        self.hand_back = Some(HandBack { channel: by, at, times });
    }
}

/// What is known of a connection: its lane, when it was accepted, and who has handed it back.
#[derive(Debug, Clone, Copy)]
struct Known {
    lane: u16,
    since: Instant,
    hand_back: Option<HandBack>,
}

impl Known {
    /// Connections of one line are served in their order.
    fn line(&self) -> (u16, Option<(ChannelId, Duration)>) {
        let hand_back = self.hand_back;
        (
            self.lane,
            hand_back.map(|hand_back| (hand_back.channel, hand_back.ready_at() - hand_back.at)),
        )
    }
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    #[default]
    Joining,
    Open,
    Retired,
    Condemned,
}

#[derive(Debug, Default)]
struct Channel {
    phase: Phase,
    credit: BTreeMap<u16, u32>,
    in_flight: BTreeMap<u64, Sent>,
    /// How many may be, if not as many as the window.
    room: Option<usize>,
    leases: u32,
    /// What it has taken and may hand back.
    taken: BTreeMap<u64, Known>,
    blocked: bool,
    rests_until: Option<Instant>,
    /// Told of once an episode.
    exhausted_at: Option<Instant>,
    /// And tried with one after this time.
    stalled_until: Option<Instant>,
    /// Handoffs so far.
    sent: u64,
    /// The handoffs that were taken back and that nothing shows to have been read.
    unread: BTreeSet<u64>,
    /// Rounds of recalls without an ack, when the last began, and those in which the worker lived.
    rounds: u32,
    round_at: Option<Instant>,
    ignored: u32,
    has_lived: bool,
    try_at: Option<Instant>,
}

impl Channel {
    /// Whether what is under way and unread fills the window, which a try with one connection ignores.
    fn is_clogged(&self) -> bool {
        !self.unread.is_empty() && self.in_flight.len() + self.unread.len() >= self.room.unwrap_or(WINDOW)
    }

    /// An ack or refusal of a handoff shows that those before have been read.
    fn answered(&mut self, number: u64) {
        self.unread.retain(|one| *one > number);
    }

    fn lives(&mut self) {
        self.has_lived |= !self.unread.is_empty();
        if self.unread.is_empty() || self.rounds < 2 {
            self.stalled_until = None;
        }
    }

    fn end_rounds(&mut self) {
        (self.rounds, self.ignored, self.has_lived) = (0, 0, false);
    }

    /// By when it has to have answered all that it has been asked for.
    fn answer_due(&self) -> Option<Instant> {
        let asked = self.in_flight.values().filter_map(|sent| sent.recalled);
        let due = asked.min().map(|at| at + ANSWER_WITHIN);
        due.filter(|_| self.phase != Phase::Condemned)
    }
}

#[derive(Debug, Clone, Copy)]
struct Sent {
    known: Known,
    at: Instant,
    paid_by: u16,
    recalled: Option<Instant>,
    number: u64,
}

/// How connections are recalled.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Recall {
    /// By asking the worker, who may answer.
    Asks,
    /// On the scoreboard, at once.
    TakesBack,
    /// The same, with workers that show life and do not read their channel.
    TakesBackUnread,
}

pub struct Model {
    state: State<Conn>,
    pub now: Instant,
    timeout: Option<Duration>,
    token: Arc<()>,
    next_id: u64,
    waiting: BTreeMap<u64, Known>,
    channels: BTreeMap<ChannelId, Channel>,
    held_until: Option<Instant>,
    drain: bool,
    listeners_closed: bool,
    drained: bool,
    gone: BTreeSet<u64>,
    pub recall: Recall,
    /// What happens to the next handoffs: not sent, for this reason.
    pub failures: Vec<SendFailure>,
}

impl Model {
    pub fn new(policy: PolicyName, timeout: Option<Duration>) -> Self {
        Self {
            state: State::new(&Config::new(1024, timeout, policy).unwrap()),
            now: Instant::now(),
            timeout,
            token: Arc::new(()),
            next_id: 1,
            waiting: BTreeMap::new(),
            channels: BTreeMap::new(),
            held_until: None,
            drain: false,
            listeners_closed: false,
            drained: false,
            gone: BTreeSet::new(),
            recall: Recall::Asks,
            failures: Vec::new(),
        }
    }

    pub fn channels(&self) -> Vec<ChannelId> {
        self.channels.keys().copied().collect()
    }

    pub fn in_flight(&self, channel: ChannelId) -> Vec<u64> {
        self.channels[&channel].in_flight.keys().copied().collect()
    }

    pub fn leases(&self, channel: ChannelId) -> u32 {
        self.channels[&channel].leases
    }

    /// How many it has been sent.
    pub fn sent(&self, channel: ChannelId) -> u64 {
        self.channels[&channel].sent
    }

    pub fn is_condemned(&self, channel: ChannelId) -> bool {
        self.channels[&channel].phase == Phase::Condemned
    }

    /// What it may hand back.
    pub fn taken(&self, channel: ChannelId) -> Vec<u64> {
        let one = &self.channels[&channel];
        let taken = one.taken.keys().filter(|_| one.leases > 0);
        taken.copied().collect()
    }

    pub fn deadline(&self) -> Option<Instant> {
        self.state.deadline(self.now)
    }

    pub fn accept(&mut self, lane: u16) {
        if self.listeners_closed {
            return;
        }
        let id = self.next_id;
        self.next_id += 1;
        let known = Known {
            lane,
            since: self.now,
            hand_back: None,
        };
        self.waiting.insert(id, known);
        let connection = Conn {
            id,
            lane,
            since: self.now,
            waits: true,
            hand_back: None,
            times_given: 0,
            _token: Arc::clone(&self.token),
        };
        self.tell(Event::Accepted(connection));
    }

    pub fn open(&mut self, channel: ChannelId) {
        self.channels.insert(channel, Channel::default());
        self.state.open(channel, ());
        self.perform();
    }

    pub fn join(&mut self, channel: ChannelId) {
        let one = self.channel(channel);
        if one.phase == Phase::Joining {
            one.phase = Phase::Open;
        }
        self.tell(Event::Welcomed(channel));
    }

    pub fn grant(&mut self, channel: ChannelId, credit: Credit) {
        let one = self.channel(channel);
        if one.phase == Phase::Open {
            *one.credit.entry(credit.lane).or_default() += credit.count;
            one.lives();
        }
        self.tell_life(channel, WorkerEvent::Credit(credit));
    }

    pub fn cancel(&mut self, channel: ChannelId, credit: Credit) {
        let held = self.channel(channel).credit.get_mut(&credit.lane);
        let expected = held.map_or(0, |held| {
            let expected = credit.count.min(*held);
            *held -= expected;
            expected
        });
        let actions = self.apply_worker(channel, WorkerEvent::Cancel(credit));
        let [Action::Cancelled(to, answer)] = actions[..] else {
            panic!("{actions:?} answers a cancel");
        };
        assert_eq!((to, answer.lane, answer.count), (channel, credit.lane, expected));
        self.perform();
    }

    pub fn ack(&mut self, channel: ChannelId, id: u64) {
        let one = self.channel(channel);
        let sent = one.in_flight.remove(&id).unwrap();
        one.answered(sent.number);
        one.end_rounds();
        one.leases += 1;
        one.room = one.room.map(|room| 2 * room).filter(|room| *room < WINDOW);
        one.taken.insert(id, sent.known);
        one.stalled_until = None;
        if !one.blocked {
            one.rests_until = None;
        }
        self.held_until = None;
        let mut actions = self.apply_worker(channel, WorkerEvent::Acked(id));
        let Some(Action::Release(_, connection, waited)) = actions.pop() else {
            panic!("an ack releases nothing");
        };
        assert_eq!((connection.id, waited), (id, sent.at - sent.known.since));
        assert!(!connection.waits);
        self.gone.insert(id);
        drop((connection, actions));
        self.perform();
    }

    pub fn refuse(&mut self, channel: ChannelId, id: u64, reason: RefusalReason) {
        let now = self.now;
        let one = self.channel(channel);
        let sent = one.in_flight.remove(&id).unwrap();
        one.answered(sent.number);
        let exhausted = reason == RefusalReason::NoDescriptor;
        let again = one
            .exhausted_at
            .is_some_and(|last| now - last <= Duration::from_secs(10));
        let news = exhausted && !again;
        if exhausted {
            one.exhausted_at = Some(now);
            one.rests_until = Some(now + REST);
            one.room = Some(1);
            // Whoever has a descriptor limit has read this, and so has made room.
            one.blocked = false;
            one.stalled_until = None;
        }
        self.waiting.insert(id, sent.known);
        let actions = self.apply_worker(channel, WorkerEvent::Refused(Refusal { id, reason }));
        let told = matches!(actions[..], [Action::ReportNoDescriptors(of)] if of == channel);
        assert_eq!((told, actions.len()), (news, usize::from(news)));
        self.perform();
    }

    pub fn end(&mut self, channel: ChannelId, leases: u32) {
        let now = self.now;
        let one = self.channel(channel);
        one.leases -= leases;
        if one.rests_until.is_some() {
            one.rests_until = Some(now);
        }
        self.tell_worker(channel, WorkerEvent::Ended(leases));
    }

    pub fn hand_back(&mut self, channel: ChannelId, id: u64) {
        let now = self.now;
        let one = self.channel(channel);
        let mut known = one.taken.remove(&id).unwrap();
        one.leases -= 1;
        if one.rests_until.is_some() {
            one.rests_until = Some(now);
        }
        let times = known.hand_back.map_or(0, |hand_back| hand_back.times);
        assert_eq!(
            self.state.metadata(channel, id),
            Some(&(id, known.lane, known.since, times))
        );
        let connection = Conn {
            id,
            lane: known.lane,
            since: known.since,
            waits: true,
            hand_back: None,
            times_given: times,
            _token: Arc::clone(&self.token),
        };
        known.hand_back = Some(HandBack {
            channel,
            at: now,
            times: times + 1,
        });
        self.gone.remove(&id);
        self.waiting.insert(id, known);
        self.tell_worker(channel, WorkerEvent::HandedBack(Box::new(connection)));
        self.channels
            .values()
            .for_each(|one| assert!(!one.taken.contains_key(&id)));
    }

    pub fn beat(&mut self, channel: ChannelId) {
        self.channel(channel).lives();
        self.tell_life(channel, WorkerEvent::Alive);
    }

    /// A sign of life: the driver is asked whether the worker has read what was taken back from it.
    fn tell_life(&mut self, channel: ChannelId, event: WorkerEvent<Conn>) {
        let is_asked = !self.channels[&channel].unread.is_empty();
        let actions = self.apply_worker(channel, event);
        let asks = matches!(actions[..], [Action::CheckRead(of)] if of == channel);
        assert_eq!((asks, actions.len()), (is_asked, usize::from(is_asked)));
        if is_asked && self.recall != Recall::TakesBackUnread {
            let one = self.channel(channel);
            one.unread.clear();
            one.end_rounds();
            one.lives();
            assert!(self.apply(Event::AllRead(channel)).is_empty());
        }
        self.perform();
    }

    pub fn lose(&mut self, channel: ChannelId) {
        let one = self.channels.remove(&channel).unwrap();
        let back = one.in_flight.into_iter().map(|(id, sent)| (id, sent.known));
        self.waiting.extend(back);
        self.tell(Event::Lost(channel));
    }

    pub fn retire(&mut self, channel: ChannelId) {
        let one = self.channel(channel);
        one.phase = one.phase.max(Phase::Retired);
        one.credit.clear();
        self.tell(Event::Retired(channel));
    }

    pub fn writable(&mut self, channel: ChannelId) {
        self.channel(channel).blocked = false;
        self.tell(Event::Writable(channel));
    }

    pub fn drain(&mut self) {
        self.drain = true;
        self.tell(Event::Drain);
    }

    pub fn close_listeners(&mut self) {
        if self.drain {
            self.listeners_closed = true;
            self.tell(Event::ListenersClosed);
        }
    }

    /// Gives up all that waits, and that alone.
    pub fn destroy(&mut self) {
        let mut given_up: Vec<u64> = Vec::new();
        for action in self.apply(Event::Destroyed) {
            match action {
                Action::Shed(connection, ShedReason::Destroyed) => given_up.push(connection.id),
                other => panic!("{other:?} without a cause"),
            }
        }
        assert!(given_up.iter().eq(self.waiting.keys()), "in the order of arrival");
        self.gone.extend(given_up);
        self.waiting.clear();
        self.perform();
    }

    pub fn pass(&mut self, time: Duration) {
        self.now += time;
        self.perform();
    }

    /// What no decent worker says: it is an error, and changes nothing but that the channel is lost.
    pub fn lie(&mut self, channel: ChannelId) {
        let one = &self.channels[&channel];
        let lies = [
            WorkerEvent::Acked(0),
            WorkerEvent::Refused(Refusal {
                id: 0,
                reason: RefusalReason::NoDescriptor,
            }),
            WorkerEvent::Ended(one.leases + 1),
            WorkerEvent::HandedBack(Box::new(Conn {
                id: 0,
                lane: 80,
                since: self.now,
                waits: true,
                hand_back: None,
                times_given: 0,
                _token: Arc::clone(&self.token),
            })),
        ];
        for lie in lies {
            assert!(
                self.state
                    .apply_worker(channel, lie, self.now, &mut Vec::new())
                    .is_err()
            );
        }
        self.lose(channel);
    }

    fn channel(&mut self, channel: ChannelId) -> &mut Channel {
        self.channels.get_mut(&channel).unwrap()
    }

    fn tell(&mut self, event: Event<Conn>) {
        assert!(self.apply(event).is_empty());
        self.perform();
    }

    fn apply(&mut self, event: Event<Conn>) -> Vec<Action<Conn>> {
        let mut actions = Vec::new();
        self.state.apply(event, self.now, &mut actions);
        actions
    }

    fn tell_worker(&mut self, channel: ChannelId, event: WorkerEvent<Conn>) {
        assert!(self.apply_worker(channel, event).is_empty());
        self.perform();
    }

    fn apply_worker(&mut self, channel: ChannelId, event: WorkerEvent<Conn>) -> Vec<Action<Conn>> {
        let mut actions = Vec::new();
        self.state.apply_worker(channel, event, self.now, &mut actions).unwrap();
        actions
    }

    /// Advances until nothing fails, as the driver does, and checks everything.
    fn perform(&mut self) {
        loop {
            let mut actions = Vec::new();
            self.state.advance(self.now, &mut actions);
            if self.check(actions) {
                break;
            }
        }
        self.check_rest();
    }

    /// Checks the actions of one turn; false if some of it failed and another has to follow.
    fn check(&mut self, actions: Vec<Action<Conn>>) -> bool {
        if self.held_until.is_some_and(|until| self.now >= until) {
            self.held_until = None;
        }
        let mut handed_off = Vec::new();
        let mut recalled = Vec::new();
        for action in actions {
            match action {
                Action::HandOff(channel, ids) => handed_off.extend(ids.into_iter().map(|id| (id, channel))),
                Action::Recall(channel, ids) => {
                    self.check_recall(channel, &ids);
                    recalled.extend(ids.into_iter().map(|id| (id, channel)));
                }
                Action::Shed(connection, ShedReason::Timeout) => self.check_shed(&connection),
                Action::Close(channel, CloseReason::Protocol) => {
                    let now = self.now;
                    let one = self.channel(channel);
                    assert!(
                        one.answer_due().is_some_and(|due| due <= now) || one.ignored >= MAX_IGNORED_ROUNDS,
                        "{channel} has time"
                    );
                    one.phase = Phase::Condemned;
                }
                Action::ReportDrained => {
                    assert!(!self.drained, "drained twice");
                    self.drained = true;
                }
                other => panic!("{other:?} without a cause"),
            }
        }
        assert!(
            recalled.is_empty() || handed_off.is_empty(),
            "what comes back goes first"
        );
        if !recalled.is_empty() {
            if self.recall != Recall::Asks {
                self.take_back(&recalled);
            }
            return false;
        }
        // In the order of arrival, whoever is given them. Whoever is tried with one is so before that one is under way.
        handed_off.sort_unstable();
        for &(id, channel) in &handed_off {
            self.check_handoff(id, channel);
        }
        self.fail(&handed_off)
    }

    fn check_handoff(&mut self, id: u64, channel: ChannelId) {
        let known = self.waiting[&id];
        let lane = known.lane;
        assert!(self.held_until.is_none(), "{id} was sent while all sends are held");
        assert!(self.may_have(channel, &known), "{channel} may not be given {id}");
        let rank = self.rank(channel, &known);
        for &other in self.channels.keys().filter(|other| self.may_have(**other, &known)) {
            assert!(
                self.rank(other, &known) >= rank,
                "{id} was rather for {other} than for {channel}"
            );
        }
        for (other, known) in self.heads().take_while(|one| one.0 < id) {
            assert!(!self.may_have(channel, known), "{other} came before {id}");
        }
        let now = self.now;
        let paid_by = self.state.in_flight(channel, id).unwrap().1;
        let one = self.channel(channel);
        let own = one.credit.get(&lane).copied().unwrap_or(0);
        assert_eq!(
            paid_by,
            if own > 0 { lane } else { 0 },
            "a port's own credit comes first"
        );
        *one.credit.get_mut(&paid_by).unwrap() -= 1;
        let sent = Sent {
            known,
            at: now,
            paid_by,
            recalled: None,
            number: one.sent,
        };
        one.sent += 1;
        one.in_flight.insert(id, sent);
        self.waiting.remove(&id);
    }

    /// Lets handoffs fail as planned; true if none did.
    fn fail(&mut self, handed_off: &[(u64, ChannelId)]) -> bool {
        let channels: BTreeSet<_> = handed_off.iter().map(|&(_, channel)| channel).collect();
        let mut all_sent = true;
        for channel in channels {
            let Some(trouble) = self.failures.pop() else { break };
            all_sent = false;
            let ids: Vec<u64> = handed_off
                .iter()
                .filter(|one| one.1 == channel)
                .map(|one| one.0)
                .collect();
            match trouble {
                SendFailure::Full => {
                    self.channel(channel).blocked = true;
                    self.channel(channel).rests_until = None;
                    self.channel(channel).stalled_until = None;
                }
                SendFailure::TooManyInFlight => self.held_until = Some(self.now + HOLD),
            }
            for id in &ids {
                let one = self.channel(channel);
                let sent = one.in_flight.remove(id).unwrap();
                *one.credit.get_mut(&sent.paid_by).unwrap() += 1;
                self.waiting.insert(*id, sent.known);
            }
            assert!(self.apply(Event::NotSent(channel, ids, trouble)).is_empty());
        }
        all_sent
    }

    fn check_recall(&mut self, channel: ChannelId, ids: &[u64]) {
        assert!(!ids.is_empty());
        for id in ids {
            let sent = self.channels[&channel].in_flight[id];
            assert!(sent.recalled.is_none(), "{id} is recalled twice");
            if !self.is_expired(&sent.known) {
                assert!(self.now - sent.at >= RECALL_AFTER, "{id} is recalled too early");
                assert!(
                    self.another_is_ready(channel, &sent.known),
                    "nobody else could take {id}"
                );
            }
        }
        let now = self.now;
        let one = self.channel(channel);
        for id in ids {
            one.in_flight.get_mut(id).unwrap().recalled = Some(now);
        }
        if !ids.iter().any(|id| now - one.in_flight[id].at >= RECALL_AFTER) {
            return;
        }
        let last = ids.iter().map(|id| one.in_flight[id].at).max();
        if one.rounds == 0 || one.round_at < last {
            one.rounds += 1;
            one.round_at = Some(now);
            one.ignored += u32::from(std::mem::take(&mut one.has_lived));
            one.room = Some((one.room.unwrap_or(WINDOW) / 2).max(1));
        }
        one.try_at = Some(now + (TRY_STALLED_AFTER * (1 << (one.rounds - 1).min(5))).min(LONGEST_TRY));
        if !one.blocked && one.rests_until.is_none() {
            one.stalled_until = one.try_at;
        }
    }

    fn is_expired(&self, known: &Known) -> bool {
        self.timeout.is_some_and(|limit| self.now - known.since >= limit)
    }

    fn take_back(&mut self, recalled: &[(u64, ChannelId)]) {
        for &(id, channel) in recalled {
            let one = self.channel(channel);
            let sent = one.in_flight.remove(&id).unwrap();
            one.unread.insert(sent.number);
            self.waiting.insert(id, sent.known);
            assert!(self.apply(Event::TakenBack(channel, id)).is_empty());
        }
    }

    fn check_shed(&mut self, connection: &Conn) {
        let known = self.waiting.remove(&connection.id).unwrap();
        assert!(self.now - known.since >= self.timeout.unwrap());
        assert!(!connection.waits);
        self.gone.insert(connection.id);
    }

    /// What holds between any two events.
    fn check_rest(&mut self) {
        // Nobody is lost, doubled or kept.
        let in_flight: usize = self.channels.values().map(|one| one.in_flight.len()).sum();
        assert_eq!(self.state.queued(), self.waiting.len());
        assert_eq!(Arc::strong_count(&self.token) - 1, self.waiting.len() + in_flight);
        for (&channel, one) in &self.channels {
            assert!(one.in_flight.len() <= WINDOW);
            // Beyond the window only what it was tried with, one at a time.
            let tries = usize::try_from(MAX_IGNORED_ROUNDS + one.rounds).unwrap();
            assert!(
                one.in_flight.len() + one.unread.len() <= WINDOW + tries,
                "{channel} pins descriptors"
            );
            for id in one.in_flight.keys() {
                assert_eq!(self.state.in_flight(channel, *id).unwrap().0.id, *id);
            }
        }
        assert_eq!(
            self.waiting.len() + in_flight + self.gone.len(),
            usize::try_from(self.next_id).unwrap() - 1
        );
        // Nobody waits who could be served.
        for (id, known) in self.heads() {
            let held = self.held_until.is_some();
            let served = self.channels.keys().any(|&channel| self.may_have(channel, known));
            assert!(held || !served, "{id} could be served");
        }
        for (id, known) in &self.waiting {
            assert!(
                self.timeout.is_none_or(|limit| self.now - known.since < limit),
                "{id} is overdue"
            );
        }
        for (id, sent) in self.channels.values().flat_map(|one| &one.in_flight) {
            let is_recalled = sent.recalled.is_some();
            assert!(
                is_recalled || !self.is_expired(&sent.known),
                "{id} is overdue in flight"
            );
        }
        // Nobody lies for ever with one that does not answer.
        for (&channel, one) in &self.channels {
            let due = one.answer_due();
            assert!(due.is_none_or(|due| due > self.now), "{channel} owes an answer");
        }
        // Nobody lies with a stuck worker while another could take it.
        for (&channel, one) in &self.channels {
            for (id, sent) in &one.in_flight {
                let overdue = sent.recalled.is_none() && self.now - sent.at >= RECALL_AFTER;
                assert!(
                    !overdue || !self.another_is_ready(channel, &sent.known),
                    "{id} lies with {channel}"
                );
            }
        }
        let deadline = self.state.deadline(self.now);
        assert!(
            deadline.is_none_or(|deadline| deadline > self.now),
            "the driver would spin"
        );
        self.check_wakes(deadline);
        let finished = self.listeners_closed
            && self.waiting.is_empty()
            && self
                .channels
                .values()
                .all(|one| one.leases == 0 && one.in_flight.is_empty());
        assert!(self.drained || !finished, "finished and not told");
        assert!(!self.drained || self.listeners_closed);
    }

    /// What time alone will bring about is not slept through.
    fn check_wakes(&self, deadline: Option<Instant>) {
        let mut due = Vec::new();
        if let Some(limit) = self.timeout {
            due.extend(self.waiting.values().map(|known| known.since + limit));
        }
        if !self.waiting.is_empty() {
            due.extend(self.held_until);
            let rests = self.channels.values().filter_map(|one| one.rests_until);
            due.extend(rests.filter(|until| *until > self.now));
            let stalled = self.channels.values().filter_map(|one| one.stalled_until);
            due.extend(stalled.filter(|until| *until > self.now));
            let unread = self.channels.values().filter(|one| !one.unread.is_empty());
            due.extend(unread.filter_map(|one| one.try_at).filter(|at| *at > self.now));
        }
        for (_, known) in self.heads() {
            due.extend(
                known
                    .hand_back
                    .map(|hand_back| hand_back.ready_at())
                    .filter(|&at| at > self.now),
            );
            if let Some(hand_back @ HandBack { channel, at, .. }) = known.hand_back
                && self.now >= hand_back.ready_at()
                && self.channels.contains_key(&channel)
                && self.may_be_given(channel, known.lane)
                && !self.may_have(channel, known)
                && self.now < at + NOT_AGAIN
            {
                due.push(at + NOT_AGAIN);
            }
        }
        for (&channel, one) in &self.channels {
            let wanted = one.in_flight.values().filter(|sent| sent.recalled.is_none());
            if let Some(limit) = self.timeout {
                due.extend(wanted.clone().map(|sent| sent.known.since + limit));
            }
            let wanted = wanted.filter(|sent| self.another_is_ready(channel, &sent.known));
            due.extend(wanted.map(|sent| sent.at + RECALL_AFTER));
            due.extend(one.answer_due());
        }
        assert_eq!(deadline, due.into_iter().min());
    }

    fn may_be_given(&self, channel: ChannelId, lane: u16) -> bool {
        let one = &self.channels[&channel];
        let credit = |lane| one.credit.get(&lane).is_some_and(|count| *count > 0);
        one.phase == Phase::Open
            && one.in_flight.len() < one.room.unwrap_or(WINDOW)
            && (!one.is_clogged() || one.in_flight.is_empty() && one.try_at.is_some_and(|at| self.now >= at))
            && !one.blocked
            && one.rests_until.is_none_or(|until| self.now >= until)
            && (credit(lane) || credit(0))
    }

    /// The heads of all lines, in the order of arrival.
    fn heads(&self) -> impl Iterator<Item = (u64, &Known)> {
        let mut lines = Vec::new();
        self.waiting.iter().filter_map(move |(&id, known)| {
            let is_head = !lines.contains(&known.line());
            lines.push(known.line());
            is_head.then_some((id, known))
        })
    }

    /// Who has handed it back may have it again after a while, or if nobody else comes to take such. Who is stalled gets one
    /// after a while, or anything if nobody else comes to take such.
    fn may_have(&self, channel: ChannelId, known: &Known) -> bool {
        let one = &self.channels[&channel];
        let serves = |one: &Channel| {
            let has_asked = one.credit.contains_key(&known.lane) || one.credit.contains_key(&0);
            one.phase == Phase::Open && one.stalled_until.is_none() && !one.is_clogged() && has_asked
        };
        let others = self.channels.iter().filter(|&(&other, _)| other != channel);
        let is_alone = !others.into_iter().any(|(_, one)| serves(one));
        let gave = known.hand_back.filter(|hand_back| hand_back.channel == channel);
        let is_withheld = gave.is_some_and(|hand_back| self.now - hand_back.at < NOT_AGAIN);
        if known.hand_back.is_some_and(|hand_back| self.now < hand_back.ready_at()) {
            return false;
        }
        let is_avoided = one
            .stalled_until
            .is_some_and(|until| self.now < until || !one.in_flight.is_empty());
        (is_alone || !is_withheld && !is_avoided) && self.may_be_given(channel, known.lane)
    }

    /// Lower ones first.
    fn rank(&self, channel: ChannelId, known: &Known) -> u8 {
        let gave = known.hand_back.is_some_and(|hand_back| hand_back.channel == channel);
        let one = &self.channels[&channel];
        match one.stalled_until {
            Some(until) if self.now >= until && one.in_flight.is_empty() => 2,
            Some(_) => 3,
            None => u8::from(gave),
        }
    }

    fn another_is_ready(&self, channel: ChannelId, known: &Known) -> bool {
        self.channels
            .iter()
            .any(|(&other, one)| other != channel && one.stalled_until.is_none() && self.may_have(other, known))
    }
}
