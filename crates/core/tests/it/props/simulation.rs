//! Simulates the driver and the workers for the dispatcher's rules, and asserts the invariants: no connection is lost or
//! duplicated, no worker gets more than its credit, the order of arrival is kept, an idle worker gets waiting connections, and
//! timeouts are exact.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use socketserver_core::ids::{ChannelId, ConnectionId};
use socketserver_core::parent::dispatcher::message::{Action, Event, SendFailure, WorkerEvent};
use socketserver_core::parent::dispatcher::rules::State;
use socketserver_core::parent::dispatcher::rules::recall::RECALL_AFTER;
use socketserver_core::parent::dispatcher::rules::requeue::SEND_PAUSE;
use socketserver_core::parent::dispatcher::rules::timeouts::ANSWER_WITHIN;
use socketserver_core::parent::notice::ShedReason;
use socketserver_core::parent::queue::{HandBack, Waiting};
use socketserver_core::parent::routing::source_counts::{CountedSource, SourceCounts};
use socketserver_core::protocol::limits::{ANY, MAX_IGNORED_ROUNDS, WINDOW};
use socketserver_core::protocol::records::{CloseReason, Credit, Refusal, RefusalReason};
use socketserver_core::{Config, PolicyName};

/// Stands in for a connection. Its token is dropped with it, so that the tokens count the connections that the rules own.
#[derive(Debug)]
pub struct Conn {
    id: ConnectionId,
    lane: u16,
    since: Instant,
    is_queued: bool,
    hand_back: Option<HandBack>,
    times_handed_back: u32,
    counted: Option<CountedSource>,
    _token: Arc<()>,
}

impl Waiting for Conn {
    type Metadata = (ConnectionId, u16, Instant, u32);

    fn id(&self) -> ConnectionId {
        self.id
    }

    fn lane(&self) -> u16 {
        self.lane
    }

    fn since(&self) -> Instant {
        self.since
    }

    fn leave_queue(&mut self) {
        self.is_queued = false;
    }

    fn mark_reissued(&mut self) {}

    fn metadata(&self) -> Self::Metadata {
        (self.id, self.lane, self.since, self.times_handed_back)
    }

    fn hand_back(&self) -> Option<HandBack> {
        self.hand_back
    }

    fn take_counted(&mut self) -> Option<CountedSource> {
        self.counted.take()
    }

    fn set_counted(&mut self, counted: CountedSource) {
        self.counted = Some(counted);
    }

    fn handed_back(&mut self, by: ChannelId, at: Instant) {
        self.times_handed_back += 1;
        let times = self.times_handed_back;
        self.hand_back = Some(HandBack { channel: by, at, times });
    }
}

/// A connection, wherever it is.
#[derive(Debug, Clone, Copy)]
struct Known {
    lane: u16,
    since: Instant,
    hand_back: Option<HandBack>,
    place: Where,
    /// Whether the connection is counted for its source while it waits or is in flight.
    is_counted: bool,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Where {
    Queue,
    InFlight {
        channel: ChannelId,
        sent_at: Instant,
        paid_by: u16,
        recalled_at: Option<Instant>,
    },
    Taken(ChannelId),
    Gone,
}

impl Known {
    /// Connections with the same key are served in the order of arrival.
    fn fifo(&self) -> (u16, Option<(ChannelId, Duration)>) {
        let pause = |hand_back: HandBack| (hand_back.channel, hand_back.ready_at() - hand_back.at);
        (self.lane, self.hand_back.map(pause))
    }

    fn is_in_flight_to(&self, to: ChannelId) -> bool {
        matches!(self.place, Where::InFlight { channel, .. } if channel == to)
    }
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Life {
    #[default]
    Joining,
    Open,
    Retired,
    Closing,
}

#[allow(clippy::struct_excessive_bools, reason = "each is independent of the others")]
#[derive(Debug)]
struct Worker {
    life: Life,
    is_blocked: bool,
    /// Whether the worker was ever stalled, out of descriptors or blocked. Only a worker that never was must get waiting connections.
    is_spotted: bool,
    credit: BTreeMap<u16, u32>,
    leases: u32,
    handoffs: u64,
    recalls: u32,
    /// Whether recalled descriptors lie unread in the socket.
    has_unread: bool,
    /// Whether the worker reads its socket before it acks.
    reads: bool,
    /// The connections that are counted for their sources until the worker reports their ends by their ids; `None` if it does not.
    unreported: Option<BTreeSet<ConnectionId>>,
}

impl Default for Worker {
    fn default() -> Self {
        Self {
            life: Life::Joining,
            is_blocked: false,
            is_spotted: false,
            credit: BTreeMap::new(),
            leases: 0,
            handoffs: 0,
            recalls: 0,
            has_unread: false,
            reads: true,
            unreported: None,
        }
    }
}

impl Worker {
    fn covers(&self, lane: u16) -> bool {
        [lane, ANY]
            .iter()
            .any(|lane| self.credit.get(lane).is_some_and(|count| *count > 0))
    }
}

/// How the driver recalls connections.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Recall {
    /// By a frame, which the worker may answer.
    Asks,
    /// By the scoreboard, at once.
    TakesBack,
    /// By the scoreboard, from workers that show life and do not read their channel.
    TakesBackUnread,
}

/// The number of sources.
const SOURCES: u8 = 3;

/// Returns the source of a connection.
fn source_of(id: ConnectionId) -> u8 {
    u8::try_from(id % u64::from(SOURCES)).unwrap()
}

/// Returns the client of a connection.
fn client_of(id: ConnectionId) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, source_of(id)], 1))
}

pub struct Simulation {
    state: State<Conn>,
    now: Instant,
    timeout: Option<Duration>,
    token: Arc<()>,
    connections: BTreeMap<ConnectionId, Known>,
    workers: BTreeMap<ChannelId, Worker>,
    sends_held_until: Option<Instant>,
    draining: bool,
    listeners_closed: bool,
    is_drained: bool,
    pub recall: Recall,
    /// The connections of each source, if these are limited. Connection `id` is of source `source_of(id)`.
    pub sources: Option<SourceCounts>,
    /// The next handoffs fail for these reasons, the last first.
    pub failures: Vec<SendFailure>,
}

impl Simulation {
    pub fn new(policy: PolicyName, timeout: Option<Duration>) -> Self {
        Self {
            state: State::new(&Config::new(1024, timeout, policy).unwrap(), usize::MAX),
            now: Instant::now(),
            timeout,
            token: Arc::new(()),
            connections: BTreeMap::new(),
            workers: BTreeMap::new(),
            sends_held_until: None,
            draining: false,
            listeners_closed: false,
            is_drained: false,
            recall: Recall::Asks,
            sources: None,
            failures: Vec::new(),
        }
    }

    pub fn channels(&self) -> Vec<ChannelId> {
        self.workers.keys().copied().collect()
    }

    pub fn in_flight(&self, channel: ChannelId) -> Vec<ConnectionId> {
        self.ids(|known| known.is_in_flight_to(channel))
    }

    /// Returns the connections that a worker may hand back.
    pub fn taken(&self, channel: ChannelId) -> Vec<ConnectionId> {
        let taken = self.ids(|known| known.place == Where::Taken(channel));
        let taken = taken.into_iter().filter(|_| self.workers[&channel].leases > 0);
        taken.collect()
    }

    pub fn leases(&self, channel: ChannelId) -> u32 {
        self.workers[&channel].leases
    }

    pub fn handoffs(&self, channel: ChannelId) -> u64 {
        self.workers[&channel].handoffs
    }

    /// Returns whether the rules have closed a channel.
    pub fn is_closing(&self, channel: ChannelId) -> bool {
        self.workers[&channel].life == Life::Closing
    }

    pub fn accept(&mut self, lane: u16) {
        if self.listeners_closed {
            return;
        }
        let id = self.connections.len() as u64 + 1;
        let known = Known {
            lane,
            since: self.now,
            hand_back: None,
            place: Where::Queue,
            is_counted: self.sources.is_some(),
        };
        let counted = self.sources.as_ref().map(|sources| sources.add(client_of(id)));
        self.connections.insert(id, known);
        if counted.as_ref().is_some_and(Option::is_none) {
            // The source has as many connections as allowed.
            self.move_to(id, Where::Gone);
            return;
        }
        let mut connection = self.connection(id, 0);
        connection.counted = counted.flatten();
        self.apply_event(Event::Accepted(connection));
    }

    pub fn open(&mut self, channel: ChannelId) {
        self.workers.insert(channel, Worker::default());
        self.state.open(channel, ());
        self.perform();
    }

    pub fn welcome(&mut self, channel: ChannelId) {
        let tracks = self.sources.is_some() && channel % 2 == 1;
        let worker = self.worker(channel);
        if tracks && worker.life == Life::Joining {
            worker.unreported = Some(BTreeSet::new());
            self.state.track(channel);
        }
        let worker = self.worker(channel);
        worker.life = worker.life.max(Life::Open);
        self.apply_event(Event::Welcomed(channel));
    }

    pub fn grant(&mut self, channel: ChannelId, credit: Credit) {
        let worker = self.worker(channel);
        if worker.life == Life::Open {
            *worker.credit.entry(credit.lane).or_default() += credit.count;
        }
        self.apply_activity(channel, WorkerEvent::Credit(credit));
    }

    pub fn cancel(&mut self, channel: ChannelId, credit: Credit) {
        let held = self.worker(channel).credit.entry(credit.lane).or_default();
        let count = credit.count.min(*held);
        *held -= count;
        let actions = self.apply(channel, WorkerEvent::Cancel(credit));
        assert!(
            matches!(actions[..], [Action::Cancelled(to, left)] if (to, left.lane, left.count) == (channel, credit.lane, count)),
            "{actions:?}"
        );
        self.perform();
    }

    pub fn ack(&mut self, channel: ChannelId, id: ConnectionId) {
        let Where::InFlight { sent_at, .. } = self.connections[&id].place else {
            panic!("{id} is not in flight");
        };
        self.worker(channel).leases += 1;
        if self.uncount(id)
            && let Some(unreported) = &mut self.worker(channel).unreported
        {
            unreported.insert(id);
        }
        self.move_to(id, Where::Taken(channel));
        self.sends_held_until = None;
        let mut actions = self.apply(channel, WorkerEvent::Acked(id)).into_iter();
        let Some(Action::Release(of, connection, waited)) = actions.next() else {
            panic!("an ack releases nothing");
        };
        assert_eq!((of, connection.id), (channel, id));
        assert_eq!(waited, sent_at - connection.since);
        assert!(!connection.is_queued);
        drop(connection);
        for action in actions {
            assert!(matches!(action, Action::CheckRead(of) if of == channel), "{action:?}");
            self.look(channel);
        }
        self.perform();
    }

    pub fn refuse(&mut self, channel: ChannelId, id: ConnectionId, reason: RefusalReason) {
        if reason == RefusalReason::NoDescriptor {
            let worker = self.worker(channel);
            worker.is_spotted = true;
            // The worker has read this, which made room.
            worker.is_blocked = false;
        }
        self.move_to(id, Where::Queue);
        for action in self.apply(channel, WorkerEvent::Refused(Refusal { id, reason })) {
            if matches!(action, Action::CheckRead(of) if of == channel) {
                self.look(channel);
                continue;
            }
            let is_report = matches!(action, Action::ReportNoDescriptors(of) if of == channel);
            assert!(is_report && reason == RefusalReason::NoDescriptor, "{action:?}");
        }
        self.perform();
    }

    pub fn end(&mut self, channel: ChannelId, leases: u32) {
        self.worker(channel).leases -= leases;
        self.apply_worker_event(channel, WorkerEvent::Ended(leases));
    }

    pub fn hand_back(&mut self, channel: ChannelId, id: ConnectionId) {
        let known = self.connections[&id];
        let times = known.hand_back.map_or(0, |hand_back| hand_back.times);
        let metadata = (id, known.lane, known.since, times);
        assert_eq!(self.state.metadata(channel, id), Some(&metadata));
        let worker = self.worker(channel);
        worker.leases -= 1;
        let is_counted = worker
            .unreported
            .as_mut()
            .is_some_and(|unreported| unreported.remove(&id));
        self.move_to(id, Where::Queue);
        let (at, times) = (self.now, times + 1);
        self.connections.entry(id).and_modify(|known| {
            known.hand_back = Some(HandBack { channel, at, times });
            known.is_counted = is_counted;
        });
        let connection = self.connection(id, times - 1);
        self.apply_worker_event(channel, WorkerEvent::HandedBack(Box::new(connection)));
    }

    /// Returns the connections whose ends a worker may report by their ids.
    pub fn unreported(&self, channel: ChannelId) -> Vec<ConnectionId> {
        let unreported = self.workers[&channel].unreported.iter().flatten();
        unreported.copied().collect()
    }

    pub fn report_end(&mut self, channel: ChannelId, id: ConnectionId) {
        let unreported = &mut self.worker(channel).unreported;
        assert!(unreported.as_mut().is_some_and(|unreported| unreported.remove(&id)));
        self.apply_worker_event(channel, WorkerEvent::TrackedEnded(id));
        let again = WorkerEvent::TrackedEnded(id);
        let again = self.state.apply_worker(channel, again, self.now, &mut Vec::new());
        assert!(again.is_err(), "the end of {id} is reported twice");
    }

    /// Removes a connection from those that are counted while they wait. Returns whether the connection was one of them.
    fn uncount(&mut self, id: ConnectionId) -> bool {
        let known = self.connections.get_mut(&id).unwrap();
        std::mem::take(&mut known.is_counted)
    }

    pub fn beat(&mut self, channel: ChannelId) {
        self.apply_activity(channel, WorkerEvent::Alive);
    }

    pub fn lose(&mut self, channel: ChannelId) {
        self.workers.remove(&channel);
        for id in self.in_flight(channel) {
            self.move_to(id, Where::Queue);
        }
        for id in self.ids(|known| known.place == Where::Taken(channel)) {
            self.move_to(id, Where::Gone);
        }
        self.apply_event(Event::Lost(channel));
    }

    pub fn retire(&mut self, channel: ChannelId) {
        let worker = self.worker(channel);
        worker.life = worker.life.max(Life::Retired);
        worker.credit.clear();
        self.apply_event(Event::Retired(channel));
    }

    pub fn writable(&mut self, channel: ChannelId) {
        self.worker(channel).is_blocked = false;
        self.apply_event(Event::Writable(channel));
    }

    pub fn drain(&mut self) {
        self.draining = true;
        self.apply_event(Event::Drain);
    }

    pub fn close_listeners(&mut self) {
        if self.draining {
            self.listeners_closed = true;
            self.apply_event(Event::ListenersClosed);
        }
    }

    /// Destroys the server: all waiting connections are shed, in the order of arrival.
    pub fn destroy(&mut self) {
        let mut actions = Vec::new();
        self.state.apply(Event::Destroyed, self.now, &mut actions);
        let shed = actions.iter().map(|action| match action {
            Action::Shed(connection, ShedReason::Destroyed) => connection.id,
            other => panic!("{other:?} without a cause"),
        });
        assert!(shed.eq(self.ids(|known| known.place == Where::Queue)));
        drop(actions);
        for id in self.ids(|known| known.place == Where::Queue) {
            self.move_to(id, Where::Gone);
        }
        self.perform();
    }

    /// Lets time pass as the driver does, which sleeps until each deadline: nothing happens before a deadline.
    pub fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(deadline) = self.state.deadline(self.now).filter(|deadline| *deadline <= end) {
            self.sleep_until(deadline.checked_sub(Duration::from_nanos(1)).unwrap());
            self.now = deadline;
            self.perform();
        }
        self.sleep_until(end);
        self.perform();
    }

    pub fn pass_to_deadline(&mut self) {
        if let Some(deadline) = self.state.deadline(self.now) {
            self.pass(deadline - self.now);
        }
    }

    fn sleep_until(&mut self, end: Instant) {
        if end > self.now {
            self.now = end;
            let mut actions = Vec::new();
            self.state.advance(self.now, &mut actions);
            assert!(actions.is_empty(), "the driver slept through {actions:?}");
        }
    }

    /// Applies every event that only a faulty worker reports. Each is an error that changes nothing, and the channel is lost.
    pub fn lie(&mut self, channel: ChannelId) {
        self.connections.insert(
            0,
            Known {
                lane: 80,
                since: self.now,
                hand_back: None,
                place: Where::Gone,
                is_counted: false,
            },
        );
        let refusal = Refusal {
            id: 0,
            reason: RefusalReason::NoDescriptor,
        };
        let lies = [
            WorkerEvent::Acked(0),
            WorkerEvent::Refused(refusal),
            WorkerEvent::Ended(self.workers[&channel].leases + 1),
            WorkerEvent::HandedBack(Box::new(self.connection(0, 0))),
            WorkerEvent::TrackedEnded(0),
        ];
        self.connections.remove(&0);
        for lie in lies {
            let mut actions = Vec::new();
            let applied = self.state.apply_worker(channel, lie, self.now, &mut actions);
            assert!(applied.is_err() && actions.is_empty());
        }
        self.lose(channel);
    }

    fn connection(&self, id: ConnectionId, times_handed_back: u32) -> Conn {
        let Known { lane, since, .. } = self.connections[&id];
        Conn {
            id,
            lane,
            since,
            is_queued: true,
            hand_back: None,
            times_handed_back,
            counted: None,
            _token: Arc::clone(&self.token),
        }
    }

    fn worker(&mut self, channel: ChannelId) -> &mut Worker {
        self.workers.get_mut(&channel).unwrap()
    }

    fn ids(&self, is_wanted: impl Fn(&Known) -> bool) -> Vec<ConnectionId> {
        let wanted = self.connections.iter().filter(|(_, known)| is_wanted(known));
        wanted.map(|(id, _)| *id).collect()
    }

    fn move_to(&mut self, id: ConnectionId, place: Where) {
        self.connections.get_mut(&id).unwrap().place = place;
    }

    fn apply_event(&mut self, event: Event<Conn>) {
        let mut actions = Vec::new();
        self.state.apply(event, self.now, &mut actions);
        assert!(actions.is_empty(), "{actions:?}");
        self.perform();
    }

    fn apply_worker_event(&mut self, channel: ChannelId, event: WorkerEvent<Conn>) {
        let actions = self.apply(channel, event);
        assert!(actions.is_empty(), "{actions:?}");
        self.perform();
    }

    /// The driver is asked whether a worker whose event loop turns has read the connections that were recalled from it.
    fn apply_activity(&mut self, channel: ChannelId, event: WorkerEvent<Conn>) {
        for action in self.apply(channel, event) {
            assert!(matches!(action, Action::CheckRead(of) if of == channel), "{action:?}");
            assert!(self.workers[&channel].has_unread);
            self.look(channel);
        }
        self.perform();
    }

    /// Answers whether a worker has read everything that was sent to it.
    fn look(&mut self, channel: ChannelId) {
        let unread = if !self.workers[&channel].reads {
            Some(true)
        } else if self.recall == Recall::TakesBackUnread && self.workers[&channel].has_unread {
            Some(false)
        } else {
            None
        };
        let mut actions = Vec::new();
        if let Some(ends_with_handoff) = unread {
            let event = Event::NotAllRead(channel, ends_with_handoff);
            self.state.apply(event, self.now, &mut actions);
        } else {
            self.worker(channel).has_unread = false;
            self.state.apply(Event::AllRead(channel), self.now, &mut actions);
        }
        for action in actions {
            self.perform_one(action);
        }
    }

    /// Lets a worker ack connections without reading them from now on.
    pub fn stop_reading(&mut self, channel: ChannelId) {
        let worker = self.worker(channel);
        (worker.reads, worker.is_spotted) = (false, true);
    }

    fn apply(&mut self, channel: ChannelId, event: WorkerEvent<Conn>) -> Vec<Action<Conn>> {
        let mut actions = Vec::new();
        let applied = self.state.apply_worker(channel, event, self.now, &mut actions);
        applied.unwrap();
        actions
    }

    /// Advances until nothing is left to do, as the driver does.
    fn perform(&mut self) {
        loop {
            let mut actions = Vec::new();
            self.state.advance(self.now, &mut actions);
            let (mut recalled, mut sent, mut looks) = (Vec::new(), Vec::new(), Vec::new());
            for action in actions {
                match action {
                    Action::HandOff(channel, ids) => sent.push((channel, ids)),
                    Action::Recall(channel, ids) => recalled.push((channel, ids)),
                    Action::CheckRead(channel) => looks.push(channel),
                    action => self.perform_one(action),
                }
            }
            assert!(recalled.is_empty() || sent.is_empty(), "what is recalled goes first");
            for (channel, ids) in &recalled {
                self.perform_recall(*channel, ids);
            }
            for (channel, ids) in &sent {
                self.perform_handoff(*channel, ids);
            }
            self.assert_order(&sent);
            for &channel in &looks {
                self.look(channel);
            }
            if !self.fail_handoffs(sent) && recalled.is_empty() && looks.is_empty() {
                break;
            }
        }
        self.assert_invariants();
    }

    fn perform_one(&mut self, action: Action<Conn>) {
        match action {
            Action::Shed(connection, ShedReason::Timeout) => {
                let known = self.connections[&connection.id];
                assert_eq!(known.place, Where::Queue);
                assert!(self.is_expired(&known) && !connection.is_queued);
                self.move_to(connection.id, Where::Gone);
            }
            Action::Close(channel, CloseReason::Protocol) => {
                let is_unanswered = self.connections.values().any(|known| match known.place {
                    Where::InFlight {
                        channel: to,
                        recalled_at: Some(at),
                        ..
                    } => to == channel && self.now - at >= ANSWER_WITHIN,
                    _ => false,
                });
                let worker = self.worker(channel);
                let takes_nothing = worker.has_unread && worker.recalls >= MAX_IGNORED_ROUNDS;
                let acks_unread = !worker.reads;
                assert!(is_unanswered || takes_nothing || acks_unread, "{channel} has time");
                assert_ne!(worker.life, Life::Closing, "{channel} is closed twice");
                worker.life = Life::Closing;
            }
            Action::ReportDrained => {
                assert!(!self.is_drained, "drained twice");
                assert!(self.listeners_closed && self.is_finished(), "drained too early");
                self.is_drained = true;
            }
            other => panic!("{other:?} without a cause"),
        }
    }

    fn perform_recall(&mut self, channel: ChannelId, ids: &[ConnectionId]) {
        assert!(!ids.is_empty());
        let worker = self.worker(channel);
        worker.is_spotted = true;
        worker.recalls += 1;
        for &id in ids {
            let known = self.connections[&id];
            let Where::InFlight {
                sent_at,
                paid_by,
                recalled_at: None,
                ..
            } = known.place
            else {
                panic!("{id} is {:?}, and recalled", known.place);
            };
            assert!(known.is_in_flight_to(channel));
            let is_overdue = self.now - sent_at >= RECALL_AFTER;
            assert!(is_overdue || self.is_expired(&known), "{id} is recalled too early");
            if self.recall == Recall::Asks {
                let recalled_at = Some(self.now);
                self.move_to(
                    id,
                    Where::InFlight {
                        channel,
                        sent_at,
                        paid_by,
                        recalled_at,
                    },
                );
            } else {
                self.worker(channel).has_unread = true;
                self.move_to(id, Where::Queue);
                self.state
                    .apply(Event::Recalled(channel, id), self.now, &mut Vec::new());
            }
        }
    }

    fn perform_handoff(&mut self, channel: ChannelId, ids: &[ConnectionId]) {
        assert!(self.sends_held_until.is_none_or(|until| self.now >= until));
        self.sends_held_until = None;
        for &id in ids {
            let Known { lane, place, .. } = self.connections[&id];
            assert_eq!(place, Where::Queue, "{id} is handed off");
            let (connection, paid_by) = self.state.in_flight(channel, id).unwrap();
            assert!(!connection.is_queued);
            let worker = self.workers.get_mut(&channel).unwrap();
            assert!(worker.life == Life::Open && !worker.is_blocked, "{channel} gets {id}");
            let own = worker.credit.get(&lane).copied().unwrap_or(0);
            assert_eq!(
                paid_by,
                if own > 0 { lane } else { ANY },
                "a port's own credit pays first"
            );
            let credit = worker.credit.get_mut(&paid_by).unwrap();
            *credit = credit.checked_sub(1).expect("credit is exceeded");
            worker.handoffs += 1;
            let place = Where::InFlight {
                channel,
                sent_at: self.now,
                paid_by,
                recalled_at: None,
            };
            self.move_to(id, place);
        }
    }

    /// Of the connections of one FIFO, the first are handed off.
    fn assert_order(&self, sent: &[(ChannelId, Vec<ConnectionId>)]) {
        let waiting = self.connections.iter().filter(|(_, known)| known.place == Where::Queue);
        let mut heads = BTreeMap::new();
        for (id, known) in waiting {
            heads.entry(known.fifo()).or_insert(id);
        }
        for id in sent.iter().flat_map(|(_, ids)| ids) {
            let head = heads.get(&self.connections[id].fifo());
            assert!(head.is_none_or(|head| *head > id), "{id} overtakes {head:?}");
        }
    }

    /// Lets handoffs fail as planned. Returns whether any failed.
    fn fail_handoffs(&mut self, sent: Vec<(ChannelId, Vec<ConnectionId>)>) -> bool {
        let mut any = false;
        for (channel, ids) in sent {
            let Some(failure) = self.failures.pop() else { break };
            any = true;
            match failure {
                SendFailure::Full => {
                    let worker = self.worker(channel);
                    (worker.is_blocked, worker.is_spotted) = (true, true);
                }
                SendFailure::TooManyInFlight => self.sends_held_until = Some(self.now + SEND_PAUSE),
            }
            for &id in &ids {
                if let Where::InFlight { paid_by, .. } = self.connections[&id].place {
                    *self.worker(channel).credit.get_mut(&paid_by).unwrap() += 1;
                }
                self.move_to(id, Where::Queue);
            }
            let event = Event::NotSent(channel, ids, failure);
            self.state.apply(event, self.now, &mut Vec::new());
        }
        any
    }

    fn is_expired(&self, known: &Known) -> bool {
        self.timeout.is_some_and(|limit| self.now - known.since >= limit)
    }

    /// Returns whether nothing waits, nothing is in flight and no lease is held.
    fn is_finished(&self) -> bool {
        let is_over = |known: &Known| matches!(known.place, Where::Taken(_) | Where::Gone);
        self.connections.values().all(is_over) && self.workers.values().all(|worker| worker.leases == 0)
    }

    fn assert_invariants(&self) {
        self.assert_nothing_is_lost();
        self.assert_no_connection_waits_needlessly();
        self.assert_sources_are_counted();
        assert!(self.is_drained || !self.listeners_closed || !self.is_finished());
        let deadline = self.state.deadline(self.now);
        assert!(
            deadline.is_none_or(|deadline| deadline > self.now),
            "the driver would spin"
        );
    }

    fn assert_nothing_is_lost(&self) {
        let queued = self.ids(|known| known.place == Where::Queue).len();
        assert_eq!(self.state.queued(), queued);
        let in_flight: BTreeSet<_> = self.channels().into_iter().flat_map(|id| self.in_flight(id)).collect();
        assert_eq!(Arc::strong_count(&self.token) - 1, queued + in_flight.len());
        for (&channel, worker) in &self.workers {
            let in_flight = self.in_flight(channel);
            assert!(in_flight.len() <= WINDOW, "{channel} exceeds the window");
            for id in in_flight {
                assert_eq!(self.state.in_flight(channel, id).unwrap().0.id, id);
            }
            assert_eq!(self.state.counters(channel).leases, worker.leases);
        }
    }

    /// A connection is counted for its source once while it waits, is in flight, or is held by a worker that reports its end.
    fn assert_sources_are_counted(&self) {
        let Some(sources) = &self.sources else { return };
        let mut expected = [0; SOURCES as usize];
        let waiting = self.connections.iter().filter(|(_, known)| {
            let is_waiting = matches!(known.place, Where::Queue | Where::InFlight { .. });
            known.is_counted && is_waiting
        });
        let held = self
            .workers
            .values()
            .flat_map(|worker| worker.unreported.iter().flatten());
        for id in waiting.map(|(id, _)| id).chain(held) {
            expected[usize::from(source_of(*id))] += 1;
        }
        let counts = (0..SOURCES).map(|source| sources.of(client_of(source.into())));
        assert!(counts.eq(expected), "{expected:?}");
    }

    /// No connection waits, in the queue or in flight, for longer than the queue timeout, or while a worker that was never stalled
    /// could take it.
    fn assert_no_connection_waits_needlessly(&self) {
        let could_take = |lane: u16, except: Option<ChannelId>| {
            self.workers.iter().any(|(&channel, worker)| {
                let is_spotless = worker.life == Life::Open && !worker.is_spotted && except != Some(channel);
                is_spotless && worker.covers(lane) && self.in_flight(channel).len() < WINDOW
            })
        };
        for (id, known) in &self.connections {
            match known.place {
                Where::Queue => {
                    assert!(!self.is_expired(known), "{id} is overdue");
                    let is_free = known.hand_back.is_none() && self.sends_held_until.is_none();
                    assert!(!is_free || !could_take(known.lane, None), "{id} waits in vain");
                }
                Where::InFlight {
                    channel,
                    sent_at,
                    recalled_at: None,
                    ..
                } => {
                    assert!(!self.is_expired(known), "{id} is overdue in flight");
                    let is_late = self.now - sent_at >= RECALL_AFTER && known.hand_back.is_none();
                    assert!(
                        !is_late || !could_take(known.lane, Some(channel)),
                        "{id} is left untaken"
                    );
                }
                Where::InFlight {
                    channel,
                    recalled_at: Some(at),
                    ..
                } => {
                    let is_late = self.now - at >= ANSWER_WITHIN;
                    assert!(!is_late || self.is_closing(channel), "{channel} owes {id}");
                }
                Where::Taken(_) | Where::Gone => {}
            }
        }
    }
}
