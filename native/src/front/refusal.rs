//! The refusals that the front sends by itself, beside those of the data plane.

/// Refusals by the head of a prediction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeadRefusal {
    /// There is no credential.
    NoKey,
    /// The scheme of `Authorization` is another one than `Bearer`.
    NotBearer,
    /// The form of the credential is wrong.
    NotAKey,
    /// Nobody has this key.
    UnknownKey,
    /// Nobody has this access token.
    UnknownToken,
}

/// Refusals by what happens to a request after its head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrontRefusal {
    /// The client speaks plain HTTP where TLS is expected.
    PlainHttp,
    /// The event loop of the app has stalled.
    Stalled,
    /// The body is too large.
    TooLarge,
    /// The client sends its body too slowly.
    RequestTimeout,
    /// The bodies being read take all the memory that they may.
    NoRoom,
    /// The app has too many requests in flight.
    AppBusy,
    AppUnavailable,
}

impl HeadRefusal {
    /// The name of its template.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NoKey => "no_key",
            Self::NotBearer => "not_bearer",
            Self::NotAKey => "not_a_key",
            Self::UnknownKey => "unknown_key",
            Self::UnknownToken => "unknown_token",
        }
    }
}

impl FrontRefusal {
    /// The name of its template.
    pub const fn name(self) -> &'static str {
        match self {
            Self::PlainHttp => "plain_http",
            Self::Stalled => "stalled",
            Self::TooLarge => "too_large",
            Self::RequestTimeout => "request_timeout",
            Self::NoRoom => "no_room",
            Self::AppBusy => "app_busy",
            Self::AppUnavailable => "app_unavailable",
        }
    }
}
