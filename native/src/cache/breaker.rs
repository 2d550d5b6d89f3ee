//! A circuit breaker: whether something that fails is called at all, and when it is tried again.
//! Pure: the caller reads the clock.

use crate::clock::NANOSECONDS_PER_SECOND as SECOND;

const FIRST_PAUSE: u64 = SECOND / 10;
const MAX_PAUSE: u64 = 5 * SECOND;
/// After so long without a failure the next pause is short again.
const STABLE_AFTER: u64 = 10 * SECOND;

/// All times are nanoseconds of one clock.
#[derive(Debug)]
pub struct Breaker {
    state: State,
    /// Failures in a row that open it.
    limit: u32,
    pause: u64,
    closed_at: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Closed { failures: u32 },
    Open { until: u64 },
    Probing,
}

/// Whether a call may go ahead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pass {
    Go,
    /// The one try after a pause: report its outcome with `probed`.
    Probe,
    No,
}

impl Breaker {
    pub fn new(limit: u32) -> Self {
        Self { state: State::Closed { failures: 0 }, limit, pause: 0, closed_at: 0 }
    }

    /// Open, with the first call as the probe.
    pub fn unproven(limit: u32) -> Self {
        Self { state: State::Open { until: 0 }, ..Self::new(limit) }
    }

    pub fn pass(&mut self, now: u64) -> Pass {
        match self.state {
            State::Closed { .. } => Pass::Go,
            State::Open { until } if now >= until => {
                self.state = State::Probing;
                Pass::Probe
            }
            State::Open { .. } | State::Probing => Pass::No,
        }
    }

    /// How long it rejects every call.
    pub fn pause(&self, now: u64) -> u64 {
        match self.state {
            State::Open { until } => until.saturating_sub(now),
            _ => 0,
        }
    }

    pub fn is_open(&self) -> bool {
        !matches!(self.state, State::Closed { .. })
    }

    pub fn succeeded(&mut self) {
        if let State::Closed { failures } = &mut self.state {
            *failures = 0;
        }
    }

    /// Reports a failure. Returns whether it opens now: calls from before it opened count no more.
    pub fn failed(&mut self, now: u64) -> bool {
        match &mut self.state {
            State::Closed { failures } if *failures + 1 < self.limit => {
                *failures += 1;
                false
            }
            _ => self.trip(now),
        }
    }

    /// Reports a failure after which trying again at once is useless. Returns whether it opens now.
    pub fn trip(&mut self, now: u64) -> bool {
        let is_closed = matches!(self.state, State::Closed { .. });
        if is_closed {
            self.open(now);
        }
        is_closed
    }

    /// Reports the outcome of the probe.
    pub fn probed(&mut self, now: u64, has_succeeded: bool) {
        match (self.state, has_succeeded) {
            (State::Probing, true) => {
                self.state = State::Closed { failures: 0 };
                self.closed_at = now;
            }
            (State::Probing, false) => self.open(now),
            _ => {}
        }
    }

    fn open(&mut self, now: u64) {
        let was_stable = self.state != State::Probing && now.saturating_sub(self.closed_at) > STABLE_AFTER;
        self.pause = if was_stable { FIRST_PAUSE } else { (self.pause * 2).clamp(FIRST_PAUSE, MAX_PAUSE) };
        self.state = State::Open { until: now + self.pause };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_in_a_row_open_it() {
        let mut breaker = Breaker::new(3);
        breaker.failed(1);
        breaker.failed(2);
        breaker.succeeded();
        assert!(!breaker.failed(3) && !breaker.failed(4));
        assert_eq!(breaker.pass(5), Pass::Go);
        assert!(breaker.failed(6));
        assert_eq!(breaker.pass(7), Pass::No);
    }

    #[test]
    fn one_probe_at_a_time_after_the_pause() {
        let mut breaker = Breaker::new(1);
        breaker.failed(0);
        assert_eq!(breaker.pass(FIRST_PAUSE - 1), Pass::No);
        assert_eq!([breaker.pass(FIRST_PAUSE), breaker.pass(FIRST_PAUSE)], [Pass::Probe, Pass::No]);
        breaker.probed(FIRST_PAUSE + 1, true);
        assert_eq!(breaker.pass(FIRST_PAUSE + 2), Pass::Go);
    }

    #[test]
    fn pauses_grow_to_five_seconds() {
        let mut breaker = Breaker::new(1);
        breaker.failed(0);
        let mut now = 0;
        let mut pauses = vec![];
        for _ in 0..8 {
            pauses.push(breaker.pause(now));
            now += breaker.pause(now);
            assert_eq!(breaker.pass(now), Pass::Probe);
            breaker.probed(now, false);
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 50, 50].map(|tenths| tenths * SECOND / 10));
    }

    #[test]
    fn a_failure_soon_after_a_recovery_pauses_longer_and_after_a_stable_time_shortly() {
        let mut breaker = Breaker::new(1);
        breaker.failed(0);
        assert_eq!(breaker.pass(SECOND), Pass::Probe);
        breaker.probed(SECOND, true);
        breaker.failed(2 * SECOND);
        assert_eq!(breaker.pause(2 * SECOND), 2 * FIRST_PAUSE);
        assert_eq!(breaker.pass(3 * SECOND), Pass::Probe);
        breaker.probed(3 * SECOND, true);
        breaker.failed(14 * SECOND);
        assert_eq!(breaker.pause(14 * SECOND), FIRST_PAUSE);
    }

    #[test]
    fn a_late_failure_does_not_count_for_the_probe() {
        let mut breaker = Breaker::unproven(3);
        assert_eq!(breaker.pass(0), Pass::Probe);
        assert!(!breaker.failed(1));
        breaker.probed(2, true);
        assert_eq!(breaker.pass(3), Pass::Go);
    }
}
