//! Rows as they are read from a body.

use std::borrow::Cow;

/// Rows, row-major: the numbers of each, a missing one as NaN, and its strings, a missing one as `MISSING_STRING`.
#[derive(Debug, PartialEq)]
pub struct Rows<'a> {
    pub numbers: Vec<f64>,
    pub strings: Vec<Cow<'a, str>>,
    pub count: usize,
    /// The body said `inputs` or is CSV.
    pub is_list: bool,
}
