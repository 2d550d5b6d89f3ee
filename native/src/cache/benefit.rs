//! The benefit of level two for a version: the time that hits save against the time that look-ups take.
//! Pure: the caller reads the clock.

use std::sync::{Mutex, MutexGuard};

use crate::clock::NANOSECONDS_PER_SECOND as SECOND;
use crate::sync::lock;

/// Look-ups of one trial.
const TRIAL_LOOKUPS: u32 = 256;
const FIRST_PAUSE: u64 = 30 * SECOND;
const MAX_PAUSE: u64 = 600 * SECOND;

#[derive(Debug, Default)]
pub struct CacheBenefit(Mutex<Trial>);

#[derive(Debug, Default)]
struct Trial {
    lookups: u32,
    spent_seconds: f64,
    saved_seconds: f64,
    pause_nanoseconds: u64,
    paused_until_nanoseconds: u64,
}

impl CacheBenefit {
    /// Whether level two is worth asking: it is not paused.
    pub fn pays(&self, now_nanoseconds: u64) -> bool {
        self.trial().paused_until_nanoseconds <= now_nanoseconds
    }

    /// Records a look-up. A trial that cost more than it saved begins a pause, twice as long as the one before.
    pub fn enter(&self, now_nanoseconds: u64, spent_seconds: f64, saved_seconds: f64) {
        let mut trial = self.trial();
        trial.lookups += 1;
        trial.spent_seconds += spent_seconds;
        trial.saved_seconds += saved_seconds;
        if trial.lookups < TRIAL_LOOKUPS {
            return;
        }
        let (pause_nanoseconds, paused_until_nanoseconds) = if trial.saved_seconds > trial.spent_seconds {
            (0, 0)
        } else {
            let pause = (trial.pause_nanoseconds * 2).clamp(FIRST_PAUSE, MAX_PAUSE);
            (pause, now_nanoseconds.saturating_add(pause))
        };
        *trial = Trial { pause_nanoseconds, paused_until_nanoseconds, ..Trial::default() };
    }

    fn trial(&self) -> MutexGuard<'_, Trial> {
        lock(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A trial of look-ups of 1 ms, of which `hits` each save a run of 10 ms.
    fn run_trial(benefit: &CacheBenefit, now: u64, hits: u32) {
        (0..TRIAL_LOOKUPS).for_each(|lookup| benefit.enter(now, 1e-3, if lookup < hits { 1e-2 } else { 0.0 }));
    }

    #[test]
    fn hits_that_save_more_than_all_look_ups_cost_keep_it_in_use() {
        let benefit = CacheBenefit::default();
        run_trial(&benefit, 0, TRIAL_LOOKUPS / 10 + 1);
        assert!(benefit.pays(0));
    }

    #[test]
    fn hits_that_save_less_pause_it() {
        let benefit = CacheBenefit::default();
        run_trial(&benefit, 0, TRIAL_LOOKUPS / 10);
        assert!(!benefit.pays(FIRST_PAUSE - 1));
        assert!(benefit.pays(FIRST_PAUSE));
    }

    #[test]
    fn each_pause_is_longer_until_it_pays_again() {
        let benefit = CacheBenefit::default();
        run_trial(&benefit, 0, 0);
        run_trial(&benefit, FIRST_PAUSE, 0);
        assert!(!benefit.pays(3 * FIRST_PAUSE - 1));
        run_trial(&benefit, 3 * FIRST_PAUSE, TRIAL_LOOKUPS);
        run_trial(&benefit, 3 * FIRST_PAUSE, 0);
        assert!(benefit.pays(4 * FIRST_PAUSE));
    }
}
