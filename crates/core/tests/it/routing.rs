//! Connections through a proxy: the header is taken off, the worker learns the client, and nobody else gets in.

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use nix::sys::socket::{MsgFlags, recv};
use socketserver_core::parent::dispatcher::rules::recall::RECALL_AFTER;
use socketserver_core::parent::routing::affinity::of_address;
use socketserver_core::parent::routing::rendezvous::weight;
use socketserver_core::parent::routing::request_head::Place;
use socketserver_core::parent::routing::server_names::ServerNames;
use socketserver_core::parent::routing::sources::Sources;
use socketserver_core::parent::routing::spec::{NamesSpec, Others, ProxySpec, RoutingSpec, StickyBy, StickySpec};
use socketserver_core::protocol::records::Credit;
use socketserver_core::protocol::session_id::session_id;
use socketserver_core::worker::lane::Taken;
use socketserver_core::{ListenSpec, ListenerAddress};

use crate::peer::{ParentFrame, hello};
use crate::wait::{BOUND, until, until_true};
use crate::world::{Worker, World, answer, answer_to, client, is_of, queue_of, still_waits, tcp};

const LINE: &[u8] = b"PROXY TCP4 192.0.2.1 198.51.100.7 51234 443\r\n";

fn from(sources: &[&str]) -> RoutingSpec {
    RoutingSpec {
        proxy: Some(ProxySpec {
            from: Sources::parse(sources.iter().copied()).unwrap(),
            others: Others::Direct,
            timeout: BOUND,
        }),
        ..RoutingSpec::default()
    }
}

fn from_loopback() -> RoutingSpec {
    from(&["127.0.0.0/8"])
}

fn with_timeout(timeout: Duration) -> RoutingSpec {
    let mut spec = from_loopback();
    spec.proxy.as_mut().unwrap().timeout = timeout;
    spec
}

fn listen(world: &World, routing: RoutingSpec) -> SocketAddr {
    let spec = tcp(std::net::Ipv4Addr::LOCALHOST.into(), 0);
    match world.server.listen_routed(spec, Some(routing)).unwrap() {
        ListenerAddress::Tcp(address) => address,
        ListenerAddress::Unix(path) => panic!("{} is not a TCP address", path.display()),
    }
}

fn await_routed(world: &World, result: &str, count: u64) {
    world.stats(result, |stats| stats.routed.get(result) == Some(&count));
}

/// Returns what a worker reads from its connection without waiting.
fn unread(taken: &Taken) -> Vec<u8> {
    let mut bytes = [0; 4096];
    let raw = std::os::fd::AsRawFd::as_raw_fd(&taken.fd);
    let length = recv(raw, &mut bytes, MsgFlags::MSG_DONTWAIT).unwrap_or(0);
    bytes[..length].to_vec()
}

fn is_reset(mut client: &TcpStream) -> bool {
    let read = client.read(&mut [0]);
    read.is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionReset)
}

/// Returns a header of version 2 with a TLV of this size.
fn binary(tlv: usize) -> Vec<u8> {
    let mut bytes = b"\r\n\r\n\0\r\nQUIT\n\x21\x11".to_vec();
    let length = u16::try_from(12 + 3 + tlv).unwrap();
    bytes.extend(length.to_be_bytes());
    bytes.extend([192, 0, 2, 1, 198, 51, 100, 7, 0xc8, 0x22, 0x01, 0xbb, 0xe0]);
    bytes.extend(u16::try_from(tlv).unwrap().to_be_bytes());
    bytes.extend(vec![7; tlv]);
    bytes
}

#[test]
fn a_worker_learns_the_client_and_reads_what_follows_the_header() {
    let world = World::new();
    let address = listen(&world, from_loopback());
    let worker = world.worker();
    for header in [LINE, &binary(4000)] {
        let mut client = client(address);
        client.write_all(&[header, b"hello"].concat()).unwrap();
        let taken = worker.one();
        assert_eq!(unread(&taken), b"hello");
        assert_eq!(taken.head.remote, Some("192.0.2.1:51234".parse().unwrap()));
        assert_eq!(taken.head.local_port, address.port());
        let proxied = taken.proxied.as_ref().unwrap();
        assert_eq!(proxied.client, "192.0.2.1:51234".parse().unwrap());
        assert_eq!(proxied.local, "198.51.100.7:443".parse().unwrap());
        assert_eq!(proxied.via, Some(client.local_addr().unwrap()));
        assert_eq!(proxied.tlvs.len(), if proxied.version == 1 { 0 } else { 4003 });
        answer(taken, "answer");
        assert_eq!(answer_to(client), "answer");
    }
    await_routed(&world, "proxied", 2);
}

#[test]
fn a_header_may_arrive_in_parts_and_leaves_the_connection_as_it_was() {
    let world = World::new();
    let address = listen(&world, from_loopback());
    let worker = world.worker();
    for header in [LINE, &binary(10)] {
        let mut client = client(address);
        // The first look finds nothing.
        assert!(still_waits(&client));
        client.write_all(&header[..7]).unwrap();
        assert!(still_waits(&client));
        client.write_all(&header[7..]).unwrap();
        let taken = worker.one();
        assert_eq!(unread(&taken), b"");
        let mut stream = TcpStream::from(taken.fd);
        stream.set_nonblocking(false).unwrap();
        stream.set_read_timeout(Some(BOUND)).unwrap();
        // A low-water mark above 1 would make poll(2) of the worker wait for more.
        client.write_all(b"x").unwrap();
        let mut poll = [nix::poll::PollFd::new(
            std::os::fd::AsFd::as_fd(&stream),
            nix::poll::PollFlags::POLLIN,
        )];
        assert_eq!(nix::poll::poll(&mut poll, 2000_u16), Ok(1));
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        assert_eq!(&byte, b"x");
    }
}

#[test]
fn a_header_byte_by_byte_is_awaited_whole() {
    let world = World::new();
    let mut client = client(listen(&world, from_loopback()));
    let header = binary(100);
    client.set_nodelay(true).unwrap();
    for byte in &header {
        client.write_all(&[*byte]).unwrap();
    }
    let taken = world.worker().one();
    assert_eq!(taken.proxied.unwrap().tlvs.len(), 103);
}

#[test]
fn a_local_header_keeps_the_address_of_the_proxy() {
    let world = World::new();
    let mut client = client(listen(&world, from_loopback()));
    client.write_all(b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0check").unwrap();
    let taken = world.worker().one();
    assert_eq!(taken.head.remote, Some(client.local_addr().unwrap()));
    assert_eq!((unread(&taken).as_slice(), taken.proxied), (&b"check"[..], None));
    await_routed(&world, "local", 1);
}

#[test]
fn a_wrong_header_is_reset_and_counted_by_reason() {
    let world = World::new();
    let address = listen(&world, from_loopback());
    for (bytes, reason) in [
        (&b"GET / HTTP/1.1\r\n\r\n"[..], "no-header"),
        (b"PROXY TCP4 1.2.3.4\r\n", "malformed-line"),
        (b"\r\n\r\n\0\r\nQUIT\n\x11\x11\0\x0c", "unknown-version"),
        (b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff", "header-too-long"),
    ] {
        let mut client = client(address);
        client.write_all(bytes).unwrap();
        assert!(is_reset(&client), "{reason}");
        await_routed(&world, reason, 1);
    }
    assert_eq!(world.server.stats().accepted, 0);
}

#[test]
fn others_are_their_own_clients_or_are_refused() {
    let world = World::new();
    let direct = client(listen(&world, from(&["192.0.2.0/24", "unix"])));
    let taken = world.worker().one();
    assert_eq!(taken.head.remote, Some(direct.local_addr().unwrap()));
    assert_eq!(taken.proxied, None);
    let mut refusing = from(&["192.0.2.0/24"]);
    refusing.proxy.as_mut().unwrap().others = Others::Refuse;
    let mut refused = client(listen(&world, refusing));
    // A reset that arrives before the write is the error of the write.
    assert!(refused.write_all(LINE).is_err() || is_reset(&refused));
    await_routed(&world, "refused", 1);
}

#[test]
fn a_silent_client_is_reset_after_the_time_from_accept() {
    let world = World::new();
    let address = listen(&world, with_timeout(Duration::from_millis(100)));
    let silent = client(address);
    let mut slow = client(address);
    slow.write_all(&LINE[..9]).unwrap();
    assert!(is_reset(&silent) && is_reset(&slow));
    await_routed(&world, "silent", 2);
}

#[test]
fn a_client_that_disconnects_before_its_header_is_closed_and_counted() {
    let world = World::new();
    let address = listen(&world, from_loopback());
    drop(client(address));
    let mut half = client(address);
    half.write_all(&LINE[..9]).unwrap();
    half.shutdown(Shutdown::Write).unwrap();
    await_routed(&world, "closed", 2);
}

#[test]
fn the_longest_silent_client_makes_room_for_another() {
    let world = World::with(&queue_of(1));
    let mut routing = from_loopback();
    routing.max_pending = 2;
    let address = listen(&world, routing);
    let mut speaking = client(address);
    speaking.write_all(&LINE[..9]).unwrap();
    assert!(still_waits(&speaking));
    let silent = client(address);
    assert!(still_waits(&silent));
    // Neither occupies the queue of one.
    let mut third = client(address);
    assert!(is_reset(&silent));
    await_routed(&world, "evicted", 1);
    third.write_all(LINE).unwrap();
    speaking.write_all(&LINE[9..]).unwrap();
    let worker = world.worker();
    assert_eq!(worker.take(2).len(), 2);
}

#[cfg(target_os = "linux")]
#[test]
fn a_connection_is_watched_only_while_its_header_is_awaited() {
    /// Returns how many descriptors of epoll sets of this process watch a socket.
    fn watchers(inode: u64) -> usize {
        let mut count = 0;
        for entry in fs::read_dir("/proc/self/fdinfo").unwrap().flatten() {
            let text = fs::read_to_string(entry.path()).unwrap_or_default();
            let inode = format!(" ino:{inode:x} ");
            count += text
                .lines()
                .filter(|line| line.starts_with("tfd:") && line.contains(&inode))
                .count();
        }
        count
    }
    /// Returns the inodes of the connections of this process to a port from another one.
    fn inode_of(address: SocketAddr, peer: SocketAddr) -> Option<u64> {
        let table = fs::read_to_string("/proc/self/net/tcp").unwrap();
        let ends = format!("0100007F:{:04X} 0100007F:{:04X}", address.port(), peer.port());
        let row = table.lines().find(|row| row.contains(&ends))?;
        row.split_whitespace().nth(9)?.parse().ok().filter(|&inode| inode != 0)
    }
    let world = World::new();
    let address = listen(&world, from_loopback());
    let worker = world.worker();
    let mut client = client(address);
    let peer = client.local_addr().unwrap();
    let inode = until("the connection is accepted", || inode_of(address, peer));
    until_true("the connection is watched", || watchers(inode) > 0);
    client.write_all(LINE).unwrap();
    let taken = worker.one();
    assert_eq!(watchers(inode), 0);
    drop(taken);
}

#[test]
fn a_drain_waits_for_the_headers_and_a_destroyed_server_resets_them() {
    let world = World::new();
    let address = listen(&world, from_loopback());
    let mut pending = client(address);
    assert!(still_waits(&pending));
    world.server.drain();
    until_true("the listener is closed", || TcpStream::connect(address).is_err());
    let worker = world.worker();
    pending.write_all(LINE).unwrap();
    answer(worker.one(), "late");
    assert_eq!(answer_to(pending), "late");

    let world = World::new();
    let pending = client(listen(&world, from_loopback()));
    assert!(still_waits(&pending));
    world.server.destroy();
    assert!(is_reset(&pending));
}

#[test]
fn the_client_of_a_unix_socket_has_the_address_of_the_header() {
    let world = World::new();
    let path = std::env::temp_dir().join(format!("routing-{}-{}", std::process::id(), crate::world::ATTACHED));
    let spec = ListenSpec::Unix {
        path: path.clone(),
        backlog: 16,
        readable_all: false,
        writable_all: false,
    };
    world.server.listen_routed(spec, Some(from(&["unix"]))).unwrap();
    let mut client = UnixStream::connect(&path).unwrap();
    client.write_all(&[LINE, b"hello"].concat()).unwrap();
    let taken = world.worker().one();
    assert_eq!((taken.head.remote, unread(&taken).as_slice()), (None, &b"hello"[..]));
    let proxied = taken.proxied.unwrap();
    assert_eq!(
        (proxied.client, proxied.via),
        ("192.0.2.1:51234".parse().unwrap(), None)
    );
}

#[test]
fn a_worker_of_an_earlier_version_knows_the_client_too() {
    let world = World::new();
    let address = listen(&world, from_loopback());
    let mut peer = world.peer();
    let mut old = hello();
    (old.oldest, old.newest) = (1, 3);
    peer.send_frames(|frames| {
        frames.hello(old);
        frames.credit([Credit { lane: 0, count: 1 }]);
    });
    assert!(matches!(peer.next_frame(), ParentFrame::Welcome(3)));
    let mut client = client(address);
    client.write_all(LINE).unwrap();
    let ParentFrame::Connections(connections) = peer.next_frame() else {
        panic!("a connection comes");
    };
    assert_eq!(connections[0].0.remote, Some("192.0.2.1:51234".parse().unwrap()));
    assert!(peer.proxied.is_empty());
}

#[test]
fn connections_with_large_headers_arrive_together_and_whole() {
    let world = World::new();
    let address = listen(&world, from_loopback());
    let clients: Vec<_> = (0..40)
        .map(|_| {
            let mut client = client(address);
            client.write_all(&[&binary(3000)[..], b"hello"].concat()).unwrap();
            client
        })
        .collect();
    world.await_queued(40);
    let worker = world.worker();
    for taken in worker.take(40) {
        assert_eq!(taken.proxied.as_ref().unwrap().tlvs.len(), 3003);
        assert_eq!(unread(&taken), b"hello");
        answer(taken, "answer");
    }
    for client in clients {
        assert_eq!(answer_to(client), "answer");
    }
}

#[test]
fn a_connection_that_is_handed_back_keeps_its_client() {
    let world = World::new();
    let address = listen(&world, from_loopback());
    let (first, second) = (world.worker(), world.worker());
    let mut client = client(address);
    client.write_all(LINE).unwrap();
    let taken = first.one();
    first.receiver.hand_back(taken.head.id, taken.fd).unwrap();
    let taken = second.one();
    assert_eq!(taken.head.remote, Some("192.0.2.1:51234".parse().unwrap()));
    assert_eq!(taken.proxied.unwrap().local, "198.51.100.7:443".parse().unwrap());
}

fn sticky(by: StickyBy) -> RoutingSpec {
    RoutingSpec {
        sticky: Some(StickySpec {
            by,
            key: KEY,
            timeout: BOUND,
            strict: false,
            wait: BOUND,
        }),
        ..RoutingSpec::default()
    }
}

const KEY: [u8; 16] = [7; 16];

/// Starts workers of the slots 0 to n-1 with credit for all connections.
fn workers(world: &World, count: u32) -> Vec<Worker> {
    (0..count)
        .map(|slot| {
            let worker = world.worker();
            world.server.assign_slot(worker.channel, slot);
            worker.grant_and_block(1000);
            worker
        })
        .collect()
}

/// Waits until the server has seen the credit of every worker: on a listener without routing, clients that stay connected reach
/// one worker after the other. Then the leases end.
fn await_credit(world: &World, workers: &[Worker]) {
    let address = world.listen();
    let (mut clients, mut taken) = (
        Vec::new(),
        workers.iter().map(|_| Vec::new()).collect::<Vec<Vec<Taken>>>(),
    );
    until_true("every worker has taken a connection", || {
        clients.push(client(address));
        let before = taken.iter().map(Vec::len).sum::<usize>();
        until_true("it is taken", || {
            for (worker, taken) in workers.iter().zip(&mut taken) {
                taken.extend(worker.receiver.exchange(0, 1000, 1000, 0));
            }
            taken.iter().map(Vec::len).sum::<usize>() > before
        });
        taken.iter().all(|taken| !taken.is_empty())
    });
    for (worker, taken) in workers.iter().zip(&taken) {
        worker
            .receiver
            .exchange(0, 1000, 1000, u32::try_from(taken.len()).unwrap());
    }
    world.stats("the leases have ended", |stats| stats.leases == 0);
}

/// Waits until a worker has taken the only waiting connection. Returns the worker's slot and the connection; `None` if the worker
/// was late, so that the connection may have gone to another slot, and later connections may too.
fn take_in_time(workers: &[Worker], since: Instant) -> Option<(usize, Taken)> {
    let taken = until("it is taken", || {
        let mut taken = workers.iter().enumerate();
        taken.find_map(|(slot, worker)| Some((slot, worker.receiver.exchange(0, 1000, 1000, 0).pop()?)))
    });
    (since.elapsed() < RECALL_AFTER).then_some(taken)
}

/// Returns the slots that got two connections of one client; `None` if a worker was late.
fn slots_of_client(host: u8) -> Option<[usize; 2]> {
    let world = World::new();
    let mut spec = sticky(StickyBy::Address);
    spec.proxy = from_loopback().proxy;
    let address = listen(&world, spec);
    let workers = workers(&world, 4);
    await_credit(&world, &workers);
    let mut slots = [0, 0];
    for slot in &mut slots {
        let (began, _client) = (Instant::now(), client_of(address, host));
        let (taken_by, taken) = take_in_time(&workers, began)?;
        drop(taken);
        // The lease ends, so that the load never decides.
        assert!(workers[taken_by].receiver.exchange(0, 1000, 1000, 1).is_empty());
        world.stats("the lease has ended", |stats| stats.leases == 0);
        *slot = taken_by;
    }
    Some(slots)
}

/// Returns how many of 32 connections of one address each worker got, and holds; `None` if a worker was late.
fn shares_of_one_address() -> Option<[usize; 4]> {
    let world = World::new();
    let address = listen(&world, sticky(StickyBy::Address));
    let workers = workers(&world, 4);
    await_credit(&world, &workers);
    let (mut held, mut shares) = (Vec::new(), [0; 4]);
    for count in 1..=32 {
        let (began, client) = (Instant::now(), client(address));
        let (slot, taken) = take_in_time(&workers, began)?;
        held.push((client, taken));
        shares[slot] += 1;
        world.stats("the lease has begun", |stats| stats.leases == count);
    }
    Some(shares)
}

#[test]
fn the_clients_of_an_address_get_the_slot_of_its_hash() {
    for host in 0..4 {
        let slots = until("no worker is late", || slots_of_client(host));
        assert_eq!(slots[0], slots[1], "{host}");
    }
}

#[test]
fn of_one_address_no_slot_gets_more_than_the_load_limit() {
    let shares = until("no worker is late", shares_of_one_address);
    // 1.25 times the mean.
    assert!(shares.iter().all(|&share| share <= 10), "{shares:?}");
}

#[test]
fn a_session_id_brings_its_client_to_its_slot_and_does_not_hold_up_others() {
    let world = World::new();
    let address = listen(&world, sticky(StickyBy::Request(Place::Query("sid".into()))));
    let id = session_id(&KEY, 1, &[9; 13]);
    let request = |id: &str| format!("GET /socket.io/?EIO=4&sid={id} HTTP/1.1\r\n\r\n").into_bytes();
    let first = world.worker();
    world.server.assign_slot(first.channel, 0);
    let mut waiting = client(address);
    waiting.write_all(&request(&id)).unwrap();
    world.await_queued(1);
    // The worker of slot 0 gets the next client, and not this one.
    let mut other = client(address);
    other.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    let taken = first.one();
    assert!(is_of(&taken, &other));
    first.grant_and_block(1);
    let second = world.worker();
    world.server.assign_slot(second.channel, 1);
    let taken = second.one();
    assert!(is_of(&taken, &waiting));
    assert_eq!(unread(&taken), request(&id));
    await_routed(&world, "sticky", 1);
    await_routed(&world, "no-key", 1);
}

#[test]
fn a_session_whose_slot_is_gone_goes_to_any_worker_after_its_time() {
    let world = World::new();
    let mut spec = sticky(StickyBy::Request(Place::Cookie("id".into())));
    spec.sticky.as_mut().unwrap().wait = Duration::from_millis(50);
    let address = listen(&world, spec);
    let worker = world.worker();
    world.server.assign_slot(worker.channel, 0);
    let mut client = client(address);
    let id = session_id(&KEY, 5, &[9; 13]);
    client
        .write_all(format!("GET / HTTP/1.1\r\nCookie: id={id}\r\n\r\n").as_bytes())
        .unwrap();
    assert!(worker.one().head.waited >= 50_000);
}

/// Listens with a strict hash of the client's address, which a header names.
fn listen_strictly(world: &World, wait: Duration) -> SocketAddr {
    let mut spec = sticky(StickyBy::Address);
    spec.proxy = from_loopback().proxy;
    let sticky = spec.sticky.as_mut().unwrap();
    (sticky.strict, sticky.wait) = (true, wait);
    listen(world, spec)
}

/// Connects a client with this number as the last part of its address.
fn client_of(address: SocketAddr, host: u8) -> TcpStream {
    let mut client = client(address);
    let line = format!("PROXY TCP4 192.0.2.{host} 198.51.100.7 1 443\r\n");
    client.write_all(line.as_bytes()).unwrap();
    client
}

/// Returns the number of a client that belongs to one of two slots.
fn host_of_slot(slot: u32) -> u8 {
    let belongs = |host: &u8| {
        let hash = of_address(&KEY, SocketAddr::from(([192, 0, 2, *host], 1)));
        weight(hash, slot) > weight(hash, 1 - slot)
    };
    (0..=u8::MAX).find(belongs).unwrap()
}

/// Returns whether a connection is that of a client with this number.
fn is_host(taken: &Taken, host: u8) -> bool {
    taken.head.remote.map(|remote| remote.ip()) == Some([192, 0, 2, host].into())
}

#[test]
fn a_strict_hash_waits_for_its_slot_and_does_not_hold_up_others() {
    let world = World::new();
    world.server.set_slots(0, 2);
    let address = listen_strictly(&world, BOUND);
    let pair = [0, 1].map(|slot| {
        let worker = world.worker();
        world.server.assign_slot(worker.channel, slot);
        worker
    });
    let [busy, free] = [0, 1].map(host_of_slot);
    let _waiting = client_of(address, busy);
    world.await_queued(1);
    let _other = client_of(address, free);
    assert!(is_host(&pair[1].one(), free));
    pair[1].grant_and_block(1000);
    world.await_queued(1);
    assert!(is_host(&pair[0].one(), busy));
}

#[test]
fn a_strict_hash_keeps_its_slot_while_workers_restart() {
    for restarting in [1, 2] {
        let world = World::new();
        world.server.set_slots(0, 2);
        // Without a pool that is known to serve the port, the hash would be a preference.
        world.server.set_slots(100, 1);
        let address = listen_strictly(&world, BOUND);
        let mut pair = workers(&world, 2);
        await_credit(&world, &pair);
        let host = host_of_slot(0);
        let _first = client_of(address, host);
        assert!(is_host(&pair[0].one(), host));
        pair.drain(..restarting);
        world.stats("the workers have gone", |stats| stats.workers == 2 - restarting as u64);
        let _waiting = client_of(address, host);
        world.await_queued(1);
        if restarting == 2 {
            // The successor of the other slot does not get the connection.
            let other = world.worker();
            world.server.assign_slot(other.channel, 1);
            let _next = client_of(address, host_of_slot(1));
            assert!(is_host(&other.one(), host_of_slot(1)));
            other.grant_and_block(1000);
            pair.push(other);
        }
        world.await_queued(1);
        let successor = world.worker();
        world.server.assign_slot(successor.channel, 0);
        assert!(is_host(&successor.one(), host));
    }
}

/// Returns a ClientHello with a host name.
fn hello_of(host: &str) -> Vec<u8> {
    let prefixed = |prefix: usize, bytes: &[u8]| {
        let length = u32::try_from(bytes.len()).unwrap().to_be_bytes();
        [&length[4 - prefix..], bytes].concat()
    };
    let names = prefixed(2, &[&[0][..], &prefixed(2, host.as_bytes())].concat());
    let extensions = prefixed(2, &[&[0, 0][..], &prefixed(2, &names)].concat());
    let body = [&[3, 3][..], &[9; 32], &[0, 0, 2, 0x13, 1, 1, 0], &extensions].concat();
    let message = [&[1][..], &prefixed(3, &body)].concat();
    [&[22, 3, 1][..], &prefixed(2, &message)].concat()
}

#[test]
fn a_host_name_brings_a_connection_to_the_workers_of_its_port() {
    let world = World::new();
    let mut names = ServerNames::default();
    names.insert("a.test", 8001);
    names.insert("*.b.test", 8002);
    let mut spec = sticky(StickyBy::ServerName);
    spec.names = Some(NamesSpec { names, timeout: BOUND });
    let address = listen(&world, spec);
    let worker = world.worker();
    let ask = |host: &str, lane| {
        let mut client = client(address);
        client.write_all(&hello_of(host)).unwrap();
        let taken = worker.take_on(lane, 1).remove(0);
        assert!(is_of(&taken, &client));
        assert_eq!((taken.head.lane, taken.head.local_port), (lane, address.port()));
        assert_eq!(unread(&taken), hello_of(host));
    };
    ask("a.test", 8001);
    ask("x.b.test", 8002);
    ask("other.test", address.port());
    await_routed(&world, "named", 2);
    await_routed(&world, "other-name", 1);
    await_routed(&world, "sticky", 3);
}

#[test]
fn a_strict_hash_goes_to_any_worker_after_its_time() {
    let world = World::new();
    // The workers of all other slots do not start.
    world.server.set_slots(0, 64);
    let address = listen_strictly(&world, Duration::from_millis(50));
    let worker = world.worker();
    world.server.assign_slot(worker.channel, 0);
    worker.grant_and_block(1000);
    let waited: Vec<u32> = (0..8)
        .map(|host| {
            let _client = client_of(address, host);
            worker.one().head.waited
        })
        .collect();
    assert!(waited.iter().any(|&waited| waited >= 50_000), "{waited:?}");
}

#[test]
fn a_client_that_does_not_tell_goes_to_any_worker() {
    let world = World::new();
    let mut spec = sticky(StickyBy::ServerName);
    spec.sticky.as_mut().unwrap().timeout = Duration::from_millis(50);
    let address = listen(&world, spec);
    let worker = world.worker();
    let silent = client(address);
    assert!(is_of(&worker.one(), &silent));
    let mut other = client(address);
    other.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    assert!(is_of(&worker.one(), &other));
    await_routed(&world, "no-key-silent", 1);
    await_routed(&world, "not-tls", 1);
}
