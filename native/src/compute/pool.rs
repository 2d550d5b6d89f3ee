//! Runs what is too expensive for a thread that reads sockets: each row once, each model in its turn.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{oneshot, watch};
use tokio::time::timeout;

use crate::clock::{monotonic_nanoseconds, seconds_between};
use crate::compute::error::ComputeError;
use crate::compute::job::{Finished, Job, Outcome};
use crate::compute::run::{Run, RunResult};
use crate::compute::scheduler::{Cost, QueueLimits};
use crate::compute::single_flight::Flights;
use crate::compute::watchdog::quarantined;
use crate::compute::workers::{Shared, Task, too_late};
use crate::engine::batch::Outputs;
use crate::engine::version::Version;
use crate::error::Fault;
use crate::metrics::ComputeCounters;

/// The queue of bodies that take long to read; no model has this id.
const READING: &str = "";
/// What reading such a body counts for against runs.
const READ_SECONDS: f64 = 0.01;
/// Of a row that a new job is going to hold.
const NEW_JOB: usize = usize::MAX;

pub struct Compute(Arc<Shared>);

impl Compute {
    pub fn new(limits: QueueLimits, counters: Arc<ComputeCounters>) -> Self {
        Self(Arc::new(Shared::new(limits, counters)))
    }

    /// Runs rows when their turn comes. Dropped before, it does not run them unless others want them too.
    pub async fn run(&self, run: Run) -> Result<RunResult, ComputeError> {
        let version = run.version.clone();
        let timeout_seconds = run.timeout_seconds.unwrap_or(self.0.limits.timeout_seconds);
        let waiter = self.join(run, timeout_seconds)?;
        if let Ok(result) = timeout(Duration::from_secs_f64(timeout_seconds), waiter.result()).await {
            return result;
        }
        self.0.lock().replace_overdue(&self.0)?;
        Err(version
            .runaway()
            .map_or_else(|| too_late(timeout_seconds), |runaway| quarantined(&version, runaway))
            .into())
    }

    /// Calls something that takes a while on a compute thread.
    pub async fn read<T: Send + 'static>(&self, call: impl FnOnce() -> T + Send + 'static) -> Result<T, ComputeError> {
        let (sender, receiver) = oneshot::channel();
        let task = Task::Read(Box::new(move || {
            if !sender.is_closed() {
                let _ = sender.send(call());
            }
        }));
        let timeout_seconds = self.0.limits.timeout_seconds;
        let cost = Cost { alone_seconds: READ_SECONDS, batched_seconds: READ_SECONDS, timeout_seconds };
        self.0.lock().submit(&self.0, READING, cost, task)?;
        match timeout(Duration::from_secs_f64(timeout_seconds), receiver).await {
            Ok(result) => result.map_err(|_| Fault::load("reading a body has panicked").into()),
            Err(_) => Err(too_late(timeout_seconds).into()),
        }
    }

    /// Versions that have run away since the last call.
    pub fn take_runaways(&self) -> Vec<Arc<Version>> {
        self.0.lock().take_runaways()
    }

    /// Joins the jobs that already hold some of the rows, and queues a job for the others.
    fn join(&self, run: Run, timeout_seconds: f64) -> Result<Waiter, ComputeError> {
        let shared = &self.0;
        let joined_nanoseconds = monotonic_nanoseconds();
        let mut state = shared.lock();
        if let Some(runaway) = run.version.runaway() {
            return Err(quarantined(&run.version, runaway).into());
        }
        let mut waiter = Waiter {
            shared: shared.clone(),
            version: run.version.clone(),
            jobs: vec![],
            rows: Vec::with_capacity(run.rows()),
            joined_nanoseconds,
        };
        let missing = waiter.join_flights(&state.flights, &run);
        shared.counters.shared_rows.add(run.rows() - missing.len());
        if missing.is_empty() {
            return Ok(waiter);
        }
        let run = if missing.len() == run.rows() { run } else { run.pick(&missing) };
        let cost = run.cost(timeout_seconds);
        let job = Job::new(run, joined_nanoseconds.saturating_add(nanoseconds(timeout_seconds)));
        waiter.join_new(&job);
        let submitted = state.submit(shared, &job.run.model, cost, Task::Run(job.clone()));
        if submitted.is_ok() {
            state.flights.insert(&job);
        }
        // The lock must be released before the waiter can be dropped, because its drop takes the lock.
        drop(state);
        submitted.map(|()| waiter)
    }
}

impl Drop for Compute {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// Waits for rows; dropping it cancels the wait.
struct Waiter {
    shared: Arc<Shared>,
    version: Arc<Version>,
    jobs: Vec<(Arc<Job>, watch::Receiver<Outcome>)>,
    /// Of each row: the index of its job, and its index there.
    rows: Vec<(usize, usize)>,
    joined_nanoseconds: u64,
}

impl Waiter {
    /// Joins the jobs that hold some of the rows. Returns the rows that no job holds.
    fn join_flights(&mut self, flights: &Flights, run: &Run) -> Vec<usize> {
        let mut missing = vec![];
        for row in 0..run.rows() {
            let flight = run.keys.get(row).and_then(|&key| flights.get(key));
            let source = if let Some((job, index)) = flight {
                (self.join(job), index)
            } else {
                missing.push(row);
                (NEW_JOB, missing.len() - 1)
            };
            self.rows.push(source);
        }
        missing
    }

    /// Joins the job that holds the rows that were missing.
    fn join_new(&mut self, job: &Arc<Job>) {
        let index = self.join(job);
        self.rows.iter_mut().filter(|(job, _)| *job == NEW_JOB).for_each(|(job, _)| *job = index);
    }

    /// The index of a job among those waited for.
    fn join(&mut self, job: &Arc<Job>) -> usize {
        self.jobs.iter().position(|(other, _)| Arc::ptr_eq(other, job)).unwrap_or_else(|| {
            self.jobs.push((job.clone(), job.subscribe()));
            self.jobs.len() - 1
        })
    }

    async fn result(mut self) -> Result<RunResult, ComputeError> {
        let finished = self.finished().await?;
        let parts =
            finished.iter().map(|job| job.outputs.as_ref().map_err(Fault::clone)).collect::<Result<Vec<_>, _>>()?;
        let mut outputs = Outputs::with_capacity(&self.version.signature, self.rows.len());
        for &(job, row) in &self.rows {
            outputs.push_row(parts[job].row(row));
        }
        let started = finished.iter().map(|job| job.started_nanoseconds).max().unwrap_or_default();
        let infer_seconds = finished.iter().map(|job| job.infer_seconds).fold(0.0, f64::max);
        Ok(RunResult { outputs, queue_seconds: seconds_between(self.joined_nanoseconds, started), infer_seconds })
    }

    /// Waits until all jobs have finished.
    async fn finished(&mut self) -> Result<Vec<Arc<Finished>>, ComputeError> {
        let mut finished = vec![];
        for (job, receiver) in &mut self.jobs {
            let outcome =
                receiver.wait_for(|outcome| !matches!(outcome, Outcome::Pending)).await.map(|outcome| outcome.clone());
            match (outcome, job.run.version.runaway()) {
                (Ok(Outcome::Finished(job)), _) => finished.push(job),
                (_, Some(runaway)) => return Err(quarantined(&job.run.version, runaway).into()),
                _ => return Err(Fault::load("a run was given up").into()),
            }
        }
        Ok(finished)
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        for (job, receiver) in self.jobs.drain(..) {
            drop(receiver);
            if job.is_unwanted() {
                state.abandon(&self.shared, &job.run.model, |other| Arc::ptr_eq(other, &job));
            }
        }
    }
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a cast of a float saturates")]
fn nanoseconds(seconds: f64) -> u64 {
    (seconds * 1e9) as u64
}
