//! The compute threads: what they share, how they take work, and how a late one is replaced.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use crate::clock::monotonic_nanoseconds;
use crate::compute::error::ComputeError;
use crate::compute::job::{self, Job, Outcome};
use crate::compute::run::Run;
use crate::compute::scheduler::{Cost, QueueLimits, Rejection, Scheduler};
use crate::compute::single_flight::Flights;
use crate::compute::watchdog::{Overdue, RunningJobs};
use crate::engine::session::BLOCK_ROWS;
use crate::engine::version::Version;
use crate::error::{Code, Fault, Refusal};
use crate::metrics::ComputeCounters;
use crate::sync::lock;

/// Runs are merged as long as they are expected to take no longer together, so that other models do not wait longer for
/// their turn.
const MERGED_SECONDS: f64 = 0.1;
/// The watchdog looks at the running jobs this many times within the time limit.
const WATCHES_PER_TIMEOUT: f64 = 20.0;
/// Conversions have an even lower priority (`serval.conversion.sandbox.child`).
const NICENESS: libc::c_int = 10;

/// What the compute threads, the watchdog and the waiting callers share.
pub struct Shared {
    state: Mutex<State>,
    has_work: Condvar,
    closing: Condvar,
    pub limits: QueueLimits,
    pub counters: Arc<ComputeCounters>,
}

pub struct State {
    scheduler: Scheduler<Task>,
    pub flights: Flights,
    running: RunningJobs,
    runaways: Vec<Arc<Version>>,
    threads: usize,
    idle: usize,
    is_watched: bool,
    is_closing: bool,
}

pub enum Task {
    Run(Arc<Job>),
    Read(Box<dyn FnOnce() + Send>),
}

/// What a thread takes from the scheduler.
enum Work {
    Read(Box<dyn FnOnce() + Send>),
    /// Jobs to run as one, and the id by which the run ends.
    Run(u64, Vec<Arc<Job>>),
}

impl Shared {
    pub fn new(limits: QueueLimits, counters: Arc<ComputeCounters>) -> Self {
        let state = State {
            scheduler: Scheduler::new(limits),
            flights: Flights::default(),
            running: RunningJobs::default(),
            runaways: vec![],
            threads: 0,
            idle: 0,
            is_watched: false,
            is_closing: false,
        };
        Self { state: Mutex::new(state), has_work: Condvar::new(), closing: Condvar::new(), limits, counters }
    }

    pub fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    pub fn timeout(&self) -> Duration {
        Duration::from_secs_f64(self.limits.timeout_seconds)
    }

    pub fn close(&self) {
        self.lock().is_closing = true;
        self.has_work.notify_all();
        self.closing.notify_all();
    }

    /// The body of a compute thread.
    fn work(self: Arc<Self>) {
        lower_priority();
        while let Some(work) = self.next_work() {
            match work {
                Work::Read(call) => {
                    // The caller sees that it has ended without a result.
                    let _ = catch_unwind(AssertUnwindSafe(call));
                }
                Work::Run(id, jobs) => {
                    let is_replaced = self.run(id, &jobs);
                    if is_replaced {
                        return;
                    }
                }
            }
        }
    }

    /// Runs jobs and publishes their results. Returns whether another thread has taken the place of this one meanwhile.
    fn run(&self, id: u64, jobs: &[Arc<Job>]) -> bool {
        self.counters.runs.add(1);
        self.counters.merged.add(if jobs.len() > 1 { jobs.len() } else { 0 });
        let finished = job::execute(jobs);
        let is_replaced = self.lock().end(id);
        for (job, finished) in jobs.iter().zip(finished) {
            job.publish(Outcome::Finished(Arc::new(finished)));
        }
        is_replaced
    }

    /// Waits for something to do; None at the end.
    fn next_work(&self) -> Option<Work> {
        let mut state = self.lock();
        loop {
            if state.is_closing {
                return None;
            }
            if let Some(work) = state.take(self) {
                return Some(work);
            }
            state.idle += 1;
            state = self.has_work.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.idle -= 1;
        }
    }

    /// The body of the watchdog: it sees late runs whose callers have gone before the deadline, which nobody else would
    /// notice.
    fn watch(self: Arc<Self>) {
        let interval = self.timeout().div_f64(WATCHES_PER_TIMEOUT);
        let mut state = self.lock();
        while !state.is_closing {
            state = self.closing.wait_timeout(state, interval).unwrap_or_else(PoisonError::into_inner).0;
            // A thread that cannot be replaced now is replaced when the next run comes.
            let _ = state.replace_overdue(&self);
        }
    }
}

impl State {
    /// Queues a task behind `model`, or says why it may not wait.
    pub fn submit(&mut self, shared: &Arc<Shared>, model: &str, cost: Cost, task: Task) -> Result<(), ComputeError> {
        if self.threads < shared.limits.threads && self.idle <= self.scheduler.waiting() {
            self.start_thread(shared)?;
        }
        let busy_seconds = self.running.busy_seconds(monotonic_nanoseconds());
        let submitted = self.scheduler.put(model, cost, &busy_seconds, task);
        submitted.map_err(|rejection| refusal(&rejection, cost))?;
        shared.counters.waiting.set(self.scheduler.waiting());
        shared.has_work.notify_one();
        Ok(())
    }

    /// Takes jobs out of the queue of a model.
    pub fn abandon(&mut self, shared: &Shared, model: &str, mut is_abandoned: impl FnMut(&Arc<Job>) -> bool) {
        for task in self.scheduler.remove(model, |task| matches!(task, Task::Run(job) if is_abandoned(job))) {
            if let Task::Run(job) = task {
                self.flights.remove(&job);
                job.publish(Outcome::Abandoned);
            }
        }
        shared.counters.waiting.set(self.scheduler.waiting());
    }

    /// Versions that have run away since the last call.
    pub fn take_runaways(&mut self) -> Vec<Arc<Version>> {
        std::mem::take(&mut self.runaways)
    }

    fn take(&mut self, shared: &Shared) -> Option<Work> {
        let (model, task) = self.scheduler.take()?;
        let work = match task {
            Task::Read(call) => Work::Read(call),
            Task::Run(job) => self.begin(&model, job),
        };
        shared.counters.waiting.set(self.scheduler.waiting());
        Some(work)
    }

    /// Begins a job, with the waiting ones that are better run with it.
    fn begin(&mut self, model: &str, first: Arc<Job>) -> Work {
        let (mut rows, mut seconds) = (first.run.rows(), first.run.seconds());
        let merged = self.scheduler.take_batchable(model, |task| match task {
            Task::Run(job) if Arc::ptr_eq(&job.run.version, &first.run.version) && job.run.gains_by_batching() => {
                let merges = rows + job.run.rows() <= BLOCK_ROWS && seconds + job.run.row_seconds() <= MERGED_SECONDS;
                if merges {
                    rows += job.run.rows();
                    seconds += job.run.row_seconds();
                }
                merges
            }
            _ => false,
        });
        let mut jobs = vec![first];
        jobs.extend(merged.into_iter().filter_map(|task| if let Task::Run(job) = task { Some(job) } else { None }));
        Work::Run(self.running.begin(&jobs, seconds), jobs)
    }

    /// A thread has finished a run. Returns whether another thread has taken its place.
    fn end(&mut self, id: u64) -> bool {
        let Some(ended) = self.running.end(id) else { return false };
        ended.jobs().iter().for_each(|job| self.flights.remove(job));
        if ended.is_replaced {
            self.scheduler.unmark_stuck(ended.model());
        }
        ended.is_replaced
    }

    /// Replaces the threads of runs past their deadline, because a run cannot be stopped inside a node of the graph.
    /// Quarantines a version whose run has run away; on a busy machine that may be seen only later.
    pub fn replace_overdue(&mut self, shared: &Arc<Shared>) -> Result<(), Fault> {
        let now = monotonic_nanoseconds();
        for index in 0..self.running.len() {
            let overdue = self.running.take_overdue(index, now, shared.limits.timeout_seconds);
            let Some(Overdue { jobs, runaway, was_replaced }) = overdue else { continue };
            let Run { model, version, .. } = &jobs[0].run;
            if let Some(runaway) = runaway
                && version.quarantine(runaway)
            {
                self.runaways.push(version.clone());
                shared.counters.runaways.add(1);
                self.abandon(shared, model, |job| Arc::ptr_eq(&job.run.version, version));
            }
            if !was_replaced {
                self.scheduler.mark_stuck(model);
                for job in &jobs {
                    self.flights.remove(job);
                }
                self.threads -= 1;
                self.start_thread(shared)?;
            }
        }
        Ok(())
    }

    fn start_thread(&mut self, shared: &Arc<Shared>) -> Result<(), Fault> {
        let cannot_start = |error| Fault::load(format!("a compute thread does not start: {error}"));
        if !self.is_watched {
            let watched = shared.clone();
            thread::Builder::new().name("compute watch".into()).spawn(move || watched.watch()).map_err(cannot_start)?;
            self.is_watched = true;
        }
        let worker = shared.clone();
        thread::Builder::new().name("compute".into()).spawn(move || worker.work()).map_err(cannot_start)?;
        self.threads += 1;
        Ok(())
    }
}

/// Lets threads that wait for sockets run before the calling one: an inline prediction takes microseconds.
fn lower_priority() {
    // SAFETY: it takes numbers alone; 0 is the calling thread, on Linux.
    unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, NICENESS) };
}

/// A run that was not done within the time limit of its caller.
pub fn too_late(timeout_seconds: f64) -> Refusal {
    Code::TooLate.because(vec![("limit", timeout_seconds.to_string())])
}

fn refusal(rejection: &Rejection, cost: Cost) -> Refusal {
    match rejection {
        Rejection::QueueFull => Code::QueueFull.because(vec![]),
        Rejection::OutOfTime { waiting_seconds } => Code::OutOfTime.because(vec![
            ("seconds", format!("{:.2}", cost.alone_seconds)),
            ("waiting", format!("{waiting_seconds:.2}")),
            ("limit", cost.timeout_seconds.to_string()),
        ]),
    }
}
