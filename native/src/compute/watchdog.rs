//! Runs in progress: how long they still take, which are past their deadline, and which have run away.

use std::sync::Arc;

use crate::clock::{ThreadClock, monotonic_nanoseconds, seconds_between};
use crate::compute::job::Job;
use crate::engine::version::{Runaway, Version};
use crate::error::{Code, Refusal};

/// A run has run away when it has used ten times the CPU time that it was measured at, and a tenth of the time limit at
/// least. A busy machine delays an honest run too, but makes it use no more CPU time.
const RUNAWAY_FACTOR: f64 = 10.0;
const RUNAWAY_SHARE: f64 = 0.1;

/// What a compute thread is running.
pub struct RunningJob {
    id: u64,
    jobs: Vec<Arc<Job>>,
    expected_seconds: f64,
    started_nanoseconds: u64,
    cpu_clock: ThreadClock,
    /// Another thread has taken the place of its own.
    pub is_replaced: bool,
}

impl RunningJob {
    pub fn jobs(&self) -> &[Arc<Job>] {
        &self.jobs
    }

    pub fn model(&self) -> &str {
        &self.jobs[0].run.model
    }

    fn remaining_seconds(&self, now_nanoseconds: u64) -> f64 {
        (self.expected_seconds - seconds_between(self.started_nanoseconds, now_nanoseconds)).max(0.0)
    }
}

/// A run past its deadline.
pub struct Overdue {
    pub jobs: Vec<Arc<Job>>,
    pub runaway: Option<Runaway>,
    /// It was found before, and its thread has been replaced.
    pub was_replaced: bool,
}

#[derive(Default)]
pub struct RunningJobs {
    running: Vec<RunningJob>,
    next_id: u64,
}

impl RunningJobs {
    /// Notes that the calling thread begins to run `jobs`. Returns the id by which it ends.
    pub fn begin(&mut self, jobs: &[Arc<Job>], expected_seconds: f64) -> u64 {
        self.next_id += 1;
        self.running.push(RunningJob {
            id: self.next_id,
            jobs: jobs.to_vec(),
            expected_seconds,
            started_nanoseconds: monotonic_nanoseconds(),
            cpu_clock: ThreadClock::start(),
            is_replaced: false,
        });
        self.next_id
    }

    pub fn end(&mut self, id: u64) -> Option<RunningJob> {
        let index = self.running.iter().position(|running| running.id == id)?;
        Some(self.running.swap_remove(index))
    }

    pub fn len(&self) -> usize {
        self.running.len()
    }

    /// What each thread that is not replaced still needs, as far as is known.
    pub fn busy_seconds(&self, now_nanoseconds: u64) -> Vec<f64> {
        let running = self.running.iter().filter(|running| !running.is_replaced);
        running.map(|running| running.remaining_seconds(now_nanoseconds)).collect()
    }

    /// The run at `index` if it is past its deadline; its thread counts as replaced from now on.
    pub fn take_overdue(&mut self, index: usize, now_nanoseconds: u64, timeout_seconds: f64) -> Option<Overdue> {
        let running = &mut self.running[index];
        if running.jobs.iter().all(|job| job.deadline_nanoseconds > now_nanoseconds) {
            return None;
        }
        let (expected_seconds, used_seconds) = (running.expected_seconds, running.cpu_clock.seconds());
        let is_runaway = has_run_away(expected_seconds, used_seconds, timeout_seconds);
        Some(Overdue {
            jobs: running.jobs.clone(),
            runaway: is_runaway.then_some(Runaway { expected_seconds, used_seconds }),
            was_replaced: std::mem::replace(&mut running.is_replaced, true),
        })
    }
}

/// `used_seconds`: of CPU time, by a run past its deadline.
fn has_run_away(expected_seconds: f64, used_seconds: f64, timeout_seconds: f64) -> bool {
    used_seconds > (RUNAWAY_FACTOR * expected_seconds).max(RUNAWAY_SHARE * timeout_seconds)
}

/// The refusal of a version that is quarantined.
pub fn quarantined(version: &Version, runaway: &Runaway) -> Refusal {
    Code::RanAway.because(vec![
        ("version_id", version.id.to_string()),
        ("expected", format!("{:.2e}", runaway.expected_seconds)),
        ("used", format!("{:.2}", runaway.used_seconds)),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_that_used_far_more_than_it_was_measured_at_has_run_away() {
        assert!(has_run_away(0.001, 29.0, 30.0));
    }

    #[test]
    fn a_run_that_is_late_without_using_the_machine_has_not_run_away() {
        assert!(!has_run_away(0.001, 0.5, 30.0));
    }

    #[test]
    fn a_run_as_expensive_as_it_was_measured_has_not_run_away() {
        assert!(!has_run_away(10.0, 29.0, 30.0));
    }
}
