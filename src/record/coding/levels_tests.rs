//! Quantised latents as payloads: what is in the levels comes back bit by bit, what isn't is refused.

use half::f16;
use proptest::prelude::*;

use super::super::tier::{Tier, quantised};
use super::{Coding, compress, decompress};
use crate::error::ErrorKind;
use crate::latent::{Latent, LatentShape};

const SHAPE: LatentShape = LatentShape {
    channels: 2,
    height: 4,
    width: 3,
};

/// A latent whose first channel slopes, and whose second is all zeros.
fn slope() -> Latent {
    let values = (0..12i8).map(|n| f16::from_f32(f32::from(n) * 0.3 - 1.5));
    let zeros = std::iter::repeat_n(f16::ZERO, 12);
    Latent::new(SHAPE, values.chain(zeros).collect()).unwrap()
}

#[test]
fn a_latent_that_is_not_in_the_levels_is_refused_by_value_and_step() {
    let error = compress(&slope(), Coding::Quantised(Tier::Q5)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    let message = error.to_string();
    assert!(
        message.contains("kept as q5") && message.contains("its value -1.5 is no"),
        "{message}"
    );
}

#[test]
fn a_payload_begins_with_the_step_of_each_channel() {
    let (latent, _) = quantised(&slope(), Tier::Q5);
    let payload = compress(&latent, Coding::Quantised(Tier::Q5)).unwrap();
    // 1.8 as f16, the largest magnitude, over 15.
    let step = f16::from_f32(1.8).to_f32() / 15.0;
    assert_eq!(
        payload[..8],
        [step.to_le_bytes(), 0f32.to_le_bytes()].concat()
    );
}

#[test]
fn steps_that_give_no_finite_values_and_levels_beyond_the_tier_are_damage() {
    let (latent, _) = quantised(&slope(), Tier::Q6);
    let payload = compress(&latent, Coding::Quantised(Tier::Q6)).unwrap();
    for step in [f32::NAN, f32::INFINITY, -1.0, 65_504.0] {
        let mut payload = payload.clone();
        payload[..4].copy_from_slice(&step.to_le_bytes());
        let error = decompress(SHAPE, Coding::Quantised(Tier::Q6), &payload).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupted, "{step}");
    }
    // The levels of q6 go beyond those of q5.
    let error = decompress(SHAPE, Coding::Quantised(Tier::Q5), &payload).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupted);
    for length in 0..payload.len() {
        let cut = &payload[..length];
        assert!(
            decompress(SHAPE, Coding::Quantised(Tier::Q6), cut).is_err(),
            "{length}"
        );
    }
}

proptest! {
    #[test]
    fn quantised_latents_come_back_bit_by_bit_in_hardly_more_than_their_values(
        bits in proptest::collection::vec(any::<u16>(), 24),
        quarters in 16u8..=40,
    ) {
        let finite = |bits: u16| Some(f16::from_bits(bits)).filter(|v| v.is_finite()).unwrap_or(f16::ONE);
        let latent = Latent::new(SHAPE, bits.into_iter().map(finite).collect()).unwrap();
        let tier = Tier::from_quarters(quarters).unwrap();
        let (latent, _) = quantised(&latent, tier);
        let payload = compress(&latent, Coding::Quantised(tier)).unwrap();
        let back = decompress(SHAPE, Coding::Quantised(tier), &payload).unwrap();
        let bits = |latent: &Latent| latent.as_slice().iter().map(|v| v.to_bits()).collect::<Vec<_>>();
        prop_assert_eq!(bits(&back), bits(&latent));
        prop_assert!(payload.len() <= 48 + 8 + 48, "{}", payload.len());
    }

    #[test]
    fn damaged_payloads_never_panic_and_give_only_finite_values(
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..5),
    ) {
        let (latent, _) = quantised(&slope(), Tier::Q6);
        let mut payload = compress(&latent, Coding::Quantised(Tier::Q6)).unwrap();
        for (at, value) in damage {
            let at = at.index(payload.len());
            payload[at] = value;
        }
        if let Ok(back) = decompress(SHAPE, Coding::Quantised(Tier::Q6), &payload) {
            prop_assert!(back.as_slice().iter().all(|v| v.is_finite()));
        }
    }
}
