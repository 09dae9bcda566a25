//! How a metric is spread over many images.
//!
//! Invariant: every finite value is in exactly one bin; bins are of one width, which is 1, 2 or 5 times a power of ten.

use serde::Serialize;

/// No more bins than fit a screen.
const MOST_BINS: f64 = 12.0;

/// How a metric is spread over the images that have it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Distribution {
    /// Images of which the metric is a finite number; the rest is of these.
    pub records: u64,
    /// Images of which it is infinite: the PSNR of those that come back bit by bit.
    pub infinite: u64,
    /// The mean.
    pub mean: f64,
    /// The standard deviation, with one less than the count below the line; 0 of a single image.
    pub deviation: f64,
    /// The least value.
    pub min: f64,
    /// Below this lie 5 in 100.
    pub p5: f64,
    /// Half lie below this.
    pub median: f64,
    /// Below this lie 95 in 100.
    pub p95: f64,
    /// The largest value.
    pub max: f64,
    /// How many lie where, from the least up.
    pub bins: Vec<Bin>,
}

/// Values from `from` to below `to`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Bin {
    /// Where it begins.
    pub from: f64,
    /// Where the next begins.
    pub to: f64,
    /// How many values lie in it.
    pub records: u64,
}

impl Distribution {
    /// The distribution of `values`; `None` if none is finite.
    pub(crate) fn of(values: &[f64]) -> Option<Self> {
        let mut finite: Vec<f64> = values.iter().copied().filter(|v| v.is_finite()).collect();
        finite.sort_by(f64::total_cmp);
        let (min, max) = (*finite.first()?, *finite.last()?);
        let count = finite.len() as f64;
        let mean = finite.iter().sum::<f64>() / count;
        let squares: f64 = finite.iter().map(|value| (value - mean).powi(2)).sum();
        Some(Self {
            records: finite.len() as u64,
            infinite: (values.len() - finite.len()) as u64,
            mean,
            deviation: (squares / (count - 1.0).max(1.0)).sqrt(),
            min,
            p5: quantile(&finite, 0.05),
            median: quantile(&finite, 0.5),
            p95: quantile(&finite, 0.95),
            max,
            bins: bins(&finite, min, max),
        })
    }
}

/// Between the two values next to it, as NumPy does unless told otherwise.
fn quantile(sorted: &[f64], part: f64) -> f64 {
    let at = part * (sorted.len() - 1) as f64;
    let (low, high) = (sorted[at.floor() as usize], sorted[at.ceil() as usize]);
    low + (high - low) * at.fract()
}

fn bins(sorted: &[f64], min: f64, max: f64) -> Vec<Bin> {
    let width = width(max - min);
    let first = (min / width).floor();
    let index = |value: f64| (value / width).floor() - first;
    let mut bins: Vec<_> = (0..=index(max) as u32)
        .map(|n| Bin {
            from: (first + f64::from(n)) * width,
            to: (first + f64::from(n) + 1.0) * width,
            records: 0,
        })
        .collect();
    for value in sorted {
        bins[index(*value) as usize].records += 1;
    }
    bins
}

/// The least width of bins with which `span` has few enough.
fn width(span: f64) -> f64 {
    let least = span / (MOST_BINS - 1.0);
    // Of values that are all the same to six digits one bin is enough.
    if least < 1e-6 {
        return 1.0;
    }
    let power = 10f64.powf(least.log10().floor());
    let factors = [1.0, 2.0, 5.0, 10.0].into_iter();
    let widths = factors.map(|factor| factor * power);
    widths
        .into_iter()
        .find(|width| *width >= least)
        .unwrap_or(10.0 * power)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn nothing_has_no_distribution_and_infinite_values_are_counted_apart() {
        assert_eq!(Distribution::of(&[]), None);
        assert_eq!(Distribution::of(&[f64::INFINITY]), None);
        let found = Distribution::of(&[30.0, f64::INFINITY]).unwrap();
        assert_eq!((found.records, found.infinite), (1, 1));
        assert_eq!(found.bins.len(), 1);
    }

    /// `numpy.quantile` and `statistics.stdev` of the same values.
    #[test]
    fn quantiles_and_deviation_are_those_of_numpy() {
        let found = Distribution::of(&[21.5, 30.0, 24.25, 27.0, 41.0]).unwrap();
        for (value, expected) in [
            (found.mean, 28.75),
            (found.deviation, 7.541_551_564_499_178),
            (found.p5, 22.05),
            (found.median, 27.0),
            (found.p95, 38.8),
        ] {
            assert!((value - expected).abs() < 1e-9, "{value} {expected}");
        }
        let bins: Vec<_> = found
            .bins
            .iter()
            .map(|bin| (bin.from, bin.records))
            .collect();
        assert_eq!(bins[0], (20.0, 1));
        assert_eq!(bins[bins.len() - 1], (40.0, 1));
    }

    proptest! {
        #[test]
        fn every_value_is_in_one_bin_and_there_are_few(
            values in prop::collection::vec(-50.0f64..100.0, 1..200), scale in 0usize..4
        ) {
            let scale = [1.0, 1e-4, 1e3, 0.0][scale];
            let values: Vec<_> = values.iter().map(|value| value * scale).collect();
            let found = Distribution::of(&values).unwrap();
            prop_assert!(found.bins.len() <= 13, "{:?}", found.bins);
            prop_assert_eq!(found.bins.iter().map(|bin| bin.records).sum::<u64>(), values.len() as u64);
            for pair in found.bins.windows(2) {
                prop_assert_eq!(pair[0].to.to_bits(), pair[1].from.to_bits());
            }
            let first = found.bins[0];
            prop_assert!(first.from <= found.min && found.min < first.to + 1e-9);
        }
    }
}
