//! Listeners and the queue: which connections are accepted, in what order, and which stay in the backlog.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;
use socketserver_core::protocol::connection_record::Family;
use socketserver_core::{Config, ConfigError, ListenError, ListenSpec, ListenerAddress, Notice, PolicyName};

use crate::wait::{BOUND, until_true};
use crate::world::{World, answer, answer_to, client, clients, is_of, queue_of, still_waits, tcp};

#[test]
fn a_client_is_answered_by_a_worker() {
    let world = World::new();
    let client = client(world.listen());
    let worker = world.worker();
    answer(worker.one(), "hello");
    assert_eq!(answer_to(client), "hello");
    let stats = world.stats("the ack is counted", |stats| stats.handed_off == 1);
    assert_eq!((stats.accepted, stats.requeued, stats.shed), (1, 0, 0));
}

#[test]
fn a_client_may_send_before_any_worker_exists() {
    let world = World::new();
    let mut client = client(world.listen());
    client.write_all(b"early").unwrap();
    world.await_queued(1);
    let mut stream = TcpStream::from(world.worker().one().fd);
    stream.set_nonblocking(false).unwrap();
    let mut bytes = [0; 5];
    stream.read_exact(&mut bytes).unwrap();
    assert_eq!(&bytes, b"early");
}

#[test]
fn a_worker_receives_the_addresses_of_a_connection() {
    let world = World::new();
    let address = world.listen();
    let client = client(address);
    let taken = world.worker().one();
    assert!(is_of(&taken, &client));
    assert_eq!(taken.head.local_port, address.port());
    assert_eq!(
        (taken.head.family, taken.head.lane, taken.head.id),
        (Family::Ipv4, 0, 1)
    );
}

#[test]
fn a_connection_whose_client_has_disconnected_still_has_its_address() {
    let world = World::new();
    let client = client(world.listen());
    let address = client.local_addr().unwrap();
    drop(client);
    assert_eq!(world.worker().one().head.remote, Some(address));
}

#[test]
fn an_ipv6_listener_without_a_host_takes_ipv4_too() {
    let world = World::new();
    let spec = ListenSpec::Tcp {
        host: None,
        port: 0,
        backlog: 128,
        ipv6_only: false,
    };
    let port = world.server.listen(spec).unwrap().port();
    let worker = world.worker();
    let v4 = client(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    let remote = worker.one().head.remote.unwrap();
    assert_eq!(remote.ip().to_canonical(), v4.local_addr().unwrap().ip());
    // Only if the system has IPv6.
    if let Ok(v6) = TcpStream::connect((Ipv6Addr::LOCALHOST, port)) {
        let taken = worker.one();
        assert!(is_of(&taken, &v6));
        assert_eq!(taken.head.family, Family::Ipv6);
    }
}

#[test]
fn a_port_in_use_is_an_error_and_the_server_keeps_running() {
    let world = World::new();
    let address = world.listen();
    let error = world.server.listen(tcp(address.ip(), address.port()));
    assert_eq!(errno(error), (Errno::EADDRINUSE, "listen"));
    drop(client(address));
    world.worker().one();
}

#[test]
fn a_backlog_below_zero_is_an_error() {
    let error = World::new().server.listen(ListenSpec::Tcp {
        host: Some(Ipv4Addr::LOCALHOST.into()),
        port: 0,
        backlog: -1,
        ipv6_only: false,
    });
    assert_eq!(errno(error).0, Errno::EINVAL);
}

#[test]
fn a_queue_of_length_0_cannot_be_configured() {
    let error = Config::new(0, None, PolicyName::LeastBusy).unwrap_err();
    let ConfigError::OutOfRange { option, value, .. } = error;
    assert_eq!((option, value.as_str()), ("maxQueue", "0"));
}

#[test]
fn a_unix_listener_answers_and_removes_its_path() {
    let (folder, world) = (Folder::new("answers"), World::new());
    let path = folder.path("socket");
    world.server.listen(unix(&path)).unwrap();
    let mut client = UnixStream::connect(&path).unwrap();
    client.set_read_timeout(Some(BOUND)).unwrap();
    let worker = world.worker();
    let taken = worker.one();
    assert_eq!(
        (taken.head.family, taken.head.remote, taken.head.local_port),
        (Family::Unix, None, 0)
    );
    let mut stream = UnixStream::from(taken.fd);
    stream.write_all(b"hello").unwrap();
    drop(stream);
    let mut text = String::new();
    client.read_to_string(&mut text).unwrap();
    assert_eq!(text, "hello");
    world.server.destroy();
    assert!(!path.exists());
}

#[test]
fn a_drain_removes_the_path_of_a_unix_listener() {
    let (folder, world) = (Folder::new("drain"), World::new());
    let path = folder.path("socket");
    world.server.listen(unix(&path)).unwrap();
    world.server.drain();
    until_true("the path is removed", || !path.exists());
}

#[test]
fn a_path_that_a_successor_has_replaced_stays() {
    let (folder, world) = (Folder::new("successor"), World::new());
    let path = folder.path("socket");
    world.server.listen(unix(&path)).unwrap();
    // A successor renames its socket to the path. It was created while the first existed, so its inode is different.
    let other = folder.path("other");
    let _successor = UnixListener::bind(&other).unwrap();
    std::fs::rename(&other, &path).unwrap();
    world.server.destroy();
    assert!(path.exists());
}

#[test]
fn a_path_in_use_is_an_error_and_stays() {
    let (folder, world) = (Folder::new("in-use"), World::new());
    let path = folder.path("socket");
    let _other = UnixListener::bind(&path).unwrap();
    assert_eq!(errno(world.server.listen(unix(&path))), (Errno::EADDRINUSE, "listen"));
    world.server.destroy();
    assert!(path.exists());
}

#[test]
fn a_path_that_is_too_long_is_an_error() {
    let path = PathBuf::from("/tmp").join("x".repeat(200));
    assert_eq!(errno(World::new().server.listen(unix(&path))).0, Errno::ENAMETOOLONG);
}

#[test]
fn a_path_can_be_opened_to_all_users() {
    let (folder, world) = (Folder::new("mode"), World::new());
    let path = folder.path("socket");
    let spec = ListenSpec::Unix {
        path: path.clone(),
        backlog: 16,
        readable_all: true,
        writable_all: true,
    };
    world.server.listen(spec).unwrap();
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o666, 0o666);
}

#[test]
fn an_inherited_listener_is_adopted_with_its_backlog() {
    let theirs = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = theirs.local_addr().unwrap();
    let client = client(address);
    let world = World::new();
    let adopted = world.server.listen(ListenSpec::Inherited(OwnedFd::from(theirs)));
    assert_eq!(adopted, Ok(ListenerAddress::Tcp(address)));
    answer(world.worker().one(), "adopted");
    assert_eq!(answer_to(client), "adopted");
}

#[test]
fn an_inherited_unix_listener_keeps_its_path() {
    let folder = Folder::new("inherited");
    let path = folder.path("socket");
    let theirs = UnixListener::bind(&path).unwrap();
    let world = World::new();
    let adopted = world.server.listen(ListenSpec::Inherited(OwnedFd::from(theirs)));
    assert_eq!(adopted, Ok(ListenerAddress::Unix(path.clone())));
    world.server.destroy();
    assert!(path.exists());
}

#[test]
fn a_descriptor_that_does_not_listen_is_not_adopted() {
    let world = World::new();
    let (one, _other) = UnixStream::pair().unwrap();
    let error = world.server.listen(ListenSpec::Inherited(OwnedFd::from(one)));
    assert_eq!(errno(error).0, Errno::EINVAL);
    let file = std::fs::File::open("/dev/null").unwrap();
    let error = world.server.listen(ListenSpec::Inherited(OwnedFd::from(file)));
    assert_eq!(errno(error).0, Errno::ENOTSOCK);
}

#[test]
fn while_the_queue_is_full_connections_stay_in_the_backlog() {
    let world = World::with(&queue_of(2));
    let address = world.listen();
    let clients = clients(address, 6);
    world.await_queued(2);
    until_true("accepting pauses", || world.server.is_paused());
    assert!(clients.iter().all(still_waits));
    assert_eq!(world.server.stats().accepted, 2);
    let worker = world.worker();
    for client in clients {
        let taken = worker.one();
        assert!(is_of(&taken, &client));
        answer(taken, "late");
        assert_eq!(answer_to(client), "late");
    }
    assert_eq!(world.server.stats().max_queued, 2);
    until_true("accepting continues", || !world.server.is_paused());
}

#[test]
fn one_queue_limits_all_listeners() {
    let world = World::with(&queue_of(3));
    let (one, two) = (world.listen(), world.listen());
    let clients: Vec<_> = [one, two, one, two, one, two].map(client).into();
    world.await_queued(3);
    assert!(clients.iter().all(still_waits));
    assert_eq!(world.server.stats().accepted, 3);
    assert_eq!(world.worker().take(6).len(), 6);
}

#[test]
fn a_connection_that_waits_too_long_is_reset_counted_and_reported() {
    let limit = Duration::from_millis(30);
    let world = World::with(&Config::new(8, Some(limit), PolicyName::LeastBusy).unwrap());
    let address = world.listen();
    let mut client = client(address);
    let here = client.local_addr().unwrap();
    let error = client.read(&mut [0]).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    let (remote, port, waited) = world.notice("the reset is reported", |notice| match notice {
        Notice::Shed {
            remote,
            local_port,
            waited,
            ..
        } => Some((*remote, *local_port, *waited)),
        _ => None,
    });
    assert_eq!((remote, port), (Some(here), address.port()));
    assert!(waited >= limit);
    world.stats("it is counted", |stats| stats.shed == 1 && stats.queued == 0);
    // Its permit is free again.
    let next = crate::world::client(address);
    answer(world.worker().one(), "in time");
    assert_eq!(answer_to(next), "in time");
}

#[test]
fn a_connection_that_a_blocked_worker_leaves_untaken_is_reset_at_the_queue_timeout() {
    let limit = Duration::from_millis(100);
    let world = World::with(&Config::new(8, Some(limit), PolicyName::LeastBusy).unwrap());
    let worker = world.worker();
    worker.grant_and_block(2);
    // Two are sent to the worker, one stays in the queue: the same limit applies to all.
    for mut client in clients(world.listen(), 3) {
        let error = client.read(&mut [0]).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    }
    world.stats("all are counted", |stats| {
        (stats.shed, stats.requeued, stats.handed_off, stats.queued) == (3, 2, 0, 0)
    });
}

#[test]
fn a_timeout_of_zero_is_none() {
    let config = Config::new(1, Some(Duration::ZERO), PolicyName::LeastBusy).unwrap();
    assert_eq!(config.queue_timeout(), None);
}

fn errno(result: Result<ListenerAddress, ListenError>) -> (Errno, &'static str) {
    match result.unwrap_err() {
        ListenError::System(error) => (error.errno, error.syscall),
        other => panic!("{other:?} is not a system error"),
    }
}

fn unix(path: &Path) -> ListenSpec {
    ListenSpec::Unix {
        path: path.to_path_buf(),
        backlog: 16,
        readable_all: false,
        writable_all: false,
    }
}

/// A private folder, removed on drop.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("ssc-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // Leftover files in a temporary folder are not a failure.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
