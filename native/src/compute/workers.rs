//! Runs what is too dear for a thread that reads sockets: each row once, what goes together at once, each model in its turn.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use tokio::sync::{oneshot, watch};
use tokio::time::timeout;

use crate::cache::memory::Key;
use crate::clock::{ThreadClock, monotonic_nanoseconds, seconds_between};
use crate::compute::scheduler::{Cost, Limits, Refused, Scheduler};
use crate::engine::batch::{Batch, Outputs};
use crate::engine::session::BLOCK_ROWS;
use crate::engine::version::{Runaway, Version};
use crate::error::{Code, Fault, Refusal};
use crate::metrics::ComputeCounters;
use crate::predict::path::PredictError;

/// A run has run away when it has used ten times the CPU time that it was measured at, and a tenth of the time limit at least:
/// on a machine that others keep busy an honest run gets late too, but uses no more.
const RUNAWAY_FACTOR: f64 = 10.0;
const RUNAWAY_SHARE: f64 = 0.1;
/// Runs are merged as long as they are expected to take no longer together, so that other models wait no longer for their turn.
const MERGED_SECONDS: f64 = 0.1;
/// The line of bodies that take long to read; no model has this id.
const READING: &str = "";
/// What reading such a body costs in turns.
const READ_SECONDS: f64 = 0.01;
/// Runs whose askers have gone are looked at so many times in the time limit.
const LOOKS: f64 = 20.0;

/// Conversions stand behind it (`serval.conversion.child`).
const NICENESS: libc::c_int = 10;

/// Rows of one version that have to be run.
pub struct Run {
    /// Id of the model, whose turn it is to be.
    pub model: Box<str>,
    pub version: Arc<Version>,
    pub numbers: Vec<f64>,
    pub strings: Vec<Box<str>>,
    /// The cache's keys of the rows; none where they are not to be cached.
    pub keys: Vec<Key>,
}

/// Raw outputs of the rows of a run.
pub struct RunResult {
    pub words: Vec<u64>,
    pub queue_seconds: f64,
    pub infer_seconds: f64,
}

pub struct Compute(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    filled: Condvar,
    closing: Condvar,
    limits: Limits,
    counters: Arc<ComputeCounters>,
}

struct State {
    turns: Scheduler<Task>,
    /// Rows that are waited for already: the job that holds them, and their place in it.
    flights: HashMap<Key, (Arc<Job>, usize)>,
    running: Vec<RunningJob>,
    runaways: Vec<Arc<Version>>,
    threads: usize,
    idle: usize,
    next_work: u64,
    is_watched: bool,
    is_closing: bool,
}

enum Task {
    Run(Arc<Job>),
    Read(Box<dyn FnOnce() + Send>),
}

/// A run that waits or runs, for all who want some of its rows.
struct Job {
    run: Run,
    deadline_nanoseconds: u64,
    ended: watch::Sender<Outcome>,
}

/// What became of a job.
#[derive(Clone)]
enum Outcome {
    Open,
    Ended(Arc<Ended>),
    /// Its version was set aside.
    GivenUp,
}

struct Ended {
    words: Result<Vec<u64>, Fault>,
    began_nanoseconds: u64,
    infer_seconds: f64,
}

/// What a thread is at.
struct RunningJob {
    id: u64,
    jobs: Vec<Arc<Job>>,
    expected_seconds: f64,
    began_nanoseconds: u64,
    clock: ThreadClock,
    /// Another thread has taken the place of its own.
    is_left: bool,
}

/// Somebody who waits for rows; dropped: who does no more.
struct Waiter {
    shared: Arc<Shared>,
    jobs: Vec<(Arc<Job>, watch::Receiver<Outcome>)>,
    /// Of each row: the job, and the row's place in it.
    rows: Vec<(usize, usize)>,
    asked_nanoseconds: u64,
}

impl Run {
    pub fn rows(&self) -> usize {
        let signature = &self.version.signature;
        self.numbers.len().checked_div(signature.numbers()).unwrap_or(self.strings.len() / signature.strings().max(1))
    }

    fn seconds(&self) -> f64 {
        self.version.seconds(self.rows())
    }

    /// Runs one after the other answer the first of them early, merged ones save their fixed costs: merging lowers the mean time where
    /// the fixed cost is above that of the rows.
    fn gains_by_company(&self) -> bool {
        self.version.measured.tile != 0 && self.version.measured.fixed_seconds > self.row_seconds()
    }

    #[allow(clippy::cast_precision_loss, reason = "rows are few")]
    fn row_seconds(&self) -> f64 {
        self.version.measured.row_seconds * self.rows() as f64
    }

    fn cost(&self) -> Cost {
        let alone_seconds = self.seconds();
        Cost { alone_seconds, beside_seconds: if self.gains_by_company() { self.row_seconds() } else { alone_seconds } }
    }

    /// A run of some of its rows.
    fn picked(&self, rows: &[usize]) -> Self {
        let (n, m) = (self.version.signature.numbers(), self.version.signature.strings());
        Self {
            model: self.model.clone(),
            version: self.version.clone(),
            numbers: rows.iter().flat_map(|row| &self.numbers[row * n..(row + 1) * n]).copied().collect(),
            strings: rows.iter().flat_map(|row| &self.strings[row * m..(row + 1) * m]).cloned().collect(),
            keys: rows.iter().map(|&row| self.keys[row]).collect(),
        }
    }

    /// Run it here and now.
    pub fn words(&self) -> Result<Vec<u64>, Fault> {
        words(&self.version, &self.numbers, &self.strings)
    }
}

impl Compute {
    pub fn new(limits: Limits, counters: Arc<ComputeCounters>) -> Self {
        let state = State {
            turns: Scheduler::new(limits),
            flights: HashMap::new(),
            running: vec![],
            runaways: vec![],
            threads: 0,
            idle: 0,
            next_work: 0,
            is_watched: false,
            is_closing: false,
        };
        Self(Arc::new(Shared {
            state: Mutex::new(state),
            filled: Condvar::new(),
            closing: Condvar::new(),
            limits,
            counters,
        }))
    }

    /// Run rows when their turn comes. Dropped before: not at all, unless others want them too.
    pub async fn run(&self, run: Run) -> Result<RunResult, PredictError> {
        let version = run.version.clone();
        let asker = self.0.ask(run)?;
        if let Ok(result) = timeout(self.0.timeout(), asker.rows()).await {
            return result;
        }
        self.0.lock().leave_late(&self.0)?;
        Err(version.runaway().map_or_else(|| self.0.too_late(), |runaway| ran_away(&version, runaway)).into())
    }

    /// Call something that takes a while on a thread that may take it.
    pub async fn read<T: Send + 'static>(&self, call: impl FnOnce() -> T + Send + 'static) -> Result<T, PredictError> {
        let (sender, receiver) = oneshot::channel();
        let task = Task::Read(Box::new(move || {
            if !sender.is_closed() {
                let _ = sender.send(call());
            }
        }));
        self.0.lock().put(
            &self.0,
            READING,
            Cost { alone_seconds: READ_SECONDS, beside_seconds: READ_SECONDS },
            task,
        )?;
        match timeout(self.0.timeout(), receiver).await {
            Ok(result) => result.map_err(|_| Fault::load("reading a body has panicked").into()),
            Err(_) => Err(self.0.too_late().into()),
        }
    }

    /// Versions that have run away since the last call.
    pub fn take_runaways(&self) -> Vec<Arc<Version>> {
        std::mem::take(&mut self.0.lock().runaways)
    }
}

impl Drop for Compute {
    fn drop(&mut self) {
        self.0.lock().is_closing = true;
        self.0.filled.notify_all();
        self.0.closing.notify_all();
    }
}

impl Waiter {
    /// Wait for the rows.
    async fn rows(mut self) -> Result<RunResult, PredictError> {
        let mut ended = vec![];
        for (job, receiver) in &mut self.jobs {
            let outcome =
                receiver.wait_for(|outcome| !matches!(outcome, Outcome::Open)).await.map(|outcome| outcome.clone());
            match (outcome, job.run.version.runaway()) {
                (Ok(Outcome::Ended(outcome)), _) => ended.push(outcome),
                (_, Some(runaway)) => return Err(ran_away(&job.run.version, runaway).into()),
                _ => return Err(Fault::load("a run was given up").into()),
            }
        }
        let width = self.jobs.first().map_or(0, |(job, _)| job.run.version.signature.width());
        let mut words = Vec::with_capacity(self.rows.len() * width);
        let outcomes =
            ended.iter().map(|ended| ended.words.as_ref().map_err(Fault::clone)).collect::<Result<Vec<_>, _>>()?;
        for &(job, row) in &self.rows {
            words.extend_from_slice(&outcomes[job][row * width..(row + 1) * width]);
        }
        let began = ended.iter().map(|ended| ended.began_nanoseconds).max().unwrap_or_default();
        let infer_seconds = ended.iter().map(|ended| ended.infer_seconds).fold(0.0, f64::max);
        Ok(RunResult { words, queue_seconds: seconds_between(self.asked_nanoseconds, began), infer_seconds })
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        for (job, receiver) in self.jobs.drain(..) {
            drop(receiver);
            if job.ended.receiver_count() == 0 && matches!(*job.ended.borrow(), Outcome::Open) {
                state.give_up(&self.shared, &job.run.model, |other| Arc::ptr_eq(other, &job));
            }
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn timeout(&self) -> Duration {
        Duration::from_secs_f64(self.limits.timeout_seconds)
    }

    fn too_late(&self) -> Refusal {
        Code::TooLate.because(vec![("limit", self.limits.timeout_seconds.to_string())])
    }

    fn refusal(&self, refused: &Refused, cost: Cost) -> Refusal {
        match refused {
            Refused::Full => Code::QueueFull.because(vec![]),
            Refused::Late { waiting_seconds } => Code::OutOfTime.because(vec![
                ("seconds", format!("{:.2}", cost.alone_seconds)),
                ("waiting", format!("{waiting_seconds:.2}")),
                ("limit", self.limits.timeout_seconds.to_string()),
            ]),
        }
    }

    /// Join whoever waits for the same rows already, and let the others wait.
    fn ask(self: &Arc<Self>, run: Run) -> Result<Waiter, PredictError> {
        let asked_nanoseconds = monotonic_nanoseconds();
        let mut state = self.lock();
        if let Some(runaway) = run.version.runaway() {
            return Err(ran_away(&run.version, runaway).into());
        }
        let mut asker =
            Waiter { shared: self.clone(), jobs: vec![], rows: Vec::with_capacity(run.rows()), asked_nanoseconds };
        let mut missing = vec![];
        for row in 0..run.rows() {
            let flight = run.keys.get(row).and_then(|key| state.flights.get(key));
            let place = if let Some((job, place)) = flight {
                (asker.joined(job), *place)
            } else {
                missing.push(row);
                (usize::MAX, missing.len() - 1)
            };
            asker.rows.push(place);
        }
        self.counters.shared_rows.add(run.rows() - missing.len());
        if missing.is_empty() {
            return Ok(asker);
        }
        let run = if missing.len() == run.rows() { run } else { run.picked(&missing) };
        let cost = run.cost();
        let deadline_nanoseconds = asked_nanoseconds + nanoseconds(self.limits.timeout_seconds);
        let job = Arc::new(Job { run, deadline_nanoseconds, ended: watch::channel(Outcome::Open).0 });
        let own = asker.joined(&job);
        asker.rows.iter_mut().filter(|(job, _)| *job == usize::MAX).for_each(|(job, _)| *job = own);
        let put = state.put(self, &job.run.model, cost, Task::Run(job.clone()));
        state.flights.extend(
            job.run.keys.iter().enumerate().filter(|_| put.is_ok()).map(|(place, &key)| (key, (job.clone(), place))),
        );
        // Before the asker is: it takes the lock when it is dropped.
        drop(state);
        put.map(|()| asker)
    }
}

impl Waiter {
    /// The place of a job among those that are waited for.
    fn joined(&mut self, job: &Arc<Job>) -> usize {
        self.jobs.iter().position(|(other, _)| Arc::ptr_eq(other, job)).unwrap_or_else(|| {
            self.jobs.push((job.clone(), job.ended.subscribe()));
            self.jobs.len() - 1
        })
    }
}

impl State {
    fn put(&mut self, shared: &Arc<Shared>, line: &str, cost: Cost, task: Task) -> Result<(), PredictError> {
        if self.threads < shared.limits.threads && self.idle <= self.turns.waiting() {
            self.start_thread(shared)?;
        }
        let now = monotonic_nanoseconds();
        let busy_seconds: Vec<f64> =
            self.running.iter().filter(|work| !work.is_left).map(|work| work.remaining_seconds(now)).collect();
        self.turns.put(line, cost, &busy_seconds, task).map_err(|refused| shared.refusal(&refused, cost))?;
        shared.counters.waiting.set(self.turns.waiting());
        shared.filled.notify_one();
        Ok(())
    }

    /// Take jobs of a line out of it: nobody waits for them, or may.
    fn give_up(&mut self, shared: &Shared, line: &str, mut is_gone: impl FnMut(&Arc<Job>) -> bool) {
        for task in self.turns.remove(line, |task| matches!(task, Task::Run(job) if is_gone(job))) {
            if let Task::Run(job) = task {
                self.forget_flights(&job);
                job.ended.send_replace(Outcome::GivenUp);
            }
        }
        shared.counters.waiting.set(self.turns.waiting());
    }

    fn forget_flights(&mut self, job: &Arc<Job>) {
        for key in &job.run.keys {
            if self.flights.get(key).is_some_and(|(other, _)| Arc::ptr_eq(other, job)) {
                self.flights.remove(key);
            }
        }
    }

    /// What a thread does next.
    fn take(&mut self, shared: &Shared) -> Option<Next> {
        let (line, task) = self.turns.take()?;
        let next = match task {
            Task::Read(call) => Next::Read(call),
            Task::Run(job) => Next::Run(self.begin(&line, job)),
        };
        shared.counters.waiting.set(self.turns.waiting());
        Some(next)
    }

    /// Begin a job, with those beside it that are better run at once.
    fn begin(&mut self, line: &str, first: Arc<Job>) -> (u64, Vec<Arc<Job>>) {
        let (mut rows, mut seconds) = (first.run.rows(), first.run.seconds());
        let beside = self.turns.take_beside(line, |task| match task {
            Task::Run(job) if Arc::ptr_eq(&job.run.version, &first.run.version) && job.run.gains_by_company() => {
                let goes = rows + job.run.rows() <= BLOCK_ROWS && seconds + job.run.row_seconds() <= MERGED_SECONDS;
                if goes {
                    rows += job.run.rows();
                    seconds += job.run.row_seconds();
                }
                goes
            }
            _ => false,
        });
        let mut jobs = vec![first];
        jobs.extend(beside.into_iter().filter_map(|task| if let Task::Run(job) = task { Some(job) } else { None }));
        self.next_work += 1;
        self.running.push(RunningJob {
            id: self.next_work,
            jobs: jobs.clone(),
            expected_seconds: seconds,
            began_nanoseconds: monotonic_nanoseconds(),
            clock: ThreadClock::start(),
            is_left: false,
        });
        (self.next_work, jobs)
    }

    /// A thread has done its work. Returns whether another has taken its place.
    fn end(&mut self, id: u64) -> bool {
        let Some(place) = self.running.iter().position(|work| work.id == id) else { return false };
        let work = self.running.swap_remove(place);
        work.jobs.iter().for_each(|job| self.forget_flights(job));
        if work.is_left {
            self.turns.end(work.line());
        }
        work.is_left
    }

    /// Leave runs past their deadline to themselves, because a run can not be stopped inside a node of the graph: another thread takes
    /// the place of theirs. A version whose run has run away is set aside; on a busy machine that may be seen only later.
    fn leave_late(&mut self, shared: &Arc<Shared>) -> Result<(), Fault> {
        let now = monotonic_nanoseconds();
        for place in 0..self.running.len() {
            let work = &mut self.running[place];
            if work.jobs.iter().all(|job| job.deadline_nanoseconds > now) {
                continue;
            }
            let (is_left, expected_seconds, used_seconds) = (work.is_left, work.expected_seconds, work.clock.seconds());
            work.is_left = true;
            let jobs = work.jobs.clone();
            let Run { model, version, .. } = &jobs[0].run;
            let is_runaway = has_run_away(expected_seconds, used_seconds, shared.limits.timeout_seconds);
            if is_runaway && version.set_aside(Runaway { expected_seconds, used_seconds }) {
                self.runaways.push(version.clone());
                shared.counters.runaways.add(1);
                self.give_up(shared, model, |job| Arc::ptr_eq(&job.run.version, version));
            }
            if !is_left {
                self.turns.leave(model);
                for job in &jobs {
                    self.forget_flights(job);
                }
                self.threads -= 1;
                self.start_thread(shared)?;
            }
        }
        Ok(())
    }

    fn start_thread(&mut self, shared: &Arc<Shared>) -> Result<(), Fault> {
        let cannot = |error| Fault::load(format!("a compute thread does not start: {error}"));
        if !self.is_watched {
            let watched = shared.clone();
            thread::Builder::new().name("compute watch".into()).spawn(move || watched.watch()).map_err(cannot)?;
            self.is_watched = true;
        }
        let worker = shared.clone();
        thread::Builder::new().name("compute".into()).spawn(move || worker.work()).map_err(cannot)?;
        self.threads += 1;
        Ok(())
    }
}

/// Let threads that wait for sockets go before the calling one: a cheap prediction is over in microseconds.
fn give_way() {
    // SAFETY: it takes numbers alone; 0 is the calling thread, on Linux.
    unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, NICENESS) };
}

/// What a thread takes from the queue.
enum Next {
    Read(Box<dyn FnOnce() + Send>),
    Run((u64, Vec<Arc<Job>>)),
}

impl RunningJob {
    fn line(&self) -> &str {
        &self.jobs[0].run.model
    }

    fn remaining_seconds(&self, now_nanoseconds: u64) -> f64 {
        (self.expected_seconds - seconds_between(self.began_nanoseconds, now_nanoseconds)).max(0.0)
    }
}

impl Shared {
    fn work(self: Arc<Self>) {
        give_way();
        while let Some(next) = self.next() {
            match next {
                Next::Read(call) => {
                    // Whoever waits for it sees that it has ended without a result.
                    let _ = catch_unwind(AssertUnwindSafe(call));
                }
                Next::Run((id, jobs)) => {
                    self.counters.runs.add(1);
                    self.counters.merged.add(if jobs.len() > 1 { jobs.len() } else { 0 });
                    let outcomes = run(&jobs);
                    let is_replaced = self.lock().end(id);
                    for (job, outcome) in jobs.iter().zip(outcomes) {
                        job.ended.send_replace(Outcome::Ended(Arc::new(outcome)));
                    }
                    if is_replaced {
                        return;
                    }
                }
            }
        }
    }

    /// Wait for something to do; None at the end.
    fn next(&self) -> Option<Next> {
        let mut state = self.lock();
        loop {
            if state.is_closing {
                return None;
            }
            if let Some(next) = state.take(self) {
                return Some(next);
            }
            state.idle += 1;
            state = self.filled.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.idle -= 1;
        }
    }

    /// Lookup after runs whose askers have gone before the deadline: nobody else would notice that they do not end.
    fn watch(self: Arc<Self>) {
        let mut state = self.lock();
        while !state.is_closing {
            state = self
                .closing
                .wait_timeout(state, self.timeout().div_f64(LOOKS))
                .unwrap_or_else(PoisonError::into_inner)
                .0;
            // A thread that can not be replaced now is when the next run comes.
            let _ = state.leave_late(&self);
        }
    }
}

/// Run jobs at once; where that fails, one by one, so that a bad row fails alone.
fn run(jobs: &[Arc<Job>]) -> Vec<Ended> {
    let began_nanoseconds = monotonic_nanoseconds();
    let ended = |words, began_nanoseconds| {
        let infer_seconds = seconds_between(began_nanoseconds, monotonic_nanoseconds());
        Ended { words, began_nanoseconds, infer_seconds }
    };
    let alone = |job: &Arc<Job>| {
        let began_nanoseconds = monotonic_nanoseconds();
        ended(words(&job.run.version, &job.run.numbers, &job.run.strings), began_nanoseconds)
    };
    if let [job] = jobs {
        return vec![alone(job)];
    }
    let version = &jobs[0].run.version;
    let numbers: Vec<f64> = jobs.iter().flat_map(|job| &job.run.numbers).copied().collect();
    let strings: Vec<Box<str>> = jobs.iter().flat_map(|job| &job.run.strings).cloned().collect();
    let Ok(words) = words(version, &numbers, &strings) else { return jobs.iter().map(alone).collect() };
    let mut rest = &words[..];
    let mut part = |job: &Arc<Job>| {
        let (part, others) = rest.split_at(job.run.rows() * version.signature.width());
        rest = others;
        ended(Ok(part.to_vec()), began_nanoseconds)
    };
    jobs.iter().map(&mut part).collect()
}

fn words(version: &Version, numbers: &[f64], strings: &[Box<str>]) -> Result<Vec<u64>, Fault> {
    let strings: Vec<&str> = strings.iter().map(|string| &**string).collect();
    let batch = Batch::of(&version.signature, numbers, &strings)?;
    catch_unwind(AssertUnwindSafe(|| version.run(batch)))
        .unwrap_or_else(|_| Err(Fault::load("a run has panicked")))
        .map(Outputs::into_words)
}

/// `used_seconds`: of CPU time, by a run past its deadline.
fn has_run_away(expected_seconds: f64, used_seconds: f64, timeout_seconds: f64) -> bool {
    used_seconds > (RUNAWAY_FACTOR * expected_seconds).max(RUNAWAY_SHARE * timeout_seconds)
}

fn ran_away(version: &Version, runaway: &Runaway) -> Refusal {
    Code::RanAway.because(vec![
        ("version_id", version.id.to_string()),
        ("expected", format!("{:.2e}", runaway.expected_seconds)),
        ("used", format!("{:.2}", runaway.used_seconds)),
    ])
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a cast of a float saturates")]
fn nanoseconds(seconds: f64) -> u64 {
    (seconds * 1e9) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_that_used_far_more_than_it_was_measured_at_has_run_away() {
        assert!(has_run_away(0.001, 29.0, 30.0));
    }

    #[test]
    fn a_run_that_is_late_without_using_the_machine_is_not_blamed() {
        assert!(!has_run_away(0.001, 0.5, 30.0));
    }

    #[test]
    fn a_run_as_dear_as_it_was_measured_is_not_blamed() {
        assert!(!has_run_away(10.0, 29.0, 30.0));
    }
}
