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
    /// A body is not whole in time, or has paused for too long.
    RequestTimeout,
    /// A large body comes below the least rate.
    BodyTooSlow,
    /// The bodies being read take all the memory that they may.
    NoRoom,
    /// Those of this client do.
    NoRoomForClient,
    /// The app has too many requests in flight.
    AppBusy,
    /// This client has as many of them as one may.
    ClientBusy,
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
            Self::BodyTooSlow => "body_too_slow",
            Self::NoRoom => "no_room",
            Self::NoRoomForClient => "no_room_for_client",
            Self::AppBusy => "app_busy",
            Self::ClientBusy => "client_busy",
            Self::AppUnavailable => "app_unavailable",
        }
    }
}
