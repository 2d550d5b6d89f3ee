//! Millions of mutated requests for what reads them first: `make fuzz`. A panic, or a number that nobody sent, fails.

use fastrand::Rng;
use http::request::Parts;
use http::{HeaderName, HeaderValue, Method, Request, Uri};
use sha2::{Digest as _, Sha256};

use crate::cache::signed;
use crate::engine::signature::tests::signature;
use crate::front::head::{self, Head};
use crate::predict::columns::Columns;
use crate::predict::request::{AnswerShape, BodyFormat};
use crate::predict::rows::{decode, outline};

const MAX_ROWS: usize = 3;
const BODIES: [&str; 8] = [
    r#"{"input": [5.1, 3.5]}"#,
    r#"{"inputs": [[1, -0.0], [1e-300, 2.5E+3]]}"#,
    r#"{"features": {"sepal length": 1, "b": null}}"#,
    r#"{"model_name": "iris", "input": [0.1, 17976931348623157e292]}"#,
    r#"{"data": [[1,2],[3,4],[5,6],[7,8]]}"#,
    r#"{"model_name":"ada/iris","inputs":[{"a":1,"b":2}]}"#,
    r#"{"input": ["1", true, "\u0061\ud800"]}"#,
    "[[[[[[[[{}]]]]]]]]",
];
const PIECES: [&str; 24] = [
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "\"",
    "\\",
    "\\u0000",
    "null",
    "true",
    "NaN",
    "-",
    "+",
    ".",
    "e",
    "E-",
    "0",
    "1e999",
    "9007199254740993",
    " ",
    "\n",
    "input",
    "inputs",
];

fn cases() -> u64 {
    std::env::var("SERVAL_FUZZ_CASES").map_or(5_000_000, |text| text.parse().unwrap())
}

/// A text with a few bytes changed, moved, doubled or lost.
fn mutated(text: &[u8], pieces: &[&str], random: &mut Rng) -> Vec<u8> {
    let mut text = text.to_vec();
    for _ in 0..random.usize(0..4) {
        let index = random.usize(0..=text.len());
        match random.u8(0..6) {
            0 => text.truncate(index),
            1 => text.insert(index, random.u8(..)),
            2 if index < text.len() => text[index] = random.u8(..),
            3 if index < text.len() => {
                text.remove(index);
            }
            4 => {
                let other = random.usize(0..=text.len());
                let part = text[index.min(other)..index.max(other)].to_vec();
                text.splice(index..index, part);
            }
            _ => {
                let piece = pieces[random.usize(..pieces.len())];
                text.splice(index..index, piece.bytes());
            }
        }
    }
    text
}

#[test]
#[ignore = "millions of cases: `make fuzz`"]
fn any_body_is_read_or_left_to_python() {
    let columns = Columns::of(&signature("[0,1]")).unwrap();
    let mut random = Rng::with_seed(81);
    let mut read = 0;
    for _ in 0..cases() {
        let seed = BODIES[random.usize(..BODIES.len())];
        let body = mutated(seed.as_bytes(), &PIECES, &mut random);
        for shape in [AnswerShape::Full, AnswerShape::Short] {
            let Some(outline) = outline(&body, BodyFormat::Json, shape) else { continue };
            let Some(Ok(rows)) = decode(&outline, &columns, MAX_ROWS) else { continue };
            assert!(std::str::from_utf8(&body).is_ok(), "{body:?}");
            assert!(
                rows.numbers.len() / 2 <= MAX_ROWS && rows.numbers.len() % 2 == 0 && !rows.numbers.is_empty(),
                "{body:?}"
            );
            assert!(rows.numbers.iter().all(|number| !number.is_infinite()), "{body:?}");
            read += 1;
        }
    }
    assert!(read > cases() / 20, "of {} only {read} were read: the mutations are too wild", cases());
}

#[test]
#[ignore = "millions of cases: `make fuzz`"]
fn any_value_of_level_two_is_the_signed_one_or_none() {
    let (secret, mut random) = ([7; 32], Rng::with_seed(83));
    for _ in 0..cases() {
        let words: Vec<u64> = (0..random.usize(0..5)).map(|_| random.u64(..)).collect();
        let (key, width) = (u128::from(random.u64(..)), random.usize(0..5));
        let signed_value = signed::encode(&secret, key, &words);
        let given = mutated(&signed_value, &PIECES, &mut random);
        let read = signed::decode(&secret, key, &given, width);
        assert_eq!(read, (given == signed_value && width == words.len()).then_some(words), "{given:?}");
    }
}

const KEY: &str = "srv_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
const TARGETS: [&str; 8] = [
    "/predict",
    "/api/v1/predict/iris",
    "/api/predict/ada/iris",
    "/api/v1/predict/iris?version=3&outputs=probabilities",
    "/api/v1/predict/iris?alias=best",
    "/health/live",
    "http://serval/predict",
    "*",
];
const HEADERS: [(&str, &str); 14] = [
    ("host", "serval:80"),
    ("content-type", "application/json"),
    ("content-length", "17"),
    ("transfer-encoding", "chunked"),
    ("x-api-key", "KEY"),
    ("authorization", "Bearer KEY"),
    ("connection", "keep-alive"),
    ("cache-control", "max-age=0, no-cache"),
    ("x-request-id", "abc-1"),
    ("user-agent", "curl/8"),
    ("expect", "100-continue"),
    ("content-encoding", "gzip"),
    ("te", "trailers"),
    ("x-serval-peer", "9.9.9.9:1"),
];
const WORDS: [&str; 14] =
    ["%2e", "..", "//", "?", "&", "=", "version=1", "#", ";", ",", " ", "chunked", "\u{a0}", "+1"];

/// A request as hyper would hand it on; none where a part of it is not even that.
fn request(key: &str, random: &mut Rng) -> Option<Parts> {
    let method = if random.u8(..16) == 0 { mutated(b"POST", &WORDS, random) } else { b"POST".to_vec() };
    let target = TARGETS[random.usize(..TARGETS.len())].as_bytes();
    let target = if random.bool() { mutated(target, &WORDS, random) } else { target.to_vec() };
    let method = if target == b"/health/live" { Method::GET } else { Method::from_bytes(&method).ok()? };
    let mut parts = Request::builder().method(method).uri(Uri::try_from(target).ok()?).body(()).ok()?.into_parts().0;
    for (index, (name, value)) in HEADERS.iter().enumerate() {
        // The first are those of nearly every request, the last those of few.
        let is_given = match index {
            0 | 1 | 2 | 4 => random.u8(..16) > 0,
            _ => random.u8(..8) == 0,
        };
        for _ in 0..usize::from(is_given) + usize::from(random.u8(..64) == 0) {
            let value = value.replace("KEY", key);
            let value =
                if random.u8(..8) == 0 { mutated(value.as_bytes(), &WORDS, random) } else { value.into_bytes() };
            // hyper's reader takes the space around a value away.
            parts.headers.append(HeaderName::from_static(name), HeaderValue::from_bytes(value.trim_ascii()).ok()?);
        }
    }
    Some(parts)
}

#[test]
#[ignore = "millions of cases: `make fuzz`"]
fn any_head_is_plain_or_left_to_the_app() {
    let key = format!("{KEY}{:08x}", crc32fast::hash(KEY.as_bytes()));
    let digest = <[u8; 32]>::from(Sha256::digest(&key));
    let mut random = Rng::with_seed(82);
    let mut plain = 0;
    for _ in 0..cases() {
        let Some(parts) = request(&key, &mut random) else { continue };
        let head = head::read(&parts);
        if let Head::Predict(predict) = &head {
            plain += 1;
            assert_eq!(predict.caller, digest, "{parts:?}");
            let credentials = ["x-api-key", "authorization"].map(|name| parts.headers.get_all(name).iter().count());
            assert_eq!(credentials.iter().sum::<usize>(), 1, "{parts:?}");
            for name in ["expect", "content-encoding", "te", "x-serval-peer"] {
                assert!(!parts.headers.contains_key(name), "{parts:?}");
            }
            assert_ne!(predict.length.is_some(), parts.headers.contains_key("transfer-encoding"), "{parts:?}");
            assert_eq!(parts.method, Method::POST);
            let path = parts.uri.path();
            assert!(path[1..].split('/').all(|part| !["", ".", ".."].contains(&part)), "{parts:?}");
            assert!(
                path == "/predict"
                    || predict.target.model.is_some_and(|model| path.ends_with(&format!("/predict/{model}"))),
                "{parts:?}"
            );
            assert!(path[1..].bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/._-".contains(&byte)), "{parts:?}");
        }
        if matches!(head, Head::Predict(_) | Head::Unauthenticated(..) | Head::Live) {
            assert_eq!(parts.headers.get_all("host").iter().count(), 1, "{parts:?}");
        }
    }
    assert!(plain > cases() / 20, "of {} only {plain} were plain: the mutations are too wild", cases());
}
