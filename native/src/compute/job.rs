//! A run that waits in a queue or runs, and how several run as one.

use std::sync::Arc;

use tokio::sync::watch;

use crate::clock::{monotonic_nanoseconds, seconds_between};
use crate::compute::run::{self, Run};
use crate::engine::batch::Outputs;
use crate::error::Fault;

/// A run with everybody who waits for some of its rows.
pub struct Job {
    pub run: Run,
    pub deadline_nanoseconds: u64,
    outcome: watch::Sender<Outcome>,
}

#[derive(Clone)]
pub enum Outcome {
    Pending,
    Finished(Arc<Finished>),
    /// Nobody waits for it, or its version was quarantined.
    Abandoned,
}

pub struct Finished {
    pub outputs: Result<Outputs, Fault>,
    pub started_nanoseconds: u64,
    pub infer_seconds: f64,
}

impl Job {
    pub fn new(run: Run, deadline_nanoseconds: u64) -> Arc<Self> {
        Arc::new(Self { run, deadline_nanoseconds, outcome: watch::channel(Outcome::Pending).0 })
    }

    pub fn subscribe(&self) -> watch::Receiver<Outcome> {
        self.outcome.subscribe()
    }

    pub fn publish(&self, outcome: Outcome) {
        self.outcome.send_replace(outcome);
    }

    /// Whether it has no result yet and nobody waits for one.
    pub fn is_unwanted(&self) -> bool {
        self.outcome.receiver_count() == 0 && matches!(*self.outcome.borrow(), Outcome::Pending)
    }
}

/// Runs jobs of one version as one; where that fails, one by one, so that a bad row fails alone.
pub fn execute(jobs: &[Arc<Job>]) -> Vec<Finished> {
    if let [job] = jobs {
        return vec![execute_alone(job)];
    }
    let started_nanoseconds = monotonic_nanoseconds();
    let mut batch = jobs[0].run.batch.clone();
    jobs[1..].iter().for_each(|job| batch.append(&job.run.batch));
    let Ok(outputs) = run::execute(&jobs[0].run.version, &batch) else {
        return jobs.iter().map(execute_alone).collect();
    };
    let mut start = 0;
    let mut next_part = |job: &Arc<Job>| {
        let part = outputs.slice(start, job.run.rows());
        start += job.run.rows();
        finished(Ok(part), started_nanoseconds)
    };
    jobs.iter().map(&mut next_part).collect()
}

fn execute_alone(job: &Arc<Job>) -> Finished {
    let started_nanoseconds = monotonic_nanoseconds();
    finished(job.run.execute(), started_nanoseconds)
}

fn finished(outputs: Result<Outputs, Fault>, started_nanoseconds: u64) -> Finished {
    let infer_seconds = seconds_between(started_nanoseconds, monotonic_nanoseconds());
    Finished { outputs, started_nanoseconds, infer_seconds }
}
