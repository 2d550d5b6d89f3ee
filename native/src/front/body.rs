//! Bodies: of requests, held against a budget, and of responses.

use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;

use crate::front::refusal::FrontRefusal;

/// How much of the body of a refused request is still read, and for how long.
const MAX_DISCARDED_BYTES: u64 = 64 * 1024;
const DISCARD_TIMEOUT: Duration = Duration::from_secs(1);

/// Why there is no whole body.
pub enum Unreadable {
    Refused(FrontRefusal),
    /// The client has broken its request off.
    Aborted,
}

/// How large bodies may be, and how long one may take.
#[derive(Clone, Copy)]
pub struct BodyLimits {
    pub body_bytes: usize,
    /// Of bodies that are being read, over all connections.
    pub buffered_bytes: usize,
    pub body_seconds: f64,
}

/// The bytes of all bodies that are held, over all connections.
pub struct BodyBudget {
    held_bytes: AtomicUsize,
    limits: BodyLimits,
}

impl BodyBudget {
    pub fn new(limits: BodyLimits) -> Self {
        Self { held_bytes: AtomicUsize::new(0), limits }
    }

    pub fn held_bytes(&self) -> usize {
        self.held_bytes.load(Ordering::Relaxed)
    }

    /// Reads a whole body. `length`: as announced, if it is.
    pub async fn read(&self, body: Incoming, length: Option<u64>) -> Result<BufferedBody<'_>, Unreadable> {
        let limit = self.limits.body_bytes;
        let length = length.map_or(Ok(0), |length| {
            let allowed = usize::try_from(length).ok().filter(|&length| length <= limit);
            allowed.ok_or(Unreadable::Refused(FrontRefusal::TooLarge))
        })?;
        let mut buffered = BufferedBody { budget: self, reserved: 0, bytes: Bytes::new() };
        buffered.reserve(length)?;
        let reading = buffered.read(body, length, limit);
        timeout(Duration::from_secs_f64(self.limits.body_seconds), reading)
            .await
            .map_err(|_| Unreadable::Refused(FrontRefusal::TooSlow))??;
        Ok(buffered)
    }
}

/// The bytes of a body, counted against the budget of all connections for as long as they live.
pub struct BufferedBody<'a> {
    budget: &'a BodyBudget,
    reserved: usize,
    pub bytes: Bytes,
}

impl BufferedBody<'_> {
    fn reserve(&mut self, more: usize) -> Result<(), Unreadable> {
        let before = self.budget.held_bytes.fetch_add(more, Ordering::Relaxed);
        self.reserved += more;
        if before + more > self.budget.limits.buffered_bytes {
            Err(Unreadable::Refused(FrontRefusal::NoRoom))
        } else {
            Ok(())
        }
    }

    async fn read(&mut self, mut body: Incoming, length: usize, limit: usize) -> Result<(), Unreadable> {
        let mut parts = BytesMut::new();
        while let Some(frame) = body.frame().await {
            let Ok(data) = frame.map_err(|_| Unreadable::Aborted)?.into_data() else { continue };
            let so_far = self.bytes.len() + parts.len() + data.len();
            if so_far > limit {
                return Err(Unreadable::Refused(FrontRefusal::TooLarge));
            }
            self.reserve(so_far.saturating_sub(self.reserved))?;
            // A body in one piece, as most are, is not copied.
            if self.bytes.is_empty() && parts.is_empty() {
                self.bytes = data;
            } else {
                if parts.is_empty() {
                    parts.reserve(length.max(so_far));
                    parts.extend_from_slice(&std::mem::take(&mut self.bytes));
                }
                parts.extend_from_slice(&data);
            }
        }
        if !parts.is_empty() {
            self.bytes = parts.freeze();
        }
        Ok(())
    }
}

impl Drop for BufferedBody<'_> {
    fn drop(&mut self) {
        self.budget.held_bytes.fetch_sub(self.reserved, Ordering::Relaxed);
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
    /// Of the app; it counts as forwarded until it has been sent.
    App(Incoming, #[allow(dead_code, reason = "it is released when the body has been sent")] OwnedSemaphorePermit),
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
