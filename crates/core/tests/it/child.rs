//! Runs tests in separate processes, whose descriptors they count or limit.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::process::Command;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use socketserver_core::sys::closer::settle;

use crate::wait::BOUND;

const MARK: &str = "SOCKETSERVER_TEST_CHILD";

/// Runs `body` in a child process: this test binary again, with one test. `name` is the path of that test.
pub fn alone(name: &str, body: impl FnOnce()) {
    if std::env::var_os(MARK).is_some() {
        return body();
    }
    let output = Command::new(std::env::current_exe().unwrap())
        .args([name, "--exact", "--nocapture", "--test-threads=1"])
        .env(MARK, "1")
        .output()
        .unwrap();
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && stdout.contains("1 passed"),
        "{name} in a child: {}\n{stdout}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Returns how many descriptors this process has open.
pub fn open_descriptors() -> usize {
    settle(BOUND);
    let folder = if cfg!(target_os = "linux") {
        "/proc/self/fd"
    } else {
        "/dev/fd"
    };
    // The count includes the descriptor that reads the folder.
    std::fs::read_dir(folder).unwrap().count() - 1
}

/// Limits this process to `more` further descriptors.
pub fn limit_descriptors(more: usize) {
    settle(BOUND);
    // The system allocates the lowest free number, and the limit applies to the numbers.
    let next: Vec<File> = (0..more).map(|_| File::open("/dev/null").unwrap()).collect();
    let last = next.iter().map(AsRawFd::as_raw_fd).max().unwrap_or(2);
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, u64::try_from(last).unwrap() + 1, hard).unwrap();
}

/// Raises the limit to the hard limit, at most 4096.
pub fn lift_limit() {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, hard.min(4096), hard).unwrap();
}
