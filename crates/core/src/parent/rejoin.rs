//! How long a program that has broken the protocol, before or after its HELLO, waits before it may join.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::OwnedSemaphorePermit;

use crate::backoff::Backoff;
use crate::sys::Credentials;

/// The pause of one process.
const BY_PROCESS: Backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(30));

/// The pause of all processes of one user, which holds a process that forks for each attempt. It is short, as honest
/// workers of the same user wait for it too.
const BY_USER: Backoff = Backoff::new(Duration::from_millis(100), Duration::from_millis(250));

/// After this long without a protocol error the earlier ones are forgotten. Longer than any pause.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(60);

/// The most processes and users to remember.
const MAX_RECORDS: usize = 1024;

/// The protocol errors of the programs that have connected to one shared path.
#[derive(Debug, Default)]
pub struct RejoinPauses {
    records: Mutex<HashMap<Offender, Record>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Offender {
    Process { uid: u32, pid: u32 },
    User { uid: u32 },
}

#[derive(Debug, Clone, Copy)]
struct Record {
    /// Protocol errors in a row.
    errors: u32,
    last: Instant,
}

impl RejoinPauses {
    /// Returns how long `peer` still has to wait before it may join.
    #[must_use]
    pub fn remaining(&self, peer: &Credentials, now: Instant) -> Duration {
        let records = self.records();
        let pauses = offenders(peer).filter_map(|offender| {
            let record = records.get(&offender).filter(|record| !record.is_forgotten(now))?;
            Some((record.last + offender.backoff().delay(record.errors)).saturating_duration_since(now))
        });
        pauses.max().unwrap_or_default()
    }

    /// Records that `peer` has broken the protocol.
    pub fn record_protocol_error(&self, peer: &Credentials, now: Instant) {
        let mut records = self.records();
        for offender in offenders(peer) {
            if !records.contains_key(&offender) && records.len() >= MAX_RECORDS {
                make_room(&mut records, now);
            }
            let record = records.entry(offender).or_insert(Record { errors: 0, last: now });
            if record.is_forgotten(now) {
                record.errors = 0;
            }
            record.errors = record.errors.saturating_add(1);
            record.last = now;
        }
    }

    fn records(&self) -> MutexGuard<'_, HashMap<Offender, Record>> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Offender {
    fn backoff(self) -> Backoff {
        match self {
            Self::Process { .. } => BY_PROCESS,
            Self::User { .. } => BY_USER,
        }
    }
}

impl Record {
    fn is_forgotten(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.last) >= FORGOTTEN_AFTER
    }
}

fn offenders(peer: &Credentials) -> impl Iterator<Item = Offender> + use<> {
    let uid = peer.uid;
    let process = peer.pid.map(|pid| Offender::Process { uid, pid });
    process.into_iter().chain([Offender::User { uid }])
}

/// Drops the expired records, or else the record with the oldest last error. A process that forks for each attempt renews the
/// record of its user with every error, so the records of its children cannot displace that record.
fn make_room(records: &mut HashMap<Offender, Record>, now: Instant) {
    records.retain(|_, record| !record.is_forgotten(now));
    if records.len() < MAX_RECORDS {
        return;
    }
    let oldest = records.iter().min_by_key(|(_, record)| record.last);
    if let Some(offender) = oldest.map(|(&offender, _)| offender) {
        records.remove(&offender);
    }
}

/// One of the `max_workers` seats of a shared path, held by a joined worker. Dropped when the worker's channel has
/// ended, and no thread waits for the lock of a socket that the worker has handed back.
#[derive(Debug)]
pub struct Seat {
    _permit: OwnedSemaphorePermit,
    peer: Credentials,
    pauses: Arc<RejoinPauses>,
}

impl Seat {
    /// Creates the seat of `peer`.
    #[must_use]
    pub fn new(permit: OwnedSemaphorePermit, peer: Credentials, pauses: Arc<RejoinPauses>) -> Self {
        Self {
            _permit: permit,
            peer,
            pauses,
        }
    }

    /// Records that this worker has broken the protocol, so that it pauses before it joins again.
    pub fn record_protocol_error(&self, now: Instant) {
        self.pauses.record_protocol_error(&self.peer, now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(uid: u32, pid: u32) -> Credentials {
        Credentials {
            pid: Some(pid),
            uid,
            gid: uid,
            groups: Vec::new(),
        }
    }

    fn millis(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn the_pause_of_a_process_doubles_up_to_thirty_seconds() {
        let (pauses, now) = (RejoinPauses::default(), Instant::now());
        let peer = process(1, 1);
        assert_eq!(pauses.remaining(&peer, now), Duration::ZERO);
        let expected = [100, 200, 400, 800, 1600, 3200, 6400, 12_800, 25_600, 30_000, 30_000];
        for pause in expected.map(millis) {
            pauses.record_protocol_error(&peer, now);
            assert_eq!(pauses.remaining(&peer, now), pause);
            assert_eq!(pauses.remaining(&peer, now + pause), Duration::ZERO);
        }
    }

    #[test]
    fn other_processes_of_the_user_pause_for_250_ms_at_most_and_other_users_not_at_all() {
        let (pauses, now) = (RejoinPauses::default(), Instant::now());
        for pause in [100, 200, 250, 250, 250].map(millis) {
            pauses.record_protocol_error(&process(1, 1), now);
            assert_eq!(pauses.remaining(&process(1, 2), now), pause);
            assert_eq!(pauses.remaining(&process(2, 1), now), Duration::ZERO);
        }
    }

    #[test]
    fn a_peer_without_a_pid_pauses_as_its_user_does() {
        let (pauses, now) = (RejoinPauses::default(), Instant::now());
        let unseen = Credentials {
            pid: None,
            ..process(1, 0)
        };
        for _ in 0..20 {
            pauses.record_protocol_error(&unseen, now);
        }
        assert_eq!(pauses.remaining(&unseen, now), millis(250));
    }

    #[test]
    fn errors_are_forgotten_after_a_minute_without_one() {
        let (pauses, now) = (RejoinPauses::default(), Instant::now());
        let peer = process(1, 1);
        for _ in 0..20 {
            pauses.record_protocol_error(&peer, now);
        }
        let later = now + FORGOTTEN_AFTER;
        pauses.record_protocol_error(&peer, later);
        assert_eq!(pauses.remaining(&peer, later), millis(100));
    }

    #[test]
    fn many_processes_take_a_bounded_memory_and_do_not_displace_their_user() {
        let (pauses, now) = (RejoinPauses::default(), Instant::now());
        for pid in 1..5000 {
            pauses.record_protocol_error(&process(1, pid), now + Duration::from_micros(pid.into()));
        }
        assert_eq!(pauses.records().len(), MAX_RECORDS);
        assert!(pauses.remaining(&process(1, 5000), now) >= millis(250));
    }
}
