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
        let open_fds = std::fs::read_dir("/proc/self/fd").ok()?.count();
        let (max_fds, _) = nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE).ok()?;
        Some(Self {
            processor_time,
            resident: resident * page_size(),
            virtual_size: virtual_size * page_size(),
            // Without the descriptor of the directory itself.
            open_fds: (open_fds as u64).saturating_sub(1),
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
