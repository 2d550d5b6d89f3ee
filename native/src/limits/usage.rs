//! What each key has used: predictions that are not yet written to the database, and what is left of the monthly quota.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use crate::clock::{now_seconds, unix_seconds};
use crate::error::{Code, Refusal};
use crate::sync::lock;

/// How many predictions a key may make in a month.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Quota {
    pub allowed: u64,
    /// When the month ends, in Unix seconds; from then on nothing is refused.
    pub ends_seconds: f64,
}

/// What one key has used, shared by everybody who holds it.
#[derive(Debug, Default)]
pub struct Meter {
    /// Predictions of this month: those in the database, those not reported yet, and those in flight.
    used: AtomicU64,
    /// Answered, and not reported yet.
    unreported: AtomicU64,
    last_nanoseconds: AtomicU64,
}

/// One prediction of a quota, which is given back unless it is answered.
/// By default: of a caller whose predictions are not counted.
#[derive(Debug, Default)]
pub struct Reservation(Option<Arc<Meter>>);

/// What a key has used since the last report.
#[derive(Debug, PartialEq)]
pub struct Usage {
    pub key: String,
    /// Of the last prediction, in Unix seconds.
    pub last_seconds: f64,
    pub predictions: u64,
}

/// The meters, by key id.
#[derive(Default)]
pub struct UsageMeters(Mutex<HashMap<Box<str>, KeyUsage>>);

#[derive(Default)]
struct KeyUsage {
    meter: Arc<Meter>,
    /// What the database has of this month, as far as it has been read or reported.
    reported: u64,
    /// The end of the month that `reported` is of.
    ends_seconds: Option<f64>,
}

impl KeyUsage {
    /// The database has `reported` predictions, whatever was assumed.
    fn correct(&mut self, reported: u64) {
        // The difference, which may be below zero, so that what is not reported stays in the sum.
        self.meter.used.fetch_add(reported.wrapping_sub(self.reported), Ordering::Relaxed);
        self.reported = reported;
    }
}

impl Quota {
    /// Whether `used` predictions are all that are allowed.
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
    /// Reserves one prediction, or refuses it.
    pub fn reserve(self: &Arc<Self>, quota: Option<Quota>) -> Result<Reservation, Refusal> {
        let one_more = |used| if quota.is_some_and(|quota| quota.is_used_up(used)) { None } else { Some(used + 1) };
        match (self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more), quota) {
            (Err(_), Some(quota)) => Err(quota.refusal(now_seconds())),
            _ => Ok(Reservation(Some(self.clone()))),
        }
    }

    /// Whether one prediction would be refused now; reserves nothing.
    pub fn peek(&self, quota: Quota) -> Result<(), Refusal> {
        if quota.is_used_up(self.used.load(Ordering::Relaxed)) { Err(quota.refusal(now_seconds())) } else { Ok(()) }
    }
}

impl Reservation {
    /// Counts the prediction, which was answered.
    pub fn commit(mut self, unix_nanoseconds: u64) {
        if let Some(meter) = self.0.take() {
            meter.last_nanoseconds.store(unix_nanoseconds, Ordering::Relaxed);
            // A reader of the count sees the time as well.
            meter.unreported.fetch_add(1, Ordering::Release);
        }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if let Some(meter) = &self.0 {
            meter.used.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl UsageMeters {
    /// The meter of a key, the same for everybody.
    ///
    /// `month`: predictions of this month according to the database, and the month's end. They may have been read
    /// before the last report was written, so within a month they only count where they are more than what is known
    /// here.
    pub fn meter(&self, key: &str, month: Option<(u64, f64)>) -> Arc<Meter> {
        let mut meters = self.lock();
        let known = meters.entry(key.into()).or_default();
        if let Some((reported, ends_seconds)) = month {
            let is_of_another_month = known.ends_seconds != Some(ends_seconds);
            if is_of_another_month || reported > known.reported {
                known.correct(reported);
            }
            known.ends_seconds = Some(ends_seconds);
        }
        known.meter.clone()
    }

    /// What the database has of a key's month, now that everything taken so far has been written.
    pub fn set_used(&self, key: &str, reported: u64) {
        if let Some(known) = self.lock().get_mut(key) {
            known.correct(reported);
        }
    }

    /// What has been used since the last call. Meters that nobody holds and that have nothing to report are dropped.
    pub fn take(&self) -> Vec<Usage> {
        let mut usages = vec![];
        self.lock().retain(|key, known| {
            // In this order: what the last holder has counted is read after it is known to be gone.
            let is_held = Arc::get_mut(&mut known.meter).is_none();
            let predictions = known.meter.unreported.swap(0, Ordering::Acquire);
            if predictions > 0 {
                known.reported = known.reported.wrapping_add(predictions);
                let last_seconds = unix_seconds(known.meter.last_nanoseconds.load(Ordering::Relaxed));
                usages.push(Usage { key: key.to_string(), last_seconds, predictions });
            }
            is_held || predictions > 0
        });
        usages
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Box<str>, KeyUsage>> {
        lock(&self.0)
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
        (0..tries)
            .filter_map(|_| meter.reserve(quota).ok())
            .map(|reservation| reservation.commit(5_000_000_000))
            .count()
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
    fn a_refusal_says_when_the_month_ends() {
        let arguments = |now_seconds| Quota { allowed: 5, ends_seconds: 1000.0 }.refusal(now_seconds).arguments;
        assert_eq!(arguments(899.5), [("limit", "5".to_owned()), ("retry_after_seconds", "101".to_owned())]);
        assert_eq!(arguments(1000.0)[1].1, "1");
    }

    #[test]
    fn what_is_not_answered_is_given_back() {
        let meters = UsageMeters::default();
        let meter = meters.meter("key_1", Some((0, FOR_EVER)));
        let in_flight = meter.reserve(Some(quota(1))).unwrap();
        assert!(meter.reserve(Some(quota(1))).is_err());
        drop(in_flight);
        assert_eq!(meters.take(), []);
        assert_eq!(answered(&meter, quota(1), 2), 1);
    }

    #[test]
    fn usage_is_reported_once_and_with_the_time_of_the_last_prediction() {
        let meters = UsageMeters::default();
        let (one, _idle) = (meters.meter("key_1", None), meters.meter("key_2", None));
        answered(&one, None, 3);
        assert_eq!(meters.take(), [Usage { key: "key_1".to_owned(), last_seconds: 5.0, predictions: 3 }]);
        assert_eq!(meters.take(), []);
    }

    #[test]
    fn a_key_has_one_meter_while_it_is_held_or_has_something_to_report() {
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
        let in_flight = meter.reserve(Some(quota(10))).unwrap();
        answered(&meter, quota(10), 2);
        meters.take();
        answered(&meter, quota(10), 1);
        meters.set_used("key_1", 6); // two of them ours
        assert_eq!(answered(&meter, quota(10), 9), 2);
        drop(in_flight);
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
            let reported: u64 = (0..50).flat_map(|_| meters.take()).map(|used| used.predictions).sum();
            let through = workers.into_iter().map(|worker| worker.join().unwrap()).sum();
            let reported = reported + meters.take().iter().map(|used| used.predictions).sum::<u64>();
            assert_eq!(reported, 1000);
            through
        });
        assert_eq!(through, 1000);
    }
}
