//! The clocks of a prediction.

pub const NANOSECONDS_PER_SECOND: u64 = 1_000_000_000;

/// Nanoseconds of `CLOCK_MONOTONIC`, which is what Python's `time.monotonic_ns` reads.
pub fn monotonic_nanoseconds() -> u64 {
    read(libc::CLOCK_MONOTONIC)
}

/// Nanoseconds of the same clock as of the kernel's last tick, some milliseconds ago: cheaper, for times of seconds.
pub fn coarse_nanoseconds() -> u64 {
    read(libc::CLOCK_MONOTONIC_COARSE)
}

/// Nanoseconds since 1970 in UTC.
pub fn unix_nanoseconds() -> u64 {
    read(libc::CLOCK_REALTIME)
}

/// Unix seconds in UTC, to the microsecond.
pub fn now_seconds() -> f64 {
    unix_seconds(unix_nanoseconds())
}

/// `unix_nanoseconds` in seconds.
#[allow(clippy::cast_precision_loss, reason = "seconds since 1970, to the microsecond")]
pub fn unix_seconds(unix_nanoseconds: u64) -> f64 {
    unix_nanoseconds as f64 / 1e9
}

/// Seconds from one reading to another; 0 if they are the wrong way round.
#[allow(clippy::cast_precision_loss, reason = "a difference of readings is small")]
pub fn seconds_between(from_nanoseconds: u64, to_nanoseconds: u64) -> f64 {
    to_nanoseconds.saturating_sub(from_nanoseconds) as f64 / 1e9
}

/// Times consecutive stages.
#[derive(Debug, Clone, Copy)]
pub struct Stopwatch(u64);

impl Stopwatch {
    pub fn start() -> Self {
        Self(monotonic_nanoseconds())
    }

    /// Seconds since the start or the last lap.
    pub fn lap(&mut self) -> f64 {
        let now = monotonic_nanoseconds();
        seconds_between(std::mem::replace(&mut self.0, now), now)
    }

    /// The monotonic time of the start or of the last lap.
    pub fn nanoseconds(self) -> u64 {
        self.0
    }
}

/// The CPU time of a thread, read from any other while it lives.
#[derive(Debug, Clone, Copy)]
pub struct ThreadClock {
    clock: libc::clockid_t,
    began_nanoseconds: u64,
}

impl ThreadClock {
    /// From now on, of the calling thread.
    pub fn start() -> Self {
        let mut clock = libc::CLOCK_THREAD_CPUTIME_ID;
        // SAFETY: the pointer is to a live local, the thread is the calling one.
        unsafe { libc::pthread_getcpuclockid(libc::pthread_self(), &raw mut clock) };
        Self { clock, began_nanoseconds: read(clock) }
    }

    pub fn seconds(&self) -> f64 {
        seconds_between(self.began_nanoseconds, read(self.clock))
    }
}

fn read(clock: libc::clockid_t) -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is to a live local; these clocks exist on every Linux.
    unsafe { libc::clock_gettime(clock, &raw mut time) };
    u64::try_from(time.tv_sec).unwrap_or_default() * NANOSECONDS_PER_SECOND
        + u64::try_from(time.tv_nsec).unwrap_or_default()
}
