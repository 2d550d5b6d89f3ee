//! Loaded versions: load, measure, run, unload.

use std::collections::HashMap;
use std::fmt;
use std::hint::black_box;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Instant;

use arc_swap::ArcSwap;

use crate::cache::benefit::CacheBenefit;
use crate::cache::memory::Scope;
use crate::engine::memory;
use crate::engine::runtime::{self, Data, Element, Input, Port, Session};
use crate::engine::signature::{Float, Kind, Signature};
use crate::error::Fault;
use crate::graph::check;
use crate::graph::demand::Demand;
use crate::graph::onnx::refused;
use crate::graph::probes::width_probes;
use crate::predict::rows::Columns;
use crate::sync::lock;

/// A run never has more rows, so what it allocates is bounded by what this many rows need, which loading has tried.
pub const BLOCK_ROWS: usize = 256;
/// Tiles in the order in which they are tried.
const TILES: [usize; 3] = [1, 2, 4];
/// Companies in which the probe rows must keep their bits: block sizes around those that kernels unroll by.
const BATCH_SIZES_TO_PROBE: [usize; 9] = [2, 3, 4, 5, 7, 8, 17, 64, BLOCK_ROWS];
/// Bits differ in one row of many: so many rows are probed, most of them made by shaking the given ones.
/// Rows of a full block beside the first.
const OTHER_ROWS: f64 = 255.0;
const MOST_PROBES: usize = 2048;
const FEWEST_PROBES: usize = 8;
/// Time spent to find a tile, roughly: dear models are probed with fewer rows.
const PROBING_SECONDS: f64 = 1.0;
const TIMING_SECONDS: f64 = 0.05;

/// Rows to run: `numbers` `[rows, n]`, `strings` `[rows, m]`, row-major.
#[derive(Clone, Copy)]
pub struct Batch<'a> {
    pub rows: usize,
    pub numbers: &'a [f64],
    pub strings: &'a [&'a str],
}

/// What was measured when a version was loaded.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Measured {
    /// Rows are run in multiples of it; 0: one at a time.
    pub tile: usize,
    pub fixed_seconds: f64,
    pub row_seconds: f64,
    pub resident_bytes: u64,
    pub load_seconds: f64,
}

pub struct Version {
    pub id: Box<str>,
    pub signature: Arc<Signature>,
    /// None: its rows need Python.
    pub columns: Option<Columns>,
    pub measured: Measured,
    /// Of the second level of the cache.
    pub worth: CacheBenefit,
    graph: BoundSession,
    engine: [u8; 32],
    runaway: OnceLock<Runaway>,
}

/// A run that did not end, and used far more CPU time than was measured.
#[derive(Debug)]
pub struct Runaway {
    pub expected_seconds: f64,
    pub used_seconds: f64,
}

/// A session whose inputs and outputs are those of its signature.
struct BoundSession {
    session: Session,
    inputs: Vec<InputKind>,
    outputs: Vec<OutputKind>,
    has_products: bool,
}

#[derive(Clone, Copy)]
enum InputKind {
    Numbers,
    Strings,
}

#[derive(Clone, Copy)]
enum OutputKind {
    Labels,
    Scores,
}

#[derive(Default)]
pub struct Engine {
    versions: ArcSwap<HashMap<Box<str>, Arc<Version>>>,
    loading: Mutex<()>,
}

impl Engine {
    /// Load and measure a version on `probes`; one at a time, so that measurements do not disturb each other.
    pub fn load(&self, id: &str, onnx: &[u8], signature: &[u8], probes: Batch<'_>) -> Result<Measured, Fault> {
        let _one_at_a_time = lock(&self.loading);
        let version = Arc::new(Version::load(id, onnx, signature, probes)?);
        self.versions.rcu(|versions| {
            let mut copy = HashMap::clone(versions);
            copy.insert(id.into(), version.clone());
            copy
        });
        Ok(version.measured)
    }

    /// Forget a version; runs under way hold it until they are done.
    pub fn unload(&self, id: &str) -> bool {
        let before = self.versions.rcu(|versions| {
            let mut copy = HashMap::clone(versions);
            copy.remove(id);
            copy
        });
        before.contains_key(id)
    }

    /// A version that is loaded, unless it was set aside.
    pub fn version(&self, id: &str) -> Option<Arc<Version>> {
        self.versions.load().get(id).filter(|version| version.runaway().is_none()).cloned()
    }

    pub fn loaded(&self) -> Vec<Arc<Version>> {
        self.versions.load().values().cloned().collect()
    }
}

impl fmt::Debug for Version {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Version")
            .field("id", &self.id)
            .field("measured", &self.measured)
            .finish_non_exhaustive()
    }
}

impl Version {
    fn load(id: &str, onnx: &[u8], signature: &[u8], probes: Batch<'_>) -> Result<Self, Fault> {
        let started = Instant::now();
        let signature = Signature::parse(signature)?;
        let checked = check::check(onnx)?;
        check_widths(onnx, &checked.demands, &signature, probes)?;
        let before = memory::allocated_bytes();
        let graph = BoundSession::load(onnx, &signature, checked.has_products)?;
        let resident_bytes = memory::allocated_bytes().saturating_sub(before);
        let mut measured = graph.measured(&signature, probes)?;
        measured.resident_bytes = resident_bytes;
        measured.load_seconds = started.elapsed().as_secs_f64();
        let columns = Columns::of(&signature);
        Ok(Self {
            id: id.into(),
            columns,
            engine: fingerprint(measured.tile),
            signature: Arc::new(signature),
            measured,
            worth: CacheBenefit::default(),
            graph,
            runaway: OnceLock::new(),
        })
    }

    /// What the cache keys of its rows cover.
    pub fn scope<'a>(&'a self, tenant: &'a str) -> Scope<'a> {
        Scope { version: &self.id, tenant, engine: &self.engine, signature: &self.signature.digest }
    }

    /// The time a run of so many rows is expected to take.
    #[allow(clippy::cast_precision_loss, reason = "rows are few")]
    pub fn seconds(&self, rows: usize) -> f64 {
        match rows {
            0 => 0.0,
            _ => self.measured.fixed_seconds + self.measured.row_seconds * rows as f64,
        }
    }

    /// Run it no more, because of a run that did not end. Returns whether this is the first time.
    pub fn set_aside(&self, runaway: Runaway) -> bool {
        self.runaway.set(runaway).is_ok()
    }

    pub fn runaway(&self) -> Option<&Runaway> {
        self.runaway.get()
    }

    /// Run rows, each as if it were alone: words of each are its labels (int64), then its scores (float64 bits).
    pub fn run(&self, batch: Batch<'_>) -> Result<Vec<u64>, Fault> {
        self.graph.run(&self.signature, batch, self.measured.tile)
    }
}

impl BoundSession {
    fn load(onnx: &[u8], signature: &Signature, has_products: bool) -> Result<Self, Fault> {
        let session = Session::load(onnx)?;
        let inputs = session.inputs().iter().map(|port| fed(port, signature)).collect::<Result<Vec<_>, _>>()?;
        let outputs = session.outputs().iter().map(|port| yielded(port, signature)).collect::<Result<Vec<_>, _>>()?;
        let wanted_inputs = usize::from(signature.numbers() > 0) + usize::from(signature.strings() > 0);
        let wanted_outputs = usize::from(signature.label_width() > 0) + usize::from(signature.score_width() > 0);
        if inputs.len() != wanted_inputs || outputs.len() != wanted_outputs {
            return Err(Fault::load(format!(
                "the graph has {} inputs and {} outputs, its signature {wanted_inputs} and {wanted_outputs}",
                inputs.len(),
                outputs.len()
            )));
        }
        Ok(Self { session, inputs, outputs, has_products })
    }

    fn run(&self, signature: &Signature, batch: Batch<'_>, tile: usize) -> Result<Vec<u64>, Fault> {
        let block = if tile == 0 { 1 } else { BLOCK_ROWS };
        let mut words = vec![0; batch.rows * signature.width()];
        for start in (0..batch.rows).step_by(block) {
            let rows = block.min(batch.rows - start);
            let part = batch.part(signature, start, rows);
            let into = &mut words[start * signature.width()..(start + rows) * signature.width()];
            self.run_block(signature, part, tile.max(1), into)?;
        }
        Ok(words)
    }

    fn run_block(&self, signature: &Signature, batch: Batch<'_>, tile: usize, words: &mut [u64]) -> Result<(), Fault> {
        let fodder = PaddedInputs::of(signature, batch, tile);
        let rows = fodder.rows;
        self.session.run(rows, &fodder.inputs(&self.inputs), |place, shape, data| match self.outputs[place] {
            OutputKind::Labels => read_labels(signature, rows, shape, &data, words),
            OutputKind::Scores => read_scores(signature, rows, shape, &data, words),
        })?;
        Ok(())
    }

    fn measured(&self, signature: &Signature, probes: Batch<'_>) -> Result<Measured, Fault> {
        let one = probes.part(signature, 0, 1);
        let alone_seconds = self.seconds(signature, one, 1)?;
        let [given, shaken] = spread(probes, signature, alone_seconds);
        // Shaken rows may be such as the model never takes: then the given ones have to do.
        let tile = self.tile(signature, &shaken).or_else(|_| self.tile(signature, &given))?;
        let alone_seconds = self.seconds(signature, one, tile)?;
        if tile == 0 {
            return Ok(Measured {
                tile,
                fixed_seconds: 0.0,
                row_seconds: alone_seconds,
                resident_bytes: 0,
                load_seconds: 0.0,
            });
        }
        let full = Chosen::of(probes, signature, (0..BLOCK_ROWS).map(|row| row % probes.rows));
        let block_seconds = self.seconds(signature, full.batch(), tile)?;
        let row_seconds = ((block_seconds - alone_seconds) / OTHER_ROWS).max(0.0);
        let fixed_seconds = (alone_seconds - row_seconds).max(0.0);
        Ok(Measured { tile, fixed_seconds, row_seconds, resident_bytes: 0, load_seconds: 0.0 })
    }

    /// The shortest of some runs.
    fn seconds(&self, signature: &Signature, batch: Batch<'_>, tile: usize) -> Result<f64, Fault> {
        let started = Instant::now();
        let mut shortest = f64::INFINITY;
        for _ in 0..20 {
            let run = Instant::now();
            black_box(self.run(signature, batch, tile)?);
            shortest = shortest.min(run.elapsed().as_secs_f64());
            if started.elapsed().as_secs_f64() > TIMING_SECONDS {
                break;
            }
        }
        Ok(shortest)
    }

    /// The smallest tile with which no row's bits depend on its company; 0 where there is none.
    fn tile(&self, signature: &Signature, probes: &Chosen<'_>) -> Result<usize, Fault> {
        // A product of one row may go the same way as one of many on all probes and yet not on the next: it never runs alone.
        for tile in TILES.into_iter().filter(|&tile| tile > 1 || !self.has_products) {
            if self.keeps_bits(signature, probes.batch(), tile)? {
                return Ok(tile);
            }
        }
        Ok(0)
    }

    fn keeps_bits(&self, signature: &Signature, probes: Batch<'_>, tile: usize) -> Result<bool, Fault> {
        let width = signature.width();
        // A dear model has few probes, and there is no time for many rows of it.
        let most_company = (probes.rows * 4).next_power_of_two();
        let mut alone = Vec::with_capacity(probes.rows * width);
        for row in 0..probes.rows {
            alone.extend(self.run(signature, probes.part(signature, row, 1), tile)?);
        }
        for company in BATCH_SIZES_TO_PROBE.into_iter().filter(|&company| company <= most_company) {
            let order = shuffled(probes.rows, probes.rows.next_multiple_of(company).max(company), company as u64);
            for rows in order.chunks(company) {
                let chosen = Chosen::of(probes, signature, rows.iter().copied());
                let words = self.run(signature, chosen.batch(), tile)?;
                let is_equal = words
                    .chunks_exact(width)
                    .zip(rows)
                    .all(|(words, row)| words == &alone[row * width..(row + 1) * width]);
                if !is_equal {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }
}

impl<'a> Batch<'a> {
    fn part(&self, signature: &Signature, start: usize, rows: usize) -> Self {
        let (n, m) = (signature.numbers(), signature.strings());
        Self {
            rows,
            numbers: &self.numbers[start * n..(start + rows) * n],
            strings: &self.strings[start * m..(start + rows) * m],
        }
    }

    /// Some of the rows, in the order of `rows`.
    pub fn picked(&self, signature: &Signature, rows: &[usize]) -> (Vec<f64>, Vec<&'a str>) {
        let chosen = Chosen::of(*self, signature, rows.iter().copied());
        (chosen.numbers, chosen.strings)
    }

    /// Rows of `signature`, counted; a Fault where the lengths do not fit it.
    pub fn of(signature: &Signature, numbers: &'a [f64], strings: &'a [&'a str]) -> Result<Self, Fault> {
        let (n, m) = (signature.numbers(), signature.strings());
        let rows = numbers.len().checked_div(n).unwrap_or(strings.len() / m.max(1));
        if numbers.len() != rows * n || strings.len() != rows * m {
            return Err(Fault::argument(format!(
                "{} numbers and {} strings are not rows of {n} and {m}",
                numbers.len(),
                strings.len()
            )));
        }
        Ok(Self { rows, numbers, strings })
    }
}

/// Rows picked from a batch, in an order of their own.
struct Chosen<'a> {
    rows: usize,
    numbers: Vec<f64>,
    strings: Vec<&'a str>,
}

impl<'a> Chosen<'a> {
    fn of(batch: Batch<'a>, signature: &Signature, rows: impl Iterator<Item = usize>) -> Self {
        let mut chosen = Self { rows: 0, numbers: vec![], strings: vec![] };
        for row in rows {
            let part = batch.part(signature, row, 1);
            chosen.numbers.extend_from_slice(part.numbers);
            chosen.strings.extend_from_slice(part.strings);
            chosen.rows += 1;
        }
        chosen
    }

    fn batch(&self) -> Batch<'_> {
        Batch { rows: self.rows, numbers: &self.numbers, strings: &self.strings }
    }
}

/// Rows in the dtype of the graph, padded to whole tiles.
struct PaddedInputs<'a> {
    rows: usize,
    dtype: Float,
    float32: Vec<f32>,
    float64: Vec<f64>,
    strings: Vec<&'a str>,
}

impl<'a> PaddedInputs<'a> {
    fn of(signature: &Signature, batch: Batch<'a>, tile: usize) -> Self {
        let rows = batch.rows.next_multiple_of(tile);
        let mut fodder =
            Self { rows, dtype: signature.numbers_dtype, float32: vec![], float64: vec![], strings: vec![] };
        match signature.numbers_dtype {
            Float::Float32 => {
                fodder.float32 = padded(batch.numbers.iter().map(|&number| narrowed(number)), rows, batch.rows)
            }
            Float::Float64 => fodder.float64 = padded(batch.numbers.iter().copied(), rows, batch.rows),
        }
        fodder.strings = padded(batch.strings.iter().copied(), rows, batch.rows);
        fodder
    }

    fn inputs(&self, feeds: &[InputKind]) -> Vec<Input<'_>> {
        let input = |feed: &InputKind| match (feed, self.dtype) {
            (InputKind::Strings, _) => Input::Strings(&self.strings),
            (InputKind::Numbers, Float::Float32) => Input::Float32(&self.float32),
            (InputKind::Numbers, Float::Float64) => Input::Float64(&self.float64),
        };
        feeds.iter().map(input).collect()
    }
}

/// Hold the graph to what its estimators demand of their inputs' widths, by running what comes before each of them on one row.
fn check_widths(onnx: &[u8], demands: &[Demand], signature: &Signature, probes: Batch<'_>) -> Result<(), Fault> {
    if probes.rows == 0 {
        return Err(Fault::load("a version is measured on at least one probe row"));
    }
    let held = |name: &str, width: usize| match demands
        .iter()
        .find(|demand| demand.input == name && !demand.width.is_met_by(width))
    {
        Some(demand) => Err(refused(&demand.node, &format!("is given rows of width {width}, not {:?}", demand.width))),
        None => Ok(()),
    };
    held("numbers", signature.numbers())?;
    let fodder = PaddedInputs::of(signature, probes.part(signature, 0, 1), 1);
    for probe in width_probes(onnx, demands)? {
        let session = Session::load(&probe.onnx)?;
        let feeds = session.inputs().iter().map(|port| fed(port, signature)).collect::<Result<Vec<_>, _>>()?;
        for (name, shape) in probe.names.iter().zip(session.shapes(1, &fodder.inputs(&feeds))?) {
            let width = shape
                .iter()
                .skip(1)
                .try_fold(1_usize, |width, &dimension| width.checked_mul(usize::try_from(dimension).ok()?));
            held(name, width.filter(|_| shape.len() == 2).ok_or_else(|| refused(name, "is no table of rows"))?)?;
        }
    }
    Ok(())
}

/// Probe rows, evenly spread over all, as many as the time allows; and the same with shaken ones among them.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "clamped to a few thousand"
)]
fn spread<'a>(probes: Batch<'a>, signature: &Signature, alone_seconds: f64) -> [Chosen<'a>; 2] {
    let runs = (TILES.len() * (BATCH_SIZES_TO_PROBE.len() + 1)) as f64;
    let most = ((PROBING_SECONDS / alone_seconds / runs) as usize).clamp(FEWEST_PROBES, MOST_PROBES);
    let given = (most / 2).min(probes.rows);
    let chosen =
        |rows: usize| Chosen::of(probes, signature, (0..rows).map(|place| place % given * probes.rows / given));
    let mut shaken = chosen(most);
    let mut random = Random::seeded(most as u64);
    for number in &mut shaken.numbers[given * signature.numbers()..] {
        *number *= 0.5 + random.next() as f64 / u64::MAX as f64;
    }
    [chosen(given), shaken]
}

/// Marsaglia's xorshift64: the same numbers on every machine.
struct Random(u64);

impl Random {
    fn seeded(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

/// `count` row numbers below `rows`, each about equally often, in an order that `seed` gives (Fisher and Yates).
#[allow(clippy::cast_possible_truncation, reason = "the remainder is below a usize")]
fn shuffled(rows: usize, count: usize, seed: u64) -> Vec<usize> {
    let mut order: Vec<usize> = (0..count).map(|place| place % rows).collect();
    let mut random = Random::seeded(seed);
    for place in (1..count).rev() {
        order.swap(place, (random.next() % (place as u64 + 1)) as usize);
    }
    order
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

fn fed(port: &Port, signature: &Signature) -> Result<InputKind, Fault> {
    let numbers = match signature.numbers_dtype {
        Float::Float32 => Element::Float32,
        Float::Float64 => Element::Float64,
    };
    match (&*port.name, port.element, port.dimensions) {
        ("numbers", Some(element), 2) if element == numbers && signature.numbers() > 0 => Ok(InputKind::Numbers),
        ("strings", Some(Element::String), 2) if signature.strings() > 0 => Ok(InputKind::Strings),
        _ => Err(Fault::load(format!("the graph's input `{}` is not one of its signature", port.name))),
    }
}

fn yielded(port: &Port, signature: &Signature) -> Result<OutputKind, Fault> {
    let is_scores = port.element
        == Some(match signature.scores_dtype {
            Float::Float32 => Element::Float32,
            Float::Float64 => Element::Float64,
        });
    match (&*port.name, signature.kind) {
        ("labels", Kind::Classifier) if port.element == Some(Element::Int64) => Ok(OutputKind::Labels),
        ("probabilities", Kind::Classifier) if is_scores && signature.has_probabilities => Ok(OutputKind::Scores),
        ("values", Kind::Regressor) if is_scores => Ok(OutputKind::Scores),
        _ => Err(Fault::load(format!("the graph's output `{}` is not one of its signature", port.name))),
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

/// Digest of all that may change the last bits of an answer.
fn fingerprint(tile: usize) -> [u8; 32] {
    let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let flags = cpu.lines().find(|line| line.starts_with("flags") || line.starts_with("Features")).unwrap_or_default();
    *blake3::hash(format!("{}\n{flags}\n{tile}\n{BLOCK_ROWS}", runtime::build()).as_bytes()).as_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padding_repeats_the_last_row() {
        assert_eq!(padded([1, 2, 3, 4].into_iter(), 4, 2), [1, 2, 3, 4, 3, 4, 3, 4]);
        assert!(padded(std::iter::empty::<i32>(), 4, 2).is_empty());
    }

    #[test]
    fn a_shuffle_holds_every_row() {
        let mut order = shuffled(5, 8, 3);
        order.sort_unstable();
        assert_eq!(order, [0, 0, 1, 1, 2, 2, 3, 4]);
    }
}
