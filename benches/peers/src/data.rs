//! Keys, values and orders, all from seeds: two processes make the same ones.

use twox_hash::XxHash3_64;

/// Mixes 64 bits (the finaliser of SplitMix64), so that a counter becomes noise.
pub fn mix(counter: u64) -> u64 {
    let mut bits = counter.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

/// The key of value `index`.
pub fn key(index: usize) -> Vec<u8> {
    format!("photos/{index:08}").into_bytes()
}

/// Fills `value` with noise of its own for each index and version: no engine can compress it.
pub fn fill(index: usize, version: u64, value: &mut [u8]) {
    let seed = mix(index as u64 ^ mix(version));
    for (at, word) in value.chunks_mut(8).enumerate() {
        let noise = mix(seed.wrapping_add(at as u64)).to_le_bytes();
        word.copy_from_slice(&noise[..word.len()]);
    }
}

/// What a value is recognised by.
pub fn hash(value: &[u8]) -> u64 {
    XxHash3_64::oneshot(value)
}

/// The numbers below `count` in an order that only `seed` decides.
pub fn shuffled(count: usize, seed: u64) -> Vec<usize> {
    let mut order: Vec<usize> = (0..count).collect();
    for at in (1..count).rev() {
        let other = mix(seed.wrapping_add(at as u64)) % (at as u64 + 1);
        order.swap(at, other as usize);
    }
    order
}

/// The value below which `share` of `sorted` lies (nearest rank).
pub fn percentile(sorted: &[f64], share: f64) -> f64 {
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted[rank.clamp(1, sorted.len()) - 1]
}

/// The middle one of `values`, or the mean of the middle two.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let half = sorted.len() / 2;
    if sorted.len().is_multiple_of(2) {
        f64::midpoint(sorted[half - 1], sorted[half])
    } else {
        sorted[half]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shuffle_has_every_number_once_and_is_the_same_again() {
        let order = shuffled(1000, 7);
        let mut sorted = order.clone();
        sorted.sort_unstable();
        assert!(sorted.iter().copied().eq(0..1000));
        assert_eq!(order, shuffled(1000, 7));
        assert_ne!(order, sorted);
    }

    #[test]
    fn percentiles_are_values_that_were_measured() {
        let values: Vec<f64> = (1..=100).map(f64::from).collect();
        assert_eq!(percentile(&values, 0.5).to_bits(), 50f64.to_bits());
        assert_eq!(percentile(&values, 0.99).to_bits(), 99f64.to_bits());
        assert_eq!(median(&values).to_bits(), 50.5f64.to_bits());
    }
}
