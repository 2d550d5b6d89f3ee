//! Which requests the front may answer by itself: heads, held against a list of what it supports.
//!
//! Anything else is unsupported and goes to the app as it came, which answers it or explains. So this reader never
//! guesses.

use http::header::{CONTENT_LENGTH, COOKIE, EXPECT, HOST, HeaderMap, TRANSFER_ENCODING};
use http::request::Parts;
use http::{Method, Version};
use sha2::{Digest as _, Sha256};

use crate::front::refusal::HeadRefusal;
use crate::limits::callers::Digest;
use crate::predict::request::AnswerShape;
use crate::predict::routes::Selector;

/// `srv_`, 43 characters of base64url, 8 hexadecimal digits of CRC-32 over what is before them (`serval.auth.key_format`).
const KEY_PREFIX: &[u8] = b"srv_";
const KEY_LENGTH: usize = 55;
const CHECKSUM_LENGTH: usize = 8;
const MAX_TOKEN_LENGTH: usize = 4096;
/// Of a login (`serval.auth.credentials`).
const ACCESS_COOKIES: [&[u8]; 2] = [b"__Host-serval_access=", b"serval_access="];
const MAX_REQUEST_ID_LENGTH: usize = 128;
/// Version numbers are small; the app explains longer ones.
const MAX_VERSION_DIGITS: usize = 9;

/// What a request is, by its head.
#[derive(Debug, PartialEq, Eq)]
pub enum Head<'a> {
    /// `GET /health/live`.
    Live,
    Predict(Predict<'a>),
    /// A prediction without a credential that could be known.
    Unauthenticated(HeadRefusal, Target<'a>),
    /// No request of HTTP/1.1 (RFC 9112, 3.2): no Host, or two; a tunnel, which goes through no path.
    Malformed,
    Unsupported,
}

/// A prediction whose head the data plane understands as a whole.
#[derive(Debug, PartialEq, Eq)]
pub struct Predict<'a> {
    pub caller: Digest,
    /// The refusal where nobody has this credential.
    pub unknown: HeadRefusal,
    pub target: Target<'a>,
    pub no_cache: bool,
    /// None: the body is read to its end.
    pub length: Option<u64>,
}

/// What the path and the query ask for.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Target<'a> {
    /// From the path: an id, a name or `owner/name`. None for the short shape, which names it in the body.
    pub model: Option<&'a str>,
    pub version: Option<u64>,
    pub all_probabilities: bool,
}

impl Target<'_> {
    pub fn shape(&self) -> AnswerShape {
        if self.model.is_none() { AnswerShape::Short } else { AnswerShape::Full }
    }

    pub fn selector(&self) -> Selector<'_> {
        Selector { version: self.version, alias: None }
    }
}

/// What the header fields say.
#[derive(Default)]
struct Fields<'a> {
    presented: Option<Presented<'a>>,
    length: Option<u64>,
    is_chunked: bool,
    has_host: bool,
    no_cache: bool,
}

/// A header that may hold a credential.
enum Presented<'a> {
    ApiKey(&'a [u8]),
    Authorization(&'a [u8]),
}

/// What a request authenticates with.
enum Credential {
    /// Its form is right; `unknown` is the refusal where nobody has it.
    Known {
        digest: Digest,
        unknown: HeadRefusal,
    },
    None(HeadRefusal),
}

pub fn read(parts: &Parts) -> Head<'_> {
    match supported(parts) {
        Some(head) => head,
        None if is_malformed(parts) => Head::Malformed,
        None => Head::Unsupported,
    }
}

fn is_malformed(parts: &Parts) -> bool {
    let hosts = parts.headers.get_all(HOST).iter().count();
    hosts > 1 || (hosts == 0 && parts.version == Version::HTTP_11) || parts.method == Method::CONNECT
}

fn supported(parts: &Parts) -> Option<Head<'_>> {
    // The authority of an absolute URI competes with the Host header; only a proxy has a reason to get one.
    if parts.uri.authority().is_some()
        || !matches!(parts.version, Version::HTTP_11 | Version::HTTP_10 | Version::HTTP_2)
    {
        return None;
    }
    match parts.method {
        Method::POST => predict(parts),
        Method::GET if parts.uri.path() == "/health/live" && parts.uri.query().is_none() && has_no_body(parts) => {
            Some(Head::Live)
        }
        _ => None,
    }
}

/// The caller's own request id, where well-formed.
pub fn request_id(headers: &HeaderMap) -> Option<&str> {
    let id = headers.get("x-request-id")?.to_str().ok()?;
    let is_well_formed = (1..=MAX_REQUEST_ID_LENGTH).contains(&id.len()) && id.bytes().all(is_plain);
    is_well_formed.then_some(id)
}

fn predict(parts: &Parts) -> Option<Head<'_>> {
    let target = target(parts.uri.path(), parts.uri.query().unwrap_or_default())?;
    let fields = fields(&parts.headers)?;
    if fields.is_chunked == fields.length.is_some() && parts.version != Version::HTTP_2 {
        return None;
    }
    if !fields.has_host && parts.version != Version::HTTP_10 {
        return None;
    }
    Some(match credential(fields.presented)? {
        Credential::Known { digest, unknown } => {
            Head::Predict(Predict { caller: digest, unknown, target, no_cache: fields.no_cache, length: fields.length })
        }
        Credential::None(refusal) => Head::Unauthenticated(refusal, target),
    })
}

/// None where the path or the query is unsupported.
fn target<'a>(path: &'a str, query: &'a str) -> Option<Target<'a>> {
    let model = if path == "/predict" { None } else { Some(model_in_path(path)?) };
    let mut target = Target { model, ..Target::default() };
    if query.is_empty() {
        return Some(target);
    }
    if target.shape() == AnswerShape::Short {
        return None;
    }
    for part in query.split('&') {
        let (name, value) = part.split_once('=')?;
        match name {
            "version" if target.version.is_none() => target.version = Some(version_number(value)?),
            "outputs" if value == "probabilities" && !target.all_probabilities => target.all_probabilities = true,
            _ => return None,
        }
    }
    Some(target)
}

/// None where the path is unsupported.
fn model_in_path(path: &str) -> Option<&str> {
    let rest = path.strip_prefix("/api/v1/predict/").or_else(|| path.strip_prefix("/api/predict/"))?;
    let mut names = rest.split('/');
    let is_name = |name: &str| !name.is_empty() && name.bytes().all(is_plain) && name != "." && name != "..";
    let is_model = names.clone().count() <= 2 && names.all(is_name) && rest != "batch" && !rest.starts_with("batch/");
    is_model.then_some(rest)
}

fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-')
}

/// From 1, without a sign, leading zeros or anything after it.
fn version_number(text: &str) -> Option<u64> {
    let is_number =
        text.len() <= MAX_VERSION_DIGITS && text.bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with('0');
    if is_number { text.parse().ok() } else { None }
}

/// None where a header is unsupported.
fn fields(headers: &HeaderMap) -> Option<Fields<'_>> {
    if headers.len() != headers.keys_len() {
        return None;
    }
    let mut fields = Fields::default();
    for (name, value) in headers {
        let value = value.as_bytes();
        match name.as_str() {
            "x-api-key" if fields.presented.is_none() => fields.presented = Some(Presented::ApiKey(value)),
            "authorization" if fields.presented.is_none() => fields.presented = Some(Presented::Authorization(value)),
            "content-type" if is_json(value) => {}
            "content-length" => fields.length = Some(std::str::from_utf8(value).ok()?.parse().ok()?),
            "transfer-encoding" if value.eq_ignore_ascii_case(b"chunked") => fields.is_chunked = true,
            "connection" if is_connection(value) => {}
            "cache-control" => fields.no_cache = asks_no_cache(value)?,
            "host" if is_host(value) => fields.has_host = true,
            name if changes_nothing(name) => {}
            _ => return None,
        }
    }
    Some(fields)
}

/// Whether a header changes no answer: it says who the client is, what it would like to get, where the request has
/// been.
fn changes_nothing(name: &str) -> bool {
    matches!(
        name,
        "user-agent"
            | "accept"
            | "accept-encoding"
            | "accept-language"
            | "x-request-id"
            | "traceparent"
            | "tracestate"
            | "baggage"
            | "b3"
            | "x-amzn-trace-id"
            | "forwarded"
            | "via"
            | "x-real-ip"
            | "x-forwarded-for"
            | "x-forwarded-host"
            | "x-forwarded-port"
            | "x-forwarded-proto"
            | "x-forwarded-scheme"
            | "x-scheme"
            | "x-original-forwarded-for"
            | "priority"
            | "dnt"
    )
}

fn is_json(value: &[u8]) -> bool {
    value == b"application/json" || value.eq_ignore_ascii_case(b"application/json; charset=utf-8")
}

fn is_connection(value: &[u8]) -> bool {
    value.eq_ignore_ascii_case(b"keep-alive") || value.eq_ignore_ascii_case(b"close")
}

/// None where a directive is written in an unsupported way.
fn asks_no_cache(value: &[u8]) -> Option<bool> {
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'=' | b',' | b' ');
    if !value.iter().all(is_plain) {
        return None;
    }
    let mut names = value.split(|&byte| byte == b',').map(|directive| {
        let name = directive.split(|&byte| byte == b'=').next().unwrap_or_default();
        name.trim_ascii()
    });
    Some(names.any(|name| name.eq_ignore_ascii_case(b"no-cache")))
}

/// Reads a credential as `serval.auth.credentials.read_credential` does. None where that accepts more letters and
/// spaces than those of ASCII.
fn credential(presented: Option<Presented<'_>>) -> Option<Credential> {
    match presented {
        None => Some(Credential::None(HeadRefusal::NoKey)),
        Some(Presented::ApiKey(key)) => key_or_token(key.trim_ascii(), false),
        Some(Presented::Authorization(value)) => {
            let (scheme, key) = value.split_at(value.iter().position(|&byte| byte == b' ').unwrap_or(value.len()));
            if scheme.eq_ignore_ascii_case(b"Bearer") {
                return key_or_token(key.trim_ascii(), true);
            }
            value.is_ascii().then_some(Credential::None(HeadRefusal::NotBearer))
        }
    }
}

fn key_or_token(text: &[u8], may_be_token: bool) -> Option<Credential> {
    if !text.is_ascii() {
        return None;
    }
    let unknown = if is_key(text) {
        HeadRefusal::UnknownKey
    } else if may_be_token && is_token(text) {
        HeadRefusal::UnknownToken
    } else {
        return Some(Credential::None(HeadRefusal::NotAKey));
    };
    Some(Credential::Known { digest: Sha256::digest(text).into(), unknown })
}

/// What the app would look a request's caller up by, as far as this reader sees; it decides nothing else.
pub fn credential_digest(headers: &HeaderMap) -> Option<Digest> {
    let presented = match (headers.get("x-api-key"), headers.get("authorization")) {
        (Some(key), None) => Presented::ApiKey(key.as_bytes()),
        (None, Some(value)) => Presented::Authorization(value.as_bytes()),
        (None, None) => return cookie_digest(headers),
        (Some(_), Some(_)) => return None,
    };
    match credential(Some(presented))? {
        Credential::Known { digest, .. } => Some(digest),
        Credential::None(_) => None,
    }
}

fn cookie_digest(headers: &HeaderMap) -> Option<Digest> {
    let cookies = || headers.get_all(COOKIE).iter().flat_map(|line| line.as_bytes().split(|&byte| byte == b';'));
    let value = |name: &[u8]| cookies().find_map(|cookie| cookie.trim_ascii().strip_prefix(name));
    let token = ACCESS_COOKIES.iter().find_map(|name| value(name))?;
    is_token(token).then(|| Sha256::digest(token).into())
}

/// Whether it looks like a signed JSON Web Token (RFC 7515, 7.1); whether it is valid is known of its digest, or to the
/// app.
fn is_token(text: &[u8]) -> bool {
    let is_part = |part: &[u8]| {
        !part.is_empty() && part.iter().all(|&byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    text.len() <= MAX_TOKEN_LENGTH
        && text.split(|&byte| byte == b'.').count() == 3
        && text.split(|&byte| byte == b'.').all(is_part)
}

fn is_key(key: &[u8]) -> bool {
    if key.len() != KEY_LENGTH || !key.starts_with(KEY_PREFIX) {
        return false;
    }
    let (body, checksum) = key.split_at(KEY_LENGTH - CHECKSUM_LENGTH);
    let digit = |shift: u32| b"0123456789abcdef"[(crc32fast::hash(body) >> shift & 15) as usize];
    checksum.iter().zip((0..8).rev()).all(|(&given, index)| given == digit(4 * index))
}

/// Whether nothing follows the head, and its host is supported.
fn has_no_body(parts: &Parts) -> bool {
    let headers = &parts.headers;
    let mut hosts = headers.get_all(HOST).iter();
    let has_host = hosts.next().map_or(parts.version == Version::HTTP_10, |host| is_host(host.as_bytes()))
        && hosts.next().is_none();
    has_host && ![CONTENT_LENGTH, TRANSFER_ENCODING, EXPECT].iter().any(|name| headers.contains_key(name))
}

/// A name or an IPv4 address, with a port or without.
fn is_host(value: &[u8]) -> bool {
    let (name, port) = value
        .iter()
        .position(|&byte| byte == b':')
        .map_or((value, &b""[..]), |colon| (&value[..colon], &value[colon + 1..]));
    !name.is_empty()
        && name.iter().all(|&byte| is_plain(byte))
        && port.len() <= 5
        && port.iter().all(u8::is_ascii_digit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::header::AUTHORIZATION;

    const KEY: &str = "srv_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

    fn key() -> String {
        format!("{KEY}{:08x}", crc32fast::hash(KEY.as_bytes()))
    }

    fn parts(method: &str, uri: &str, headers: &[(&str, &str)]) -> Parts {
        let mut request = http::Request::builder().method(method).uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    fn supported_request(uri: &str, more: &[(&str, &str)]) -> Parts {
        let key = key();
        let mut headers = vec![
            ("host", "serval"),
            ("content-type", "application/json"),
            ("content-length", "2"),
            ("x-api-key", &key),
        ];
        headers.extend_from_slice(more);
        parts("POST", uri, &headers)
    }

    #[test]
    fn supported_predictions_are_read() {
        let parts = supported_request("/predict", &[]);
        let Head::Predict(predict) = read(&parts) else { panic!() };
        assert!(predict.target.shape() == AnswerShape::Short && predict.target.model.is_none());
        assert_eq!((predict.length, predict.no_cache), (Some(2), false));
        assert_eq!(predict.caller, <[u8; 32]>::from(Sha256::digest(key())));
        let parts = supported_request(
            "/api/v1/predict/ada/iris?version=3&outputs=probabilities",
            &[("cache-control", "max-age=0, no-cache")],
        );
        let Head::Predict(predict) = read(&parts) else { panic!() };
        assert_eq!(
            (predict.target.model, predict.target.version, predict.target.all_probabilities, predict.no_cache),
            (Some("ada/iris"), Some(3), true, true)
        );
    }

    #[test]
    fn anything_else_is_unsupported() {
        for uri in [
            "/predict/",
            "/predict?version=1",
            "/api/v1/predict/",
            "/api/v1/predict/a/b/c",
            "/api/v1/predict/%69ris",
            "/api/v1/predict/..",
            "/api/v1/predict/batch",
            "/api/v1/predict/batch/iris",
            "/api/v1/predict/iris?version=0",
            "/api/v1/predict/iris?version=+1",
            "/api/v1/predict/iris?version=1&version=1",
            "/api/v1/predict/iris?alias=best",
            "/api/v1/predict/iris?verzion=7",
            "/api/v1/predict/iris?other=1",
            "/api/v1/predict/iris?version",
            "http://serval/predict",
        ] {
            assert_eq!(read(&supported_request(uri, &[])), Head::Unsupported, "{uri}");
        }
        for header in [
            ("x-api-key", "again"),
            ("authorization", "Bearer x"),
            ("content-encoding", "gzip"),
            ("expect", "100-continue"),
            ("connection", "x-api-key"),
            ("upgrade", "websocket"),
            ("te", "trailers"),
            ("transfer-encoding", "chunked"),
            ("cookie", "a=b"),
            ("cache-control", "private=\"no-cache\""),
        ] {
            assert_eq!(read(&supported_request("/predict", &[header])), Head::Unsupported, "{header:?}");
        }
    }

    #[test]
    fn a_request_without_a_key_is_unauthenticated() {
        let refused = |headers: &[(&str, &str)]| {
            let mut all = vec![("host", "serval"), ("content-length", "2")];
            all.extend_from_slice(headers);
            match read(&parts("POST", "/predict", &all)) {
                Head::Unauthenticated(refusal, _) => refusal.name(),
                head => panic!("{head:?}"),
            }
        };
        assert_eq!(refused(&[]), "no_key");
        assert_eq!(refused(&[("authorization", "Basic eA==")]), "not_bearer");
        assert_eq!(refused(&[("authorization", "Bearer")]), "not_a_key");
        assert_eq!(refused(&[("x-api-key", "srv_short")]), "not_a_key");
        assert_eq!(refused(&[("x-api-key", &key().replace('A', "B"))]), "not_a_key");
    }

    #[test]
    fn a_key_may_be_sent_as_a_bearer() {
        let value = format!("bearer {}", key());
        let request = parts(
            "POST",
            "/predict",
            &[("host", "serval:80"), ("content-length", "2"), (AUTHORIZATION.as_str(), &value)],
        );
        assert!(matches!(read(&request), Head::Predict(_)));
    }

    #[test]
    fn a_bearer_may_be_an_access_token() {
        let token = "eyJhbGciOiJFZERTQSJ9.eyJzdWIiOiJ1c3JfMSJ9.c2ln-_";
        let caller_of = |header: &str, value: &str| {
            let request = parts("POST", "/predict", &[("host", "serval"), ("content-length", "2"), (header, value)]);
            match read(&request) {
                Head::Predict(predict) => Ok(predict.caller),
                Head::Unauthenticated(refusal, _) => Err(refusal.name()),
                head => panic!("{head:?}"),
            }
        };
        assert_eq!(caller_of("authorization", &format!("Bearer {token} ")), Ok(Sha256::digest(token).into()));
        assert_eq!(caller_of("x-api-key", token), Err("not_a_key"));
        assert!(caller_of("authorization", &format!("Bearer a.b.{}", "c".repeat(4092))).is_ok());
        for other in
            ["a.b", "a.b.", ".b.c", "a..c", "a.b.c.d", "a.b.c=", "a.b c.d", &format!("a.b.{}", "c".repeat(4093))]
        {
            assert_eq!(caller_of("authorization", &format!("Bearer {other}")), Err("not_a_key"), "{other}");
        }
    }

    #[test]
    fn a_credential_is_found_wherever_it_is() {
        let (key, token) = (key(), "eyJhbGciOiJFZERTQSJ9.eyJzdWIiOiJ1c3JfMSJ9.c2ln-_");
        let found = |headers: &[(&str, &str)]| credential_digest(&parts("POST", "/other", headers).headers);
        let digest = |text: &str| Some(Sha256::digest(text).into());
        assert_eq!(found(&[("x-api-key", &key)]), digest(&key));
        assert_eq!(found(&[("authorization", &format!("Bearer {token}"))]), digest(token));
        assert_eq!(found(&[("cookie", &format!("a=b; serval_access={token}"))]), digest(token));
        let both = format!("serval_access=a.b.c; __Host-serval_access={token}");
        assert_eq!(found(&[("cookie", "a=b"), ("cookie", &both)]), digest(token));
        for headers in [
            vec![],
            vec![("x-api-key", "srv_no")],
            vec![("cookie", "serval_access=no")],
            vec![("x-api-key", &*key), ("authorization", "Bearer x")],
        ] {
            assert_eq!(found(&headers), None, "{headers:?}");
        }
    }

    #[test]
    fn the_liveness_probe_has_no_body() {
        let host = ("host", "127.0.0.1:8080");
        assert_eq!(read(&parts("GET", "/health/live", &[host])), Head::Live);
        assert_eq!(read(&parts("GET", "/health/live?x", &[host])), Head::Unsupported);
        assert_eq!(read(&parts("GET", "/health/live", &[host, ("content-length", "1")])), Head::Unsupported);
        assert_eq!(read(&parts("HEAD", "/health/live", &[host])), Head::Unsupported);
    }

    #[test]
    fn a_request_has_one_host() {
        let one = ("host", "serval");
        for (method, uri, headers) in [
            ("GET", "/health/live", vec![]),
            ("GET", "/info", vec![one, one]),
            ("POST", "/predict", vec![]),
            ("CONNECT", "a:80", vec![one]),
        ] {
            assert_eq!(read(&parts(method, uri, &headers)), Head::Malformed, "{method} {uri}");
        }
        assert_eq!(read(&parts("GET", "/health/live", &[("host", "a/b")])), Head::Unsupported);
        let mut older = parts("GET", "/health/live", &[]);
        older.version = Version::HTTP_10;
        assert_eq!(read(&older), Head::Live);
    }

    #[test]
    fn a_body_of_http2_needs_no_length() {
        let key = key();
        let mut request = parts("POST", "/predict", &[("host", "serval"), ("x-api-key", &key)]);
        assert_eq!(read(&request), Head::Unsupported);
        request.version = Version::HTTP_2;
        assert!(matches!(read(&request), Head::Predict(Predict { length: None, .. })));
    }

    #[test]
    fn a_space_beyond_ascii_is_for_the_app() {
        let mut request = supported_request("/predict", &[]);
        request.headers.insert("x-api-key", http::HeaderValue::from_bytes(b"\xa0srv_x").unwrap());
        assert_eq!(read(&request), Head::Unsupported);
    }
}
