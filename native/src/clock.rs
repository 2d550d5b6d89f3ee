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

/// Days from 0000-03-01 to 1970-01-01.
pub const DAYS_TO_1970: u64 = 719_468;

/// Year, month and day of a day since 0000-03-01 (Hinnant, "chrono-compatible low-level date algorithms",
/// `civil_from_days`).
pub fn civil(days: u64) -> (u64, u64, u64) {
    let era = days / 146_097;
    let day_of_era = days % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
}

/// Whole microseconds since 1970 in UTC, of a year from 1 to 9999, as RFC 3339 writes them; digits after the second
/// only where there are any.
#[allow(clippy::cast_possible_truncation, reason = "such a year is far below 2^63 microseconds")]
pub fn rfc_3339(microseconds: f64) -> String {
    let microseconds = microseconds as i64;
    let (seconds, fraction) = (microseconds.div_euclid(1_000_000), microseconds.rem_euclid(1_000_000));
    let of_day = seconds.rem_euclid(86_400);
    let days = seconds.div_euclid(86_400).saturating_add_unsigned(DAYS_TO_1970);
    let (year, month, day) = civil(u64::try_from(days).unwrap_or_default());
    let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
    let digits = if fraction == 0 { String::new() } else { format!(".{fraction:06}") };
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{digits}Z")
}

fn read(clock: libc::clockid_t) -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is to a live local; these clocks exist on every Linux.
    unsafe { libc::clock_gettime(clock, &raw mut time) };
    u64::try_from(time.tv_sec).unwrap_or_default() * NANOSECONDS_PER_SECOND
        + u64::try_from(time.tv_nsec).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_written_before_and_after_1970() {
        for (microseconds, written) in [
            (0.0, "1970-01-01T00:00:00Z"),
            (-1.0, "1969-12-31T23:59:59.999999Z"),
            (1_709_210_096_007_000.0, "2024-02-29T12:34:56.007000Z"),
            (-62_135_596_800_000_000.0, "0001-01-01T00:00:00Z"),
            (253_402_214_400_000_000.0, "9999-12-31T00:00:00Z"),
        ] {
            assert_eq!(rfc_3339(microseconds), written);
        }
    }
}
