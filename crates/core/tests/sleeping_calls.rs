//! Finds calls that may sleep, because another process can delay them: the thread that accepts and dispatches must make none, nor
//! a JavaScript thread with what another process has sent. Each call is allowed only in the files that are listed for it.

#![allow(clippy::unwrap_used, reason = "a test stops at the first failure")]

use std::fs;
use std::path::Path;

mod sources;

use sources::{files, production};

/// Calls of one kind, and the files, or folders, that may make them, each with the reason.
struct Kind {
    calls: &'static [&'static str],
    allowed: &'static [(&'static str, &'static str)],
}

const KINDS: [Kind; 6] = [
    // They wait for a file system.
    Kind {
        calls: &[
            "fs::",
            "File::",
            "Flock::",
            "unlink(",
            "unlinkat(",
            "remove_file(",
            "remove_dir(",
            "link(",
            "linkat(",
            "hard_link(",
            "rename(",
            "renameat(",
            "fchmod(",
            "fchmodat(",
            "mkdtemp(",
            "set_permissions(",
            "symlink_metadata(",
            "stat(",
            "fstat(",
            "fstatat(",
            "lstat(",
            "statx(",
            "canonicalize(",
            "exists(",
        ],
        allowed: &[
            ("core/parent/metrics/process.rs", "files of proc(5)"),
            ("core/sys/unix_socket/", "socket files, see the callers below"),
            (
                "core/sys/file_type.rs",
                "statx(2) of what the kernel knows; fstat(2) only where that is not possible",
            ),
            ("core/sys/socket.rs", "the inode of a socket, which has no file system"),
            ("core/sys/credentials.rs", "two files of proc(5)"),
            ("core/channel/scoreboard.rs", "in the worker, of memory from the parent"),
        ],
    },
    // They create and remove socket files.
    Kind {
        calls: &[
            "Listener::open(",
            "Opened::open(",
            "unix_socket::listen(",
            "UnixListener::bind(",
            "OwnPath::new(",
            "add_permissions(",
            "drop(path)",
        ],
        allowed: &[
            ("core/admin/mod.rs", "on the thread of the owner, which names the path"),
            ("core/sys/unix_socket/", "the definitions"),
            ("core/parent/listener.rs", "in `Listener::open`"),
            ("core/parent/share/mod.rs", "in `Opened::open`"),
            (
                "core/parent/server.rs",
                "on the thread of the owner, which names the path",
            ),
            ("core/parent/listen_requests.rs", "in `spawn_blocking`; TCP at once"),
            ("core/parent/acceptor.rs", "in `spawn_blocking`"),
            (
                "napi/descriptors/listener.rs",
                "on the thread of the caller, which names the path",
            ),
        ],
    },
    // They ask a name service.
    Kind {
        calls: &[
            "getgroups(",
            "initgroups(",
            "getgrouplist(",
            "getpwnam(",
            "getgrnam(",
            "User::from_",
            "Group::from_",
            "getaddrinfo(",
            "to_socket_addrs(",
            "lookup_host(",
        ],
        allowed: &[],
    },
    // They wait for another thread.
    Kind {
        calls: &[
            "thread::sleep(",
            "thread.join(",
            "block_on(",
            "blocking_recv(",
            "blocking_send(",
            "blocking_lock(",
            "recv_timeout(",
            "wait_timeout(",
            "closer::settle(",
            "settle(CLOSE_TIMEOUT)",
            "close_within(",
        ],
        allowed: &[
            ("core/admin/mod.rs", "on the thread of the owner"),
            ("core/sys/closer.rs", "the closing threads, and the callers below"),
            (
                "core/sys/unix_socket/bind.rs",
                "the lock of a folder, a tenth of a second at most",
            ),
            ("core/parent/server.rs", "on the thread of the owner"),
            (
                "core/descriptors/stream.rs",
                "a receiver at its limit of descriptors, a tenth of a second at most",
            ),
            ("napi/descriptors/listener.rs", "`close`, a tenth of a second at most"),
            ("napi/descriptors/descriptor.rs", "`close`, a tenth of a second at most"),
        ],
    },
    // They take a descriptor from the closer, so that the thread that drops the descriptor closes it.
    Kind {
        calls: &["into_owned", "ForeignFd::own(", "from_raw_fd("],
        allowed: &[
            ("core/sys/accept.rs", "a new connection, which becomes a `Connection`"),
            ("core/sys/ancillary.rs", "becomes a `ForeignFd`; a pidfd"),
            ("core/parent/listener.rs", "a TCP listener: its close never sleeps"),
            (
                "core/parent/connection.rs",
                "a connection that no untrusted worker has had",
            ),
            ("core/worker/lane.rs", "given to the caller"),
            ("core/worker/listen_channel.rs", "given to the caller"),
            ("napi/raw_fd.rs", "the caller owns the descriptor"),
            ("napi/address.rs", "of a path"),
            ("napi/descriptors/descriptor.rs", "given to JavaScript"),
            ("napi/receiver/kept.rs", "given to JavaScript"),
        ],
    },
    // They take the lock of a socket, which another process can hold during a page fault of its sendmsg(2).
    Kind {
        calls: &[
            "getsockname(",
            "getsockname::",
            "getpeername(",
            "getpeername::",
            "setsockopt(",
        ],
        allowed: &[
            (
                "core/sys/linger.rs",
                "in the closer, and of sockets that no other process has had",
            ),
            ("core/sys/socket.rs", "macOS"),
            ("core/worker/", "of channels, which are Unix sockets"),
            ("core/sys/udp.rs", "of new sockets"),
            ("core/parent/listener.rs", "of listeners"),
            (
                "core/parent/returned_socket.rs",
                "of a socket that a worker hands back, on a thread of its own",
            ),
            ("core/descriptors/kind.rs", "macOS"),
        ],
    },
];

#[test]
fn calls_that_may_sleep_are_made_only_where_they_are_allowed() {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut sources = Vec::new();
    for name in ["core", "napi"] {
        let folder = crates.join(name).join("src");
        for file in files(&folder) {
            let path = format!("{name}/{}", file.strip_prefix(&folder).unwrap().display());
            sources.push((path, production(&fs::read_to_string(&file).unwrap())));
        }
    }
    assert!(sources.len() > 60, "only {} files were read", sources.len());
    let mut wrong = Vec::new();
    for Kind { calls, allowed } in KINDS {
        let made = |source: &str| calls.iter().copied().find(|call| makes(source, call));
        for (path, source) in &sources {
            let is_allowed = allowed.iter().any(|(prefix, _)| path.starts_with(prefix));
            if let Some(call) = made(source).filter(|_| !is_allowed) {
                wrong.push(format!("{path}: {call}"));
            }
        }
        for (prefix, _) in allowed {
            let mut those = sources.iter().filter(|(path, _)| path.starts_with(prefix));
            if !those.any(|(_, source)| made(source).is_some()) {
                wrong.push(format!("{prefix} makes none of these calls: remove the entry"));
            }
        }
    }
    assert!(wrong.is_empty(), "calls that may sleep:\n{}", wrong.join("\n"));
}

/// Returns whether a source calls a function, which is not the end of a longer name or a definition.
fn makes(source: &str, call: &str) -> bool {
    source.match_indices(call).any(|(at, _)| {
        let before = &source[..at];
        !before.ends_with(|c: char| c.is_ascii_alphanumeric() || c == '_') && !before.ends_with("fn ")
    })
}
