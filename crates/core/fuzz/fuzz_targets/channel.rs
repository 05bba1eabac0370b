//! A hostile worker sends any bytes to a running server, then disconnects. The server must not panic or leak, must report the end
//! of the channel, and must serve the next worker.

#![no_main]

use std::io::Write;
use std::os::unix::net::UnixStream;
use std::sync::{LazyLock, Mutex};
use std::time::{Duration, Instant};

use libfuzzer_sys::fuzz_target;
use socketserver_core::ids::ChannelId;
use socketserver_core::protocol::encode::Encoder;
use socketserver_core::protocol::records::Hello;
use socketserver_core::protocol::version::VERSION;
use socketserver_core::{Config, Notice, PolicyName, Receiver, Server};

/// One server for all inputs, so that damage by one input affects later ones.
static SERVER: LazyLock<Mutex<Server>> = LazyLock::new(|| {
    let config = Config::new(16, None, PolicyName::LeastBusy).expect("a valid configuration");
    Mutex::new(Server::start(&config, || {}).expect("a server"))
});

fuzz_target!(|input: (bool, bool, Vec<Vec<u8>>)| {
    let (sends_hello, scoreboard, messages) = input;
    let server = SERVER.lock().expect("no panic while it is locked");
    let (hostile, end) = server.open_channel().expect("a channel");
    let mut socket = UnixStream::from(end);
    if sends_hello {
        let mut hello = Encoder::new();
        hello.hello(Hello {
            oldest: VERSION,
            newest: VERSION,
            pid: 1,
            scoreboard,
        });
        let _ = socket.write_all(hello.bytes());
    }
    for message in messages {
        // Fails if the parent has closed the channel.
        let _ = socket.write_all(&message);
    }
    drop(socket);
    let (correct, end) = server.open_channel().expect("a channel");
    let worker = Receiver::start(end, || {}).expect("a receiver");
    await_notices(&server, hostile, correct);
    drop(worker);
    await_notices(&server, correct, 0);
});

/// Waits until `ended` has ended and, unless it is 0, `joined` has joined.
fn await_notices(server: &Server, ended: ChannelId, joined: ChannelId) {
    let start = Instant::now();
    let (mut has_ended, mut has_joined) = (false, joined == 0);
    while !(has_ended && has_joined) {
        for notice in server.notices() {
            match notice {
                Notice::Ended { channel, .. } => has_ended |= channel == ended,
                Notice::Joined { channel, .. } => has_joined |= channel == joined,
                other => panic!("{other:?}"),
            }
        }
        assert!(start.elapsed() < Duration::from_secs(10), "the server does not answer");
        std::thread::yield_now();
    }
}
