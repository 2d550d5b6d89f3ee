//! Which job runs next: each model has a queue, the queues share the time fairly, and all are bounded.

use std::collections::{BTreeMap, VecDeque};

/// How many jobs may wait, and how long.
#[derive(Debug, Clone, Copy)]
pub struct QueueLimits {
    pub threads: usize,
    pub max_waiting: usize,
    pub max_waiting_per_model: usize,
    pub timeout_seconds: f64,
}

/// Seconds that a job is expected to take, and may take.
#[allow(clippy::struct_field_names, reason = "units belong in names")]
#[derive(Debug, Clone, Copy)]
pub struct Cost {
    pub alone_seconds: f64,
    /// What it adds to a run that other jobs share; at most `alone_seconds`.
    pub batched_seconds: f64,
    /// How long its caller waits at most.
    pub timeout_seconds: f64,
}

/// Why a job may not join its queue.
#[derive(Debug, PartialEq)]
pub enum Rejection {
    QueueFull,
    /// It could not end in time: it would begin only after `waiting_seconds`.
    OutOfTime {
        waiting_seconds: f64,
    },
}

/// Jobs that wait, one queue a model.
///
/// Start-time fair queueing (Goyal, Vin, Cheng 1996): the next job is that of the queue with the smallest start tag. A
/// tag grows by what the jobs of its queue cost, and a new queue begins at the tag served last.
pub struct Scheduler<J> {
    queues: BTreeMap<Box<str>, Queue<J>>,
    served: f64,
    limits: QueueLimits,
}

struct Queue<J> {
    jobs: VecDeque<(Cost, J)>,
    tag: f64,
    /// Jobs that were taken and do not end; they still count as waiting.
    stuck: usize,
}

impl<J> Scheduler<J> {
    pub fn new(limits: QueueLimits) -> Self {
        Self { queues: BTreeMap::new(), served: 0.0, limits }
    }

    /// Queues a job. `busy_seconds`: what each busy thread still needs, as far as is known.
    pub fn put(&mut self, model: &str, cost: Cost, busy_seconds: &[f64], job: J) -> Result<(), Rejection> {
        let queue = self.queues.get(model);
        let queued_for_model = queue.map_or(0, |queue| queue.jobs.len() + queue.stuck);
        let queued: usize = self.queues.values().map(|queue| queue.jobs.len() + queue.stuck).sum();
        if queued_for_model >= self.limits.max_waiting_per_model || queued >= self.limits.max_waiting {
            return Err(Rejection::QueueFull);
        }
        let waiting_seconds = water_level(busy_seconds, self.limits.threads, self.seconds_before(model));
        if waiting_seconds + cost.alone_seconds > cost.timeout_seconds {
            return Err(Rejection::OutOfTime { waiting_seconds });
        }
        let served = self.served;
        let queue = self.queue(model);
        if queue.jobs.is_empty() {
            queue.tag = queue.tag.max(served);
        }
        queue.jobs.push_back((cost, job));
        Ok(())
    }

    /// The next job, and its model.
    pub fn take(&mut self) -> Option<(Box<str>, J)> {
        let waiting = self.queues.iter_mut().filter(|(_, queue)| !queue.jobs.is_empty());
        let (model, queue) = waiting.min_by(|(_, one), (_, other)| one.tag.total_cmp(&other.tag))?;
        let (cost, job) = queue.jobs.pop_front()?;
        self.served = queue.tag;
        queue.tag += cost.alone_seconds;
        let model = model.clone();
        self.forget_idle_queues();
        Some((model, job))
    }

    /// Takes the jobs of a model that can be batched with the one just taken, in their order.
    pub fn take_batchable(&mut self, model: &str, mut is_batchable: impl FnMut(&J) -> bool) -> Vec<J> {
        let Some(queue) = self.queues.get_mut(model) else { return vec![] };
        let (taken, left): (VecDeque<_>, VecDeque<_>) =
            std::mem::take(&mut queue.jobs).into_iter().partition(|(_, job)| is_batchable(job));
        queue.jobs = left;
        queue.tag += taken.iter().map(|(cost, _)| cost.batched_seconds).sum::<f64>();
        taken.into_iter().map(|(_, job)| job).collect()
    }

    /// Takes jobs out of the queue of a model.
    pub fn remove(&mut self, model: &str, mut is_removed: impl FnMut(&J) -> bool) -> Vec<J> {
        let Some(queue) = self.queues.get_mut(model) else { return vec![] };
        let (gone, left): (VecDeque<_>, VecDeque<_>) =
            std::mem::take(&mut queue.jobs).into_iter().partition(|(_, job)| is_removed(job));
        queue.jobs = left;
        gone.into_iter().map(|(_, job)| job).collect()
    }

    /// A job that was taken does not end: another thread goes on, and the job still counts as waiting.
    pub fn mark_stuck(&mut self, model: &str) {
        self.queue(model).stuck += 1;
    }

    /// A stuck job has ended after all.
    pub fn unmark_stuck(&mut self, model: &str) {
        if let Some(queue) = self.queues.get_mut(model) {
            queue.stuck -= 1;
        }
        self.forget_idle_queues();
    }

    fn queue(&mut self, model: &str) -> &mut Queue<J> {
        let new = Queue { jobs: VecDeque::new(), tag: self.served, stuck: 0 };
        self.queues.entry(model.into()).or_insert(new)
    }

    pub fn waiting(&self) -> usize {
        self.queues.values().map(|queue| queue.jobs.len()).sum()
    }

    /// What runs before a job that comes now: its own queue, and of each other queue its fair share.
    fn seconds_before(&self, model: &str) -> f64 {
        let seconds = |queue: &Queue<J>| queue.jobs.iter().map(|(cost, _)| cost.batched_seconds).sum::<f64>();
        let queue = self.queues.get(model);
        let own_seconds = queue.map_or(0.0, &seconds);
        // The tag that it would have; another queue goes first until its tag is past it.
        let tag = queue.map_or(self.served, |queue| queue.tag.max(self.served)) + own_seconds;
        let others = self.queues.iter().filter(|(other, _)| ***other != *model);
        own_seconds + others.map(|(_, queue)| seconds(queue).min((tag - queue.tag).max(0.0))).sum::<f64>()
    }

    /// Keeps an empty queue only while it has had more than its share.
    fn forget_idle_queues(&mut self) {
        let served = self.served;
        self.queues.retain(|_, queue| !queue.jobs.is_empty() || queue.stuck > 0 || queue.tag > served);
    }
}

/// When the first thread comes free after `work_seconds` of work on top of what they have: water-filling.
#[allow(clippy::cast_precision_loss, reason = "threads are few")]
fn water_level(busy_seconds: &[f64], threads: usize, work_seconds: f64) -> f64 {
    let mut free_at: Vec<f64> = busy_seconds.to_vec();
    free_at.resize(threads.max(busy_seconds.len()).max(1), 0.0);
    free_at.sort_by(f64::total_cmp);
    let mut level = free_at[0];
    let mut work_seconds = work_seconds;
    for (below, &next) in free_at.iter().enumerate().skip(1) {
        let room = (next - level) * below as f64;
        if work_seconds < room {
            return level + work_seconds / below as f64;
        }
        work_seconds -= room;
        level = next;
    }
    level + work_seconds / free_at.len() as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scheduler(threads: usize) -> Scheduler<u32> {
        Scheduler::new(QueueLimits { threads, max_waiting: 6, max_waiting_per_model: 4, timeout_seconds: 30.0 })
    }

    fn cost(seconds: f64) -> Cost {
        Cost { alone_seconds: seconds, batched_seconds: seconds, timeout_seconds: 30.0 }
    }

    fn order(scheduler: &mut Scheduler<u32>) -> Vec<u32> {
        std::iter::from_fn(|| scheduler.take().map(|(_, job)| job)).collect()
    }

    #[test]
    fn one_queue_is_first_in_first_out() {
        let mut scheduler = scheduler(1);
        (0..4).for_each(|job| scheduler.put("a", cost(1.0), &[], job).unwrap());
        assert_eq!(order(&mut scheduler), [0, 1, 2, 3]);
    }

    #[test]
    fn queues_of_equal_cost_alternate() {
        let mut scheduler = scheduler(1);
        (0..3).for_each(|job| scheduler.put("a", cost(1.0), &[], job).unwrap());
        (10..13).for_each(|job| scheduler.put("b", cost(1.0), &[], job).unwrap());
        assert_eq!(order(&mut scheduler), [0, 10, 1, 11, 2, 12]);
    }

    #[test]
    fn an_expensive_model_gets_no_more_time_than_a_cheap_one() {
        let mut scheduler = scheduler(1);
        (0..2).for_each(|job| scheduler.put("expensive", cost(3.0), &[], job).unwrap());
        (10..14).for_each(|job| scheduler.put("cheap", cost(1.0), &[], job).unwrap());
        assert_eq!(order(&mut scheduler), [10, 0, 11, 12, 13, 1]);
    }

    #[test]
    fn a_queue_that_comes_late_does_not_catch_up_on_time_it_never_asked_for() {
        let mut scheduler = scheduler(1);
        (0..4).for_each(|job| scheduler.put("a", cost(1.0), &[], job).unwrap());
        assert_eq!((scheduler.take().unwrap().1, scheduler.take().unwrap().1), (0, 1));
        (10..12).for_each(|job| scheduler.put("b", cost(1.0), &[], job).unwrap());
        assert_eq!(order(&mut scheduler), [10, 2, 11, 3]);
    }

    #[test]
    fn a_queue_that_was_just_served_does_not_go_first_again() {
        let mut scheduler = scheduler(1);
        scheduler.put("a", cost(9.0), &[], 0).unwrap();
        scheduler.put("b", cost(1.0), &[], 10).unwrap();
        scheduler.put("b", cost(1.0), &[], 11).unwrap();
        assert_eq!(scheduler.take().unwrap().1, 0);
        scheduler.put("a", cost(9.0), &[], 1).unwrap();
        assert_eq!(order(&mut scheduler), [10, 11, 1]);
    }

    #[test]
    fn each_queue_and_all_queues_together_are_bounded() {
        let mut scheduler = scheduler(1);
        (0..4).for_each(|job| scheduler.put("a", cost(1.0), &[], job).unwrap());
        assert_eq!(scheduler.put("a", cost(1.0), &[], 4), Err(Rejection::QueueFull));
        (0..2).for_each(|job| scheduler.put("b", cost(1.0), &[], job).unwrap());
        assert_eq!(scheduler.put("c", cost(1.0), &[], 0), Err(Rejection::QueueFull));
        scheduler.take();
        assert_eq!(scheduler.put("c", cost(1.0), &[], 0), Ok(()));
    }

    #[test]
    fn a_stuck_job_counts_as_waiting_until_it_ends() {
        let mut scheduler = scheduler(1);
        (0..4).for_each(|_| scheduler.mark_stuck("a"));
        assert_eq!(scheduler.put("a", cost(1.0), &[], 1), Err(Rejection::QueueFull));
        scheduler.unmark_stuck("a");
        assert_eq!(scheduler.put("a", cost(1.0), &[], 1), Ok(()));
    }

    #[test]
    fn a_job_that_cannot_end_in_time_is_rejected() {
        let mut scheduler = scheduler(1);
        assert_eq!(scheduler.put("a", cost(31.0), &[], 0), Err(Rejection::OutOfTime { waiting_seconds: 0.0 }));
        assert_eq!(scheduler.put("a", cost(20.0), &[11.0], 0), Err(Rejection::OutOfTime { waiting_seconds: 11.0 }));
        assert_eq!(scheduler.put("a", cost(20.0), &[9.0], 0), Ok(()));
        assert_eq!(scheduler.put("a", cost(20.0), &[9.0], 1), Err(Rejection::OutOfTime { waiting_seconds: 29.0 }));
    }

    #[test]
    fn jobs_of_another_model_count_as_far_as_they_go_first() {
        let mut scheduler = scheduler(1);
        (0..3).for_each(|job| scheduler.put("expensive", cost(9.0), &[], job).unwrap());
        assert_eq!(scheduler.put("cheap", cost(1.0), &[], 10), Ok(()));
        assert_eq!(scheduler.put("expensive", cost(9.0), &[], 3), Err(Rejection::OutOfTime { waiting_seconds: 28.0 }));
    }

    #[test]
    fn jobs_that_are_batched_wait_less_than_their_sum() {
        let mut scheduler = scheduler(1);
        let shared = Cost { alone_seconds: 9.0, batched_seconds: 1.0, timeout_seconds: 30.0 };
        (0..4).for_each(|job| scheduler.put("a", shared, &[], job).unwrap());
        assert_eq!(scheduler.take().unwrap().1, 0);
        assert_eq!(scheduler.take_batchable("a", |&job| job != 2), [1, 3]);
        assert_eq!(order(&mut scheduler), [2]);
    }

    #[test]
    fn removed_jobs_make_room() {
        let mut scheduler = scheduler(1);
        (0..4).for_each(|job| scheduler.put("a", cost(1.0), &[], job).unwrap());
        assert_eq!(scheduler.remove("a", |&job| job % 2 == 0), [0, 2]);
        assert_eq!(scheduler.waiting(), 2);
        assert_eq!(scheduler.put("a", cost(1.0), &[], 4), Ok(()));
    }

    #[test]
    #[allow(clippy::float_cmp, reason = "sums of small whole numbers")]
    fn work_flows_to_the_thread_that_is_free_first() {
        assert_eq!(water_level(&[20.0], 2, 0.0), 0.0);
        assert_eq!(water_level(&[20.0], 2, 10.0), 10.0);
        assert_eq!(water_level(&[20.0], 2, 30.0), 25.0);
        assert_eq!(water_level(&[20.0, 10.0], 2, 0.0), 10.0);
    }
}
