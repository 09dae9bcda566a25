//! Profiles with tables: to Lab by `moxcms`, and from there to sRGB by formula.
//!
//! Invariant: only the tables themselves are interpolated. Left to itself `moxcms` samples the whole conversion anew,
//! on 17 or 33 points a channel, and between these sRGB's curve is bent too much: dark values were up to 15 levels off.

use std::sync::Arc;

use moxcms::{ColorProfile, DataColorSpace, Layout, Transform16BitExecutor};

use super::profile::{light_of_lab, srgb_of_light};

/// A conversion by tables.
pub(super) struct Tables {
    to_lab: Arc<Transform16BitExecutor>,
    /// XYZ under D50 to light of sRGB.
    matrix: [[f32; 3]; 3],
    /// The sRGB value of each of 65536 lights.
    values: Vec<u16>,
}

impl Tables {
    /// The conversion of a profile that has tables from its colours.
    pub(super) fn new(profile: &ColorProfile, layout: Layout) -> Option<Self> {
        let mut lab = ColorProfile::new_lab();
        lab.pcs = DataColorSpace::Lab;
        let value = |light| srgb_of_light(f64::from(light) / 65535.0) * 65535.0;
        let matrix = ColorProfile::new_srgb().colorant_matrix().inverse();
        Some(Self {
            to_lab: super::colors::transform(profile, layout, &lab)?,
            matrix: matrix.v.map(|row| row.map(|factor| factor as f32)),
            values: (0..=u16::MAX)
                .map(|light| value(light).round_ties_even() as u16)
                .collect(),
        })
    }

    /// The sRGB values, three a pixel, of colours.
    pub(super) fn convert(&self, from: &[u16], to: &mut [u16]) {
        super::colors::transformed(&*self.to_lab, from, to);
        for pixel in to.as_chunks_mut::<3>().0 {
            let light = light_of_lab(*pixel);
            *pixel = self.matrix.map(|row| {
                let light: f32 = row
                    .iter()
                    .zip(light)
                    .map(|(factor, part)| factor * part)
                    .sum();
                // Below 0 is 0, above 1 is 1.
                self.values[usize::from((light * 65535.0).round() as u16)]
            });
        }
    }
}
