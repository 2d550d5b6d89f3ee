//! The refusals that the front sends by itself: whole responses that Python has written, with placeholders for what
//! differs.

use std::collections::HashMap;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode};

use crate::error::Fault;

/// The placeholder of the request id.
pub const REQUEST_ID: &str = "request_id";

/// A refusal as Python publishes it.
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
    Placeholder(Box<str>),
}

impl Templates {
    /// `placeholders`: the text that stands for a placeholder, and its name.
    pub fn of(published: Vec<Published>, placeholders: &HashMap<String, String>) -> Result<Self, Fault> {
        let mut templates = HashMap::new();
        for refusal in published {
            let headers = refusal.headers.iter().map(|(name, value)| {
                let name = HeaderName::try_from(name)
                    .map_err(|_| Fault::argument(format!("`{name}` is no name of a header")))?;
                Ok((name, pieces(value.as_bytes(), placeholders)))
            });
            let status =
                StatusCode::from_u16(refusal.status).map_err(|_| Fault::argument("a status has three digits"))?;
            let template = Template {
                status,
                headers: headers.collect::<Result<_, Fault>>()?,
                body: pieces(&refusal.body, placeholders),
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
    pub fn body(&self, values: &[(&str, &str)]) -> Bytes {
        filled(&self.body, values).into()
    }

    /// Leaves out a header whose value is invalid, which does not happen: the values are ours or were checked.
    pub fn headers(&self, values: &[(&str, &str)]) -> impl Iterator<Item = (HeaderName, HeaderValue)> {
        self.headers
            .iter()
            .filter_map(move |(name, value)| Some((name.clone(), HeaderValue::try_from(filled(value, values)).ok()?)))
    }
}

fn filled(pieces: &[Piece], values: &[(&str, &str)]) -> Vec<u8> {
    let mut text = Vec::with_capacity(256);
    for piece in pieces {
        match piece {
            Piece::Text(part) => text.extend_from_slice(part),
            Piece::Placeholder(name) => {
                let value = values.iter().find(|(other, _)| **other == **name).map_or("", |(_, value)| value);
                text.extend_from_slice(value.as_bytes());
            }
        }
    }
    text
}

fn pieces(text: &[u8], placeholders: &HashMap<String, String>) -> Vec<Piece> {
    let mut pieces = vec![];
    let mut rest = text;
    while let Some((start, length, name)) = first_placeholder(rest, placeholders) {
        pieces.push(Piece::Text(rest[..start].into()));
        pieces.push(Piece::Placeholder(name.into()));
        rest = &rest[start + length..];
    }
    pieces.push(Piece::Text(rest.into()));
    pieces
}

/// Start, length and name of the placeholder that comes first.
fn first_placeholder<'a>(text: &[u8], placeholders: &'a HashMap<String, String>) -> Option<(usize, usize, &'a str)> {
    let found = placeholders.iter().filter_map(|(mark, name)| {
        let start = text.windows(mark.len()).position(|window| window == mark.as_bytes())?;
        Some((start, mark.len(), name.as_str()))
    });
    found.min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_are_replaced_by_their_values() {
        let placeholders =
            HashMap::from([("7001".to_owned(), "seconds".to_owned()), ("ID".to_owned(), REQUEST_ID.to_owned())]);
        let refusal = Published {
            name: "slow".into(),
            status: 503,
            headers: vec![("Retry-After".into(), "7001".into())],
            body: b"wait 7001 s, ID (7001)".to_vec(),
        };
        let templates = Templates::of(vec![refusal], &placeholders).unwrap();
        let template = templates.get("slow").unwrap();
        let values = [("seconds", "12"), (REQUEST_ID, "req_1")];
        assert_eq!(template.body(&values), "wait 12 s, req_1 (12)");
        assert_eq!(
            template.headers(&values).collect::<Vec<_>>(),
            [(http::header::RETRY_AFTER, HeaderValue::from_static("12"))]
        );
        assert!(templates.get("other").is_none());
    }
}
