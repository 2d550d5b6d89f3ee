//! JSON features → numbers: the accepting fast path, exact to its grammar, iterative and bounded.
//!
//! What is not plainly right is `None`: Python has the full grammar and explains.
//! Strings with escapes are left to Python too, so every key that is accepted was compared byte by byte.

use std::collections::HashMap;

use crate::engine::signature::{ColumnKind, Signature};
use crate::predict::request::AnswerShape;

/// Beyond it a float64 cannot hold every integer.
const EXACT_INTEGER: u64 = 1 << 53;
/// Powers of ten that a float64 holds exactly, so one multiplication or division rounds correctly (Clinger 1990).
const EXACT_POWERS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20,
    1e21, 1e22,
];
/// A list of rows is the deepest value there is.
const MAX_DEPTH: usize = 2;
/// Marks a cell of a named row that is not filled yet: a NaN that no JSON text and no cast makes.
const UNSET: u64 = 0x7ff8_5e7a_1000_0001;

/// What the columns of a model accept.
pub struct Columns {
    names: Vec<Box<[u8]>>,
    indexes: HashMap<Box<[u8]>, usize>,
    rules: Vec<Rule>,
    /// Numbers of a row.
    width: usize,
    has_names: bool,
}

/// What a column accepts, and where its number goes in a row.
struct Rule {
    /// Numbers first, in column order; unused columns after them, only while a row is read.
    slot: usize,
    kind: RuleKind,
    takes_missing: bool,
    minimum: f64,
    maximum: f64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum RuleKind {
    Number,
    /// `true`, `false`, 0 or 1.
    Boolean,
    /// Anything, or nothing at all.
    Unused,
}

/// Rows of float64, row-major.
#[derive(Debug, PartialEq)]
pub struct Rows {
    pub numbers: Vec<f64>,
    pub count: usize,
    /// The body said `inputs`.
    pub is_list: bool,
}

/// More rows than the limit: the only refusal that is decided here.
#[derive(Debug, PartialEq, Eq)]
pub struct TooMany;

/// The parts of a body, found but not yet read.
#[derive(Debug, PartialEq, Eq)]
pub struct Outline<'a> {
    pub model: Option<&'a str>,
    rows: &'a [u8],
    is_list: bool,
}

impl Columns {
    /// None where a column needs Python: a string, a timestamp, or a closed list of categories.
    pub fn of(signature: &Signature) -> Option<Self> {
        let width = signature.numbers();
        let (mut numbers, mut unused) = (0.., width..);
        let rules = signature.columns.iter().map(|column| {
            let kind = match column.kind {
                ColumnKind::Number => RuleKind::Number,
                ColumnKind::Boolean => RuleKind::Boolean,
                ColumnKind::Unused => RuleKind::Unused,
                ColumnKind::String | ColumnKind::Timestamp => return None,
            };
            let slots = if kind == RuleKind::Unused { &mut unused } else { &mut numbers };
            column.categories.is_none().then_some(Rule {
                slot: slots.next()?,
                kind,
                takes_missing: column.missing.is_some(),
                minimum: column.minimum.unwrap_or(f64::NEG_INFINITY),
                maximum: column.maximum.unwrap_or(f64::INFINITY),
            })
        });
        let rules = rules.collect::<Option<Vec<_>>>()?;
        let names: Vec<Box<[u8]>> = signature.columns.iter().map(|column| column.name.as_bytes().into()).collect();
        Some(Self {
            indexes: names.iter().cloned().enumerate().map(|(index, name)| (name, index)).collect(),
            rules,
            width,
            names,
            has_names: signature.has_names,
        })
    }

    /// The index of a column; `expected` is tried first.
    fn index(&self, name: &[u8], expected: usize) -> Option<usize> {
        match self.names.get(expected) {
            Some(guess) if **guess == *name => Some(expected),
            _ => self.indexes.get(name).copied(),
        }
    }
}

/// Finds the parts of a body; that of `POST /predict`, which asks for the short shape, names its model.
pub fn outline(body: &[u8], shape: AnswerShape) -> Option<Outline<'_>> {
    let is_short = shape == AnswerShape::Short;
    let mut cursor = Cursor { bytes: body, at: 0 };
    let (mut model, mut rows) = (None, None);
    cursor.take(b'{')?;
    loop {
        let key = cursor.text()?;
        cursor.take(b':')?;
        match key {
            b"model_name" if is_short && model.is_none() => model = Some(str::from_utf8(cursor.text()?).ok()?),
            b"input" | b"data" | b"features" | b"inputs" if rows.is_none() => {
                rows = Some((cursor.nested()?, key == b"inputs"));
            }
            _ => return None,
        }
        if cursor.closes(b'}')? {
            break;
        }
    }
    cursor.end()?;
    let (rows, is_list) = rows?;
    if is_short && model.is_none() {
        return None;
    }
    Some(Outline { model, rows, is_list })
}

/// Read the rows of a body: float64, correctly rounded; a missing value is NaN; -0.0 is kept.
pub fn decode(outline: &Outline<'_>, columns: &Columns, max_rows: usize) -> Option<Result<Rows, TooMany>> {
    let mut cursor = Cursor { bytes: outline.rows, at: 0 };
    let mut rows = Rows { numbers: Vec::with_capacity(columns.rules.len()), count: 0, is_list: outline.is_list };
    if !outline.is_list {
        rows.row(&mut cursor, columns)?;
        cursor.end()?;
        return Some(Ok(rows));
    }
    cursor.take(b'[')?;
    loop {
        if rows.count == max_rows {
            return Some(Err(TooMany));
        }
        rows.row(&mut cursor, columns)?;
        if cursor.closes(b']')? {
            break;
        }
    }
    cursor.end()?;
    Some(Ok(rows))
}

impl Rows {
    fn row(&mut self, cursor: &mut Cursor<'_>, columns: &Columns) -> Option<()> {
        match cursor.peek()? {
            b'[' => self.by_position(cursor, columns)?,
            b'{' if columns.has_names => self.by_name(cursor, columns)?,
            _ => return None,
        }
        self.count += 1;
        Some(())
    }

    fn by_position(&mut self, cursor: &mut Cursor<'_>, columns: &Columns) -> Option<()> {
        cursor.take(b'[')?;
        let last = columns.rules.len() - 1;
        for (index, rule) in columns.rules.iter().enumerate() {
            let number = cursor.value(rule)?;
            if rule.kind != RuleKind::Unused {
                self.numbers.push(number);
            }
            if cursor.closes(b']')? != (index == last) {
                return None;
            }
        }
        Some(())
    }

    fn by_name(&mut self, cursor: &mut Cursor<'_>, columns: &Columns) -> Option<()> {
        cursor.take(b'{')?;
        let start = self.numbers.len();
        self.numbers.resize(start + columns.rules.len(), f64::from_bits(UNSET));
        let mut filled = 0;
        let mut expected = 0;
        loop {
            let index = columns.index(cursor.text()?, expected)?;
            cursor.take(b':')?;
            let rule = &columns.rules[index];
            let number = &mut self.numbers[start + rule.slot];
            if number.to_bits() != UNSET {
                return None;
            }
            *number = cursor.value(rule)?;
            filled += usize::from(rule.kind != RuleKind::Unused);
            expected = index + 1;
            if cursor.closes(b'}')? {
                break;
            }
        }
        self.numbers.truncate(start + columns.width);
        (filled == columns.width).then_some(())
    }
}

struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    fn byte(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn skip_space(&mut self) {
        while matches!(self.byte(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn peek(&mut self) -> Option<u8> {
        self.skip_space();
        self.byte()
    }

    fn take(&mut self, expected: u8) -> Option<()> {
        (self.peek()? == expected).then(|| self.at += 1)
    }

    /// After a member: true at the closing bracket, false at a comma.
    fn closes(&mut self, bracket: u8) -> Option<bool> {
        let byte = self.peek()?;
        self.at += 1;
        match byte {
            b',' => Some(false),
            _ if byte == bracket => Some(true),
            _ => None,
        }
    }

    fn end(&mut self) -> Option<()> {
        self.peek().is_none().then_some(())
    }

    /// A string without escapes, without its quotes.
    fn text(&mut self) -> Option<&'a [u8]> {
        self.take(b'"')?;
        let rest = &self.bytes[self.at..];
        let length = rest.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..0x20))?;
        self.at += length + 1;
        (rest[length] == b'"').then(|| &rest[..length])
    }

    /// An array or object up to its closing bracket; what is inside is read later, and only then held to the grammar.
    fn nested(&mut self) -> Option<&'a [u8]> {
        if !matches!(self.peek()?, b'[' | b'{') {
            return None;
        }
        let start = self.at;
        let mut depth = 0;
        loop {
            match self.byte()? {
                b'"' => {
                    self.text()?;
                    continue;
                }
                b'[' | b'{' if depth == MAX_DEPTH => return None,
                b'[' | b'{' => depth += 1,
                b']' | b'}' => depth -= 1,
                _ => {}
            }
            self.at += 1;
            if depth == 0 {
                return Some(&self.bytes[start..self.at]);
            }
        }
    }

    fn value(&mut self, rule: &Rule) -> Option<f64> {
        let number = match self.peek()? {
            _ if rule.kind == RuleKind::Unused => return self.anything(),
            b'n' => return (rule.takes_missing && self.word(b"null")).then_some(f64::NAN),
            b't' | b'f' => self.boolean()?,
            _ if rule.kind == RuleKind::Boolean => {
                self.number().map(f64::abs).filter(|number| [0.0, 1.0].contains(number))?
            }
            _ => self.number()?,
        };
        (number >= rule.minimum && number <= rule.maximum).then_some(number)
    }

    /// A value that nobody reads: a number, a word or a string, but no array and no object.
    fn anything(&mut self) -> Option<f64> {
        match self.peek()? {
            b'"' => str::from_utf8(self.text()?).ok().map(|_| ())?,
            b'n' => self.word(b"null").then_some(())?,
            b't' | b'f' => self.boolean().map(|_| ())?,
            _ => self.number().map(|_| ())?,
        }
        Some(0.0)
    }

    fn boolean(&mut self) -> Option<f64> {
        if self.word(b"true") { Some(1.0) } else { self.word(b"false").then_some(0.0) }
    }

    fn word(&mut self, word: &[u8]) -> bool {
        let is_there = self.bytes[self.at..].starts_with(word);
        self.at += if is_there { word.len() } else { 0 };
        is_there
    }

    /// A JSON number as a finite float64; an integer that a float64 may not hold is none.
    #[allow(clippy::cast_precision_loss, reason = "the mantissa is at most 2^53 where it is cast")]
    fn number(&mut self) -> Option<f64> {
        let start = self.at;
        let is_negative = self.eat(b'-');
        let mut mantissa = 0;
        let first = self.byte()?;
        let mut digits = self.digits(&mut mantissa)?;
        if first == b'0' && digits > 1 {
            return None;
        }
        let mut power = 0_i64;
        let is_integer = !matches!(self.byte(), Some(b'.' | b'e' | b'E'));
        if self.eat(b'.') {
            let fraction = self.digits(&mut mantissa)?;
            digits += fraction;
            power -= i64::try_from(fraction).ok()?;
        }
        if self.eat(b'e') || self.eat(b'E') {
            power += self.exponent()?;
        }
        let is_exact = digits <= 19 && mantissa <= EXACT_INTEGER;
        let magnitude = match power {
            _ if is_integer => is_exact.then_some(mantissa as f64)?,
            0..=22 if is_exact => mantissa as f64 * EXACT_POWERS[usize::try_from(power).ok()?],
            -22..0 if is_exact => mantissa as f64 / EXACT_POWERS[usize::try_from(-power).ok()?],
            _ => return self.slow_number(start),
        };
        Some(if is_negative { -magnitude } else { magnitude })
    }

    #[cold]
    fn slow_number(&self, start: usize) -> Option<f64> {
        let number: f64 = str::from_utf8(&self.bytes[start..self.at]).ok()?.parse().ok()?;
        number.is_finite().then_some(number)
    }

    fn eat(&mut self, byte: u8) -> bool {
        let is_there = self.byte() == Some(byte);
        self.at += usize::from(is_there);
        is_there
    }

    /// Digits, at least one, appended to `mantissa`, which wraps; returns how many.
    fn digits(&mut self, mantissa: &mut u64) -> Option<usize> {
        let start = self.at;
        while let Some(digit @ b'0'..=b'9') = self.byte() {
            *mantissa = mantissa.wrapping_mul(10).wrapping_add(u64::from(digit - b'0'));
            self.at += 1;
        }
        (self.at > start).then(|| self.at - start)
    }

    fn exponent(&mut self) -> Option<i64> {
        let is_negative = self.eat(b'-') || {
            self.eat(b'+');
            false
        };
        let mut magnitude = 0;
        let digits = self.digits(&mut magnitude)?;
        let bounded = if digits > 15 { i64::from(i32::MAX) } else { i64::try_from(magnitude).ok()? };
        Some(if is_negative { -bounded } else { bounded })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::signature::tests::signature;

    fn read(body: &str) -> Option<Vec<f64>> {
        let columns = Columns::of(&signature("[0,1]")).unwrap();
        let outline = outline(body.as_bytes(), AnswerShape::Full)?;
        decode(&outline, &columns, 3)?.ok().map(|rows| rows.numbers)
    }

    #[test]
    fn reads_a_row_by_position_and_by_name() {
        assert_eq!(read(r#" {"input" : [1, -2.5e0]} "#), Some(vec![1.0, -2.5]));
        assert_eq!(read(r#"{"data":{"b":3,"a":0.1}}"#), Some(vec![0.1, 3.0]));
        assert_eq!(read(r#"{"inputs":[[1,2],{"a":3,"b":4}]}"#), Some(vec![1.0, 2.0, 3.0, 4.0]));
    }

    #[test]
    fn leaves_what_is_not_plainly_right() {
        for body in [
            "",
            "{}",
            "[1,2]",
            r#"{"input":[1]}"#,
            r#"{"input":[1,2,3]}"#,
            r#"{"input":[1,2]}x"#,
            r#"{"input":[1,2],"input":[1,2]}"#,
            r#"{"input":[01,2]}"#,
            r#"{"input":[1.,2]}"#,
            r#"{"input":[.5,2]}"#,
            r#"{"input":[+1,2]}"#,
            r#"{"input":[1e,2]}"#,
            r#"{"input":[-,2]}"#,
            r#"{"input":[9007199254740993,2]}"#,
            r#"{"input":[1e400,2]}"#,
            r#"{"input":[1,11]}"#,
            r#"{"input":[null,2]}"#,
            r#"{"input":[NaN,2]}"#,
            r#"{"input":{"a":1,"a":1}}"#,
            r#"{"input":{"a":1}}"#,
            r#"{"input":{"a":1,"b":2,"c":3}}"#,
            r#"{"inputs":[]}"#,
            r#"{"inputs":[1,2]}"#,
            r#"{"input":[[1,2]]}"#,
            r#"{"inp\u0075t":[1,2]}"#,
            r#"{"input":[1,2]"#,
            r#"{"input":[1,2],}"#,
            r#"{"input":[1 2]}"#,
            r#"{"input":[1,2}}"#,
            "{\"input\":[1,\u{a0}2]}",
        ] {
            assert_eq!(read(body), None, "{body}");
        }
    }

    #[test]
    fn missing_values_are_nan_where_they_are_taken() {
        assert!(read(r#"{"input":[1,null]}"#).unwrap()[1].is_nan());
    }

    #[test]
    fn minus_zero_is_kept() {
        assert_eq!(
            read(r#"{"input":[-0,-0.0]}"#).unwrap().iter().map(|zero| zero.to_bits()).collect::<Vec<_>>(),
            [1 << 63; 2]
        );
    }

    #[test]
    fn deep_nesting_is_left_at_once() {
        assert_eq!(read(&format!("{{\"input\":{}", "[".repeat(100_000))), None);
    }

    #[test]
    fn too_many_rows_are_refused() {
        let columns = Columns::of(&signature("[0,1]")).unwrap();
        let outline = outline(br#"{"inputs":[[1,2],[1,2],[1,2],[1,2]]}"#, AnswerShape::Full).unwrap();
        assert_eq!(decode(&outline, &columns, 3), Some(Err(TooMany)));
    }

    #[test]
    fn a_short_body_names_its_model() {
        assert_eq!(
            outline(br#"{"features":[1],"model_name":"iris"}"#, AnswerShape::Short).unwrap().model,
            Some("iris")
        );
        assert_eq!(outline(br#"{"features":[1]}"#, AnswerShape::Short), None);
        assert_eq!(outline(br#"{"features":[1],"model_name":"iris"}"#, AnswerShape::Full), None);
    }
}
