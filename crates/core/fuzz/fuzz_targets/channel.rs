//! What a hostile worker may do to a running server: any bytes, then an end. The server neither panics nor leaks, tells the
//! end of the channel, and answers the next worker as ever.

#![no_main]

use std::io::Write;
use std::os::unix::net::UnixStream;
use std::sync::{LazyLock, Mutex};
use std::time::{Duration, Instant};

use libfuzzer_sys::fuzz_target;
use socketserver_core::ids::ChannelId;
use socketserver_core::protocol::encode::Encoder;
use socketserver_core::protocol::frame::VERSION;
use socketserver_core::protocol::records::Hello;
use socketserver_core::{Config, Notice, PolicyName, Receiver, Server};

/// One server for all inputs: what one leaves behind, another finds.
static SERVER: LazyLock<Mutex<Server>> = LazyLock::new(|| {
    let config = Config::new(16, None, PolicyName::LeastBusy).expect("a valid configuration");
    Mutex::new(Server::start(&config, || {}).expect("a server"))
});

fuzz_target!(|input: (bool, bool, Vec<Vec<u8>>)| {
    let (greets, scoreboard, messages) = input;
    let server = SERVER.lock().expect("nobody panics with it");
    let (hostile, end) = server.open_channel().expect("a channel");
    let mut socket = UnixStream::from(end);
    if greets {
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
        // The parent may have ended it already.
        let _ = socket.write_all(&message);
    }
    drop(socket);
    let (decent, end) = server.open_channel().expect("a channel");
    let worker = Receiver::start(end, || {}).expect("a receiver");
    await_notices(&server, hostile, decent);
    drop(worker);
    await_notices(&server, decent, 0);
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
