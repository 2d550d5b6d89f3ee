//! What a request asks for, and the words that describe its answer.

use crate::predict::csv::Dialect;
use crate::predict::routes::{PublishedModel, Selector, Target};

/// A request for predictions, but for its model and its rows.
#[derive(Clone, Copy)]
pub struct PredictRequest<'a> {
    /// Digest of the key.
    pub caller: &'a [u8],
    pub options: PredictOptions,
    /// Of no use where the rows are decoded.
    pub format: BodyFormat,
    /// Whether the calling thread may take its time to read a long body.
    pub may_read_long_body: bool,
}

/// What a body is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyFormat {
    Json,
    Csv(Dialect),
}

/// What an answer depends on beside its rows.
#[derive(Clone, Copy, Debug)]
pub struct PredictOptions {
    pub shape: AnswerShape,
    pub all_probabilities: bool,
    pub no_cache: bool,
    /// Whether it counts against the caller's rates, quota and usage.
    pub is_charged: bool,
    /// How long the rest of a deferred prediction may take; None: as long as the settings say.
    pub timeout_seconds: Option<f64>,
    pub started_nanoseconds: u64,
    pub entry_point: EntryPoint,
}

/// Rows that Python decoded.
#[derive(Clone, Copy)]
pub struct DecodedRows<'a> {
    pub numbers: &'a [f64],
    pub strings: &'a [&'a str],
    /// The answer is a list.
    pub is_list: bool,
}

/// A request whose body takes long to read, kept for a thread that may.
pub struct LongBodyRequest<B> {
    caller: Vec<u8>,
    options: PredictOptions,
    format: BodyFormat,
    model: Option<String>,
    version: Option<u64>,
    alias: Option<String>,
    body: B,
}

impl<B: AsRef<[u8]>> LongBodyRequest<B> {
    pub fn of(request: PredictRequest<'_>, model: Option<&str>, selector: Selector<'_>, body: B) -> Self {
        Self {
            caller: request.caller.to_vec(),
            options: request.options,
            format: request.format,
            model: model.map(str::to_owned),
            version: selector.version,
            alias: selector.alias.map(str::to_owned),
            body,
        }
    }

    pub fn request(&self) -> PredictRequest<'_> {
        PredictRequest { caller: &self.caller, options: self.options, format: self.format, may_read_long_body: true }
    }

    pub fn model(&self) -> Option<&str> {
        self.model.as_deref()
    }

    pub fn selector(&self) -> Selector<'_> {
        Selector { version: self.version, alias: self.alias.as_deref() }
    }

    pub fn body(&self) -> &[u8] {
        self.body.as_ref()
    }
}

/// The shape of an answer: four members, or all that is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AnswerShape {
    Short,
    Full,
}

impl AnswerShape {
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "short" => Some(Self::Short),
            "full" => Some(Self::Full),
            _ => None,
        }
    }
}

/// Who answers the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryPoint {
    Front,
    App,
}

/// Where the rows of an answer came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CacheStatus {
    LevelOne,
    LevelTwo,
    Miss,
    Bypass,
}

impl CacheStatus {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::LevelOne => "l1",
            Self::LevelTwo => "l2",
            Self::Miss => "miss",
            Self::Bypass => "bypass",
        }
    }
}

/// Where the time of an answer went.
#[allow(clippy::struct_field_names, reason = "units belong in names")]
#[derive(Debug, Clone, Copy, Default)]
pub struct StageTimes {
    pub parse_seconds: f64,
    pub cache_seconds: f64,
    pub queue_seconds: f64,
    pub infer_seconds: f64,
    pub encode_seconds: f64,
}

/// Names a version: ids, and its number.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct VersionRef {
    pub model: String,
    pub version: String,
    pub number: u64,
}

impl VersionRef {
    pub fn of(published: &PublishedModel, target: &Target) -> Self {
        Self { model: published.route.model.to_string(), version: target.version.to_string(), number: target.number }
    }
}
