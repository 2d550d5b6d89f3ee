//! Whose turn it is: jobs wait in a line for each model, lines take turns by the time they have had, and both are bounded.

use std::collections::{BTreeMap, VecDeque};

/// How many may wait, and how long.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    pub threads: usize,
    pub waiting: usize,
    pub waiting_per_line: usize,
    pub timeout_seconds: f64,
}

/// Seconds that a job is expected to take.
#[derive(Debug, Clone, Copy)]
pub struct Cost {
    pub alone_seconds: f64,
    /// What it adds to a run that others share; not above the first.
    pub beside_seconds: f64,
}

/// Why a job may not wait.
#[derive(Debug, PartialEq)]
pub enum Refused {
    Full,
    /// It could not end in time, because it would begin only so much later.
    Late {
        waiting_seconds: f64,
    },
}

/// Jobs that wait, in lines.
///
/// Lines share the time as in start-time fair queueing (Goyal, Vin, Cheng 1996): the next job is of the line with the smallest tag;
/// a tag grows by what its jobs cost, and a line that comes anew begins at the tag served last.
pub struct Scheduler<J> {
    lines: BTreeMap<Box<str>, Queue<J>>,
    served: f64,
    limits: Limits,
}

struct Queue<J> {
    jobs: VecDeque<(Cost, J)>,
    tag: f64,
    /// Jobs that were taken and do not end; they keep their places.
    stuck: usize,
}

impl<J> Scheduler<J> {
    pub fn new(limits: Limits) -> Self {
        Self { lines: BTreeMap::new(), served: 0.0, limits }
    }

    /// Let a job wait. `busy_seconds`: what each thread that is at work still needs, as far as is known.
    pub fn put(&mut self, name: &str, cost: Cost, busy_seconds: &[f64], job: J) -> Result<(), Refused> {
        let line = self.lines.get(name);
        let in_line = line.map_or(0, |line| line.jobs.len() + line.stuck);
        let in_all: usize = self.lines.values().map(|line| line.jobs.len() + line.stuck).sum();
        if in_line >= self.limits.waiting_per_line || in_all >= self.limits.waiting {
            return Err(Refused::Full);
        }
        let waiting_seconds = filled(busy_seconds, self.limits.threads, self.seconds_before(name));
        if waiting_seconds + cost.alone_seconds > self.limits.timeout_seconds {
            return Err(Refused::Late { waiting_seconds });
        }
        let line = self.lines.entry(name.into()).or_insert(Queue { jobs: VecDeque::new(), tag: self.served, stuck: 0 });
        if line.jobs.is_empty() {
            line.tag = line.tag.max(self.served);
        }
        line.jobs.push_back((cost, job));
        Ok(())
    }

    /// The next job, and the name of its line.
    pub fn take(&mut self) -> Option<(Box<str>, J)> {
        let waiting = self.lines.iter_mut().filter(|(_, line)| !line.jobs.is_empty());
        let (name, line) = waiting.min_by(|(_, one), (_, other)| one.tag.total_cmp(&other.tag))?;
        let (cost, job) = line.jobs.pop_front()?;
        self.served = line.tag;
        line.tag += cost.alone_seconds;
        let name = name.clone();
        self.forget_lines();
        Some((name, job))
    }

    /// All jobs of a line that go well with one that was taken from it, in their order.
    pub fn take_beside(&mut self, name: &str, mut goes: impl FnMut(&J) -> bool) -> Vec<J> {
        let Some(line) = self.lines.get_mut(name) else { return vec![] };
        let (taken, left): (VecDeque<_>, VecDeque<_>) =
            std::mem::take(&mut line.jobs).into_iter().partition(|(_, job)| goes(job));
        line.jobs = left;
        line.tag += taken.iter().map(|(cost, _)| cost.beside_seconds).sum::<f64>();
        taken.into_iter().map(|(_, job)| job).collect()
    }

    /// Take away what nobody waits for any more.
    pub fn remove(&mut self, name: &str, mut is_gone: impl FnMut(&J) -> bool) -> Vec<J> {
        let Some(line) = self.lines.get_mut(name) else { return vec![] };
        let (gone, left): (VecDeque<_>, VecDeque<_>) =
            std::mem::take(&mut line.jobs).into_iter().partition(|(_, job)| is_gone(job));
        line.jobs = left;
        gone.into_iter().map(|(_, job)| job).collect()
    }

    /// A job that was taken does not end: another thread goes on, and its place stays taken.
    pub fn leave(&mut self, name: &str) {
        self.lines.entry(name.into()).or_insert(Queue { jobs: VecDeque::new(), tag: self.served, stuck: 0 }).stuck += 1;
    }

    /// A job that was left has ended after all.
    pub fn end(&mut self, name: &str) {
        if let Some(line) = self.lines.get_mut(name) {
            line.stuck -= 1;
        }
        self.forget_lines();
    }

    pub fn waiting(&self) -> usize {
        self.lines.values().map(|line| line.jobs.len()).sum()
    }

    /// What runs before a job that comes now: its own line, and of each other line as much as its turns give.
    fn seconds_before(&self, name: &str) -> f64 {
        let seconds = |line: &Queue<J>| line.jobs.iter().map(|(cost, _)| cost.beside_seconds).sum::<f64>();
        let line = self.lines.get(name);
        let own_seconds = line.map_or(0.0, &seconds);
        // The tag that it would have; another line goes first until its tag is past it.
        let tag = line.map_or(self.served, |line| line.tag.max(self.served)) + own_seconds;
        let others = self.lines.iter().filter(|(other, _)| ***other != *name);
        own_seconds + others.map(|(_, line)| seconds(line).min((tag - line.tag).max(0.0))).sum::<f64>()
    }

    /// Lines that nobody waits in are kept only while they have had more than their share.
    fn forget_lines(&mut self) {
        let served = self.served;
        self.lines.retain(|_, line| !line.jobs.is_empty() || line.stuck > 0 || line.tag > served);
    }
}

/// When a thread comes free if so much work is poured over threads of which some are busy: the level that it reaches.
#[allow(clippy::cast_precision_loss, reason = "threads are few")]
fn filled(busy_seconds: &[f64], threads: usize, work_seconds: f64) -> f64 {
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

    fn turns(threads: usize) -> Scheduler<u32> {
        Scheduler::new(Limits { threads, waiting: 6, waiting_per_line: 4, timeout_seconds: 30.0 })
    }

    fn cost(seconds: f64) -> Cost {
        Cost { alone_seconds: seconds, beside_seconds: seconds }
    }

    fn order(turns: &mut Scheduler<u32>) -> Vec<u32> {
        std::iter::from_fn(|| turns.take().map(|(_, job)| job)).collect()
    }

    #[test]
    fn one_line_is_served_in_its_order() {
        let mut turns = turns(1);
        (0..4).for_each(|job| turns.put("a", cost(1.0), &[], job).unwrap());
        assert_eq!(order(&mut turns), [0, 1, 2, 3]);
    }

    #[test]
    fn lines_of_equal_cost_take_turns() {
        let mut turns = turns(1);
        (0..3).for_each(|job| turns.put("a", cost(1.0), &[], job).unwrap());
        (10..13).for_each(|job| turns.put("b", cost(1.0), &[], job).unwrap());
        assert_eq!(order(&mut turns), [0, 10, 1, 11, 2, 12]);
    }

    #[test]
    fn a_dear_line_gets_no_more_time_than_a_cheap_one() {
        let mut turns = turns(1);
        (0..2).for_each(|job| turns.put("dear", cost(3.0), &[], job).unwrap());
        (10..14).for_each(|job| turns.put("cheap", cost(1.0), &[], job).unwrap());
        assert_eq!(order(&mut turns), [10, 0, 11, 12, 13, 1]);
    }

    #[test]
    fn a_line_that_comes_late_does_not_catch_up_on_what_it_never_asked_for() {
        let mut turns = turns(1);
        (0..4).for_each(|job| turns.put("a", cost(1.0), &[], job).unwrap());
        assert_eq!((turns.take().unwrap().1, turns.take().unwrap().1), (0, 1));
        (10..12).for_each(|job| turns.put("b", cost(1.0), &[], job).unwrap());
        assert_eq!(order(&mut turns), [10, 2, 11, 3]);
    }

    #[test]
    fn a_line_that_has_just_had_its_turn_does_not_go_first_again() {
        let mut turns = turns(1);
        turns.put("a", cost(9.0), &[], 0).unwrap();
        turns.put("b", cost(1.0), &[], 10).unwrap();
        turns.put("b", cost(1.0), &[], 11).unwrap();
        assert_eq!(turns.take().unwrap().1, 0);
        turns.put("a", cost(9.0), &[], 1).unwrap();
        assert_eq!(order(&mut turns), [10, 11, 1]);
    }

    #[test]
    fn a_line_and_all_lines_are_bounded() {
        let mut turns = turns(1);
        (0..4).for_each(|job| turns.put("a", cost(1.0), &[], job).unwrap());
        assert_eq!(turns.put("a", cost(1.0), &[], 4), Err(Refused::Full));
        (0..2).for_each(|job| turns.put("b", cost(1.0), &[], job).unwrap());
        assert_eq!(turns.put("c", cost(1.0), &[], 0), Err(Refused::Full));
        turns.take();
        assert_eq!(turns.put("c", cost(1.0), &[], 0), Ok(()));
    }

    #[test]
    fn what_was_left_behind_keeps_its_place_until_it_ends() {
        let mut turns = turns(1);
        (0..4).for_each(|_| turns.leave("a"));
        assert_eq!(turns.put("a", cost(1.0), &[], 1), Err(Refused::Full));
        turns.end("a");
        assert_eq!(turns.put("a", cost(1.0), &[], 1), Ok(()));
    }

    #[test]
    fn a_job_that_can_not_end_in_time_is_refused() {
        let mut turns = turns(1);
        assert_eq!(turns.put("a", cost(31.0), &[], 0), Err(Refused::Late { waiting_seconds: 0.0 }));
        assert_eq!(turns.put("a", cost(20.0), &[11.0], 0), Err(Refused::Late { waiting_seconds: 11.0 }));
        assert_eq!(turns.put("a", cost(20.0), &[9.0], 0), Ok(()));
        assert_eq!(turns.put("a", cost(20.0), &[9.0], 1), Err(Refused::Late { waiting_seconds: 29.0 }));
    }

    #[test]
    fn what_waits_in_another_line_counts_as_far_as_it_goes_first() {
        let mut turns = turns(1);
        (0..3).for_each(|job| turns.put("dear", cost(9.0), &[], job).unwrap());
        assert_eq!(turns.put("cheap", cost(1.0), &[], 10), Ok(()));
        assert_eq!(turns.put("dear", cost(9.0), &[], 3), Err(Refused::Late { waiting_seconds: 28.0 }));
    }

    #[test]
    fn jobs_that_share_runs_wait_less_than_their_sum() {
        let mut turns = turns(1);
        let shared = Cost { alone_seconds: 9.0, beside_seconds: 1.0 };
        (0..4).for_each(|job| turns.put("a", shared, &[], job).unwrap());
        assert_eq!(turns.take().unwrap().1, 0);
        assert_eq!(turns.take_beside("a", |&job| job != 2), [1, 3]);
        assert_eq!(order(&mut turns), [2]);
    }

    #[test]
    fn what_nobody_waits_for_is_taken_away() {
        let mut turns = turns(1);
        (0..4).for_each(|job| turns.put("a", cost(1.0), &[], job).unwrap());
        assert_eq!(turns.remove("a", |&job| job % 2 == 0), [0, 2]);
        assert_eq!(turns.waiting(), 2);
        assert_eq!(turns.put("a", cost(1.0), &[], 4), Ok(()));
    }

    #[test]
    #[allow(clippy::float_cmp, reason = "sums of small whole numbers")]
    fn work_flows_to_the_thread_that_is_free_first() {
        assert_eq!(filled(&[20.0], 2, 0.0), 0.0);
        assert_eq!(filled(&[20.0], 2, 10.0), 10.0);
        assert_eq!(filled(&[20.0], 2, 30.0), 25.0);
        assert_eq!(filled(&[20.0, 10.0], 2, 0.0), 10.0);
    }
}
