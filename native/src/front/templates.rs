//! The refusals that the front sends by itself: whole answers that Python has written, with gaps for what differs.

use std::collections::HashMap;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode};

use crate::error::Fault;

/// The gap for the id of the request.
pub const REQUEST_ID: &str = "request_id";

/// A refusal as Python publishes it. `marks`: a text that stands for a gap, and the gap's name.
pub struct Published {
    pub name: String,
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

#[derive(Debug, Default)]
pub struct Templates(HashMap<Box<str>, Template>);

#[derive(Debug)]
pub struct Template {
    pub status: StatusCode,
    headers: Vec<(HeaderName, Vec<Piece>)>,
    body: Vec<Piece>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(Box<[u8]>),
    Gap(Box<str>),
}

impl Templates {
    pub fn of(published: Vec<Published>, marks: &HashMap<String, String>) -> Result<Self, Fault> {
        let mut templates = HashMap::new();
        for refusal in published {
            let headers = refusal.headers.iter().map(|(name, value)| {
                let name = HeaderName::try_from(name)
                    .map_err(|_| Fault::argument(format!("`{name}` is no name of a header")))?;
                Ok((name, pieces(value.as_bytes(), marks)))
            });
            let status =
                StatusCode::from_u16(refusal.status).map_err(|_| Fault::argument("a status has three digits"))?;
            let template = Template {
                status,
                headers: headers.collect::<Result<_, Fault>>()?,
                body: pieces(&refusal.body, marks),
            };
            templates.insert(refusal.name.into(), template);
        }
        Ok(Self(templates))
    }

    pub fn get(&self, name: &str) -> Option<&Template> {
        self.0.get(name)
    }
}

impl Template {
    pub fn body(&self, gaps: &[(&str, &str)]) -> Bytes {
        filled(&self.body, gaps).into()
    }

    /// A header whose text is none is left out; what fills the gaps is ours or was checked.
    pub fn headers(&self, gaps: &[(&str, &str)]) -> impl Iterator<Item = (HeaderName, HeaderValue)> {
        self.headers
            .iter()
            .filter_map(move |(name, value)| Some((name.clone(), HeaderValue::try_from(filled(value, gaps)).ok()?)))
    }
}

fn filled(pieces: &[Piece], gaps: &[(&str, &str)]) -> Vec<u8> {
    let mut text = Vec::with_capacity(256);
    for piece in pieces {
        match piece {
            Piece::Text(part) => text.extend_from_slice(part),
            Piece::Gap(name) => {
                let value = gaps.iter().find(|(gap, _)| **gap == **name).map_or("", |(_, value)| value);
                text.extend_from_slice(value.as_bytes());
            }
        }
    }
    text
}

fn pieces(text: &[u8], marks: &HashMap<String, String>) -> Vec<Piece> {
    let mut found = vec![];
    let mut rest = text;
    while let Some((place, mark, name)) = first_mark(rest, marks) {
        found.push(Piece::Text(rest[..place].into()));
        found.push(Piece::Gap(name.into()));
        rest = &rest[place + mark..];
    }
    found.push(Piece::Text(rest.into()));
    found
}

/// VersionRef, length and name of the mark that comes first.
fn first_mark<'a>(text: &[u8], marks: &'a HashMap<String, String>) -> Option<(usize, usize, &'a str)> {
    let places = marks.iter().filter_map(|(mark, name)| {
        let place = text.windows(mark.len()).position(|window| window == mark.as_bytes())?;
        Some((place, mark.len(), name.as_str()))
    });
    places.min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_are_filled_where_their_marks_stood() {
        let marks =
            HashMap::from([("7001".to_owned(), "seconds".to_owned()), ("ID".to_owned(), REQUEST_ID.to_owned())]);
        let refusal = Published {
            name: "slow".into(),
            status: 503,
            headers: vec![("Retry-After".into(), "7001".into())],
            body: b"wait 7001 s, ID (7001)".to_vec(),
        };
        let templates = Templates::of(vec![refusal], &marks).unwrap();
        let template = templates.get("slow").unwrap();
        let gaps = [("seconds", "12"), (REQUEST_ID, "req_1")];
        assert_eq!(template.body(&gaps), "wait 12 s, req_1 (12)");
        assert_eq!(
            template.headers(&gaps).collect::<Vec<_>>(),
            [(http::header::RETRY_AFTER, HeaderValue::from_static("12"))]
        );
        assert!(templates.get("other").is_none());
    }
}
