//! A body → rows: the accepting fast path, exact to its grammar, iterative and bounded.
//!
//! What is not plainly right is `None`: Python has the full grammar and explains.

use std::borrow::Cow;

use crate::engine::signature::MISSING_STRING;
use crate::predict::columns::{Accepts, Columns, Rule};
use crate::predict::csv::{self, Dialect};
use crate::predict::decoded::Rows;
use crate::predict::json::Cursor;
use crate::predict::request::{AnswerShape, BodyFormat};

/// A list of rows is the deepest value there is.
const MAX_DEPTH: usize = 2;
/// Marks a number of a named row that is not filled yet: a NaN that no JSON text and no cast makes.
const UNSET: u64 = 0x7ff8_5e7a_1000_0001;
/// The same for a string: ONNX Runtime ends a string there, so no column takes one.
const UNSET_STRING: &str = "\0";

/// More rows than the limit: the only refusal that is decided here.
#[derive(Debug, PartialEq, Eq)]
pub struct TooMany;

/// The parts of a body, found but not yet read.
#[derive(Debug, PartialEq, Eq)]
pub struct Outline<'a> {
    pub model: Option<&'a str>,
    rows: &'a [u8],
    form: Form,
}

/// What the rows of a body are written as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    OneOfJson,
    ListOfJson,
    Csv(Dialect),
}

/// Finds the parts of a body; a JSON body that asks for the short shape (`POST /predict`) names its model.
pub fn outline(body: &[u8], format: BodyFormat, shape: AnswerShape) -> Option<Outline<'_>> {
    match format {
        BodyFormat::Json => outline_json(body, shape),
        BodyFormat::Csv(dialect) => Some(Outline { model: None, rows: body, form: Form::Csv(dialect) }),
    }
}

fn outline_json(body: &[u8], shape: AnswerShape) -> Option<Outline<'_>> {
    let is_short = shape == AnswerShape::Short;
    let mut cursor = Cursor::new(body);
    let (mut model, mut rows) = (None, None);
    cursor.take(b'{')?;
    loop {
        let key = plain_text(&mut cursor)?;
        cursor.take(b':')?;
        match key {
            "model_name" if is_short && model.is_none() => model = Some(plain_text(&mut cursor)?),
            "input" | "data" | "features" | "inputs" if rows.is_none() => {
                let form = if key == "inputs" { Form::ListOfJson } else { Form::OneOfJson };
                rows = Some((cursor.nested(MAX_DEPTH)?, form));
            }
            _ => return None,
        }
        if cursor.closes(b'}')? {
            break;
        }
    }
    cursor.end()?;
    let (rows, form) = rows?;
    if is_short && model.is_none() {
        return None;
    }
    Some(Outline { model, rows, form })
}

/// A string without escapes.
fn plain_text<'a>(cursor: &mut Cursor<'a>) -> Option<&'a str> {
    let text = cursor.text().filter(|text| !text.has_escapes)?;
    str::from_utf8(text.bytes).ok()
}

/// Read the rows of a body: numbers correctly rounded, -0.0 kept.
pub fn decode<'a>(outline: &Outline<'a>, columns: &Columns, max_rows: usize) -> Option<Result<Rows<'a>, TooMany>> {
    if let Form::Csv(dialect) = outline.form {
        return csv::decode(outline.rows, dialect, columns, max_rows).map(Ok);
    }
    let mut cursor = Cursor::new(outline.rows);
    let numbers = Vec::with_capacity(columns.numbers + columns.rules.len());
    let strings = Vec::with_capacity(columns.strings);
    let mut rows = Rows { numbers, strings, count: 0, is_list: outline.form == Form::ListOfJson };
    if !rows.is_list {
        row(&mut rows, &mut cursor, columns)?;
        cursor.end()?;
        return Some(Ok(rows));
    }
    cursor.take(b'[')?;
    loop {
        if rows.count == max_rows {
            return Some(Err(TooMany));
        }
        row(&mut rows, &mut cursor, columns)?;
        if cursor.closes(b']')? {
            break;
        }
    }
    cursor.end()?;
    Some(Ok(rows))
}

fn row<'a>(rows: &mut Rows<'a>, cursor: &mut Cursor<'a>, columns: &Columns) -> Option<()> {
    match cursor.peek()? {
        b'[' => by_position(rows, cursor, columns)?,
        b'{' if columns.has_names => by_name(rows, cursor, columns)?,
        _ => return None,
    }
    rows.count += 1;
    Some(())
}

fn by_position<'a>(rows: &mut Rows<'a>, cursor: &mut Cursor<'a>, columns: &Columns) -> Option<()> {
    cursor.take(b'[')?;
    let last = columns.rules.len() - 1;
    for (index, rule) in columns.rules.iter().enumerate() {
        match rule.accepts {
            Accepts::String { .. } => rows.strings.push(string(cursor, rule)?),
            Accepts::Unused => anything(cursor)?,
            _ => rows.numbers.push(number(cursor, rule)?),
        }
        if cursor.closes(b']')? != (index == last) {
            return None;
        }
    }
    Some(())
}

fn by_name<'a>(rows: &mut Rows<'a>, cursor: &mut Cursor<'a>, columns: &Columns) -> Option<()> {
    cursor.take(b'{')?;
    let (numbers, strings) = (rows.numbers.len(), rows.strings.len());
    rows.numbers.resize(numbers + columns.rules.len() - columns.strings, f64::from_bits(UNSET));
    rows.strings.resize(strings + columns.strings, Cow::Borrowed(UNSET_STRING));
    let mut filled = 0;
    let mut expected = 0;
    loop {
        let index = columns.index(cursor.text()?, expected)?;
        cursor.take(b':')?;
        let rule = &columns.rules[index];
        if let Accepts::String { .. } = rule.accepts {
            set(&mut rows.strings[strings + rule.slot], string(cursor, rule)?, |string| string == UNSET_STRING)?;
            filled += 1;
        } else {
            let is_used = !matches!(rule.accepts, Accepts::Unused);
            let number = if is_used { number(cursor, rule)? } else { anything(cursor).map(|()| 0.0)? };
            set(&mut rows.numbers[numbers + rule.slot], number, |number| number.to_bits() == UNSET)?;
            filled += usize::from(is_used);
        }
        expected = index + 1;
        if cursor.closes(b'}')? {
            break;
        }
    }
    rows.numbers.truncate(numbers + columns.numbers);
    (filled == columns.numbers + columns.strings).then_some(())
}

/// Fills a place; None where it is filled already, because its name is there twice.
fn set<T>(place: &mut T, value: T, is_unset: impl Fn(&T) -> bool) -> Option<()> {
    let is_free = is_unset(place);
    *place = value;
    is_free.then_some(())
}

fn number(cursor: &mut Cursor<'_>, rule: &Rule) -> Option<f64> {
    let number = match cursor.peek()? {
        b'n' => return cursor.null().filter(|()| rule.takes_missing).map(|()| f64::NAN),
        b't' | b'f' => f64::from(u8::from(cursor.boolean()?)),
        _ => cursor.number()?,
    };
    rule.number(number)
}

fn string<'a>(cursor: &mut Cursor<'a>, rule: &Rule) -> Option<Cow<'a, str>> {
    if cursor.peek()? == b'n' {
        return cursor.null().filter(|()| rule.takes_missing).map(|()| Cow::Borrowed(MISSING_STRING));
    }
    rule.string(cursor.text()?.read()?)
}

/// A value that nobody reads: a number, a word or a string, but no array and no object.
fn anything(cursor: &mut Cursor<'_>) -> Option<()> {
    match cursor.peek()? {
        b'"' => cursor.text()?.read().map(|_| ()),
        b'n' => cursor.null(),
        b't' | b'f' => cursor.boolean().map(|_| ()),
        _ => cursor.number().map(|_| ()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::signature::Signature;
    use crate::engine::signature::tests::signature;

    fn read(body: &str) -> Option<Vec<f64>> {
        let columns = Columns::of(&signature("[0,1]")).unwrap();
        let outline = outline(body.as_bytes(), BodyFormat::Json, AnswerShape::Full)?;
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

    const MIXED: &str = r#"{"kind":"regressor","columns":[
        {"name":"plan","kind":"string","dtype":"str","categories":["basic","p\u00e9","a\"b"]},
        {"name":"n","kind":"number","dtype":"int64","categories":[0,1,2.5]},
        {"name":"note","kind":"unused","dtype":"object"},
        {"name":"city \"é\"","kind":"string","dtype":"object","missing":"none"},
        {"name":"on","kind":"boolean","dtype":"bool","categories":[true]}],
        "has_names":true,"labels":[],"targets":1,"is_multi_target":false,"has_probabilities":false,
        "numbers_dtype":"float32","scores_dtype":"float32"}"#;

    fn read_mixed(row: &str) -> Option<(Vec<f64>, Vec<String>)> {
        let columns = Columns::of(&Signature::parse(MIXED.as_bytes()).unwrap()).unwrap();
        let body = format!(r#"{{"input":{row}}}"#);
        let outline = outline(body.as_bytes(), BodyFormat::Json, AnswerShape::Full)?;
        let rows = decode(&outline, &columns, 3)?.unwrap();
        Some((rows.numbers, rows.strings.into_iter().map(Cow::into_owned).collect()))
    }

    #[test]
    fn strings_go_beside_the_numbers_by_position_and_by_name() {
        let read =
            |numbers: [f64; 2], strings: [&str; 2]| Some((numbers.to_vec(), strings.map(str::to_owned).to_vec()));
        for (row, expected) in [
            (r#"["basic", 2.5, "any", "Köln", 1]"#, read([2.5, 1.0], ["basic", "Köln"])),
            (r#"["p\u00e9", -0, null, null, true]"#, read([-0.0, 1.0], ["pé", MISSING_STRING])),
            (r#"{"city \"é\"":"x","on":true,"plan":"a\"b","n":1}"#, read([1.0, 1.0], ["a\"b", "x"])),
            (
                r#"{"city \"\u00e9\"":"\ud83e\udda1","on":1,"note":"\u0000","plan":"pé","n":0}"#,
                read([0.0, 1.0], ["pé", "🦡"]),
            ),
        ] {
            assert_eq!(read_mixed(row), expected, "{row}");
        }
    }

    #[test]
    fn strings_that_a_column_does_not_take_are_left() {
        for row in [
            r#"["gold", 1, 0, "x", 1]"#,
            r#"[null, 1, 0, "x", 1]"#,
            r#"["basic", 2, 0, "x", 1]"#,
            r#"["basic", 1, 0, "x", 0]"#,
            r#"["basic", 1, 0, "x", -1]"#,
            r#"["basic", 1, 0, 5, 1]"#,
            r#"["basic", 1, 0, "a\u0000", 1]"#,
            r#"["basic", 1, 0, "a\u001a", 1]"#,
            r#"["basic", 1, 0, "\ud800", 1]"#,
            r#"["basic", 1, "\ud800", "x", 1]"#,
            r#"{"plan":"basic","n":1,"on":1}"#,
            r#"{"plan":"basic","n":1,"on":1,"city \"é\"":"x","city \"\u00e9\"":"x"}"#,
            r#"{"plan":"basic","n":1,"on":1,"city \"é\"":"x","note":1,"note":1}"#,
        ] {
            assert_eq!(read_mixed(row), None, "{row}");
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
        let outline = outline(br#"{"inputs":[[1,2],[1,2],[1,2],[1,2]]}"#, BodyFormat::Json, AnswerShape::Full).unwrap();
        assert_eq!(decode(&outline, &columns, 3), Some(Err(TooMany)));
    }

    #[test]
    fn a_short_body_names_its_model() {
        assert_eq!(
            outline(br#"{"features":[1],"model_name":"iris"}"#, BodyFormat::Json, AnswerShape::Short).unwrap().model,
            Some("iris")
        );
        assert_eq!(outline(br#"{"features":[1]}"#, BodyFormat::Json, AnswerShape::Short), None);
        assert_eq!(outline(br#"{"features":[1],"model_name":"iris"}"#, BodyFormat::Json, AnswerShape::Full), None);
    }
}
