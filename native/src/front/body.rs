//! Bodies: of requests, held against a budget, and of responses.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::time::{Instant, timeout};

use crate::front::pace::{Late, Pace};
use crate::front::refusal::FrontRefusal;
use crate::front::shares::{Exhausted, Holder, Share, ShareLimits, Shares};

/// How much of the body of a refused request is still read, and for how long.
const MAX_DISCARDED_BYTES: u64 = 64 * 1024;
const DISCARD_TIMEOUT: Duration = Duration::from_secs(1);

/// Why a body is not taken up.
pub enum Unreadable {
    Refused(FrontRefusal),
    /// The client has broken its request off.
    Aborted,
}

/// How large bodies may be, and how long one may take.
#[derive(Clone, Copy)]
pub struct BodyLimits {
    pub body_bytes: usize,
    /// Of bodies that are held, over all connections.
    pub buffered_bytes: usize,
    pub pace: Pace,
}

impl BodyLimits {
    /// One user may hold half of all bytes. Clients that are not known may hold a quarter, and one address half of that.
    fn shares(&self) -> ShareLimits {
        let total = self.buffered_bytes;
        // Where there is little memory, one body is still possible.
        let part = |bytes: usize, least: usize| bytes.max(least).min(total);
        ShareLimits {
            total,
            user: part(total / 2, self.body_bytes),
            address: part(total / 8, self.pace.small_bytes),
            addresses: part(total / 4, self.pace.small_bytes),
        }
    }
}

/// The bytes of all bodies that are held, over all connections.
pub struct BodyBudget {
    shares: Arc<Shares>,
    limits: BodyLimits,
}

/// A body of a request to the app, as far as the front reads it.
pub enum TakenUp {
    Whole(BufferedBody),
    /// It is larger than a small one, so that the app is to read it as it arrives.
    Large(Upload, Option<Share>),
}

/// A body that has not been read to its end.
pub struct Upload {
    /// What has been read of it.
    pub prefix: Bytes,
    pub rest: Incoming,
    /// How long the client has been waited for.
    pub waited: Duration,
}

impl Upload {
    pub fn unread(rest: Incoming) -> Self {
        Self { prefix: Bytes::new(), rest, waited: Duration::ZERO }
    }
}

impl BodyBudget {
    pub fn new(limits: BodyLimits) -> Self {
        Self { shares: Shares::new(limits.shares()), limits }
    }

    pub fn held_bytes(&self) -> usize {
        self.shares.held()
    }

    /// Reads the whole body of a known caller. `length`: as announced, if it is.
    pub async fn read(&self, body: Incoming, length: Option<u64>, holder: Holder) -> Result<BufferedBody, Unreadable> {
        let limit = self.limits.body_bytes;
        let length = length.map_or(Ok(0), |length| {
            let allowed = usize::try_from(length).ok().filter(|&length| length <= limit);
            allowed.ok_or(Unreadable::Refused(FrontRefusal::TooLarge))
        })?;
        let mut reading = Reading::new(body, self.take(holder, length)?, self.limits.pace);
        if reading.read(limit, length).await? {
            Ok(reading.whole())
        } else {
            Err(Unreadable::Refused(FrontRefusal::TooLarge))
        }
    }

    /// Reads a small body, and of one whose length is unknown as much as a small one has.
    pub async fn take_up(&self, body: Incoming, holder: Holder) -> Result<TakenUp, Unreadable> {
        let (limit, hint) = (self.limits.pace.small_bytes, body.size_hint());
        if body.is_end_stream() || hint.lower() > limit as u64 {
            return Ok(TakenUp::Large(Upload::unread(body), None));
        }
        // What a stranger announces reserves nothing.
        let mut reading = Reading::new(body, self.take(holder, 0)?, self.limits.pace);
        if reading.read(limit, 0).await? {
            return Ok(TakenUp::Whole(reading.whole()));
        }
        let (upload, share) = reading.unfinished();
        Ok(TakenUp::Large(upload, Some(share)))
    }

    fn take(&self, holder: Holder, bytes: usize) -> Result<Share, Unreadable> {
        self.shares.take(holder, bytes).map_err(no_room)
    }
}

fn no_room(exhausted: Exhausted) -> Unreadable {
    Unreadable::Refused(match exhausted {
        Exhausted::Everything => FrontRefusal::NoRoom,
        Exhausted::ByHolder => FrontRefusal::NoRoomForClient,
    })
}

/// The refusal of a client that is late with its body.
pub fn refusal_of(late: Late) -> FrontRefusal {
    match late {
        Late::Incomplete => FrontRefusal::RequestTimeout,
        Late::TooSlow => FrontRefusal::BodyTooSlow,
    }
}

/// A whole body, whose bytes count against the budget of all connections for as long as they live.
pub struct BufferedBody {
    pub bytes: Bytes,
    #[allow(dead_code, reason = "it is given back when the bytes are dropped")]
    share: Share,
}

/// A body that is being read.
struct Reading {
    body: Incoming,
    share: Share,
    pace: Pace,
    started: Instant,
    /// The first piece; nothing else where there are `parts`.
    first: Bytes,
    parts: BytesMut,
}

impl Reading {
    fn new(body: Incoming, share: Share, pace: Pace) -> Self {
        Self { body, share, pace, started: Instant::now(), first: Bytes::new(), parts: BytesMut::new() }
    }

    fn received(&self) -> usize {
        self.first.len() + self.parts.len()
    }

    /// Reads to the end, or until more than `limit` bytes have arrived: returns false. `length`: for how many bytes to
    /// make room.
    async fn read(&mut self, limit: usize, length: usize) -> Result<bool, Unreadable> {
        while let Some(data) = self.next().await? {
            let so_far = self.received() + data.len();
            self.share.grow(so_far.saturating_sub(self.share.amount())).map_err(no_room)?;
            self.add(data, length);
            if so_far > limit {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// None: the end of the body.
    async fn next(&mut self) -> Result<Option<Bytes>, Unreadable> {
        loop {
            let received = self.received();
            let wait = self.pace.next_wait(received, self.started.elapsed());
            let Ok(frame) = timeout(wait, self.body.frame()).await else {
                return Err(Unreadable::Refused(refusal_of(self.pace.late(received, self.started.elapsed()))));
            };
            let Some(frame) = frame else { return Ok(None) };
            if let Ok(data) = frame.map_err(|_| Unreadable::Aborted)?.into_data() {
                return Ok(Some(data));
            }
        }
    }

    /// A body in one piece, as most are, is not copied.
    fn add(&mut self, data: Bytes, length: usize) {
        if self.received() == 0 {
            self.first = data;
            return;
        }
        if self.parts.is_empty() {
            self.parts.reserve(length.max(self.first.len() + data.len()));
            self.parts.extend_from_slice(&std::mem::take(&mut self.first));
        }
        self.parts.extend_from_slice(&data);
    }

    fn bytes(parts: BytesMut, first: Bytes) -> Bytes {
        if parts.is_empty() { first } else { parts.freeze() }
    }

    fn whole(self) -> BufferedBody {
        BufferedBody { bytes: Self::bytes(self.parts, self.first), share: self.share }
    }

    fn unfinished(self) -> (Upload, Share) {
        let waited = self.started.elapsed();
        (Upload { prefix: Self::bytes(self.parts, self.first), rest: self.body, waited }, self.share)
    }
}

/// Reads the rest of a body to nowhere, so that the connection can go on. Returns false where that is too much or takes
/// too long.
pub async fn discard(mut body: Incoming) -> bool {
    if body.size_hint().upper().is_none_or(|length| length > MAX_DISCARDED_BYTES) {
        return false;
    }
    let discarding = async { while let Some(Ok(_)) = body.frame().await {} };
    timeout(DISCARD_TIMEOUT, discarding).await.is_ok()
}

/// The body of a response.
pub enum ResponseBody {
    Whole(Bytes),
    /// Of the app; it keeps its place until it has been sent.
    App(Incoming, #[allow(dead_code, reason = "it is released when the body has been sent")] Share),
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match self.get_mut() {
            Self::Whole(bytes) if bytes.is_empty() => Poll::Ready(None),
            Self::Whole(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Self::App(body, _) => Pin::new(body).poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(bytes) => bytes.is_empty(),
            Self::App(body, _) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::App(body, _) => body.size_hint(),
        }
    }
}
