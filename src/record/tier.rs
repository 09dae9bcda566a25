//! Lossy tiers: latents rounded to multiples of a step of each channel, and how far that moved them.
//!
//! Invariant: a latent that was quantised stays the same when it is quantised again in the same tier, so that a
//! record's bytes hold it without any further loss.

use std::fmt::{self, Display, Formatter};
use std::str::FromStr;

use half::f16;

use crate::error::{Error, Result};
use crate::latent::{Latent, LatentShape};

/// How finely a lossy coding keeps each channel of a latent: in `2 peak + 1` even levels from the channel's largest
/// magnitude down to its negative.
///
/// A tier is called by its bits: `q8` has levels of -127 to 127, `q6` -31 to 31, `q5` -15 to 15, `q4` -7 to 7. Between
/// `q4` and `q10` there is a tier at every quarter of a bit, such as `q5.25`; its step is 1.19 times that of the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tier {
    /// Bits of a level, in quarters.
    quarters: u8,
}

impl Tier {
    /// Levels of -7 to 7: the coarsest.
    pub const Q4: Self = Self { quarters: 16 };
    /// Levels of -15 to 15.
    pub const Q5: Self = Self { quarters: 20 };
    /// Levels of -31 to 31.
    pub const Q6: Self = Self { quarters: 24 };
    /// Levels of -127 to 127.
    pub const Q8: Self = Self { quarters: 32 };
    /// Levels of -511 to 511: the finest.
    pub const Q10: Self = Self { quarters: 40 };

    /// The tier of so many quarters of a bit, if there is one.
    pub(crate) fn from_quarters(quarters: u8) -> Option<Self> {
        let there_is = (Self::Q4.quarters..=Self::Q10.quarters).contains(&quarters);
        there_is.then_some(Self { quarters })
    }

    pub(crate) fn quarters(self) -> u8 {
        self.quarters
    }

    /// All tiers, from the coarsest to the finest.
    pub fn all() -> impl DoubleEndedIterator<Item = Self> + ExactSizeIterator {
        let quarters = usize::from(Self::Q4.quarters)..usize::from(Self::Q10.quarters) + 1;
        quarters.map(|quarters| Self {
            quarters: quarters as u8,
        })
    }

    /// The largest level: 2^(bits - 1) - 1, rounded down.
    pub(crate) fn peak(self) -> i16 {
        /// 2^(quarter / 4) in 16 fractional bits, so that every machine has the same levels.
        const ROOTS: [u32; 4] = [65_536, 77_936, 92_682, 110_218];
        let root = ROOTS[usize::from(self.quarters % 4)];
        let power = (root << (self.quarters / 4 - 1)) >> 16;
        power as i16 - 1
    }

    /// The step of a channel whose largest magnitude is `largest`; 0 if all its values are.
    ///
    /// The largest magnitude is itself a multiple of the step, which makes the step come out the same once more.
    pub(crate) fn step(self, largest: f16) -> f32 {
        largest.to_f32() / f32::from(self.peak())
    }
}

impl Display for Tier {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "q{}", f32::from(self.quarters) / 4.0)
    }
}

impl FromStr for Tier {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        let found = Self::all().find(|tier| tier.to_string() == name);
        found.ok_or_else(|| {
            Error::invalid(format!(
                "there is no tier `{}`: they are q4 to q10 in quarters of a bit, such as q6 and q5.25",
                name.escape_debug()
            ))
        })
    }
}

/// How far the values of a channel are at most from those that the encoder gave, in units of the latent.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct ChannelError {
    /// The largest difference of a value.
    pub max_abs: f32,
    /// The root of the mean square of the differences.
    pub rms: f32,
}

impl ChannelError {
    /// A bound for two changes, one after the other: neither differences nor their root mean squares can add up to more.
    fn and_then(self, next: Self) -> Self {
        Self {
            max_abs: self.max_abs + next.max_abs,
            rms: self.rms + next.rms,
        }
    }
}

/// The bounds of `before`, which may be empty for none, and of a change by `next` after it.
pub(crate) fn accumulated(before: &[ChannelError], next: Vec<ChannelError>) -> Vec<ChannelError> {
    if before.is_empty() {
        return next;
    }
    let both = before.iter().zip(next);
    both.map(|(before, next)| before.and_then(next)).collect()
}

/// `latent` in the levels of `tier`, and how far each channel moved.
pub(crate) fn quantised(latent: &Latent, tier: Tier) -> (Latent, Vec<ChannelError>) {
    let mut values = Vec::with_capacity(latent.as_slice().len());
    let mut errors = Vec::new();
    for channel in channels(latent.shape(), latent.as_slice()) {
        let step = tier.step(largest(channel));
        let start = values.len();
        values.extend(
            channel
                .iter()
                .map(|value| value_of(level_of(*value, step), step)),
        );
        errors.push(difference(channel, &values[start..]));
    }
    let latent = Latent::from_finite(latent.shape(), values);
    (latent.expect("as many finite values as before"), errors)
}

/// The channels of a latent's values.
pub(crate) fn channels(shape: LatentShape, values: &[f16]) -> std::slice::ChunksExact<'_, f16> {
    values.chunks_exact(values.len() / shape.channels as usize)
}

/// The largest magnitude among `values`.
pub(crate) fn largest(values: &[f16]) -> f16 {
    let magnitudes = values.iter().map(|value| value.to_bits() & 0x7fff);
    // The bits of magnitudes are in the order of the magnitudes.
    f16::from_bits(magnitudes.max().unwrap_or_default())
}

/// The nearest multiple of `step`, counted in steps.
pub(crate) fn level_of(value: f16, step: f32) -> i16 {
    if step == 0.0 {
        return 0;
    }
    (value.to_f32() / step).round_ties_even() as i16
}

/// The value that stands for `level`.
pub(crate) fn value_of(level: i16, step: f32) -> f16 {
    f16::from_f32(f32::from(level) * step)
}

fn difference(before: &[f16], after: &[f16]) -> ChannelError {
    let pairs = before.iter().zip(after);
    let differences = pairs.map(|(a, b)| (f64::from(*a) - f64::from(*b)).abs());
    let (mut max, mut squares) = (0.0, 0.0);
    for difference in differences {
        max = f64::max(max, difference);
        squares += difference * difference;
    }
    ChannelError {
        max_abs: above(max),
        rms: above((squares / before.len() as f64).sqrt()),
    }
}

/// The least f32 that isn't below `bound`.
fn above(bound: f64) -> f32 {
    let near = bound as f32;
    if f64::from(near) < bound {
        near.next_up()
    } else {
        near
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn latent(values: Vec<f16>) -> Latent {
        let shape = LatentShape {
            channels: 1,
            height: 1,
            width: values.len() as u32,
        };
        Latent::new(shape, values).unwrap()
    }

    #[test]
    fn tiers_are_called_by_their_bits() {
        let named = |name: &str| name.parse::<Tier>().unwrap();
        assert_eq!(named("q6"), Tier::Q6);
        assert_eq!(named("q5.25").to_string(), "q5.25");
        assert_eq!(Tier::all().len(), 25);
        for bad in ["", "6", "q", "q3", "q11", "q6.1", "q06", "Q6", "q6.0"] {
            let error = bad.parse::<Tier>().unwrap_err().to_string();
            assert!(error.contains("there is no tier"), "{error}");
        }
    }

    #[test]
    fn the_peaks_are_powers_of_two_less_one_and_grow_with_the_bits() {
        let peaks = [Tier::Q4, Tier::Q5, Tier::Q6, Tier::Q8, Tier::Q10].map(Tier::peak);
        assert_eq!(peaks, [7, 15, 31, 127, 511]);
        let all: Vec<_> = Tier::all().map(Tier::peak).collect();
        assert!(all.is_sorted_by(|a, b| a < b), "{all:?}");
        assert_eq!(all[1], 8); // 2^3.25 = 9.51
    }

    #[test]
    fn a_channel_has_the_levels_of_its_own_range() {
        let shape = LatentShape {
            channels: 2,
            height: 1,
            width: 3,
        };
        let values = [7.0, -3.4, 0.2, 0.07, 0.034, 0.0].map(f16::from_f32);
        let (coarse, errors) = quantised(&Latent::new(shape, values.to_vec()).unwrap(), Tier::Q4);
        let back: Vec<f32> = coarse.as_slice().iter().map(|v| v.to_f32()).collect();
        assert_eq!(back[..3], [7.0, -3.0, 0.0]);
        assert_eq!(coarse.as_slice()[3], values[3]);
        assert!((back[4] - 0.03).abs() < 1e-4 && back[5] == 0.0, "{back:?}");
        assert!(
            errors[0].max_abs >= 0.4 && errors[0].max_abs < 0.401,
            "{errors:?}"
        );
        let rms = ((0.4f32.powi(2) + 0.2f32.powi(2)) / 3.0).sqrt();
        assert!((errors[0].rms - rms).abs() < 1e-3, "{errors:?}");
    }

    #[test]
    fn nothing_but_zeros_has_no_step() {
        let zeros = latent(vec![f16::ZERO, f16::NEG_ZERO]);
        let (back, errors) = quantised(&zeros, Tier::Q8);
        assert!(back.as_slice().iter().all(|v| v.to_f32() == 0.0));
        assert_eq!(errors, [ChannelError::default()]);
    }

    #[test]
    fn bounds_of_two_changes_add_up() {
        let one = ChannelError {
            max_abs: 1.0,
            rms: 0.5,
        };
        assert_eq!(accumulated(&[], vec![one]), [one]);
        let both = ChannelError {
            max_abs: 2.0,
            rms: 1.0,
        };
        assert_eq!(accumulated(&[one], vec![one]), [both]);
    }

    proptest! {
        #[test]
        fn what_was_quantised_stays_the_same_when_it_is_quantised_again(
            bits in proptest::collection::vec(any::<u16>(), 1..200),
            // Also channels so small that there are fewer numbers than levels.
            shift in 0u16..31,
            quarters in 16u8..=40,
        ) {
            let small = |bits: u16| f16::from_bits(bits & 0x83ff | (bits & 0x7c00).saturating_sub(shift << 10));
            let values: Vec<_> = bits.into_iter().map(small).filter(|v| v.is_finite()).collect();
            prop_assume!(!values.is_empty());
            let tier = Tier::from_quarters(quarters).unwrap();
            let (once, errors) = quantised(&latent(values.clone()), tier);
            let (twice, _) = quantised(&once, tier);
            let bits = |latent: &Latent| latent.as_slice().iter().map(|v| v.to_bits()).collect::<Vec<_>>();
            // -0 becomes 0 by the first step.
            prop_assert_eq!(bits(&once), bits(&twice));
            for (before, after) in values.iter().zip(once.as_slice()) {
                let moved = (f64::from(*before) - f64::from(*after)).abs();
                prop_assert!(moved <= f64::from(errors[0].max_abs));
                // Half a step, and half the distance of f16 values there.
                let half = tier.step(largest(&values)) / 2.0;
                prop_assert!(moved <= f64::from(half) * 1.001 + after.to_f64().abs() / 2048.0 + 6e-8);
            }
        }
    }
}
