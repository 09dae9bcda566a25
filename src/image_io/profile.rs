//! What a file says of its colours, as an ICC profile, embedded or made from what it says otherwise.
//!
//! Invariant: a profile that is given has curves and either primaries or tables; only one that is can be used.

use moxcms::{Chromaticity, XyY};
use moxcms::{
    CicpColorPrimaries, CicpProfile, ColorPrimaries, ColorProfile, DataColorSpace, LutType,
    LutWarehouse, MatrixCoefficients, ToneReprCurve, TransferCharacteristics,
};

use super::raster::{Colors, Primaries};

/// Samples of a curve that is made here.
const CURVE_POINTS: usize = 4096;

/// The light, in cd/m2, of white in pictures with highlights above it (ITU-R BT.2408, section 2.1).
const REFERENCE_WHITE: f64 = 203.0;

/// The profile of colours, or nothing if it is damaged or not of a kind that is known.
pub(super) fn profile_of(colors: &Colors) -> Option<ColorProfile> {
    match colors {
        Colors::Srgb => Some(ColorProfile::new_srgb()),
        Colors::Linear => Some(with_curve(ColorProfile::new_srgb(), linear())),
        Colors::Profile(bytes) => {
            let mut profile = parsed(bytes)?;
            // Where the table of the intent is missing, that of another stands in for it (ICC.1:2022, 9.2).
            let table = profile.lut_a_to_b_colorimetric.take();
            profile.lut_a_to_b_colorimetric = table
                .or_else(|| profile.lut_a_to_b_perceptual.clone())
                .or_else(|| profile.lut_a_to_b_saturation.clone());
            Some(profile)
        }
        &Colors::Cicp {
            primaries,
            transfer,
        } => Some(with_curve(of_code_point(primaries)?, curve_of(transfer)?)),
        Colors::Gamma {
            exponent,
            primaries,
        } => {
            let mut profile = ColorProfile::new_srgb();
            if let Some(primaries) = primaries {
                set_primaries(&mut profile, primaries)?;
            }
            Some(match exponent {
                Some(exponent) => with_curve(profile, power(*exponent)),
                None => profile,
            })
        }
    }
}

/// `moxcms` takes the Lab of every table before version 4 for Lab of 16 bits, in which 0xff00 is full. In tables of
/// 8 bits full is 0xff in all versions, so that a profile with such is read as one of version 4.
fn parsed(bytes: &[u8]) -> Option<ColorProfile> {
    const MAJOR_VERSION: usize = 8;
    let profile = ColorProfile::new_from_slice(bytes).ok()?;
    let tables = [
        &profile.lut_a_to_b_perceptual,
        &profile.lut_a_to_b_colorimetric,
        &profile.lut_a_to_b_saturation,
    ];
    let of_8_bits = tables
        .into_iter()
        .flatten()
        .any(|table| matches!(table, LutWarehouse::Lut(table) if table.lut_type == LutType::Lut8));
    if !of_8_bits {
        return Some(profile);
    }
    let mut bytes = bytes.to_vec();
    *bytes.get_mut(MAJOR_VERSION)? = 4;
    ColorProfile::new_from_slice(&bytes).ok()
}

/// The sRGB value of each of 65536 greys of a profile for grey.
pub(super) fn grey_table(profile: &ColorProfile) -> Option<Vec<u16>> {
    let curve = profile.gray_trc.as_ref()?.make_linear_evaluator().ok()?;
    let value = |grey| {
        let connection = f64::from(curve.evaluate_value(f32::from(grey) / 65535.0));
        let light = match profile.pcs {
            DataColorSpace::Lab => light_of_lightness(connection),
            _ => connection,
        };
        (srgb_of_light(light) * 65535.0).round_ties_even() as u16
    };
    Some((0..=u16::MAX).map(value).collect())
}

/// The inverse of CIE 1976 lightness, here 0 to 1.
fn light_of_lightness(lightness: f64) -> f64 {
    inverse_of_f((100.0 * lightness + 16.0) / 116.0)
}

/// XYZ under D50 of Lab in 16 bits: lightness from 0 to 100, the others from -128 to 127 (ICC.1:2022, table 12).
pub(super) fn light_of_lab(lab: [u16; 3]) -> [f32; 3] {
    let [lightness, green_red, blue_yellow] = lab.map(|v| f64::from(v) / 65535.0);
    let y = (100.0 * lightness + 16.0) / 116.0;
    let x = y + (255.0 * green_red - 128.0) / 500.0;
    let z = y - (255.0 * blue_yellow - 128.0) / 200.0;
    let light = [
        0.9642 * inverse_of_f(x),
        inverse_of_f(y),
        0.8249 * inverse_of_f(z),
    ];
    light.map(|light| light as f32)
}

/// The inverse of the function that CIE 1976 L*a*b* is made with.
fn inverse_of_f(f: f64) -> f64 {
    if f > 6.0 / 29.0 {
        f.powi(3)
    } else {
        (f - 4.0 / 29.0) * 3.0 * (6.0_f64 / 29.0).powi(2)
    }
}

/// The curve of sRGB (IEC 61966-2-1) from light to values, both clipped to 0 to 1.
pub(super) fn srgb_of_light(light: f64) -> f64 {
    let light = light.clamp(0.0, 1.0);
    if light <= 0.003_130_8 {
        12.92 * light
    } else {
        1.055 * light.powf(1.0 / 2.4) - 0.055
    }
}

fn with_curve(mut profile: ColorProfile, curve: ToneReprCurve) -> ColorProfile {
    profile.red_trc = Some(curve.clone());
    profile.green_trc = Some(curve.clone());
    profile.blue_trc = Some(curve);
    profile
}

/// A profile with the primaries of a code point (ITU-T H.273, table 2), and the curve of sRGB.
fn of_code_point(primaries: u8) -> Option<ColorProfile> {
    const UNSPECIFIED: u8 = 2;
    if primaries == UNSPECIFIED {
        return Some(ColorProfile::new_srgb());
    }
    let color_primaries = CicpColorPrimaries::try_from(primaries).ok()?;
    ColorPrimaries::try_from(color_primaries).ok()?;
    Some(ColorProfile::new_from_cicp(CicpProfile {
        color_primaries,
        transfer_characteristics: TransferCharacteristics::Srgb,
        matrix_coefficients: MatrixCoefficients::Identity,
        full_range: true,
    }))
}

/// The curve from values to light of a code point (ITU-T H.273, table 3).
fn curve_of(transfer: u8) -> Option<ToneReprCurve> {
    Some(match transfer {
        // Not said, sRGB, or the curve of a camera: that is not undone on display, and here sRGB's is taken for
        // the display's, as everywhere.
        1 | 2 | 6 | 13 | 14 | 15 => ColorProfile::new_srgb().red_trc?,
        4 => power(2.2),
        5 => power(2.8),
        8 => linear(),
        16 => sampled(|value| perceptual_quantizer(value) / REFERENCE_WHITE),
        18 => sampled(|value| hybrid_log_gamma(value) / REFERENCE_WHITE),
        _ => TransferCharacteristics::try_from(transfer)
            .ok()?
            .try_into()
            .ok()?,
    })
}

/// The light, in cd/m2, of a value of SMPTE ST 2084 (ITU-R BT.2100, table 4).
fn perceptual_quantizer(value: f64) -> f64 {
    const M1: f64 = 2610.0 / 16384.0;
    const M2: f64 = 2523.0 / 4096.0 * 128.0;
    const C1: f64 = 3424.0 / 4096.0;
    const C2: f64 = 2413.0 / 4096.0 * 32.0;
    const C3: f64 = 2392.0 / 4096.0 * 32.0;
    let root = value.powf(1.0 / M2);
    10_000.0 * ((root - C1).max(0.0) / (C2 - C3 * root)).powf(1.0 / M1)
}

/// The light, in cd/m2, of a grey of this value on a display of 1000 cd/m2 (ITU-R BT.2100, table 5).
fn hybrid_log_gamma(value: f64) -> f64 {
    const A: f64 = 0.178_832_77;
    const B: f64 = 1.0 - 4.0 * A;
    const SYSTEM_GAMMA: f64 = 1.2;
    let c = 0.5 - A * (4.0 * A).ln();
    let scene = if value <= 0.5 {
        value * value / 3.0
    } else {
        (((value - c) / A).exp() + B) / 12.0
    };
    1000.0 * scene.powf(SYSTEM_GAMMA)
}

fn sampled(light: impl Fn(f64) -> f64) -> ToneReprCurve {
    let last = (CURVE_POINTS - 1) as f64;
    let point = |i| (light(i as f64 / last).clamp(0.0, 1.0) * 65535.0).round() as u16;
    ToneReprCurve::Lut((0..CURVE_POINTS).map(point).collect())
}

fn power(exponent: f32) -> ToneReprCurve {
    ToneReprCurve::Parametric(vec![exponent])
}

/// An ICC curve without entries is the identity.
fn linear() -> ToneReprCurve {
    ToneReprCurve::Lut(Vec::new())
}

/// Nothing if the primaries span no triangle with white in it.
fn set_primaries(profile: &mut ColorProfile, said: &Primaries) -> Option<()> {
    let xy = |(x, y): (f32, f32)| Chromaticity::new(x, y);
    let primaries = ColorPrimaries {
        red: xy(said.red),
        green: xy(said.green),
        blue: xy(said.blue),
    };
    let white = XyY {
        x: said.white.0.into(),
        y: said.white.1.into(),
        yb: 1.0,
    };
    if said.white.1 <= 0.0 {
        return None;
    }
    profile.update_rgb_colorimetry(white, primaries);
    let [red, green, blue] = [
        profile.red_colorant,
        profile.green_colorant,
        profile.blue_colorant,
    ];
    [red, green, blue]
        .iter()
        .all(|c| c.y.is_finite() && c.y > 0.0)
        .then_some(())
}
