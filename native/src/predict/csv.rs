//! A CSV body (RFC 4180) → rows: the accepting fast path. What is not plainly right is `None`: Python explains.

use std::borrow::Cow;

use crate::engine::signature::MISSING_STRING;
use crate::predict::columns::{Accepts, Columns, Rule};
use crate::predict::decoded::Rows;
use crate::predict::json::EXACT_INTEGER;

const BYTE_ORDER_MARK: char = '\u{feff}';
/// Characters of a field that Python's reader takes at most.
const MAX_FIELD: usize = 131_072;
/// What `pandas.read_csv` takes for a missing number by default.
const NA_WORDS: [&str; 18] = [
    "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>", "N/A", "NA", "NULL",
    "NaN", "None", "n/a", "nan", "null",
];

/// How a CSV body is written, as its `Content-Type` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dialect {
    pub has_header: bool,
    pub delimiter: char,
}

/// Read the rows of a body; an empty field is a missing value. More than `max_rows` are left to Python too.
pub fn decode<'a>(body: &'a [u8], dialect: Dialect, columns: &Columns, max_rows: usize) -> Option<Rows<'a>> {
    let delimiter = u8::try_from(dialect.delimiter).ok().filter(u8::is_ascii)?;
    let text = str::from_utf8(body).ok()?;
    let text = text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text).trim_end_matches(['\r', '\n']);
    let mut fields = Fields { text, at: 0, delimiter };
    let order = if dialect.has_header { header(&mut fields, columns)? } else { (0..columns.rules.len()).collect() };
    let mut rows = Rows { numbers: vec![], strings: vec![], count: 0, is_list: true };
    while fields.at <= text.len() {
        if rows.count == max_rows {
            return None;
        }
        record(&mut fields, &order, columns, &mut rows)?;
    }
    (rows.count > 0).then_some(rows)
}

/// The column of each field of a record, as the first line names them: each column once, but for unused ones.
fn header(fields: &mut Fields<'_>, columns: &Columns) -> Option<Vec<usize>> {
    let mut order = vec![];
    let mut is_named = vec![false; columns.rules.len()];
    loop {
        let (field, ends_record) = fields.next()?;
        let index = columns.index_of(&field.text)?;
        if std::mem::replace(&mut is_named[index], true) {
            return None;
        }
        order.push(index);
        if ends_record {
            break;
        }
    }
    let is_absent = |(rule, is_named): (&Rule, &bool)| !is_named && !matches!(rule.accepts, Accepts::Unused);
    (!columns.rules.iter().zip(&is_named).any(is_absent)).then_some(order)
}

fn record<'a>(fields: &mut Fields<'a>, order: &[usize], columns: &Columns, rows: &mut Rows<'a>) -> Option<()> {
    let (numbers, strings) = (rows.numbers.len(), rows.strings.len());
    rows.numbers.resize(numbers + columns.numbers, 0.0);
    rows.strings.resize(strings + columns.strings, Cow::Borrowed(""));
    for (place, &index) in order.iter().enumerate() {
        let (field, ends_record) = fields.next()?;
        let is_blank_line = order.len() == 1 && field.text.is_empty() && !field.is_quoted;
        if ends_record != (place + 1 == order.len()) || is_blank_line {
            return None;
        }
        let rule = &columns.rules[index];
        match rule.accepts {
            Accepts::String { .. } => rows.strings[strings + rule.slot] = string(rule, field.text)?,
            Accepts::Number { .. } => rows.numbers[numbers + rule.slot] = number(rule, &field.text)?,
            Accepts::Boolean { .. } => rows.numbers[numbers + rule.slot] = boolean(rule, &field.text)?,
            Accepts::Unused => {}
        }
    }
    rows.count += 1;
    Some(())
}

fn string<'a>(rule: &Rule, field: Cow<'a, str>) -> Option<Cow<'a, str>> {
    if field.is_empty() {
        return rule.takes_missing.then_some(Cow::Borrowed(MISSING_STRING));
    }
    rule.string(field)
}

fn number(rule: &Rule, field: &str) -> Option<f64> {
    let field = trimmed(field);
    if field.is_empty() || NA_WORDS.contains(&field) {
        return rule.takes_missing.then_some(f64::NAN);
    }
    rule.number(boolean_word(field).or_else(|| decimal(field))?)
}

fn boolean(rule: &Rule, field: &str) -> Option<f64> {
    match (field, trimmed(field)) {
        ("", _) => rule.takes_missing.then_some(f64::NAN),
        (_, "0") => rule.number(0.0),
        (_, "1") => rule.number(1.0),
        (_, word) => rule.number(boolean_word(word)?),
    }
}

fn boolean_word(word: &str) -> Option<f64> {
    match word {
        "true" | "True" | "TRUE" => Some(1.0),
        "false" | "False" | "FALSE" => Some(0.0),
        _ => None,
    }
}

/// A finite float64, correctly rounded; an integer that a float64 may not hold is none.
fn decimal(field: &str) -> Option<f64> {
    let is_plain = |byte: &u8| matches!(byte, b'0'..=b'9' | b'.' | b'e' | b'E' | b'+' | b'-');
    if !field.as_bytes().iter().all(is_plain) {
        return None; // or the words for infinity would be numbers
    }
    let digits = field.strip_prefix(['+', '-']).unwrap_or(field);
    if digits.bytes().all(|byte| byte.is_ascii_digit()) {
        let significant = digits.trim_start_matches('0');
        let is_exact = significant.is_empty()
            || significant.len() <= 16 && significant.parse::<u64>().is_ok_and(|integer| integer <= EXACT_INTEGER);
        return field.parse().ok().filter(|_| is_exact);
    }
    field.parse().ok().filter(|number: &f64| number.is_finite())
}

/// Without spaces around it. Python removes those of other scripts as well, which are no number here.
fn trimmed(field: &str) -> &str {
    field.trim_matches([' ', '\t'])
}

struct Field<'a> {
    text: Cow<'a, str>,
    is_quoted: bool,
}

/// The fields of a text, without the line ends behind its last record.
struct Fields<'a> {
    text: &'a str,
    /// Past the end of the text once the last field is read.
    at: usize,
    delimiter: u8,
}

impl<'a> Fields<'a> {
    /// A field, and whether it is the last of its record.
    fn next(&mut self) -> Option<(Field<'a>, bool)> {
        let rest = self.text.get(self.at..)?;
        let (field, length) = if rest.starts_with('"') { quoted(rest)? } else { self.unquoted(rest)? };
        if length > MAX_FIELD {
            return None;
        }
        self.at += length;
        match self.text.as_bytes().get(self.at) {
            None | Some(b'\n') => self.at += 1,
            Some(b'\r') if self.text.as_bytes().get(self.at + 1) == Some(&b'\n') => self.at += 2,
            Some(byte) if *byte == self.delimiter => {
                self.at += 1;
                return Some((field, false));
            }
            Some(_) => return None,
        }
        Some((field, true))
    }

    fn unquoted(&self, rest: &'a str) -> Option<(Field<'a>, usize)> {
        let ends = |byte: u8| byte == self.delimiter || matches!(byte, b'"' | b'\r' | b'\n');
        let length = rest.bytes().position(ends).unwrap_or(rest.len());
        let has_quote = rest.as_bytes().get(length) == Some(&b'"') && self.delimiter != b'"';
        (!has_quote).then(|| (Field { text: Cow::Borrowed(&rest[..length]), is_quoted: false }, length))
    }
}

/// A field in quotes, and how long it is with them.
fn quoted(rest: &str) -> Option<(Field<'_>, usize)> {
    let mut end = 1;
    let mut has_quotes = false;
    loop {
        end += rest[end..].find('"')?;
        if rest.as_bytes().get(end + 1) != Some(&b'"') {
            break;
        }
        has_quotes = true;
        end += 2;
    }
    let text = &rest[1..end];
    let text = if has_quotes { Cow::Owned(text.replace("\"\"", "\"")) } else { Cow::Borrowed(text) };
    Some((Field { text, is_quoted: true }, end + 1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::signature::Signature;

    const TABLE: &str = r#"{"kind":"regressor","columns":[
        {"name":"plan","kind":"string","dtype":"str","categories":["basic","a\"b,\n"]},
        {"name":"n","kind":"number","dtype":"int64","missing":"nan"},
        {"name":"note","kind":"unused","dtype":"object"},
        {"name":"city","kind":"string","dtype":"object","missing":"none"},
        {"name":"on","kind":"boolean","dtype":"bool"}],
        "has_names":true,"labels":[],"targets":1,"is_multi_target":false,"has_probabilities":false,
        "numbers_dtype":"float32","scores_dtype":"float32"}"#;

    fn read(body: &str, has_header: bool, delimiter: char) -> Option<(Vec<f64>, Vec<String>)> {
        let columns = Columns::of(&Signature::parse(TABLE.as_bytes()).unwrap()).unwrap();
        let rows = decode(body.as_bytes(), Dialect { has_header, delimiter }, &columns, 3)?;
        Some((rows.numbers, rows.strings.into_iter().map(Cow::into_owned).collect()))
    }

    #[test]
    fn records_are_read_with_and_without_a_header() {
        let expected =
            Some((vec![1.5, 1.0, -0.0, 0.0], ["basic", "Köln", "a\"b,\n", "\u{1a}"].map(str::to_owned).to_vec()));
        for (body, has_header, delimiter) in [
            ("plan,n,city,on\nbasic,1.5,Köln,true\n\"a\"\"b,\n\",-0,,0\n", true, ','),
            ("\u{feff}on;city;note;n;plan\r\n 1 ;Köln;x;+15e-1;basic\r\nFALSE;;;-0;\"a\"\"b,\n\"", true, ';'),
            ("basic\t1.5\t\tKöln\tTrue\n\"a\"\"b,\n\"\t -0 \t\t\"\"\t0\n\r\n\n", false, '\t'),
        ] {
            assert_eq!(read(body, has_header, delimiter), expected, "{body}");
        }
        assert!(read("basic,NA,,x,1", false, ',').unwrap().0[0].is_nan());
    }

    #[test]
    fn what_is_not_plainly_right_is_left() {
        for body in [
            "",
            "\n",
            "plan,n,city,on",
            "plan,n,city\nbasic,1,x\n",
            "plan,n,city,on,n\nbasic,1,x,1,1\n",
            "plan,n,city,on,z\nbasic,1,x,1,1\n",
            "plan,n,city,on\nbasic,1,x\n",
            "plan,n,city,on\nbasic,1,x,1,1\n",
            "plan,n,city,on\nbasic,1,x,1\n\nbasic,1,x,1\n",
            "plan,n,city,on\nbasic,inf,x,1\n",
            "plan,n,city,on\nbasic,9007199254740993,x,1\n",
            "plan,n,city,on\nbasic,1e999,x,1\n",
            "plan,n,city,on\nbasic,1_0,x,1\n",
            "plan,n,city,on\n,1,x,1\n",
            "plan,n,city,on\ngold,1,x,1\n",
            "plan,n,city,on\nbasic,1,x,1.0\n",
            "plan,n,city,on\nbasic,1,x,NA\n",
            "plan,n,city,on\nbasic,1,x, \n",
            "plan,n,city,on\nbasic,1,x\"y,1\n",
            "plan,n,city,on\nbasic,1,\"x\"y,1\n",
            "plan,n,city,on\nbasic,1,\"x,1\n",
            "plan,n,city,on\rbasic,1,x,1\r",
            "plan,n,city,on\nbasic,1,x,1\nbasic,1,x,1\nbasic,1,x,1\nbasic,1,x,1\n",
            "plan,n,city,on\nbasic,1,\u{1a},1\n",
        ] {
            assert_eq!(read(body, true, ','), None, "{body}");
        }
        assert_eq!(read("basicé1ééxé1", false, 'é'), None);
    }
}
