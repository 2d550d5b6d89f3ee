//! What each key has used: its answered predictions, until the database is told of them, and what is left of the quota of a month.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::clock::{now_seconds, unix_seconds};
use crate::error::{Code, Refusal};

/// How many predictions a key may make in a month.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Quota {
    pub allowed: u64,
    /// When the month ends, in Unix seconds; from then on nothing is refused.
    pub ends_seconds: f64,
}

/// What one key has used, for all who hold it.
#[derive(Debug, Default)]
pub struct Meter {
    /// Predictions of this month that the database knows of, those that it has not been told of, and those under way.
    used: AtomicU64,
    untold: AtomicU64,
    last_nanoseconds: AtomicU64,
}

/// A prediction that a key pays for. Unless it is answered, the key gets it back.
/// By default: of a caller whose predictions are not counted.
#[derive(Debug, Default)]
pub struct Reserved(Option<Arc<Meter>>);

/// What a key has used since it was asked last.
#[derive(Debug, PartialEq)]
pub struct Usage {
    pub key: String,
    /// Of the last prediction, in Unix seconds.
    pub last_seconds: f64,
    pub predictions: u64,
}

/// The meters, by key id.
#[derive(Default)]
pub struct UsageMeters(Mutex<HashMap<Box<str>, Known>>);

#[derive(Default)]
struct Known {
    meter: Arc<Meter>,
    /// What the database has of this month, as far as it has been heard of or told.
    told: u64,
    /// The end of the month that `told` is of.
    ends_seconds: Option<f64>,
}

impl Known {
    /// The database has so many, and not what was taken for that.
    fn correct(&mut self, told: u64) {
        // The difference, which may be below zero, so that what nobody was told of stays in the sum.
        self.meter.used.fetch_add(told.wrapping_sub(self.told), Ordering::Relaxed);
        self.told = told;
    }
}

impl Quota {
    /// Whether so many predictions are all.
    fn is_used_up(self, used: u64) -> bool {
        used >= self.allowed && now_seconds() < self.ends_seconds
    }

    fn refusal(self, now_seconds: f64) -> Refusal {
        let wait = (self.ends_seconds - now_seconds).ceil().max(1.0);
        Code::QuotaExceeded
            .because(vec![("limit", self.allowed.to_string()), ("retry_after_seconds", format!("{wait:.0}"))])
    }
}

impl Meter {
    /// Pay for one prediction, or be refused.
    pub fn reserve(self: &Arc<Self>, quota: Option<Quota>) -> Result<Reserved, Refusal> {
        let one_more = |used| if quota.is_some_and(|quota| quota.is_used_up(used)) { None } else { Some(used + 1) };
        match (self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more), quota) {
            (Err(_), Some(quota)) => Err(quota.refusal(now_seconds())),
            _ => Ok(Reserved(Some(self.clone()))),
        }
    }

    /// Whether one prediction would be refused now; pays nothing.
    pub fn peek(&self, quota: Quota) -> Result<(), Refusal> {
        if quota.is_used_up(self.used.load(Ordering::Relaxed)) { Err(quota.refusal(now_seconds())) } else { Ok(()) }
    }
}

impl Reserved {
    /// The prediction was answered: count it.
    pub fn answered(mut self, unix_nanoseconds: u64) {
        if let Some(meter) = self.0.take() {
            meter.last_nanoseconds.store(unix_nanoseconds, Ordering::Relaxed);
            // Whoever takes the count reads the time as well.
            meter.untold.fetch_add(1, Ordering::Release);
        }
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        if let Some(meter) = &self.0 {
            meter.used.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl UsageMeters {
    /// The meter of a key, the same for all who ask.
    ///
    /// `month`: predictions of this month by the database, and the month's end. They may have been read before the database was last
    /// told, so within a month they only count where they are more than what is known here.
    pub fn meter(&self, key: &str, month: Option<(u64, f64)>) -> Arc<Meter> {
        let mut meters = self.lock();
        let known = meters.entry(key.into()).or_default();
        if let Some((told, ends_seconds)) = month {
            let is_of_another_month = known.ends_seconds != Some(ends_seconds);
            if is_of_another_month || told > known.told {
                known.correct(told);
            }
            known.ends_seconds = Some(ends_seconds);
        }
        known.meter.clone()
    }

    /// What the database has of a key's month, now that all has been written that was taken so far.
    pub fn set_used(&self, key: &str, told: u64) {
        if let Some(known) = self.lock().get_mut(key) {
            known.correct(told);
        }
    }

    /// What has been used since the last call. UsageMeters that nobody holds and that have nothing to tell are dropped.
    pub fn take(&self) -> Vec<Usage> {
        let mut uses = vec![];
        self.lock().retain(|key, known| {
            // In this order: what the last holder has counted is seen once it is known to be gone.
            let is_held = Arc::get_mut(&mut known.meter).is_none();
            let predictions = known.meter.untold.swap(0, Ordering::Acquire);
            if predictions > 0 {
                known.told = known.told.wrapping_add(predictions);
                let last_seconds = unix_seconds(known.meter.last_nanoseconds.load(Ordering::Relaxed));
                uses.push(Usage { key: key.to_string(), last_seconds, predictions });
            }
            is_held || predictions > 0
        });
        uses
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Box<str>, Known>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FOR_EVER: f64 = f64::MAX;

    fn quota(allowed: u64) -> Quota {
        Quota { allowed, ends_seconds: FOR_EVER }
    }

    /// How many of so many predictions are let through and answered.
    fn answered(meter: &Arc<Meter>, quota: impl Into<Option<Quota>>, tries: usize) -> usize {
        let quota = quota.into();
        (0..tries).filter_map(|_| meter.reserve(quota).ok()).map(|reserved| reserved.answered(5_000_000_000)).count()
    }

    fn used(meters: &UsageMeters) -> Vec<(String, u64)> {
        meters.take().into_iter().map(|used| (used.key, used.predictions)).collect()
    }

    #[test]
    fn a_quota_lets_through_what_is_left_of_it() {
        let meter = UsageMeters::default().meter("key_1", Some((7, FOR_EVER)));
        assert_eq!(answered(&meter, quota(10), 20), 3);
        assert_eq!(meter.reserve(Some(quota(10))).unwrap_err().code, Code::QuotaExceeded);
        assert_eq!(meter.peek(quota(10)).unwrap_err().code, Code::QuotaExceeded);
        assert_eq!(answered(&meter, quota(11), 20), 1);
    }

    #[test]
    fn a_quota_of_a_month_that_is_over_refuses_nothing() {
        let over = Quota { allowed: 1, ends_seconds: now_seconds() };
        let meter = UsageMeters::default().meter("key_1", Some((5, over.ends_seconds)));
        assert_eq!(answered(&meter, over, 3), 3);
        assert_eq!(meter.peek(over), Ok(()));
    }

    #[test]
    fn who_is_refused_is_told_when_the_month_ends() {
        let told = |now_seconds| Quota { allowed: 5, ends_seconds: 1000.0 }.refusal(now_seconds).arguments;
        assert_eq!(told(899.5), [("limit", "5".to_owned()), ("retry_after_seconds", "101".to_owned())]);
        assert_eq!(told(1000.0)[1].1, "1");
    }

    #[test]
    fn what_is_not_answered_is_given_back() {
        let meters = UsageMeters::default();
        let meter = meters.meter("key_1", Some((0, FOR_EVER)));
        let under_way = meter.reserve(Some(quota(1))).unwrap();
        assert!(meter.reserve(Some(quota(1))).is_err());
        drop(under_way);
        assert_eq!(meters.take(), []);
        assert_eq!(answered(&meter, quota(1), 2), 1);
    }

    #[test]
    fn uses_are_told_once_and_with_the_time_of_the_last() {
        let meters = UsageMeters::default();
        let (one, _idle) = (meters.meter("key_1", None), meters.meter("key_2", None));
        answered(&one, None, 3);
        assert_eq!(meters.take(), [Usage { key: "key_1".to_owned(), last_seconds: 5.0, predictions: 3 }]);
        assert_eq!(meters.take(), []);
    }

    #[test]
    fn a_key_has_one_meter_for_as_long_as_it_is_held_or_has_something_to_tell() {
        let meters = UsageMeters::default();
        let meter = meters.meter("key_1", None);
        assert!(Arc::ptr_eq(&meter, &meters.meter("key_1", None)));
        answered(&meter, None, 2);
        drop(meter);
        assert_eq!(used(&meters), [("key_1".to_owned(), 2)]);
        assert_eq!(meters.lock().len(), 1);
        assert_eq!(used(&meters), []);
        assert_eq!(meters.lock().len(), 0);
    }

    #[test]
    fn what_other_servers_used_counts_once_the_database_has_it() {
        let meters = UsageMeters::default();
        let meter = meters.meter("key_1", Some((0, FOR_EVER)));
        let under_way = meter.reserve(Some(quota(10))).unwrap();
        answered(&meter, quota(10), 2);
        meters.take();
        answered(&meter, quota(10), 1);
        meters.set_used("key_1", 6); // two of them ours
        assert_eq!(answered(&meter, quota(10), 9), 2);
        drop(under_way);
        assert_eq!(answered(&meter, quota(10), 9), 1);
        meters.set_used("key_unknown", 6);
    }

    #[test]
    fn a_total_that_was_read_before_ours_were_written_takes_nothing_back() {
        let meters = UsageMeters::default();
        let meter = meters.meter("key_1", Some((5, FOR_EVER)));
        answered(&meter, quota(10), 3);
        meters.take();
        meters.meter("key_1", Some((5, FOR_EVER)));
        assert_eq!(answered(&meter, quota(10), 9), 2);
        meters.meter("key_1", Some((9, FOR_EVER)));
        assert_eq!(answered(&meter, quota(12), 9), 1);
    }

    #[test]
    fn a_new_month_begins_with_what_the_database_has_of_it() {
        let meters = UsageMeters::default();
        let meter = meters.meter("key_1", Some((10, FOR_EVER / 2.0)));
        assert_eq!(answered(&meter, quota(10), 1), 0);
        meters.meter("key_1", Some((4, FOR_EVER)));
        assert_eq!(answered(&meter, quota(10), 9), 6);
    }

    #[test]
    fn threads_use_a_quota_up_exactly() {
        let meters = UsageMeters::default();
        let meter = meters.meter("key_1", Some((0, FOR_EVER)));
        let through: usize = std::thread::scope(|threads| {
            let workers: Vec<_> = (0..4).map(|_| threads.spawn(|| answered(&meter, quota(1000), 500))).collect();
            let told: u64 = (0..50).flat_map(|_| meters.take()).map(|used| used.predictions).sum();
            let through = workers.into_iter().map(|worker| worker.join().unwrap()).sum();
            let told = told + meters.take().iter().map(|used| used.predictions).sum::<u64>();
            assert_eq!(told, 1000);
            through
        });
        assert_eq!(through, 1000);
    }
}
