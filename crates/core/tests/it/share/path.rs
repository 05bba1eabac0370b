//! Creation and removal of shared paths.

use std::fs::{self, File};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::path::{Path, PathBuf};
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::errno::Errno;
use socketserver_core::{ListenError, ShareSpec, SystemError};

use super::{Folder, dial, spec, worker};
use crate::world::World;

fn errno(world: &World, spec: ShareSpec) -> Errno {
    match world.server.share(spec) {
        Err(ListenError::System(SystemError {
            syscall: "listen",
            errno,
        })) => errno,
        other => panic!("{other:?}"),
    }
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777
}

#[test]
fn a_path_appears_with_its_permissions_and_a_listening_server() {
    let (folder, world) = (Folder::new(), World::new());
    let path = folder.file("ctl");
    let (over, mut seen) = (AtomicBool::new(false), 0);
    std::thread::scope(|scope| {
        let watcher = scope.spawn(|| {
            let mut seen = 0;
            while !over.load(Ordering::Relaxed) {
                if let Ok(file) = fs::symlink_metadata(&path) {
                    assert_eq!(file.permissions().mode() & 0o7777, 0o620);
                    assert!(!matches!(dial(&path), Err(error) if error.errno == Errno::ECONNREFUSED && path_is(&path, &file)));
                    seen += 1;
                }
            }
            seen
        });
        for _ in 0..300 {
            let share = world.server.share(ShareSpec {
                mode: 0o620,
                ..spec(&path)
            });
            world.server.unshare(share.unwrap());
        }
        let share = world
            .server
            .share(ShareSpec {
                mode: 0o620,
                ..spec(&path)
            })
            .unwrap();
        crate::wait::until_true("it is seen", || dial(&path).is_ok());
        std::thread::yield_now();
        over.store(true, Ordering::Relaxed);
        seen += watcher.join().unwrap();
        world.server.unshare(share);
    });
    assert!(seen > 0);
    assert_eq!(folder.names(), [""; 0]);
}

/// Returns whether `path` is still this file. A file that was removed meanwhile may refuse connections.
fn path_is(path: &Path, file: &fs::Metadata) -> bool {
    fs::symlink_metadata(path).is_ok_and(|now| (now.ino(), now.mtime_nsec()) == (file.ino(), file.mtime_nsec()))
}

#[test]
fn the_permissions_do_not_depend_on_the_umask() {
    let (folder, world) = (Folder::new(), World::new());
    for asked in [0o600, 0o666, 0o000, 0o777] {
        let path = folder.file(&format!("{asked:o}"));
        world
            .server
            .share(ShareSpec {
                mode: asked,
                ..spec(&path)
            })
            .unwrap();
        assert_eq!(mode(&path), asked);
    }
    // No other file is left.
    assert_eq!(folder.names(), ["0", "600", "666", "777"]);
}

#[test]
fn a_stale_socket_is_replaced() {
    let (folder, world) = (Folder::new(), World::new());
    let path = folder.file("ctl");
    drop(UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    world.server.share(spec(&path)).unwrap();
    assert_eq!(folder.names(), ["ctl"]);
    worker(&world, &path);
}

#[test]
fn any_other_file_stays_and_the_address_is_in_use() {
    let (folder, world) = (Folder::new(), World::new());
    let file = |name: &str| folder.file(name);
    let answering = UnixListener::bind(file("answers")).unwrap();
    let datagrams = UnixDatagram::bind(file("datagrams")).unwrap();
    File::create(file("file")).unwrap();
    fs::create_dir(file("folder")).unwrap();
    std::os::unix::fs::symlink(file("answers"), file("link")).unwrap();
    std::os::unix::fs::symlink(file("nowhere"), file("dangling")).unwrap();
    let before = folder.names();
    for name in &before {
        assert_eq!(errno(&world, spec(&file(name))), Errno::EADDRINUSE, "{name}");
    }
    assert_eq!(folder.names(), before);
    drop((answering, datagrams));
}

#[test]
fn an_invalid_path_is_an_error_and_leaves_no_file() {
    let (folder, world) = (Folder::new(), World::new());
    let long = folder.file(&"x".repeat(120));
    assert_eq!(errno(&world, spec(&long)), Errno::ENAMETOOLONG);
    assert_eq!(errno(&world, spec(&folder.file("no/such"))), Errno::ENOENT);
    File::create(folder.file("file")).unwrap();
    assert_eq!(errno(&world, spec(&folder.file("file/ctl"))), Errno::ENOTDIR);
    assert_eq!(errno(&world, spec(Path::new(""))), Errno::EINVAL);
    assert_eq!(
        errno(&world, spec(Path::new("\0"))),
        if cfg!(target_os = "linux") {
            Errno::EINVAL
        } else {
            Errno::EOPNOTSUPP
        }
    );
    for workers in [0, 65_536] {
        let few = ShareSpec {
            max_workers: workers,
            ..spec(&folder.file("ctl"))
        };
        assert!(matches!(world.server.share(few), Err(ListenError::Config(_))));
    }
    assert_eq!(folder.names(), ["file"]);
}

#[test]
fn a_file_that_replaced_the_socket_is_not_removed() {
    let (folder, world) = (Folder::new(), World::new());
    let path = folder.file("ctl");
    let share = world.server.share(spec(&path)).unwrap();
    fs::remove_file(&path).unwrap();
    let successor = UnixListener::bind(&path).unwrap();
    world.server.unshare(share);
    assert!(fs::symlink_metadata(&path).unwrap().file_type().is_socket());
    drop(successor);
}

#[test]
fn one_of_several_servers_gets_a_stale_path() {
    let folder = Folder::new();
    let worlds: Vec<World> = (0..4).map(|_| World::new()).collect();
    for round in 0..40 {
        let path: PathBuf = folder.file(&round.to_string());
        drop(UnixListener::bind(&path).unwrap());
        let start = Barrier::new(worlds.len());
        let winners: Vec<_> = std::thread::scope(|scope| {
            let tries: Vec<_> = worlds
                .iter()
                .map(|world| {
                    let (start, path) = (&start, &path);
                    scope.spawn(move || {
                        start.wait();
                        world.server.share(spec(path)).ok().map(|share| (world, share))
                    })
                })
                .collect();
            tries.into_iter().filter_map(|one| one.join().unwrap()).collect()
        });
        let [(world, share)] = winners[..] else {
            panic!("{} of them have it in round {round}", winners.len());
        };
        drop(worker(world, &path));
        world.server.unshare(share);
    }
    assert_eq!(folder.names(), [""; 0]);
}
