//! What the front may answer by itself: the head of a request, held against a list of what is plain.
//!
//! Whatever is not plain is `Odd` and goes to the app as it came, which answers it or explains. So this reader never guesses.

use http::header::{CONTENT_LENGTH, EXPECT, HOST, HeaderMap, TRANSFER_ENCODING};
use http::request::Parts;
use http::{Method, Version};
use sha2::{Digest as _, Sha256};

use crate::limits::callers::Digest;
use crate::predict::routes::Selector;

/// `srv_`, 43 characters of base64url, 8 hexadecimal digits of CRC-32 over what is before them (`serval.auth.keys`).
const KEY_PREFIX: &[u8] = b"srv_";
const KEY_LENGTH: usize = 55;
const CHECKSUM_LENGTH: usize = 8;
const LONGEST_TOKEN: usize = 4096;
const LONGEST_REQUEST_ID: usize = 128;
const LONGEST_ALIAS: usize = 50;
/// Numbers of versions are small; longer ones are for the app to explain.
const LONGEST_NUMBER: usize = 9;

/// What a request is, by its head.
#[derive(Debug, PartialEq, Eq)]
pub enum Head<'a> {
    /// `GET /health/live`.
    Live,
    Predict(Predict<'a>),
    /// A prediction by nobody: which refusal says so.
    Nobody(&'static str),
    /// No request of HTTP/1.1 (RFC 9112, 3.2): no Host, or two; a tunnel, which goes through no path.
    Malformed,
    Odd,
}

/// A prediction whose head has nothing that the data plane does not understand.
#[derive(Debug, PartialEq, Eq)]
pub struct Predict<'a> {
    pub caller: Digest,
    /// Which refusal says that nobody has this credential.
    pub unknown: &'static str,
    pub is_short: bool,
    /// From the path: an id, a name or `owner/name`.
    pub model: Option<&'a str>,
    pub version: Option<u64>,
    pub alias: Option<&'a str>,
    pub all_probabilities: bool,
    pub no_cache: bool,
    /// None: the body is read to its end.
    pub length: Option<u64>,
}

impl Predict<'_> {
    pub fn selector(&self) -> Selector<'_> {
        Selector { version: self.version, alias: self.alias }
    }
}

pub fn read(parts: &Parts) -> Head<'_> {
    match plain(parts) {
        Head::Odd if is_malformed(parts) => Head::Malformed,
        head => head,
    }
}

fn is_malformed(parts: &Parts) -> bool {
    let hosts = parts.headers.get_all(HOST).iter().count();
    hosts > 1 || (hosts == 0 && parts.version == Version::HTTP_11) || parts.method == Method::CONNECT
}

fn plain(parts: &Parts) -> Head<'_> {
    // Of an absolute URI the authority speaks against the Host header; there is no reason to send one but to a proxy.
    if parts.uri.authority().is_some()
        || !matches!(parts.version, Version::HTTP_11 | Version::HTTP_10 | Version::HTTP_2)
    {
        return Head::Odd;
    }
    match parts.method {
        Method::POST => predict(parts).unwrap_or(Head::Odd),
        Method::GET if parts.uri.path() == "/health/live" && parts.uri.query().is_none() && is_bare(parts) => {
            Head::Live
        }
        _ => Head::Odd,
    }
}

/// The caller's own request id, where well-formed.
pub fn request_id(headers: &HeaderMap) -> Option<&str> {
    let given = headers.get("x-request-id")?.to_str().ok()?;
    let is_well_formed = (1..=LONGEST_REQUEST_ID).contains(&given.len()) && given.bytes().all(is_plain);
    is_well_formed.then_some(given)
}

fn predict(parts: &Parts) -> Option<Head<'_>> {
    let model = path(parts.uri.path())?;
    let mut predict = Predict {
        caller: [0; 32],
        unknown: "",
        is_short: model.is_empty(),
        model: (!model.is_empty()).then_some(model),
        version: None,
        alias: None,
        all_probabilities: false,
        no_cache: false,
        length: None,
    };
    query(parts.uri.query().unwrap_or_default(), &mut predict)?;
    let mut credential = None;
    let (is_hosted, is_chunked) = headers(&parts.headers, &mut predict, &mut credential)?;
    (is_chunked != predict.length.is_some() || parts.version == Version::HTTP_2).then_some(())?;
    (is_hosted || parts.version == Version::HTTP_10).then_some(())?;
    Some(match caller(credential)? {
        Ok((digest, unknown)) => {
            (predict.caller, predict.unknown) = (digest, unknown);
            Head::Predict(predict)
        }
        Err(nobody) => Head::Nobody(nobody),
    })
}

/// The name of the model; empty for the short shape, which names it in the body.
fn path(path: &str) -> Option<&str> {
    if path == "/predict" {
        return Some("");
    }
    let rest = path.strip_prefix("/api/v1/predict/").or_else(|| path.strip_prefix("/api/predict/"))?;
    let mut names = rest.split('/');
    let is_name = |name: &str| !name.is_empty() && name.bytes().all(is_plain) && name != "." && name != "..";
    let is_plain = names.clone().count() <= 2 && names.all(is_name) && rest != "batch" && !rest.starts_with("batch/");
    is_plain.then_some(rest)
}

fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-')
}

fn query<'a>(query: &'a str, predict: &mut Predict<'a>) -> Option<()> {
    if query.is_empty() {
        return Some(());
    }
    if predict.is_short {
        return None;
    }
    for part in query.split('&') {
        let (name, value) = part.split_once('=')?;
        match name {
            "version" if predict.version.is_none() => predict.version = Some(number(value)?),
            "alias"
                if predict.alias.is_none()
                    && value.len() <= LONGEST_ALIAS
                    && !value.is_empty()
                    && value.bytes().all(is_plain) =>
            {
                predict.alias = Some(value);
            }
            "outputs" if value == "probabilities" && !predict.all_probabilities => predict.all_probabilities = true,
            _ => return None,
        }
    }
    Some(())
}

/// A version's number, from 1 and without sign, zeros before it or anything after it.
fn number(text: &str) -> Option<u64> {
    let is_number =
        text.len() <= LONGEST_NUMBER && text.bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with('0');
    if is_number { text.parse().ok() } else { None }
}

/// Whether there is a host, and whether the body comes in chunks. None: there is a header that is not understood.
fn headers<'a>(
    headers: &'a HeaderMap,
    predict: &mut Predict<'_>,
    credential: &mut Option<Credential<'a>>,
) -> Option<(bool, bool)> {
    if headers.len() != headers.keys_len() {
        return None;
    }
    let (mut is_chunked, mut is_hosted) = (false, false);
    for (name, value) in headers {
        let value = value.as_bytes();
        match name.as_str() {
            "x-api-key" => put(credential, Credential::Key(value))?,
            "authorization" => put(credential, Credential::Authorization(value))?,
            "content-type" => is_json(value).then_some(())?,
            "content-length" => predict.length = Some(std::str::from_utf8(value).ok()?.parse().ok()?),
            "transfer-encoding" => is_chunked = value.eq_ignore_ascii_case(b"chunked").then_some(true)?,
            "connection" => {
                (value.eq_ignore_ascii_case(b"keep-alive") || value.eq_ignore_ascii_case(b"close")).then_some(())?
            }
            "cache-control" => predict.no_cache = asks_no_cache(value)?,
            "host" => is_hosted = is_host(value).then_some(true)?,
            // What does not change the answer: who the client is, what it would like to get, where the request has been.
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
            | "dnt" => {}
            _ => return None,
        }
    }
    Some((is_hosted, is_chunked))
}

enum Credential<'a> {
    Key(&'a [u8]),
    Authorization(&'a [u8]),
}

fn put<T>(place: &mut Option<T>, value: T) -> Option<()> {
    place.replace(value).is_none().then_some(())
}

fn is_json(value: &[u8]) -> bool {
    value == b"application/json" || value.eq_ignore_ascii_case(b"application/json; charset=utf-8")
}

/// None where a directive is written in a way that needs a closer look.
fn asks_no_cache(value: &[u8]) -> Option<bool> {
    let is_plain = value.iter().all(|&byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'=' | b',' | b' '));
    let mut names = value.split(|&byte| byte == b',').map(|directive| {
        let name = directive.split(|&byte| byte == b'=').next().unwrap_or_default();
        name.trim_ascii()
    });
    is_plain.then(|| names.any(|name| name.eq_ignore_ascii_case(b"no-cache")))
}

/// The digest of the key or access token with the refusal for where it opens nothing, or that for what is neither: what
/// `serval.auth.credentials.presented` says of it. None where that knows more letters and spaces than ASCII has.
fn caller(credential: Option<Credential<'_>>) -> Option<Result<(Digest, &'static str), &'static str>> {
    let (key, may_be_token) = match credential {
        None => return Some(Err("no_key")),
        Some(Credential::Key(key)) => (key.trim_ascii(), false),
        Some(Credential::Authorization(value)) => {
            let (scheme, key) = value.split_at(value.iter().position(|&byte| byte == b' ').unwrap_or(value.len()));
            if !scheme.eq_ignore_ascii_case(b"Bearer") {
                return value.is_ascii().then_some(Err("not_bearer"));
            }
            (key.trim_ascii(), true)
        }
    };
    let unknown = if is_key(key) {
        Ok("unknown_key")
    } else if may_be_token && is_token(key) {
        Ok("unknown_token")
    } else {
        Err("not_a_key")
    };
    key.is_ascii().then(|| unknown.map(|unknown| (Sha256::digest(key).into(), unknown)))
}

/// Whether it looks like a signed JSON Web Token (RFC 7515, 7.1); what it is worth is known of its digest, or to the app.
fn is_token(text: &[u8]) -> bool {
    let is_part = |part: &[u8]| {
        !part.is_empty() && part.iter().all(|&byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    text.len() <= LONGEST_TOKEN
        && text.split(|&byte| byte == b'.').count() == 3
        && text.split(|&byte| byte == b'.').all(is_part)
}

fn is_key(key: &[u8]) -> bool {
    if key.len() != KEY_LENGTH || !key.starts_with(KEY_PREFIX) {
        return false;
    }
    let (body, checksum) = key.split_at(KEY_LENGTH - CHECKSUM_LENGTH);
    let digit = |shift: u32| b"0123456789abcdef"[(crc32fast::hash(body) >> shift & 15) as usize];
    checksum.iter().zip((0..8).rev()).all(|(&given, place)| given == digit(4 * place))
}

/// Nothing follows the head, and its host is plain.
fn is_bare(parts: &Parts) -> bool {
    let headers = &parts.headers;
    let mut hosts = headers.get_all(HOST).iter();
    let is_hosted = hosts.next().map_or(parts.version == Version::HTTP_10, |host| is_host(host.as_bytes()))
        && hosts.next().is_none();
    is_hosted && ![CONTENT_LENGTH, TRANSFER_ENCODING, EXPECT].iter().any(|name| headers.contains_key(name))
}

/// A name or an IPv4 address, with a port or without.
fn is_host(value: &[u8]) -> bool {
    let (name, port) = value
        .iter()
        .position(|&byte| byte == b':')
        .map_or((value, &b""[..]), |place| (&value[..place], &value[place + 1..]));
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

    fn plain(uri: &str, more: &[(&str, &str)]) -> Parts {
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
    fn plain_predictions_are_read() {
        let parts = plain("/predict", &[]);
        let Head::Predict(predict) = read(&parts) else { panic!() };
        assert!(predict.is_short && predict.model.is_none());
        assert_eq!((predict.length, predict.no_cache), (Some(2), false));
        assert_eq!(predict.caller, <[u8; 32]>::from(Sha256::digest(key())));
        let parts = plain(
            "/api/v1/predict/ada/iris?version=3&outputs=probabilities",
            &[("cache-control", "max-age=0, no-cache")],
        );
        let Head::Predict(predict) = read(&parts) else { panic!() };
        assert_eq!(
            (predict.model, predict.version, predict.all_probabilities, predict.no_cache),
            (Some("ada/iris"), Some(3), true, true)
        );
    }

    #[test]
    fn what_is_not_plain_is_odd() {
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
            "/api/v1/predict/iris?alias=",
            "/api/v1/predict/iris?other=1",
            "/api/v1/predict/iris?version",
            "http://serval/predict",
        ] {
            assert_eq!(read(&plain(uri, &[])), Head::Odd, "{uri}");
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
            assert_eq!(read(&plain("/predict", &[header])), Head::Odd, "{header:?}");
        }
    }

    #[test]
    fn who_presents_no_key_is_nobody() {
        let refused = |headers: &[(&str, &str)]| {
            let mut all = vec![("host", "serval"), ("content-length", "2")];
            all.extend_from_slice(headers);
            match read(&parts("POST", "/predict", &all)) {
                Head::Nobody(name) => name,
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
    fn a_bearer_is_as_good_as_a_key() {
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
        let asked = |header: &str, value: &str| {
            let request = parts("POST", "/predict", &[("host", "serval"), ("content-length", "2"), (header, value)]);
            match read(&request) {
                Head::Predict(predict) => Ok(predict.caller),
                Head::Nobody(name) => Err(name),
                head => panic!("{head:?}"),
            }
        };
        assert_eq!(asked("authorization", &format!("Bearer {token} ")), Ok(Sha256::digest(token).into()));
        assert_eq!(asked("x-api-key", token), Err("not_a_key"));
        assert!(asked("authorization", &format!("Bearer a.b.{}", "c".repeat(4092))).is_ok());
        for other in
            ["a.b", "a.b.", ".b.c", "a..c", "a.b.c.d", "a.b.c=", "a.b c.d", &format!("a.b.{}", "c".repeat(4093))]
        {
            assert_eq!(asked("authorization", &format!("Bearer {other}")), Err("not_a_key"), "{other}");
        }
    }

    #[test]
    fn the_probe_of_life_has_no_body() {
        let host = ("host", "127.0.0.1:8080");
        assert_eq!(read(&parts("GET", "/health/live", &[host])), Head::Live);
        assert_eq!(read(&parts("GET", "/health/live?x", &[host])), Head::Odd);
        assert_eq!(read(&parts("GET", "/health/live", &[host, ("content-length", "1")])), Head::Odd);
        assert_eq!(read(&parts("HEAD", "/health/live", &[host])), Head::Odd);
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
        assert_eq!(read(&parts("GET", "/health/live", &[("host", "a/b")])), Head::Odd);
        let mut older = parts("GET", "/health/live", &[]);
        older.version = Version::HTTP_10;
        assert_eq!(read(&older), Head::Live);
    }

    #[test]
    fn a_body_of_http2_needs_no_length() {
        let key = key();
        let mut request = parts("POST", "/predict", &[("host", "serval"), ("x-api-key", &key)]);
        assert_eq!(read(&request), Head::Odd);
        request.version = Version::HTTP_2;
        assert!(matches!(read(&request), Head::Predict(Predict { length: None, .. })));
    }

    #[test]
    fn what_python_takes_for_a_space_is_for_python() {
        let mut request = plain("/predict", &[]);
        request.headers.insert("x-api-key", http::HeaderValue::from_bytes(b"\xa0srv_x").unwrap());
        assert_eq!(read(&request), Head::Odd);
    }
}
