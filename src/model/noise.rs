//! Normal noise that belongs to places, not to an order of drawing: a pixel of a step has its own, whatever was drawn
//! before.
//!
//! Invariant: the values at a place depend on the seed, the step and the place alone, so two reads of a record, whole
//! or in tiles, begin with the same noise.

use std::f64::consts::TAU;

/// Where a run's noise comes from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Noise {
    key: [u32; 2],
}

impl Noise {
    /// The noise of `seed`: its key is the first eight bytes of BLAKE3, as two little-endian words.
    pub(super) fn of(seed: &str) -> Self {
        let hash = blake3::hash(seed.as_bytes());
        let word = |at: usize| {
            let bytes = &hash.as_bytes()[at..at + 4];
            bytes
                .iter()
                .rev()
                .fold(0, |word, byte| word << 8 | u32::from(*byte))
        };
        Self {
            key: [word(0), word(4)],
        }
    }

    /// Three planes of `height` rows of `width` values, of mean 0 and deviation 1.
    pub(super) fn planes(self, step: u32, (width, height): (u32, u32)) -> Vec<f32> {
        let plane = width as usize * height as usize;
        let mut planes = vec![0.0; 3 * plane];
        let mut at = 0;
        for y in 0..height {
            for x in 0..width {
                let [red, green, blue] = self.at(step, (x, y));
                planes[at] = red;
                planes[plane + at] = green;
                planes[2 * plane + at] = blue;
                at += 1;
            }
        }
        planes
    }

    /// The values at one pixel, by Box and Muller's transform. In f64, so that what a platform's logarithm and sine
    /// differ by in the last place is rounded away.
    fn at(self, step: u32, (x, y): (u32, u32)) -> [f32; 3] {
        let words = philox([x, y, step, 0], self.key);
        // In (0, 1]: the logarithm of 0 is no number.
        let parts = words.map(|word| (f64::from(word) + 1.0) / 4_294_967_296.0);
        let radius = |part: f64| (-2.0 * part.ln()).sqrt();
        let (sine, cosine) = (TAU * parts[1]).sin_cos();
        let third = radius(parts[2]) * (TAU * parts[3]).cos();
        [radius(parts[0]) * cosine, radius(parts[0]) * sine, third].map(|value| value as f32)
    }
}

/// Philox4x32-10, a function from a counter and a key to four words that look random (Salmon et al., "Parallel random
/// numbers: as easy as 1, 2, 3", 2011).
fn philox(counter: [u32; 4], key: [u32; 2]) -> [u32; 4] {
    const ROUNDS: usize = 10;
    const MULTIPLIERS: [u32; 2] = [0xd251_1f53, 0xcd9e_8d57];
    const WEYL: [u32; 2] = [0x9e37_79b9, 0xbb67_ae85];
    let (mut words, mut key) = (counter, key);
    for _ in 0..ROUNDS {
        let product = |word: u32, by: u32| {
            let wide = u64::from(word) * u64::from(by);
            ((wide >> 32) as u32, wide as u32)
        };
        let (high0, low0) = product(words[0], MULTIPLIERS[0]);
        let (high1, low1) = product(words[2], MULTIPLIERS[1]);
        words = [
            high1 ^ words[1] ^ key[0],
            low1,
            high0 ^ words[3] ^ key[1],
            low0,
        ];
        key = [key[0].wrapping_add(WEYL[0]), key[1].wrapping_add(WEYL[1])];
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The known answers of Random123, the authors' own library.
    #[test]
    fn philox_gives_its_authors_known_answers() {
        let zeros = philox([0; 4], [0; 2]);
        assert_eq!(zeros, [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]);
        let ones = philox([u32::MAX; 4], [u32::MAX; 2]);
        assert_eq!(ones, [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]);
        let pi = philox(
            [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344],
            [0xa409_3822, 0x299f_31d0],
        );
        assert_eq!(pi, [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1]);
    }

    #[test]
    fn a_pixel_has_the_same_noise_in_an_image_of_any_size() {
        let noise = Noise::of("cat");
        let (small, large) = (noise.planes(1, (7, 5)), noise.planes(1, (20, 9)));
        for channel in 0..3 {
            for (y, x) in (0..5).flat_map(|y| (0..7).map(move |x| (y, x))) {
                let found = small[(channel * 5 + y) * 7 + x].to_bits();
                assert_eq!(found, large[(channel * 9 + y) * 20 + x].to_bits());
            }
        }
    }

    #[test]
    fn seeds_and_steps_have_noise_of_their_own() {
        let values = |seed: &str, step| Noise::of(seed).planes(step, (8, 8));
        let all = [values("a", 0), values("b", 0), values("a", 1)];
        for (at, one) in all.iter().enumerate() {
            for other in &all[..at] {
                assert!(
                    one.iter()
                        .zip(other)
                        .all(|(a, b)| a.to_bits() != b.to_bits())
                );
            }
        }
    }

    #[test]
    fn noise_is_normal_and_its_channels_and_neighbours_are_independent() {
        let (width, height) = (256u32, 256u32);
        let planes = Noise::of("any").planes(0, (width, height));
        let count = planes.len() as f64;
        let mean = |values: &mut dyn Iterator<Item = f64>| values.sum::<f64>() / count;
        let all = || planes.iter().map(|value| f64::from(*value));
        assert!(mean(&mut all()).abs() < 0.01);
        for (power, expected, allowed) in [(2, 1.0, 0.02), (3, 0.0, 0.03), (4, 3.0, 0.1)] {
            let moment = mean(&mut all().map(|value| value.powi(power)));
            assert!((moment - expected).abs() < allowed, "{power}: {moment}");
        }
        // The pixel to the right, the pixel below, the next channel.
        let plane = (width * height) as usize;
        for apart in [1, width as usize, plane, 2 * plane] {
            let together = mean(&mut all().zip(all().skip(apart)).map(|(a, b)| a * b));
            assert!(together.abs() < 0.01, "{apart}: {together}");
        }
    }
}
