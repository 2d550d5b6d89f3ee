//! Runs what is too dear for a thread that reads sockets: on a few threads of its own, from a bounded queue, with a deadline.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, Once, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;

use crate::answer::Stop;
use crate::cache::Key;
use crate::clock::{monotonic_nanoseconds, seconds_between};
use crate::engine::{Batch, Version};
use crate::error::{Code, Fault};

const WAITING_PER_THREAD: usize = 32;

/// Rows of one version that have to be run.
pub struct Run {
    pub version: Arc<Version>,
    pub numbers: Vec<f64>,
    pub strings: Vec<Box<str>>,
    /// The cache's keys of the rows; none where they are not to be cached.
    pub keys: Vec<Key>,
}

/// Raw outputs of the rows of a run.
pub struct Ran {
    pub words: Vec<u64>,
    pub queue_seconds: f64,
    pub infer_seconds: f64,
}

type Job = Box<dyn FnOnce() + Send>;

#[derive(Default)]
struct Queue {
    jobs: Mutex<VecDeque<Job>>,
    filled: Condvar,
}

pub struct Compute {
    queue: Arc<Queue>,
    threads: usize,
    timeout_seconds: f64,
    started: Once,
}

impl Run {
    pub fn rows(&self) -> usize {
        let signature = &self.version.signature;
        self.numbers.len().checked_div(signature.numbers()).unwrap_or(self.strings.len() / signature.strings().max(1))
    }

    pub fn seconds(&self) -> f64 {
        self.version.seconds(self.rows())
    }

    fn words(&self) -> Result<Vec<u64>, Fault> {
        let strings: Vec<&str> = self.strings.iter().map(|string| &**string).collect();
        self.version.run(Batch::of(&self.version.signature, &self.numbers, &strings)?)
    }
}

impl Compute {
    pub fn new(threads: usize, timeout_seconds: f64) -> Self {
        Self { queue: Arc::default(), threads, timeout_seconds, started: Once::new() }
    }

    /// Run rows when their turn comes. Dropped before: not at all.
    pub async fn run(&self, run: Run) -> Result<Ran, Stop> {
        let expected_seconds = run.seconds();
        if expected_seconds > self.timeout_seconds {
            return Err(self.out_of_time(expected_seconds));
        }
        let queued = monotonic_nanoseconds();
        let ran = self.read(move || {
            let began = monotonic_nanoseconds();
            let words = run.words()?;
            let infer_seconds = seconds_between(began, monotonic_nanoseconds());
            Ok(Ran { words, queue_seconds: seconds_between(queued, began), infer_seconds })
        });
        match tokio::time::timeout(Duration::from_secs_f64(self.timeout_seconds), ran).await {
            Ok(Ok(result)) => result,
            Ok(Err(stop)) => Err(stop),
            Err(_) => Err(self.out_of_time(expected_seconds)),
        }
    }

    /// Call something that takes a while on a thread that may take it.
    pub async fn read<T: Send + 'static>(&self, call: impl FnOnce() -> T + Send + 'static) -> Result<T, Stop> {
        let (sender, receiver) = oneshot::channel();
        self.put(Box::new(move || {
            if !sender.is_closed() {
                let _ = sender.send(call());
            }
        }))?;
        receiver.await.map_err(|_| Fault::load("a compute thread has died").into())
    }

    fn put(&self, job: Job) -> Result<(), Stop> {
        self.started.call_once(|| (0..self.threads).for_each(|_| start(&self.queue)));
        let mut jobs = self.queue.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        if jobs.len() >= self.threads * WAITING_PER_THREAD {
            return Err(Code::QueueFull.because(vec![]).into());
        }
        jobs.push_back(job);
        self.queue.filled.notify_one();
        Ok(())
    }

    fn out_of_time(&self, expected_seconds: f64) -> Stop {
        let arguments = vec![("seconds", format!("{expected_seconds:.2}")), ("limit", self.timeout_seconds.to_string())];
        Code::OutOfTime.because(arguments).into()
    }
}

fn start(queue: &Arc<Queue>) {
    let queue = queue.clone();
    std::thread::spawn(move || {
        loop {
            let mut jobs = queue.jobs.lock().unwrap_or_else(PoisonError::into_inner);
            while jobs.is_empty() {
                jobs = queue.filled.wait(jobs).unwrap_or_else(PoisonError::into_inner);
            }
            let job = jobs.pop_front();
            drop(jobs);
            if let Some(job) = job {
                job();
            }
        }
    });
}
