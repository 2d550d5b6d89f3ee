//! What a version is measured at when it is loaded: the tile that makes it batch-invariant, and what its rows cost.

use std::hint::black_box;
use std::time::Instant;

use crate::engine::batch::{Batch, OwnedBatch};
use crate::engine::session::{BLOCK_ROWS, BoundSession};
use crate::engine::signature::Signature;
use crate::error::Fault;

/// Tiles in the order in which they are tried.
const TILES: [usize; 3] = [1, 2, 4];
/// Batch sizes in which the probe rows must keep their bits: around those by which kernels unroll.
const BATCH_SIZES_TO_PROBE: [usize; 9] = [2, 3, 4, 5, 7, 8, 17, 64, BLOCK_ROWS];
/// Bits differ in one row of many: so many rows are probed, most of them jittered copies of the given ones.
const MOST_PROBES: usize = 2048;
const FEWEST_PROBES: usize = 8;
/// Rows of a full block beside the first.
#[allow(clippy::cast_precision_loss, reason = "a few hundred")]
const OTHER_ROWS: f64 = (BLOCK_ROWS - 1) as f64;
/// Time spent to find a tile, roughly: expensive models are probed with fewer rows.
const PROBING_SECONDS: f64 = 1.0;
const TIMING_SECONDS: f64 = 0.05;
const MOST_TIMED_RUNS: usize = 20;

/// How a version is to be run, and what a run costs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Measurement {
    /// Rows are run in multiples of it; 0: one at a time.
    pub tile: usize,
    pub fixed_seconds: f64,
    pub row_seconds: f64,
}

/// A session that is measured.
struct Subject<'a> {
    session: &'a BoundSession,
    signature: &'a Signature,
}

/// Measures a session on `probes`, at least one row. `has_products`: its graph multiplies matrices.
pub fn measure(
    session: &BoundSession,
    signature: &Signature,
    has_products: bool,
    probes: Batch<'_>,
) -> Result<Measurement, Fault> {
    let subject = Subject { session, signature };
    let one = probes.row(0);
    let [given, jittered] = sample_probes(probes, subject.seconds(one, 1)?);
    // The model may refuse jittered rows: then the given ones have to do.
    let tile = subject.tile(has_products, &jittered).or_else(|_| subject.tile(has_products, &given))?;
    let one_seconds = subject.seconds(one, tile)?;
    if tile == 0 {
        return Ok(Measurement { tile, fixed_seconds: 0.0, row_seconds: one_seconds });
    }
    let block: Vec<usize> = (0..BLOCK_ROWS).map(|row| row % probes.rows()).collect();
    let block_seconds = subject.seconds(probes.pick(&block).as_batch(), tile)?;
    let row_seconds = ((block_seconds - one_seconds) / OTHER_ROWS).max(0.0);
    Ok(Measurement { tile, fixed_seconds: (one_seconds - row_seconds).max(0.0), row_seconds })
}

impl Subject<'_> {
    /// The time of the shortest of some runs.
    fn seconds(&self, batch: Batch<'_>, tile: usize) -> Result<f64, Fault> {
        let started = Instant::now();
        let mut shortest = f64::INFINITY;
        for _ in 0..MOST_TIMED_RUNS {
            let run = Instant::now();
            black_box(self.session.run(self.signature, batch, tile)?);
            shortest = shortest.min(run.elapsed().as_secs_f64());
            if started.elapsed().as_secs_f64() > TIMING_SECONDS {
                break;
            }
        }
        Ok(shortest)
    }

    /// The smallest tile with which results are batch-invariant; 0 where there is none.
    fn tile(&self, has_products: bool, probes: &OwnedBatch<&str>) -> Result<usize, Fault> {
        // A product of one row may take the same kernel as one of many on all probes and another on the next: it never
        // runs alone.
        for tile in TILES.into_iter().filter(|&tile| tile > 1 || !has_products) {
            if self.is_batch_invariant(probes.as_batch(), tile)? {
                return Ok(tile);
            }
        }
        Ok(0)
    }

    /// Whether each row has the same bits alone and in batches of several sizes.
    fn is_batch_invariant(&self, probes: Batch<'_>, tile: usize) -> Result<bool, Fault> {
        // An expensive model has few probes, and there is no time for many rows of it.
        let largest = (probes.rows() * 4).next_power_of_two();
        let alone = (0..probes.rows())
            .map(|row| self.session.run(self.signature, probes.row(row), tile))
            .collect::<Result<Vec<_>, _>>()?;
        for size in BATCH_SIZES_TO_PROBE.into_iter().filter(|&size| size <= largest) {
            let order = shuffled(probes.rows(), probes.rows().next_multiple_of(size).max(size), size as u64);
            for rows in order.chunks(size) {
                let outputs = self.session.run(self.signature, probes.pick(rows).as_batch(), tile)?;
                if outputs.iter().zip(rows).any(|(words, &row)| words != alone[row].words()) {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }
}

/// Probe rows, evenly spread over the given ones, as many as the time allows; and the same with jittered copies among
/// them.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "clamped to a few thousand"
)]
fn sample_probes(probes: Batch<'_>, one_seconds: f64) -> [OwnedBatch<&str>; 2] {
    let runs = (TILES.len() * (BATCH_SIZES_TO_PROBE.len() + 1)) as f64;
    let most = ((PROBING_SECONDS / one_seconds / runs) as usize).clamp(FEWEST_PROBES, MOST_PROBES);
    let given = (most / 2).min(probes.rows());
    let sample = |rows: usize| {
        let spread: Vec<usize> = (0..rows).map(|index| index % given * probes.rows() / given).collect();
        probes.pick(&spread)
    };
    let mut jittered = sample(most);
    let mut random = Random::seeded(most as u64);
    for number in jittered.numbers_mut(given) {
        *number *= 0.5 + random.next() as f64 / u64::MAX as f64;
    }
    [sample(given), jittered]
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

/// `count` row indexes below `rows`, each about equally often, in an order that `seed` gives (Fisher and Yates).
#[allow(clippy::cast_possible_truncation, reason = "the remainder is below a usize")]
fn shuffled(rows: usize, count: usize, seed: u64) -> Vec<usize> {
    let mut order: Vec<usize> = (0..count).map(|index| index % rows).collect();
    let mut random = Random::seeded(seed);
    for index in (1..count).rev() {
        order.swap(index, (random.next() % (index as u64 + 1)) as usize);
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shuffle_holds_every_row() {
        let mut order = shuffled(5, 8, 3);
        order.sort_unstable();
        assert_eq!(order, [0, 0, 1, 1, 2, 2, 3, 4]);
    }
}
