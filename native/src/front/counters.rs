//! Requests on the public port, by what became of them.

use crate::front::refusal::FrontRefusal;
use crate::metrics::{Counter, Family, label};

/// Requests by outcome.
#[derive(Debug, Default)]
pub struct Counters {
    pub answered: Counter,
    pub refused: Counter,
    pub forwarded: Counter,
    /// What kept requests from the app, or bodies from being read.
    pub limited: Limited,
}

/// Refusals by the limit that was reached.
#[derive(Debug, Default)]
pub struct Limited {
    body_time: Counter,
    body_rate: Counter,
    buffered_bytes: Counter,
    buffered_bytes_of_client: Counter,
    places: Counter,
    places_of_client: Counter,
}

impl Limited {
    pub fn count(&self, refusal: FrontRefusal) {
        match refusal {
            FrontRefusal::RequestTimeout => self.body_time.add(1),
            FrontRefusal::BodyTooSlow => self.body_rate.add(1),
            FrontRefusal::NoRoom => self.buffered_bytes.add(1),
            FrontRefusal::NoRoomForClient => self.buffered_bytes_of_client.add(1),
            FrontRefusal::AppBusy => self.places.add(1),
            FrontRefusal::ClientBusy => self.places_of_client.add(1),
            _ => {}
        }
    }

    /// Prometheus text.
    pub fn write(&self, text: &mut String) {
        let help = "Requests on the public port that were refused, by the limit that they reached.";
        let mut limits = Family::counter(text, "serval_front_limited_total", help);
        for (limit, counter) in [
            ("body_time", &self.body_time),
            ("body_rate", &self.body_rate),
            ("buffered_bytes", &self.buffered_bytes),
            ("buffered_bytes_of_client", &self.buffered_bytes_of_client),
            ("places", &self.places),
            ("places_of_client", &self.places_of_client),
        ] {
            limits.sample(&label("limit", limit), counter.get());
        }
    }
}
