//! Rows on their way into a model, and the outputs that come back.

use crate::engine::signature::Signature;
use crate::error::Fault;

/// Borrowed rows, row-major: numbers `[rows, columns of numbers]` and strings `[rows, columns of strings]`.
#[derive(Debug, Clone, Copy)]
pub struct Batch<'a> {
    widths: Widths,
    rows: usize,
    numbers: &'a [f64],
    strings: &'a [&'a str],
}

/// Columns of a row, by what they hold.
#[derive(Debug, Clone, Copy)]
struct Widths {
    numbers: usize,
    strings: usize,
}

impl<'a> Batch<'a> {
    /// Rows of `signature`; a fault where the lengths do not fit it.
    pub fn of(signature: &Signature, numbers: &'a [f64], strings: &'a [&'a str]) -> Result<Self, Fault> {
        let widths = Widths { numbers: signature.numbers(), strings: signature.strings() };
        let rows = numbers.len().checked_div(widths.numbers).unwrap_or(strings.len() / widths.strings.max(1));
        if numbers.len() != rows * widths.numbers || strings.len() != rows * widths.strings {
            return Err(Fault::argument(format!(
                "{} numbers and {} strings are not rows of {} and {}",
                numbers.len(),
                strings.len(),
                widths.numbers,
                widths.strings
            )));
        }
        Ok(Self { widths, rows, numbers, strings })
    }

    /// How many rows there are.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Numbers of all rows.
    pub fn numbers(&self) -> &'a [f64] {
        self.numbers
    }

    /// Strings of all rows.
    pub fn strings(&self) -> &'a [&'a str] {
        self.strings
    }

    /// How long the strings of all rows are together.
    pub fn string_bytes(&self) -> usize {
        self.strings.iter().map(|string| string.len()).sum()
    }

    /// One row.
    pub fn row(&self, row: usize) -> Self {
        self.slice(row, 1)
    }

    /// Consecutive rows.
    pub fn slice(&self, start: usize, rows: usize) -> Self {
        let Widths { numbers, strings } = self.widths;
        Self {
            rows,
            numbers: &self.numbers[start * numbers..(start + rows) * numbers],
            strings: &self.strings[start * strings..(start + rows) * strings],
            ..*self
        }
    }

    /// Copies of some rows, in the order of `rows`.
    pub fn pick(&self, rows: &[usize]) -> OwnedBatch<&'a str> {
        let mut picked = OwnedBatch { widths: self.widths, rows: rows.len(), numbers: vec![], strings: vec![] };
        for &row in rows {
            let row = self.row(row);
            picked.numbers.extend_from_slice(row.numbers);
            picked.strings.extend_from_slice(row.strings);
        }
        picked
    }
}

/// Rows that own their numbers, and with `Box<str>` their strings too.
#[derive(Debug, Clone)]
pub struct OwnedBatch<S = Box<str>> {
    widths: Widths,
    rows: usize,
    numbers: Vec<f64>,
    strings: Vec<S>,
}

impl OwnedBatch<&str> {
    pub fn as_batch(&self) -> Batch<'_> {
        Batch { widths: self.widths, rows: self.rows, numbers: &self.numbers, strings: &self.strings }
    }

    /// The numbers of the rows from `start` on, to be changed.
    pub fn numbers_mut(&mut self, start: usize) -> &mut [f64] {
        &mut self.numbers[start * self.widths.numbers..]
    }
}

impl OwnedBatch {
    /// Calls `read` with the rows.
    pub fn with<T>(&self, read: impl FnOnce(Batch<'_>) -> T) -> T {
        let strings: Vec<&str> = self.strings.iter().map(|string| &**string).collect();
        read(Batch { widths: self.widths, rows: self.rows, numbers: &self.numbers, strings: &strings })
    }

    /// How long the strings of all rows are together.
    pub fn string_bytes(&self) -> usize {
        self.strings.iter().map(|string| string.len()).sum()
    }

    /// Adds copies of the rows of another batch of the same signature.
    pub fn append(&mut self, other: &Self) {
        self.rows += other.rows;
        self.numbers.extend_from_slice(&other.numbers);
        self.strings.extend_from_slice(&other.strings);
    }
}

impl From<Batch<'_>> for OwnedBatch {
    fn from(batch: Batch<'_>) -> Self {
        Self {
            widths: batch.widths,
            rows: batch.rows,
            numbers: batch.numbers.to_vec(),
            strings: batch.strings.iter().map(|&string| string.into()).collect(),
        }
    }
}

impl From<OwnedBatch<&str>> for OwnedBatch {
    fn from(batch: OwnedBatch<&str>) -> Self {
        let strings = batch.strings.into_iter().map(Box::from).collect();
        Self { widths: batch.widths, rows: batch.rows, numbers: batch.numbers, strings }
    }
}

impl<S: Clone> OwnedBatch<S> {
    /// How many rows there are.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Copies of some rows, in the order of `rows`.
    pub fn pick(&self, rows: &[usize]) -> Self {
        let Widths { numbers, strings } = self.widths;
        Self {
            widths: self.widths,
            rows: rows.len(),
            numbers: rows.iter().flat_map(|row| &self.numbers[row * numbers..(row + 1) * numbers]).copied().collect(),
            strings: rows.iter().flat_map(|row| &self.strings[row * strings..(row + 1) * strings]).cloned().collect(),
        }
    }
}

/// Raw outputs, row-major: the words of a row are its labels (int64), then its scores (float64 bits).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outputs {
    words: Vec<u64>,
    width: usize,
}

impl Outputs {
    /// Outputs of `signature`, all zero.
    pub fn zeroed(signature: &Signature, rows: usize) -> Self {
        let width = signature.width();
        Self { words: vec![0; rows * width], width }
    }

    /// No outputs, with room for so many rows of `signature`.
    pub fn with_capacity(signature: &Signature, rows: usize) -> Self {
        let width = signature.width();
        Self { words: Vec::with_capacity(rows * width), width }
    }

    pub fn words(&self) -> &[u64] {
        &self.words
    }

    /// How many rows there are.
    pub fn rows(&self) -> usize {
        self.words.len() / self.width
    }

    pub fn row(&self, row: usize) -> &[u64] {
        &self.words[row * self.width..(row + 1) * self.width]
    }

    /// A copy of consecutive rows.
    pub fn slice(&self, start: usize, rows: usize) -> Self {
        Self { words: self.words[start * self.width..(start + rows) * self.width].to_vec(), width: self.width }
    }

    pub fn push_row(&mut self, words: &[u64]) {
        self.words.extend_from_slice(words);
    }

    pub fn set_row(&mut self, row: usize, words: &[u64]) {
        self.words[row * self.width..(row + 1) * self.width].copy_from_slice(words);
    }

    /// Consecutive rows, to be written.
    pub fn slice_mut(&mut self, start: usize, rows: usize) -> &mut [u64] {
        &mut self.words[start * self.width..(start + rows) * self.width]
    }

    pub fn iter(&self) -> impl ExactSizeIterator<Item = &[u64]> {
        self.words.chunks_exact(self.width)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::signature::tests::signature;

    #[test]
    fn rows_are_picked_in_the_order_asked_for() {
        let signature = signature("[0,1]");
        let batch = Batch::of(&signature, &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], &[]).unwrap();
        let picked = batch.pick(&[2, 0, 2]);
        assert_eq!((picked.as_batch().rows(), &*picked.numbers), (3, &[5.0, 6.0, 1.0, 2.0, 5.0, 6.0][..]));
        let mut owned = OwnedBatch::from(batch).pick(&[1]);
        owned.append(&batch.pick(&[0]).into());
        assert_eq!(owned.with(|batch| (batch.rows(), batch.numbers().to_vec())), (2, vec![3.0, 4.0, 1.0, 2.0]));
        assert_eq!(batch.slice(1, 2).row(1).numbers(), [5.0, 6.0]);
    }

    #[test]
    fn numbers_that_are_no_whole_rows_are_a_fault() {
        let signature = signature("[0,1]");
        assert!(matches!(Batch::of(&signature, &[1.0, 2.0, 3.0], &[]), Err(Fault::Argument(_))));
        assert!(matches!(Batch::of(&signature, &[1.0, 2.0], &["a"]), Err(Fault::Argument(_))));
    }

    #[test]
    fn outputs_are_read_and_written_by_row() {
        let mut outputs = Outputs::zeroed(&signature("[0,1]"), 2);
        outputs.set_row(1, &[1, 2, 3]);
        assert_eq!((outputs.rows(), outputs.row(0), outputs.row(1)), (2, &[0, 0, 0][..], &[1, 2, 3][..]));
        outputs.slice_mut(0, 1).fill(9);
        outputs.push_row(&[4, 5, 6]);
        assert_eq!(outputs.iter().collect::<Vec<_>>(), [&[9, 9, 9], &[1, 2, 3], &[4, 5, 6]]);
        assert_eq!(outputs.slice(1, 2).words(), [1, 2, 3, 4, 5, 6]);
    }
}
