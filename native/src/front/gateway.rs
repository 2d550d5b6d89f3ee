//! The way to the app: a request waits here for its body, takes its place, and is sent.

use std::sync::Arc;

use http::Response;
use http::header::HeaderMap;
use http::request::Parts;
use http_body::Body;
use hyper::body::Incoming;
use ipnet::IpNet;

use crate::clock::now_seconds;
use crate::front::body::{BodyBudget, BufferedBody, ResponseBody, TakenUp, Unreadable, refusal_of};
use crate::front::forward::{self, App, ForwardError, RequestBody};
use crate::front::head;
use crate::front::origin::{Origin, client_address};
use crate::front::places::{Places, Probe};
use crate::front::refusal::FrontRefusal;
use crate::front::shares::{Exhausted, Holder, Share};
use crate::plane::Plane;

pub struct Gateway {
    pub plane: Arc<Plane>,
    pub app: App,
    pub bodies: BodyBudget,
    pub places: Places,
    pub trusted_proxies: Vec<IpNet>,
}

/// The body of a request that the app is to answer.
pub enum Unforwarded {
    Unread(Incoming),
    /// It counts as held until the app has answered.
    Read(BufferedBody),
}

/// What counts as held until the app has answered.
#[allow(dead_code, reason = "it is given back when it is dropped")]
enum Held {
    Body(BufferedBody),
    Prefix(Share),
}

/// Why a request gets nothing from the app.
pub enum Unsent {
    Refused(FrontRefusal),
    Aborted,
}

impl From<Unreadable> for Unsent {
    fn from(unreadable: Unreadable) -> Self {
        match unreadable {
            Unreadable::Refused(refusal) => Self::Refused(refusal),
            Unreadable::Aborted => Self::Aborted,
        }
    }
}

impl Gateway {
    /// Sends a request to the app. It takes its place when a small body has arrived whole, and a larger one has begun to.
    pub async fn send(
        &self,
        parts: Parts,
        body: Unforwarded,
        origin: Origin,
    ) -> Result<Response<ResponseBody>, Unsent> {
        let holder = self.holder(&parts.headers, origin);
        let is_empty = matches!(&body, Unforwarded::Unread(body) if body.is_end_stream());
        let probe = Probe::of(&parts, is_empty);
        let (body, _held) = match body {
            Unforwarded::Read(body) => (RequestBody::Whole(body.bytes.clone()), Some(Held::Body(body))),
            Unforwarded::Unread(body) => match self.bodies.take_up(body, holder.clone()).await? {
                TakenUp::Whole(body) => (RequestBody::Whole(body.bytes.clone()), Some(Held::Body(body))),
                TakenUp::Large(upload, share) => (RequestBody::Stream(upload), share.map(Held::Prefix)),
            },
        };
        let place = self.places.take(probe, holder).map_err(|exhausted| {
            Unsent::Refused(match exhausted {
                Exhausted::Everything => FrontRefusal::AppBusy,
                Exhausted::ByHolder => FrontRefusal::ClientBusy,
            })
        })?;
        match self.app.send(parts, body, origin).await {
            Ok(response) => {
                let (mut parts, body) = response.into_parts();
                forward::strip(&mut parts.headers);
                Ok(Response::from_parts(parts, ResponseBody::App(body, place)))
            }
            Err(ForwardError::Late(late)) => Err(Unsent::Refused(refusal_of(late))),
            Err(ForwardError::Unavailable) => Err(Unsent::Refused(FrontRefusal::AppUnavailable)),
            Err(ForwardError::Aborted) => Err(Unsent::Aborted),
        }
    }

    /// Who a request counts for: the user of a credential that was good lately, or else the address.
    fn holder(&self, headers: &HeaderMap, origin: Origin) -> Holder {
        head::credential_digest(headers)
            .and_then(|digest| self.plane.callers.recognized(&digest, now_seconds()))
            .map_or_else(|| Holder::of_address(client_address(headers, origin, &self.trusted_proxies)), Holder::User)
    }
}
