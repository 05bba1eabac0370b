//! A parent for workers written in any language: listens on a port of the loopback, and starts a program once a worker.
//!
//!     cargo run -p socketserver-core --example parent -- 8888 python3 crates/core/examples/worker.py
//!
//! The program finds its channel as `PROTOCOL.md` says: `SOCKETSERVER_CHANNEL` names the descriptor.

use std::net::Ipv4Addr;
use std::process::{Child, Command};
use std::sync::mpsc;

use socketserver_core::{Config, ListenSpec, PolicyName, Server};

const WORKERS: usize = 2;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let port = arguments
        .next()
        .ok_or("usage: parent PORT PROGRAM [ARGUMENT...]")?
        .parse()?;
    let program: Vec<String> = arguments.collect();
    let (bell, rings) = mpsc::channel();
    let config = Config::new(1024, None, PolicyName::LeastBusy)?;
    let ring = move || {
        // Nobody listens any more only when this ends.
        let _ = bell.send(());
    };
    let server = Server::start(&config, ring)?;
    let address = server.listen(ListenSpec::Tcp {
        host: Some(Ipv4Addr::LOCALHOST.into()),
        port,
        backlog: 511,
        ipv6_only: false,
    })?;
    println!("{address:?}");
    let _workers = (0..WORKERS)
        .map(|_| spawn(&server, &program))
        .collect::<Result<Vec<_>, _>>()?;
    for () in rings {
        for notice in server.notices() {
            println!("{notice:?}");
        }
    }
    Ok(())
}

/// Starts a worker whose standard input is its channel. The parent keeps no copy of that end, or it would not see the
/// worker die.
fn spawn(server: &Server, program: &[String]) -> Result<Child, Box<dyn std::error::Error>> {
    let (_, end) = server.open_channel()?;
    let (name, arguments) = program.split_first().ok_or("which program is the worker?")?;
    let child = Command::new(name)
        .args(arguments)
        .env("SOCKETSERVER_CHANNEL", "0")
        .stdin(end)
        .spawn()?;
    Ok(child)
}
