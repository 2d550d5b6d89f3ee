//! Whether level two pays for a version: what its round trips took against the runs that they saved. Pure: the caller reads the clock.

use std::sync::{Mutex, MutexGuard, PoisonError};

const SECOND: u64 = 1_000_000_000;
/// Lookup-ups that are judged together.
const TRIAL: u32 = 256;
const FIRST_PAUSE: u64 = 30 * SECOND;
const LONGEST_PAUSE: u64 = 600 * SECOND;

#[derive(Debug, Default)]
pub struct CacheBenefit(Mutex<BenefitLedger>);

#[derive(Debug, Default)]
struct BenefitLedger {
    lookups: u32,
    spent_seconds: f64,
    saved_seconds: f64,
    /// In nanoseconds, as `until`.
    pause: u64,
    until: u64,
}

impl CacheBenefit {
    /// Whether level two has not been given up for now.
    pub fn pays(&self, now_nanoseconds: u64) -> bool {
        self.ledger().until <= now_nanoseconds
    }

    /// Enter a look-up. A trial that cost more than it saved begins a pause, each twice as long as the one before.
    pub fn enter(&self, now_nanoseconds: u64, spent_seconds: f64, saved_seconds: f64) {
        let mut ledger = self.ledger();
        ledger.lookups += 1;
        ledger.spent_seconds += spent_seconds;
        ledger.saved_seconds += saved_seconds;
        if ledger.lookups < TRIAL {
            return;
        }
        let (pause, until) = if ledger.saved_seconds > ledger.spent_seconds {
            (0, 0)
        } else {
            let pause = (ledger.pause * 2).clamp(FIRST_PAUSE, LONGEST_PAUSE);
            (pause, now_nanoseconds.saturating_add(pause))
        };
        *ledger = BenefitLedger { pause, until, ..BenefitLedger::default() };
    }

    fn ledger(&self) -> MutexGuard<'_, BenefitLedger> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A trial of look-ups of 1 ms, of which some each spared a run of 10 ms.
    fn trial(worth: &CacheBenefit, now: u64, hits: u32) {
        (0..TRIAL).for_each(|lookup| worth.enter(now, 1e-3, if lookup < hits { 1e-2 } else { 0.0 }));
    }

    #[test]
    fn hits_that_save_more_than_all_look_ups_cost_keep_it() {
        let worth = CacheBenefit::default();
        trial(&worth, 0, TRIAL / 10 + 1);
        assert!(worth.pays(0));
    }

    #[test]
    fn hits_that_save_less_give_it_up_for_a_while() {
        let worth = CacheBenefit::default();
        trial(&worth, 0, TRIAL / 10);
        assert!(!worth.pays(FIRST_PAUSE - 1));
        assert!(worth.pays(FIRST_PAUSE));
    }

    #[test]
    fn it_is_given_up_for_longer_each_time_until_it_pays_again() {
        let worth = CacheBenefit::default();
        trial(&worth, 0, 0);
        trial(&worth, FIRST_PAUSE, 0);
        assert!(!worth.pays(3 * FIRST_PAUSE - 1));
        trial(&worth, 3 * FIRST_PAUSE, TRIAL);
        trial(&worth, 3 * FIRST_PAUSE, 0);
        assert!(worth.pays(4 * FIRST_PAUSE));
    }
}
