//! Statistics for norms that look at the whole image, from tiles of it.
//!
//! Invariant: every tile counts alike; what is pooled is what norms would find in all tiles together, had each been
//! normalised by itself.

use super::session::{Failure, Session};
use super::tiled::Place;
use crate::error::Result;

/// Gives the norms of `session` the statistics of an image: all its tiles are run with norms that take their own, and
/// what these find is pooled.
pub(super) fn survey<I, O>(
    session: &mut Session,
    places: impl Iterator<Item = Place>,
    cut_out: impl Fn(Place) -> Result<I>,
    run: impl Fn(&mut Session, I) -> Result<O, Failure>,
) -> Result<(), Failure> {
    let mut pool = Pool::default();
    session.use_own_norms()?;
    for place in places {
        run(session, cut_out(place)?)?;
        pool.add(session.norms());
    }
    let statistics = pool.statistics();
    if !statistics.iter().all(|value| value.is_finite()) {
        return Err(Failure::NotFinite);
    }
    Ok(session.give_norms(&statistics)?)
}

/// Means, then variances, of all groups of all norms, over several runs of one size.
#[derive(Default)]
struct Pool {
    runs: f64,
    sums: Vec<[f64; 2]>,
}

impl Pool {
    /// Adds the means and variances of one run.
    fn add(&mut self, run: &[f32]) {
        let (means, variances) = run.split_at(run.len() / 2);
        self.sums.resize(means.len(), [0.0; 2]);
        self.runs += 1.0;
        for (sums, (mean, variance)) in self.sums.iter_mut().zip(means.iter().zip(variances)) {
            let (mean, variance) = (f64::from(*mean), f64::from(*variance));
            sums[0] += mean;
            sums[1] += variance + mean * mean;
        }
    }

    /// Those of all runs as if they were one.
    fn statistics(&self) -> Vec<f32> {
        let mean = |sums: &[f64; 2]| sums[0] / self.runs;
        let variance = |sums: &[f64; 2]| (sums[1] / self.runs - mean(sums).powi(2)).max(0.0);
        let means = self.sums.iter().map(mean);
        let both = means.chain(self.sums.iter().map(variance));
        both.map(|value| value as f32).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pooled_statistics_are_those_of_all_values_together() {
        let parts = [[1.0f32, 2.0, 3.0, 6.0], [5.0, 5.0, -1.0, 7.0]];
        let mean = |values: &[f32]| values.iter().sum::<f32>() / values.len() as f32;
        let variance = |values: &[f32]| {
            let middle = mean(values);
            values.iter().map(|v| (v - middle).powi(2)).sum::<f32>() / values.len() as f32
        };
        let mut pool = Pool::default();
        for part in &parts {
            pool.add(&[mean(part), 10.0, variance(part), 4.0]);
        }
        let all = parts.concat();
        let found = pool.statistics();
        let expected = [mean(&all), 10.0, variance(&all), 4.0];
        for (found, expected) in found.iter().zip(expected) {
            assert!((found - expected).abs() < 1e-5, "{found} {expected}");
        }
    }
}
