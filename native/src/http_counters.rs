//! Requests that the front answers by itself, by method, route and status, so that they stand in one metric with those
//! of the app.

use std::sync::atomic::{AtomicU64, Ordering};

use http::{Method, StatusCode};

/// Of requests whose route is unknown here, other methods than these count as the last.
const METHODS: [&str; 8] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "other"];
/// As many as there are from 100 to 599.
const STATUSES: usize = 500;
const FIRST_STATUS: usize = 100;
const ROUTES: usize = 4 + METHODS.len();

/// What is counted as one: a route of the front's own, or a method of requests that are refused before their route is
/// known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route {
    Live,
    PredictShort,
    Predict,
    PredictOfOwner,
    /// An index into `METHODS`.
    Unmatched(usize),
}

/// One of the samples: (method, route, status, count).
pub type Sample = (&'static str, &'static str, u16, u64);

impl Route {
    /// The route of a prediction, by the model in its path.
    pub fn of_prediction(model: Option<&str>) -> Self {
        match model {
            None => Self::PredictShort,
            Some(model) if model.contains('/') => Self::PredictOfOwner,
            Some(_) => Self::Predict,
        }
    }

    pub fn unmatched(method: &Method) -> Self {
        let known = METHODS.iter().position(|&name| name == method.as_str());
        Self::Unmatched(known.unwrap_or(METHODS.len() - 1))
    }

    const fn index(self) -> usize {
        match self {
            Self::Live => 0,
            Self::PredictShort => 1,
            Self::Predict => 2,
            Self::PredictOfOwner => 3,
            Self::Unmatched(method) => 4 + method,
        }
    }

    /// Its method, and its template as the app has it.
    fn labels(index: usize) -> (&'static str, &'static str) {
        match index {
            0 => ("GET", "/health/live"),
            1 => ("POST", "/predict"),
            2 => ("POST", "/api/v1/predict/{model}"),
            3 => ("POST", "/api/v1/predict/{owner}/{model}"),
            _ => (METHODS[index - 4], "unmatched"),
        }
    }
}

#[derive(Debug)]
pub struct HttpCounters(Box<[[AtomicU64; STATUSES]]>);

impl Default for HttpCounters {
    fn default() -> Self {
        Self((0..ROUTES).map(|_| std::array::from_fn(|_| AtomicU64::new(0))).collect())
    }
}

impl HttpCounters {
    /// Counts an answer. Takes one addition, without a lock.
    pub fn count(&self, route: Route, status: StatusCode) {
        let counter = usize::from(status.as_u16())
            .checked_sub(FIRST_STATUS)
            .and_then(|status| self.0.get(route.index())?.get(status));
        if let Some(counter) = counter {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// All that are not zero.
    pub fn samples(&self) -> Vec<Sample> {
        let mut samples = Vec::new();
        for (index, counters) in self.0.iter().enumerate() {
            let (method, route) = Route::labels(index);
            for (status, counter) in (100..).zip(counters) {
                let count = counter.load(Ordering::Relaxed);
                if count > 0 {
                    samples.push((method, route, status, count));
                }
            }
        }
        samples
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_counted_by_method_route_and_status() {
        let counters = HttpCounters::default();
        for (route, status) in [
            (Route::of_prediction(None), 200),
            (Route::of_prediction(None), 200),
            (Route::of_prediction(Some("iris")), 429),
            (Route::of_prediction(Some("ada/iris")), 200),
            (Route::Live, 200),
            (Route::unmatched(&Method::DELETE), 503),
            (Route::unmatched(&Method::TRACE), 599),
        ] {
            counters.count(route, StatusCode::from_u16(status).unwrap());
        }
        assert_eq!(
            counters.samples(),
            [
                ("GET", "/health/live", 200, 1),
                ("POST", "/predict", 200, 2),
                ("POST", "/api/v1/predict/{model}", 429, 1),
                ("POST", "/api/v1/predict/{owner}/{model}", 200, 1),
                ("DELETE", "unmatched", 503, 1),
                ("other", "unmatched", 599, 1),
            ]
        );
    }

    #[test]
    fn a_status_beyond_the_table_is_left_out() {
        let counters = HttpCounters::default();
        counters.count(Route::Live, StatusCode::from_u16(999).unwrap());
        assert_eq!(counters.samples(), []);
    }
}
