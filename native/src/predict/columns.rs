//! What the columns of a model accept, compiled from its signature for the reader of rows.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use crate::engine::signature::{Column, ColumnKind, Signature};
use crate::predict::json::{Cursor, Text};

/// What the columns of a model accept.
pub struct Columns {
    names: Vec<Box<str>>,
    indexes: HashMap<Box<str>, usize>,
    pub rules: Vec<Rule>,
    /// Numbers of a row.
    pub numbers: usize,
    /// Strings of a row.
    pub strings: usize,
    pub has_names: bool,
}

/// What a column accepts, and where its value goes.
pub struct Rule {
    /// The place among the numbers of a row, or among its strings. Unused columns have places behind the numbers, which
    /// are only there while a row is read.
    pub slot: usize,
    pub takes_missing: bool,
    pub accepts: Accepts,
}

/// Where there are categories, the model refuses any other value.
pub enum Accepts {
    Number {
        minimum: f64,
        maximum: f64,
        categories: Option<Numbers>,
    },
    /// `true`, `false`, 0 or 1.
    Boolean {
        categories: Option<Numbers>,
    },
    String {
        categories: Option<HashSet<Box<str>>>,
    },
    /// Anything, or nothing at all.
    Unused,
}

impl Columns {
    /// None where a column needs Python: a timestamp, or a category that a float64 may not hold.
    pub fn of(signature: &Signature) -> Option<Self> {
        let (numbers, strings) = (signature.numbers(), signature.strings());
        let (mut number_slots, mut string_slots, mut unused_slots) = (0.., 0.., numbers..);
        let rules = signature.columns.iter().map(|column| {
            let accepts = Accepts::of(column)?;
            let slots: &mut dyn Iterator<Item = usize> = match accepts {
                Accepts::Unused => &mut unused_slots,
                Accepts::String { .. } => &mut string_slots,
                Accepts::Number { .. } | Accepts::Boolean { .. } => &mut number_slots,
            };
            Some(Rule { slot: slots.next()?, takes_missing: column.missing.is_some(), accepts })
        });
        let rules = rules.collect::<Option<Vec<_>>>()?;
        let names: Vec<Box<str>> = signature.columns.iter().map(|column| column.name.as_str().into()).collect();
        Some(Self {
            indexes: names.iter().cloned().enumerate().map(|(index, name)| (name, index)).collect(),
            rules,
            names,
            numbers,
            strings,
            has_names: signature.has_names,
        })
    }

    /// The index of a column; `expected` is tried first.
    pub fn index(&self, name: Text<'_>, expected: usize) -> Option<usize> {
        match self.names.get(expected) {
            Some(guess) if !name.has_escapes && guess.as_bytes() == name.bytes => Some(expected),
            _ => self.index_of(&name.read()?),
        }
    }

    /// The same of a name that is read already.
    pub fn index_of(&self, name: &str) -> Option<usize> {
        self.indexes.get(name).copied()
    }
}

impl Rule {
    /// The number, where the column takes it.
    pub fn number(&self, number: f64) -> Option<f64> {
        let (number, categories) = match &self.accepts {
            Accepts::Number { minimum, maximum, categories } => {
                (Some(number).filter(|number| (*minimum..=*maximum).contains(number))?, categories)
            }
            Accepts::Boolean { categories } => {
                (Some(number).filter(|number| [0.0, 1.0].contains(number))?.abs(), categories)
            }
            Accepts::String { .. } | Accepts::Unused => return None,
        };
        categories.as_ref().is_none_or(|known| known.contains(number)).then_some(number)
    }

    /// The string, where the column takes it.
    pub fn string<'a>(&self, string: Cow<'a, str>) -> Option<Cow<'a, str>> {
        if string.contains(['\0', '\u{1a}']) {
            return None;
        }
        match &self.accepts {
            Accepts::String { categories: Some(known) } if !known.contains(&*string) => None,
            _ => Some(string),
        }
    }
}

impl Accepts {
    fn of(column: &Column) -> Option<Self> {
        Some(match column.kind {
            ColumnKind::Number => Self::Number {
                minimum: column.minimum.unwrap_or(f64::MIN),
                maximum: column.maximum.unwrap_or(f64::MAX),
                categories: categories(column, number)?,
            },
            ColumnKind::Boolean => Self::Boolean { categories: categories(column, number)? },
            ColumnKind::String => {
                Self::String { categories: categories(column, |json| serde_json::from_str(json).ok())? }
            }
            ColumnKind::Unused => Self::Unused,
            ColumnKind::Timestamp => return None,
        })
    }
}

/// The categories of a column as `read` reads their JSON: None where it cannot read one, Some(None) where the column has
/// none.
#[allow(clippy::option_option, reason = "the two are different things")]
fn categories<T, C: FromIterator<T>>(column: &Column, read: impl Fn(&str) -> Option<T>) -> Option<Option<C>> {
    let Some(categories) = &column.categories else { return Some(None) };
    categories.iter().map(|category| read(category.get())).collect::<Option<C>>().map(Some)
}

fn number(json: &str) -> Option<u64> {
    let mut cursor = Cursor::new(json.as_bytes());
    let number = match cursor.peek()? {
        b't' | b'f' => f64::from(u8::from(cursor.boolean()?)),
        _ => cursor.number()?,
    };
    Some(Numbers::word(number))
}

/// A set of numbers, in which -0.0 is 0.0.
pub struct Numbers(HashSet<u64>);

impl Numbers {
    pub fn contains(&self, number: f64) -> bool {
        self.0.contains(&Self::word(number))
    }

    fn word(number: f64) -> u64 {
        (number + 0.0).to_bits()
    }
}

impl FromIterator<u64> for Numbers {
    fn from_iter<I: IntoIterator<Item = u64>>(words: I) -> Self {
        Self(words.into_iter().collect())
    }
}
