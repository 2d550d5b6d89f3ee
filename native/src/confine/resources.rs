//! Resource limits of a confined process.

#[cfg(not(target_env = "gnu"))]
use std::ffi::c_int;

use crate::confine::step::{Step, checked};

/// Address space beyond `memory_bytes`: libraries, reserved stacks and arenas that hold no data.
const RESERVED_BYTES: u64 = 4 << 30;
const OPEN_FILES: u64 = 128;

/// What the process may use from now on. `threads` only with a uid of its own: the kernel counts by uid.
pub struct ResourceLimits {
    pub memory_bytes: u64,
    pub cpu_seconds: u64,
    pub threads: Option<u64>,
}

impl ResourceLimits {
    pub fn apply(&self) -> Step {
        let cpu_seconds = spent_cpu_seconds() + self.cpu_seconds;
        limit("memory", libc::RLIMIT_DATA, self.memory_bytes, self.memory_bytes)?;
        let address_space = self.memory_bytes.saturating_add(RESERVED_BYTES);
        limit("address space", libc::RLIMIT_AS, address_space, address_space)?;
        limit("CPU", libc::RLIMIT_CPU, cpu_seconds, cpu_seconds + 1)?;
        limit("file size", libc::RLIMIT_FSIZE, 0, 0)?;
        limit("core size", libc::RLIMIT_CORE, 0, 0)?;
        limit("open files", libc::RLIMIT_NOFILE, OPEN_FILES, OPEN_FILES)?;
        limit("locked memory", libc::RLIMIT_MEMLOCK, 0, 0)?;
        limit("message queues", libc::RLIMIT_MSGQUEUE, 0, 0)?;
        match self.threads {
            Some(threads) => limit("threads", libc::RLIMIT_NPROC, threads, threads),
            None => Ok(()),
        }
    }
}

/// CPU that the imports took, rounded up: the limit counts from here.
fn spent_cpu_seconds() -> u64 {
    let mut spent = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the kernel writes one timespec through the pointer.
    unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &raw mut spent) };
    spent.tv_sec.unsigned_abs() + 1
}

#[cfg(target_env = "gnu")]
type Resource = libc::__rlimit_resource_t;
#[cfg(not(target_env = "gnu"))]
type Resource = c_int;

/// Sets soft and hard limit, or keeps the one in force where it is lower already.
fn limit(name: &str, resource: Resource, soft: u64, hard: u64) -> Step {
    let mut now = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the kernel writes one rlimit through the pointer.
    checked(name, unsafe { libc::getrlimit(resource, &raw mut now) }.into())?;
    let lowered = libc::rlimit { rlim_cur: soft.min(now.rlim_max), rlim_max: hard.min(now.rlim_max) };
    // SAFETY: the kernel reads one rlimit through the pointer.
    checked(name, unsafe { libc::setrlimit(resource, &raw const lowered) }.into())
}
