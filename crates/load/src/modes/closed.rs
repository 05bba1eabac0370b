//! Closed loop: as many connections at a time as there are clients, for throughput.

use std::io;
use std::rc::Rc;

use tokio::task::JoinSet;

use super::{Beginning, Station, finish_all};
use crate::exchange::converse;
use crate::outcome::judge;

/// Runs this thread's clients until no more connections are to begin.
pub async fn run(station: &Rc<Station>) -> io::Result<()> {
    let mut tasks = JoinSet::new();
    for _ in 0..station.clients() {
        tasks.spawn_local(client(Rc::clone(station)));
    }
    finish_all(tasks).await
}

async fn client(station: Rc<Station>) -> io::Result<()> {
    let arguments = &station.run.arguments;
    let mut answer = Vec::new();
    while let Some(serial) = station.run.next_serial() {
        let token = station.token(serial);
        let line = format!("{token}\n");
        let beginning = Beginning::now();
        let dialed = station.dialer.dial(line.as_bytes());
        let finish = converse(dialed, line.as_bytes(), arguments.until, arguments.timeout, &mut answer).await?;
        let verdict = judge(arguments.expect, line.trim_end(), &answer, finish.ending);
        station.record(token, beginning, finish, verdict, &answer);
    }
    Ok(())
}
