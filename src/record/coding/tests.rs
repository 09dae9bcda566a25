//! Values come back bit by bit from every form, and no bytes do harm.

use half::f16;
use proptest::prelude::*;

use super::*;

fn latent(values: Vec<f16>) -> Latent {
    let width = values.len() as u32;
    let shape = LatentShape {
        channels: 1,
        height: 1,
        width,
    };
    Latent::new(shape, values).unwrap()
}

fn bits(latent: &Latent) -> Vec<u16> {
    latent.as_slice().iter().map(|v| v.to_bits()).collect()
}

/// That `latent` comes back bit by bit through all codings; the payload of `Fast`.
fn round_trip(latent: &Latent) -> Vec<u8> {
    let [_, fast, _] = Coding::LOSSLESS.map(|coding| {
        let payload = compress(latent, coding).unwrap();
        let back = decompress(latent.shape(), coding, &payload).unwrap();
        assert!(bits(&back) == bits(latent), "{coding:?}");
        payload
    });
    fast
}

/// Pseudorandom bits.
fn noise() -> impl Iterator<Item = u16> {
    let mut state = 1u64;
    std::iter::repeat_with(move || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 48) as u16
    })
}

/// `count` values between -3 and 3 or so, most of them small, neighbours alike: as an encoder gives them.
fn natural(count: usize) -> Vec<f16> {
    let mut noise = noise().map(|n| f32::from(n) / 65536.0 - 0.5);
    let mut before = 0.0;
    let values = std::iter::from_fn(|| {
        let fresh: f32 = noise.by_ref().take(6).sum();
        before = 0.6 * before + 2.0 * fresh;
        Some(f16::from_f32(before))
    });
    values.take(count).collect()
}

#[test]
fn every_finite_f16_comes_back_with_the_same_bits() {
    let every = (0..=u16::MAX).map(f16::from_bits);
    let finite: Vec<f16> = every.filter(|v| v.is_finite()).collect();
    round_trip(&latent(finite));
}

#[test]
fn values_of_every_size_come_back_as_pairs_and_as_exceptions() {
    for (which, scale) in [0.03, 1.0, 3000.0].into_iter().enumerate() {
        let all = (0..=u16::MAX).map(f16::from_bits);
        let others: Vec<f16> = all
            .skip(which)
            .step_by(15)
            .filter(|v| v.is_finite())
            .collect();
        let mut values = natural(others.len() * 100);
        for value in &mut values {
            *value = f16::from_f32(value.to_f32() * scale);
        }
        for (at, other) in others.iter().enumerate() {
            values[at * 100 + at % 9] = *other;
        }
        let mut payload = vec![];
        let fit = pairs::compress(&values, &mut payload).unwrap();
        assert_ne!(fit, pairs::Fit::Unfit);
        let exceptions = u32::from_le_bytes(*payload[4..].first_chunk().unwrap());
        assert!(
            exceptions as usize > others.len() / 4,
            "{exceptions} of {}",
            others.len()
        );
        let back = pairs::decompress(Layout::Segments, values.len(), &payload).unwrap();
        assert!(bits(&latent(back)) == bits(&latent(values)));
    }
}

#[test]
fn latents_of_every_length_come_back() {
    for count in 1..=40 {
        round_trip(&latent(natural(count)));
        let finite = |bits| Some(f16::from_bits(bits)).filter(|v| v.is_finite());
        round_trip(&latent(noise().filter_map(finite).take(count).collect()));
    }
}

#[test]
fn natural_values_are_kept_as_pairs_and_outliers_among_them_come_back() {
    let mut values = natural(10_000);
    let payload = round_trip(&latent(values.clone()));
    assert_eq!(payload[0], form::SEGMENTS);
    let planes = compress(&latent(values.clone()), Coding::Planes).unwrap();
    assert!(payload.len() < planes.len());
    let outliers = [0x0000, 0x8000, 0x0001, 0x7bff, 0xfbff].map(f16::from_bits);
    for (at, outlier) in outliers.into_iter().enumerate() {
        values[at * 2_222] = outlier;
    }
    assert_eq!(round_trip(&latent(values))[0], form::SEGMENTS);
}

#[test]
fn values_that_are_no_noise_take_no_more_than_as_planes() {
    let zeros = vec![f16::ZERO; 16_384];
    let some_zeros = natural(16_384).into_iter().enumerate();
    let some_zeros = some_zeros.map(|(at, v)| if at % 3 == 0 { f16::ZERO } else { v });
    let bfloat = natural(16_384)
        .into_iter()
        .map(|v| f16::from_bits(v.to_bits() & 0xfff8));
    let quantised = natural(16_384)
        .into_iter()
        .map(|v| f16::from_f32((v.to_f32() * 16.0).round() / 16.0));
    let steps = (0..16_384).map(|n| f16::from_f32((n / 64) as f32));
    for values in [
        zeros,
        some_zeros.collect(),
        bfloat.collect(),
        quantised.collect(),
        steps.collect(),
    ] {
        let latent = latent(values);
        let planes = compress(&latent, Coding::Planes).unwrap();
        let fast = round_trip(&latent);
        assert!(
            fast.len() <= planes.len() + 1,
            "{} {}",
            fast.len(),
            planes.len()
        );
        assert!(planes.len() < 29_000, "{}", planes.len());
    }
}

#[test]
fn noise_grows_by_less_than_one_percent_and_some_bytes() {
    let finite = |bits| Some(f16::from_bits(bits)).filter(|v| v.is_finite());
    let all: Vec<f16> = noise().filter_map(finite).take(40_000).collect();
    // All exponents from 8 to 23, all equally frequent.
    let classed = noise()
        .map(|n| f16::from_bits(n & 0xbfff))
        .map(|v| f16::from_bits(v.to_bits() + (8 << 10)));
    for values in [all, classed.take(40_000).collect()] {
        let latent = latent(values);
        let payload = round_trip(&latent);
        assert!((payload.len() as u64) < latent.shape().byte_len() * 101 / 100 + 40);
    }
}

#[test]
fn a_payload_that_claims_far_more_values_than_it_holds_is_refused() {
    let huge = LatentShape {
        channels: 4,
        height: 20_000,
        width: 20_000,
    };
    for values in [vec![f16::ONE; 8], vec![f16::ONE; 4096], natural(4096)] {
        for coding in Coding::LOSSLESS {
            let payload = compress(&latent(values.clone()), coding).unwrap();
            let error = decompress(huge, coding, &payload).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corrupted);
        }
    }
}

/// Nine rounds of pairs and three values beside, one of the paired ones far from the others.
fn spread() -> Latent {
    let paired = (0..72u16).map(|n| (0x3801 + 0x0073 * n) ^ ((n % 5 / 3) << 15));
    let mut values: Vec<u16> = paired.chain([0x8000, 0x7bff, 0x0001]).collect();
    values[13] = 0x8155;
    latent(values.into_iter().map(f16::from_bits).collect())
}

/// Eight rounds of pairs with one exponent.
fn alike() -> Latent {
    let values = (0..64u16).map(|n| 0x3c00 + ((37 * n) & 0x3ff));
    latent(values.map(f16::from_bits).collect())
}

fn from_hex(text: &str) -> Vec<u8> {
    let (pairs, _) = text.as_bytes().as_chunks::<2>();
    let byte = |pair: &[u8; 2]| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap();
    pairs.iter().map(byte).collect()
}

#[test]
fn payloads_that_were_written_once_are_read_for_ever() {
    let planes = from_hex(
        "5400000028b52ffd204b590200383838b9b93a3a3bbbbc3c3c3d81be3e3f3fc0c0404141c2c2434344c4c545\
         4546c6c7474848c9c9494a4acbcb4c4c4dcdce4e4e4fcfd0505151d2d2525353d4d4555556d6d75757807b00\
         28b52ffd204b5902000174e75acd40b326990c7ff265554bbe31a4178afd70e356c93caf2295087bee61d447\
         ba2da01386f96cdf52c538ab1e910477ea5dd043b6299c0f82f568db4ec134a71a8d0073e600ff01",
    );
    for (coding, latent, payload) in [
        (Coding::Planes, spread(), planes.clone()),
        (
            Coding::Fast,
            spread(),
            [&[form::PLANES], &planes[..]].concat(),
        ),
        (Coding::Fast, spread(), from_hex(PAIRS)),
        (Coding::Fast, alike(), from_hex(PAIRS_IN_A_FRAME)),
        (Coding::Fast, spread(), from_hex(SEGMENTS)),
        (
            Coding::Fast,
            latent(natural(403)),
            from_hex(SEGMENTS_IN_A_FRAME),
        ),
    ] {
        let back = decompress(latent.shape(), coding, &payload).unwrap();
        assert_eq!(bits(&back), bits(&latent));
    }
}

/// [`spread`] as pairs, with one exception and no plane that compresses.
const PAIRS: &str = "010600000001000000240000001b000000480000000d0000000024a46424e424846424ed2dad6d2ded2dad6d\
         36f636b67636f636b67f3fff3fbf7f3fff3f0048919ae3244db6ff0088119a23ec6df6ff0009515aa3acf5f6\
         ff01e7cdb3997f654b3117fde3c9af957b61472d13f9dfc5ab91775d43290ff5dbc1a78d73745a40260cf255\
         bea48a70563c2208eed4baa0866c52381e04ead0b69c82684e341a00e60080ff7b0100";

/// [`alike`] as pairs, whose classes are a zstd frame.
const PAIRS_IN_A_FRAME: &str = "01000100000000000011000000180000004000000028b52ffd2020450000103f3f010022c002a4e4e4ec2d2d\
         2d36f6f6feff7f7f64e4e4ecededadb6b6b6004a94de2872bc06509ae42e78c20c56a0ea347ec8125ca6f03a\
         84ce1862acf6256fb9034d97e12b75bf09539de7317bc50f59a3ed3781cb155fa9f33d87d11b";

/// [`spread`] as a segment of pairs, with one exception and no plane that compresses.
const SEGMENTS: &str = "020000000001000000240000001b00000048000000060d0000000024a46424e424846424ed2dad6d2ded2dad\
     6d36f636b67636f636b67f3fff3fbf7f3fff3f0048919ae3244db6ff0088119a23ec6df6ff0009515aa3acf5\
     f6ff01e7cdb3997f654b3117fde3c9af957b61472d13f9dfc5ab91775d43290ff5dbc1a78d73745a40260cf2\
     55bea48a70563c2208eed4baa0866c52381e04ead0b69c82684e341a00e60080ff7b0100";

/// The first 403 of [`natural`], whose classes are a zstd frame in the code of all pairs.
const SEGMENTS_IN_A_FRAME: &str = "020001000000000000a100000096000000900100001328b52ffda20080c80000009d04008b0c380220002300\
     210098fe75f9e736eb48922d2d26756b1762ff6f04d958bc8581396c092d3e1a1a015b2c91f154e636928869\
     e2369cba6215b518452ad13bf15b99e438d9322f9b60d30a0c1e2f1669e2a6555be69eac7e0221d1a2f65fe9\
     05c667eaa936b8fb424d22b65605db05048c518b11094d8b31466cff576dfa4b1a487b03aa4312b31d194044\
     6246c3c1391c0099bcf8d0342ac44100a066e84c96785065eccc6e2466f7bc2881ca753b7b91f6e09e4d30d3\
     d85916bf0192538eec188385a8e7ede597262453465eca860810c015589942e2eb0778d601a5b2510a40e9e4\
     2bbc2445a77912b9454a97425de1a3edc3d465383a29e27a28686d128056860c7aaf167d1bfaa20a62f2bfbd\
     9c42eab4bef3426baee807ba804987206cb7848bce06566d81b285c145d0e3350e1845ca296c2522eb0edc68\
     be2bd7db2758b88002227a0366639622545bceedb2bbad305f927d31c82fb0a6b45b76192e27be766536db10\
     f8298c9543682bc22505da41604fa65dc7bca6012f79913db1fcd6c9dfa7eaf982dac61af7e73a1cf83b55b9\
     55e402f3a10f7e5d75c9cf036083b22f2adede665f14274cd0e921619f8e6c05c5ca92eb4106393ebe815c75\
     0f9b3186024066b6abce725d1f2fde35c6a4afb8bd9ddd3be37fa31e771d67016b5c22f5067b995d03564dee\
     848b0689caba25f582fba4fba452b352d8b055911ead470b0368dd96667985a1b558bb3225cd6f118a8a466e\
     130c8f5777292a39e10b5bda26a072907057635dedf12cb3f7ec61ac69d1a09e4076fc6f924606a0e3cfbb5b\
     8695dd0ef93b83187dba3e8905d9674c2dad7068004da7f9d020f8801dc9cce39a398ee377bb490b7dbae359\
     a83d865fae0d7609df80a001316bbd9085d0fc6a0b3620f60248a1a30963161b343c16b2e79f9e52feaf8775\
     1203ebeba6e443778fba4311de9f99e61e94327d67079bb5d4cca482911f42503e763d";

#[test]
fn the_bytes_of_a_latent_depend_on_its_values_alone() {
    let payload = compress(&latent(natural(10_003)), Coding::Fast).unwrap();
    assert_eq!(
        blake3::hash(&payload).to_string(),
        "228c7b574dd468ad56df1e3abc9daed9b1ad507913ebfcc32a22471ad41754e2"
    );
    let payload = compress(&latent(natural(403)), Coding::Fast).unwrap();
    assert_eq!(payload, from_hex(SEGMENTS_IN_A_FRAME));
}

#[test]
fn what_contradicts_itself_is_refused() {
    let whole = from_hex(PAIRS);
    // Form, lowest exponent, frames, reserved, exceptions, lengths, the exception's index and exponent, the last of
    // the values beside.
    for (at, value, message) in [
        (0, 3, "has the form 3"),
        (1, 16, "contradicts its own lengths"),
        (2, 8, "contradicts its own lengths"),
        (2, 4, "zstd can't decompress"),
        (3, 1, "contradicts its own lengths"),
        (4, 1, "contradicts its own lengths"),
        (5, 0, "contradicts its own lengths"),
        (5, 2, "contradicts its own lengths"),
        (9, 35, "contradicts its own lengths"),
        (13, 26, "contradicts its own lengths"),
        (17, 73, "contradicts its own lengths"),
        (20, 255, "contradicts its own lengths"),
        (21, 72, "contradicts its own lengths"),
        (22, 1, "contradicts its own lengths"),
        (25, 31, "not finite"),
        (whole.len() - 1, 0x7c, "not finite"),
    ] {
        let mut damaged = whole.clone();
        assert_ne!(damaged[at], value, "byte {at}");
        damaged[at] = value;
        let error = decompress(spread().shape(), Coding::Fast, &damaged).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupted);
        assert!(error.to_string().contains(message), "byte {at}: {error}");
    }
    // Reserved in a payload of segments, and the byte of the only one.
    let segments = from_hex(SEGMENTS);
    for (at, value) in [(1, 1), (21, 32), (21, 0x86)] {
        let mut damaged = segments.clone();
        damaged[at] = value;
        let error = decompress(spread().shape(), Coding::Fast, &damaged).unwrap_err();
        assert!(
            error.to_string().contains("contradicts its own lengths"),
            "byte {at}: {error}"
        );
    }
    for length in 0..segments.len() {
        assert!(decompress(spread().shape(), Coding::Fast, &segments[..length]).is_err());
    }
    // An exception twice.
    let exception = &whole[21..26];
    let mut twice = [&whole[..26], exception, &whole[26..]].concat();
    twice[5] = 2;
    assert!(decompress(spread().shape(), Coding::Fast, &twice).is_err());
    for length in 0..whole.len() {
        assert!(decompress(spread().shape(), Coding::Fast, &whole[..length]).is_err());
    }
}

#[test]
fn a_coding_that_is_unknown_is_refused_by_its_number() {
    for coding in Coding::LOSSLESS {
        assert_eq!(Coding::from_tag(coding.tag()).unwrap(), coding);
    }
    for tier in Tier::all() {
        let coding = Coding::Quantised(tier);
        assert_eq!(Coding::from_tag(coding.tag()).unwrap(), coding);
        assert_eq!(coding.to_string().parse::<Coding>().unwrap(), coding);
    }
    for tag in [0, 4, 0x80, 0x80 + 15, 0x80 + 41, 0xff] {
        let error = Coding::from_tag(tag).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::UnsupportedVersion);
        let said = format!("coding {tag} is unknown to this version");
        assert_eq!(error.to_string(), said);
    }
}

proptest! {
    #[test]
    fn any_values_come_back(bits in proptest::collection::vec(any::<u16>(), 1..300), narrow: bool) {
        let keep = if narrow { 0x8fff } else { 0xffff };
        let values = bits.into_iter().map(|b| f16::from_bits(b & keep)).map(|v| if v.is_finite() { v } else { f16::ONE });
        round_trip(&latent(values.collect()));
    }

    #[test]
    fn arbitrary_payloads_never_panic(mut payload in proptest::collection::vec(any::<u8>(), 0..200), width in 1u32..64) {
        let shape = LatentShape { channels: 1, height: 1, width };
        for coding in Coding::LOSSLESS {
            let _ = decompress(shape, coding, &payload);
        }
        // Again with heads that are believed.
        for form in [form::PLANES, form::PAIRS, form::SEGMENTS] {
            if payload.len() >= 24 {
                payload[0] = form;
                if form == form::SEGMENTS {
                    payload[1] = 0;
                    payload[21] %= 32;
                } else {
                    payload[1] %= 16;
                }
                payload[2] %= 8;
                payload[3..5].fill(0);
                for number in payload[5..21].as_chunks_mut::<4>().0 {
                    number[1..].fill(0);
                }
            }
            let _ = decompress(shape, Coding::Fast, &payload);
        }
    }

    #[test]
    fn damaged_payloads_never_panic_and_give_only_finite_values(
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..5),
        near: bool,
        count in 8usize..400,
    ) {
        let latent = latent(natural(count));
        for coding in Coding::LOSSLESS {
            let mut payload = compress(&latent, coding).unwrap();
            for (at, value) in &damage {
                // Near the beginning lie the lengths.
                let at = at.index(if near { payload.len().min(40) } else { payload.len() });
                payload[at] = *value;
            }
            if let Ok(back) = decompress(latent.shape(), coding, &payload) {
                prop_assert!(back.as_slice().iter().all(|v| v.is_finite()));
            }
        }
    }
}
