//! A session bound to its signature: rows in, raw outputs out, in blocks of whole tiles.

use crate::engine::batch::{Batch, Outputs};
use crate::engine::runtime::{Data, Element, Input, Port, Session};
use crate::engine::signature::{Float, Kind, Signature};
use crate::error::Fault;

/// A run never has more rows, so what it allocates is bounded by what this many rows need, which loading has tried.
pub const BLOCK_ROWS: usize = 256;

/// A session whose inputs and outputs are those of its signature.
pub struct BoundSession {
    session: Session,
    inputs: Vec<InputKind>,
    outputs: Vec<OutputKind>,
}

/// What an input of a graph takes.
#[derive(Clone, Copy)]
pub enum InputKind {
    Numbers,
    Strings,
}

/// What an output of a graph holds.
#[derive(Clone, Copy)]
enum OutputKind {
    Labels,
    Scores,
}

impl BoundSession {
    /// Loads a graph; a fault where its inputs or outputs are not those of `signature`.
    pub fn load(onnx: &[u8], signature: &Signature) -> Result<Self, Fault> {
        let session = Session::load(onnx)?;
        let inputs = input_kinds(&session, signature)?;
        let outputs =
            session.outputs().iter().map(|port| output_kind(port, signature)).collect::<Result<Vec<_>, _>>()?;
        let expected_inputs = usize::from(signature.numbers() > 0) + usize::from(signature.strings() > 0);
        let expected_outputs = usize::from(signature.label_width() > 0) + usize::from(signature.score_width() > 0);
        if inputs.len() != expected_inputs || outputs.len() != expected_outputs {
            return Err(Fault::load(format!(
                "the graph has {} inputs and {} outputs, its signature {expected_inputs} and {expected_outputs}",
                inputs.len(),
                outputs.len()
            )));
        }
        Ok(Self { session, inputs, outputs })
    }

    /// Runs rows in multiples of `tile`; 0: one at a time.
    pub fn run(&self, signature: &Signature, batch: Batch<'_>, tile: usize) -> Result<Outputs, Fault> {
        let block = if tile == 0 { 1 } else { BLOCK_ROWS };
        let mut outputs = Outputs::zeroed(signature, batch.rows());
        for start in (0..batch.rows()).step_by(block) {
            let rows = block.min(batch.rows() - start);
            self.run_block(signature, batch.slice(start, rows), tile.max(1), outputs.slice_mut(start, rows))?;
        }
        Ok(outputs)
    }

    fn run_block(&self, signature: &Signature, batch: Batch<'_>, tile: usize, words: &mut [u64]) -> Result<(), Fault> {
        let padded = PaddedInputs::of(signature, batch, tile);
        let rows = padded.rows;
        self.session.run(rows, &padded.inputs(&self.inputs), |index, shape, data| match self.outputs[index] {
            OutputKind::Labels => read_labels(signature, rows, shape, &data, words),
            OutputKind::Scores => read_scores(signature, rows, shape, &data, words),
        })?;
        Ok(())
    }
}

/// Rows in the dtype of the graph, padded to whole tiles.
pub struct PaddedInputs<'a> {
    rows: usize,
    dtype: Float,
    float32: Vec<f32>,
    float64: Vec<f64>,
    strings: Vec<&'a str>,
}

impl<'a> PaddedInputs<'a> {
    pub fn of(signature: &Signature, batch: Batch<'a>, tile: usize) -> Self {
        let rows = batch.rows().next_multiple_of(tile);
        let numbers = batch.numbers().iter().copied();
        let (mut float32, mut float64) = (vec![], vec![]);
        match signature.numbers_dtype {
            Float::Float32 => float32 = padded(numbers.map(narrowed), rows, batch.rows()),
            Float::Float64 => float64 = padded(numbers, rows, batch.rows()),
        }
        let strings = padded(batch.strings().iter().copied(), rows, batch.rows());
        Self { rows, dtype: signature.numbers_dtype, float32, float64, strings }
    }

    pub fn inputs(&self, kinds: &[InputKind]) -> Vec<Input<'_>> {
        let input = |kind: &InputKind| match (kind, self.dtype) {
            (InputKind::Strings, _) => Input::Strings(&self.strings),
            (InputKind::Numbers, Float::Float32) => Input::Float32(&self.float32),
            (InputKind::Numbers, Float::Float64) => Input::Float64(&self.float64),
        };
        kinds.iter().map(input).collect()
    }
}

/// Rows with the last one repeated until there are `padded_rows`.
fn padded<T: Copy>(items: impl Iterator<Item = T>, padded_rows: usize, rows: usize) -> Vec<T> {
    let mut all: Vec<T> = items.collect();
    let width = all.len() / rows;
    let last = all.len() - width;
    for _ in rows..padded_rows {
        all.extend_from_within(last..last + width);
    }
    all
}

/// As numpy casts: to nearest, ties to even, infinity past the range.
#[allow(clippy::cast_possible_truncation, reason = "the model computes in float32")]
fn narrowed(number: f64) -> f32 {
    number as f32
}

/// What each input of a session takes.
pub fn input_kinds(session: &Session, signature: &Signature) -> Result<Vec<InputKind>, Fault> {
    session.inputs().iter().map(|port| input_kind(port, signature)).collect()
}

fn input_kind(port: &Port, signature: &Signature) -> Result<InputKind, Fault> {
    let numbers = element(signature.numbers_dtype);
    match (&*port.name, port.element, port.dimensions) {
        ("numbers", Some(element), 2) if element == numbers && signature.numbers() > 0 => Ok(InputKind::Numbers),
        ("strings", Some(Element::String), 2) if signature.strings() > 0 => Ok(InputKind::Strings),
        _ => Err(Fault::load(format!("the graph's input `{}` is not one of its signature", port.name))),
    }
}

fn output_kind(port: &Port, signature: &Signature) -> Result<OutputKind, Fault> {
    let is_scores = port.element == Some(element(signature.scores_dtype));
    match (&*port.name, signature.kind) {
        ("labels", Kind::Classifier) if port.element == Some(Element::Int64) => Ok(OutputKind::Labels),
        ("probabilities", Kind::Classifier) if is_scores && signature.has_probabilities => Ok(OutputKind::Scores),
        ("values", Kind::Regressor) if is_scores => Ok(OutputKind::Scores),
        _ => Err(Fault::load(format!("the graph's output `{}` is not one of its signature", port.name))),
    }
}

fn element(dtype: Float) -> Element {
    match dtype {
        Float::Float32 => Element::Float32,
        Float::Float64 => Element::Float64,
    }
}

fn read_labels(
    signature: &Signature,
    rows: usize,
    shape: &[i64],
    data: &Data<'_>,
    words: &mut [u64],
) -> Result<(), Fault> {
    let Data::Int64(labels) = data else {
        return Err(Fault::load("the output `labels` is not int64"));
    };
    let targets = signature.label_width();
    fits(shape, labels.len(), rows, targets, "labels")?;
    for (row, labels) in words.chunks_exact_mut(signature.width()).zip(labels.chunks_exact(targets)) {
        for (target, &label) in labels.iter().enumerate() {
            row[target] = u64::try_from(label)
                .ok()
                .filter(|&index| index < signature.labels[target].len() as u64)
                .ok_or_else(|| {
                    Fault::load(format!("the graph answered with label {label}, of {}", signature.labels[target].len()))
                })?;
        }
    }
    Ok(())
}

fn read_scores(
    signature: &Signature,
    rows: usize,
    shape: &[i64],
    data: &Data<'_>,
    words: &mut [u64],
) -> Result<(), Fault> {
    match data {
        Data::Float32(scores) => write_scores(signature, rows, shape, scores, words),
        Data::Float64(scores) => write_scores(signature, rows, shape, scores, words),
        Data::Int64(_) => Err(Fault::load("an output of scores is int64")),
    }
}

fn write_scores<T: Copy + Into<f64>>(
    signature: &Signature,
    rows: usize,
    shape: &[i64],
    scores: &[T],
    words: &mut [u64],
) -> Result<(), Fault> {
    let (start, width) = (signature.label_width(), signature.score_width());
    fits(shape, scores.len(), rows, width, "scores")?;
    for (row, scores) in words.chunks_exact_mut(signature.width()).zip(scores.chunks_exact(width)) {
        for (word, &score) in row[start..].iter_mut().zip(scores) {
            *word = score.into().to_bits();
        }
    }
    Ok(())
}

fn fits(shape: &[i64], count: usize, rows: usize, width: usize, output: &str) -> Result<(), Fault> {
    let has_rows = shape.first().is_some_and(|&first| usize::try_from(first) == Ok(rows));
    if has_rows && count == rows * width {
        return Ok(());
    }
    Err(Fault::load(format!("the graph answered {rows} rows with `{output}` of shape {shape:?}, not {width} a row")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padding_repeats_the_last_row() {
        assert_eq!(padded([1, 2, 3, 4].into_iter(), 4, 2), [1, 2, 3, 4, 3, 4, 3, 4]);
        assert!(padded(std::iter::empty::<i32>(), 4, 2).is_empty());
    }
}
