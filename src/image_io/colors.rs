//! Colours of any kind to sRGB: relative colorimetric, without compensation of the black point, clipped to sRGB.
//!
//! Invariant: what is sRGB by its own curves and primaries is not touched; conversion is at 16 bits. With
//! `profile.rs` and `tables.rs` the only user of `moxcms`.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};

use moxcms::{
    ColorProfile, DataColorSpace, Layout, RenderingIntent, Transform16BitExecutor, TransformOptions,
};

use super::profile::{grey_table, profile_of};
use super::raster::{Channels, Colors};
use super::tables::Tables;

/// One level of 8 bits, in 16: what a profile may be off sRGB and still mean it. Some are that far off to be small.
const LEVEL: i32 = 257;

/// The conversion of the last image that needed one: to make it takes longer than to read a small image, and the
/// images of a folder often share a profile.
static LAST: Mutex<Option<(Colors, Channels, Arc<Conversion>)>> = Mutex::new(None);

/// How rows of colours, without alpha, become sRGB.
pub(super) enum Conversion {
    /// They are sRGB.
    Keep,
    /// Grey, by the sRGB value of each of 65536 levels.
    Grey(Vec<u16>),
    /// Inks that nothing is known of: what no ink of a colour and no black let through.
    Inks,
    Matrix(Arc<Transform16BitExecutor>),
    Tables(Tables),
    /// Grey in a space of three colours.
    GreyAsRgb(Box<Conversion>),
}

impl Conversion {
    /// The conversion of these colours, and whether it is the one they ask for. Without a profile that can be used
    /// it is that of sRGB.
    pub(super) fn new(colors: Colors, channels: Channels) -> (Arc<Self>, bool) {
        let plain = match channels {
            Channels::Cmyk => Self::Inks,
            _ => Self::Keep,
        };
        if colors == Colors::Srgb {
            return (Arc::new(plain), true);
        }
        let mut last = LAST.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(last) = last
            .as_ref()
            .filter(|last| last.0 == colors && last.1 == channels)
        {
            return (Arc::clone(&last.2), true);
        }
        // Profiles are anybody's bytes, which `moxcms` doesn't promise to survive. It keeps nothing between calls.
        let found = catch_unwind(AssertUnwindSafe(|| Self::of_profile(&colors, channels)));
        let Some(found) = found.ok().flatten().map(Arc::new) else {
            return (Arc::new(plain), false);
        };
        *last = Some((colors, channels, Arc::clone(&found)));
        (found, true)
    }

    fn of_profile(colors: &Colors, channels: Channels) -> Option<Self> {
        let profile = profile_of(colors)?;
        let grey = matches!(channels, Channels::Grey | Channels::GreyAlpha);
        match (profile.color_space, channels) {
            (DataColorSpace::Gray, _) if grey => {
                let table = grey_table(&profile)?;
                let level = |i| i32::from(i as u16);
                let off = |(i, &value): (usize, &u16)| (level(i) - i32::from(value)).abs();
                let srgb = table.iter().enumerate().map(off).all(|off| off <= LEVEL);
                Some(if srgb { Self::Keep } else { Self::Grey(table) })
            }
            (DataColorSpace::Rgb, Channels::Cmyk) => None,
            (DataColorSpace::Rgb, _) => {
                let conversion = if has_tables(&profile) {
                    Self::Tables(Tables::new(&profile, Layout::Rgb)?)
                } else {
                    let srgb = ColorProfile::new_srgb();
                    Self::Matrix(transform(&profile, Layout::Rgb, &srgb)?)
                };
                Some(if conversion.changes_nothing() {
                    Self::Keep
                } else if grey {
                    Self::GreyAsRgb(Box::new(conversion))
                } else {
                    conversion
                })
            }
            (DataColorSpace::Cmyk, Channels::Cmyk) => {
                Some(Self::Tables(Tables::new(&profile, Layout::Rgba)?))
            }
            _ => None,
        }
    }

    /// Whether greys and a grid of colours stay within a level of what they are.
    fn changes_nothing(&self) -> bool {
        let grid = |i: u16| [i / 81, i / 9 % 9, i % 9].map(|step| step * 8191);
        let grid = (0..729).map(grid);
        let greys = (0..=255).map(|level: u16| [level * 257; 3]);
        let colors: Vec<u16> = grid.chain(greys).flatten().collect();
        let mut converted = vec![0; colors.len()];
        self.convert(&colors, &mut converted);
        let mut pairs = colors.iter().zip(&converted);
        pairs.all(|(&a, &b)| (i32::from(a) - i32::from(b)).abs() <= LEVEL)
    }

    /// Whether values stay as they are, but for grey, which is repeated.
    pub(super) fn keeps(&self) -> bool {
        matches!(self, Self::Keep)
    }

    /// The sRGB values of a row: `to` has three a pixel, and `from` the row's colours.
    pub(super) fn convert(&self, from: &[u16], to: &mut [u16]) {
        match self {
            Self::Keep if from.len() == to.len() => to.copy_from_slice(from),
            Self::Keep => spread(from.iter().copied(), to),
            Self::Grey(table) => spread(from.iter().map(|&v| table[usize::from(v)]), to),
            Self::Inks => {
                for (to, ink) in to.as_chunks_mut::<3>().0.iter_mut().zip(from.as_chunks().0) {
                    *to = without_profile(*ink);
                }
            }
            Self::Matrix(transform) => transformed(&**transform, from, to),
            Self::Tables(tables) => tables.convert(from, to),
            Self::GreyAsRgb(conversion) => {
                let mut colors = vec![0; to.len()];
                spread(from.iter().copied(), &mut colors);
                conversion.convert(&colors, to);
            }
        }
    }
}

fn spread(from: impl Iterator<Item = u16>, to: &mut [u16]) {
    for (pixel, value) in to.as_chunks_mut::<3>().0.iter_mut().zip(from) {
        *pixel = [value; 3];
    }
}

/// Each colour times black, of what the inks let through: as libjpeg's users and browsers show such files.
fn without_profile([cyan, magenta, yellow, black]: [u16; 4]) -> [u16; 3] {
    let full = u32::from(u16::MAX);
    let light = |ink: u16| full - u32::from(ink);
    [cyan, magenta, yellow].map(|ink| ((light(ink) * light(black) + full / 2) / full) as u16)
}

fn has_tables(profile: &ColorProfile) -> bool {
    profile.lut_a_to_b_colorimetric.is_some()
}

/// A transform at 16 bits, whose lengths must fit its layouts: that is all that it can fail of.
pub(super) fn transformed(transform: &Transform16BitExecutor, from: &[u16], to: &mut [u16]) {
    transform.transform(from, to).expect("rows of whole pixels");
}

/// The transform of `moxcms` from a profile's colours to three of another.
pub(super) fn transform(
    profile: &ColorProfile,
    layout: Layout,
    to: &ColorProfile,
) -> Option<Arc<Transform16BitExecutor>> {
    let options = TransformOptions {
        rendering_intent: RenderingIntent::RelativeColorimetric,
        // The curves of a profile count, whatever code points it names beside them.
        allow_use_cicp_transfer: false,
        prefer_fixed_point: false,
        ..TransformOptions::default()
    };
    profile
        .create_transform_16bit(layout, to, Layout::Rgb, options)
        .ok()
}
