//! Open loop: connections arrive when the schedule says, whatever became of those before, for latency.

use std::io;
use std::rc::Rc;

use tokio::task::JoinSet;

use super::{Beginning, Station, finish_all, reap};
use crate::dialer::Dialed;
use crate::exchange::converse;
use crate::outcome::judge;
use crate::pacer::Pacer;
use crate::token::Token;

/// Runs this thread's part of the schedule.
pub async fn run(station: &Rc<Station>) -> io::Result<()> {
    let pacer = Pacer::new()?;
    let mut tasks = JoinSet::new();
    for (serial, intended) in station.arrivals() {
        if station.run.halted() {
            break;
        }
        pacer.wait_until(station.run.started + intended).await?;
        let token = station.token(serial);
        let line = format!("{token}\n");
        let beginning = Beginning::late_for(intended);
        // Here and not in the task, so that no other task's turn comes in between.
        let dialed = station.dialer.dial(line.as_bytes());
        tasks.spawn_local(arrival(Rc::clone(station), token, line, beginning, dialed));
        reap(&mut tasks)?;
    }
    finish_all(tasks).await
}

async fn arrival(
    station: Rc<Station>,
    token: Token,
    line: String,
    beginning: Beginning,
    dialed: io::Result<Dialed>,
) -> io::Result<()> {
    let arguments = &station.run.arguments;
    let mut answer = Vec::new();
    let finish = converse(dialed, line.as_bytes(), arguments.until, arguments.timeout, &mut answer).await?;
    let verdict = judge(arguments.expect, line.trim_end(), &answer, finish.ending);
    station.record(token, beginning, finish, verdict, &answer);
    Ok(())
}
