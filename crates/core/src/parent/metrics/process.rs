//! The resources of a process, from Linux's proc(5).

use std::time::Duration;

/// The resources of this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resources {
    /// The processor time of all threads.
    pub processor_time: Duration,
    /// Resident memory in bytes.
    pub resident: u64,
    /// Virtual memory in bytes.
    pub virtual_size: u64,
    /// Open descriptors.
    pub open_fds: u64,
    /// The limit of open descriptors.
    pub max_fds: u64,
}

impl Resources {
    /// Reads the resources of this process; `None` where there is no proc(5).
    #[must_use]
    pub fn read() -> Option<Self> {
        let usage = nix::sys::resource::getrusage(nix::sys::resource::UsageWho::RUSAGE_SELF).ok()?;
        let processor_time = duration(usage.user_time()) + duration(usage.system_time());
        let (virtual_size, resident) = memory_pages("self")?;
        let (max_fds, _) = nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE).ok()?;
        Some(Self {
            processor_time,
            resident: resident * page_size(),
            virtual_size: virtual_size * page_size(),
            open_fds: open_descriptors()?,
            max_fds,
        })
    }
}

/// Returns the resident memory of a process in bytes; `None` where there is no proc(5).
#[must_use]
pub fn resident_memory(pid: u32) -> Option<u64> {
    let (_, resident) = memory_pages(&pid.to_string())?;
    Some(resident * page_size())
}

/// Returns the number of open descriptors of this process. Linux 6.2 and later tell the number as the size of the folder; to list the
/// entries of 400 descriptors takes 1 ms.
fn open_descriptors() -> Option<u64> {
    const FOLDER: &str = "/proc/self/fd";
    match std::fs::metadata(FOLDER).ok()?.len() {
        // Without the descriptor of the folder itself.
        0 => Some((std::fs::read_dir(FOLDER).ok()?.count() as u64).saturating_sub(1)),
        size => Some(size),
    }
}

/// Returns the time in which a thread ran, or was ready to run and waited for a processor; `None` where there is no proc(5), or if the
/// thread does not belong to the process. The process is this one by default.
#[must_use]
pub fn scheduled_time(process: Option<u32>, thread: u32) -> Option<Duration> {
    let process = process.map_or_else(|| "self".to_owned(), |pid| pid.to_string());
    let text = std::fs::read_to_string(format!("/proc/{process}/task/{thread}/schedstat")).ok()?;
    let mut fields = text.split(' ').map_while(|field| field.parse().ok());
    let (running, waiting): (u64, u64) = (fields.next()?, fields.next()?);
    Some(Duration::from_nanos(running.saturating_add(waiting)))
}

/// Returns the first two fields of statm: the virtual and the resident memory in pages.
fn memory_pages(process: &str) -> Option<(u64, u64)> {
    let text = std::fs::read_to_string(format!("/proc/{process}/statm")).ok()?;
    let mut fields = text.split(' ').map_while(|field| field.parse().ok());
    Some((fields.next()?, fields.next()?))
}

fn page_size() -> u64 {
    let size = nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE);
    size.ok()
        .flatten()
        .and_then(|size| size.try_into().ok())
        .unwrap_or(4096)
}

fn duration(time: nix::sys::time::TimeVal) -> Duration {
    let micros = u64::try_from(time.tv_usec()).unwrap_or(0);
    Duration::from_secs(u64::try_from(time.tv_sec()).unwrap_or(0)) + Duration::from_micros(micros)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_descriptors_grows_with_them() {
        // Other tests open and close descriptors meanwhile.
        let opened: Vec<_> = (0..200).map(|_| std::fs::File::open("/dev/null").unwrap()).collect();
        let with = open_descriptors().unwrap();
        assert!(with >= opened.len() as u64);
        let listed = std::fs::read_dir("/proc/self/fd").unwrap().count() as u64;
        assert!(with.abs_diff(listed) < 100, "{with} instead of {listed}");
    }

    #[test]
    fn the_scheduled_time_is_known_for_threads_of_the_process_only() {
        let link = std::fs::read_link("/proc/thread-self").unwrap();
        let thread = link.file_name().unwrap().to_str().unwrap().parse().unwrap();
        assert!(scheduled_time(None, thread) > Some(Duration::ZERO));
        assert!(scheduled_time(Some(std::process::id()), thread) > Some(Duration::ZERO));
        assert_eq!(scheduled_time(None, std::os::unix::process::parent_id()), None);
    }
}
