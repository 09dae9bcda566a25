//! The latent: f16 values, channel by channel, and its shape.
//!
//! Invariant: `data.len() == channels * height * width`, no dimension is zero, every value is finite.

use half::f16;
use ndarray::{ArrayView, ArrayView3};

use crate::error::{Error, Result};

/// Channels, height and width of a latent, in this order (CHW). Height and width count latent
/// cells: a side of the image divided by the model's spatial compression ratio, rounded up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct LatentShape {
    /// Number of channels: 4 in the classic case.
    pub channels: u32,
    /// Rows of cells.
    pub height: u32,
    /// Columns of cells.
    pub width: u32,
}

impl LatentShape {
    /// More values than this are refused wherever a shape is read: 2^31, 4 GiB of f16.
    pub(crate) const MAX_VALUES: u64 = 1 << 31;

    /// Number of values, checked.
    ///
    /// # Errors
    /// `InvalidInput` if a dimension is zero or there are more than 2^31 values.
    pub fn values(self) -> Result<usize> {
        let count = u64::from(self.channels)
            .checked_mul(u64::from(self.height))
            .and_then(|n| n.checked_mul(u64::from(self.width)))
            .filter(|n| (1..=Self::MAX_VALUES).contains(n));
        count.map(|n| n as usize).ok_or_else(|| {
            Error::invalid(format!(
                "a latent can't have the shape {self}: each dimension is at least 1, with at most {} values",
                Self::MAX_VALUES
            ))
        })
    }

    /// Bytes of the raw f16 latent: 2 a value.
    pub fn byte_len(self) -> u64 {
        2 * u64::from(self.channels) * u64::from(self.height) * u64::from(self.width)
    }
}

impl std::fmt::Display for LatentShape {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}x{}x{}", self.channels, self.height, self.width)
    }
}

/// A latent: the f16 posterior mean of one image, **unscaled**, CHW.
///
/// A diffusion model wants `(latent - shift_factor) * scaling_factor` of the model that made it.
#[derive(Clone, PartialEq)]
pub struct Latent {
    shape: LatentShape,
    data: Vec<f16>,
}

impl Latent {
    /// A latent of `shape` from its values, channel by channel.
    ///
    /// # Errors
    /// `InvalidInput` if the number of values is not the shape's, or a value is not finite.
    pub fn new(shape: LatentShape, data: Vec<f16>) -> Result<Self> {
        check_count(shape, &data)?;
        if !all_finite(&data) {
            let at = data.iter().position(|v| !v.is_finite());
            let at = at.expect("one of them is not finite");
            return Err(Error::invalid(format!(
                "value {at} of the latent of shape {shape} is {}: only finite values are kept",
                data[at]
            )));
        }
        Ok(Self { shape, data })
    }

    /// Like [`new`](Self::new), of values that are finite by the way they were made, so that
    /// reading a record needn't look at each once more.
    pub(crate) fn from_finite(shape: LatentShape, data: Vec<f16>) -> Result<Self> {
        check_count(shape, &data)?;
        debug_assert!(all_finite(&data), "they were said to be finite");
        Ok(Self { shape, data })
    }

    /// Channels, height and width.
    pub fn shape(&self) -> LatentShape {
        self.shape
    }

    /// The values, channel by channel, rows from the top.
    pub fn as_slice(&self) -> &[f16] {
        &self.data
    }

    /// The values as an array of shape `[channels, height, width]`, without a copy.
    pub fn as_array(&self) -> ArrayView3<'_, f16> {
        let LatentShape {
            channels,
            height,
            width,
        } = self.shape;
        ArrayView::from_shape(
            (channels as usize, height as usize, width as usize),
            &self.data,
        )
        .expect("the number of values is the shape's, see Latent::new")
    }
}

fn check_count(shape: LatentShape, data: &[f16]) -> Result<()> {
    if shape.values()? == data.len() {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "a latent of shape {shape} can't be made of {} values",
        data.len()
    )))
}

/// Whether every value is finite. Without an early exit, because such a loop runs on vectors.
fn all_finite(values: &[f16]) -> bool {
    let finite = |all: bool, value: &f16| all & value.is_finite();
    values.iter().fold(true, finite)
}

impl std::fmt::Debug for Latent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Latent({} f16)", self.shape)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(channels: u32, height: u32, width: u32) -> LatentShape {
        LatentShape {
            channels,
            height,
            width,
        }
    }

    #[test]
    fn shapes_that_are_empty_or_absurd_are_refused() {
        for bad in [
            shape(0, 1, 1),
            shape(4, 0, 1),
            shape(u32::MAX, u32::MAX, u32::MAX),
        ] {
            assert!(bad.values().is_err(), "{bad}");
        }
        assert_eq!(shape(4, 64, 64).values().unwrap(), 16384);
    }

    #[test]
    fn a_value_that_is_not_finite_is_refused_by_position() {
        for bad in [f16::NAN, f16::INFINITY, f16::NEG_INFINITY] {
            let error = Latent::new(shape(1, 1, 2), vec![f16::ONE, bad]).unwrap_err();
            assert!(error.to_string().starts_with("value 1 of"), "{error}");
        }
    }

    #[test]
    fn the_array_view_is_channel_height_width() {
        let values = (0..24u8).map(f16::from).collect();
        let latent = Latent::new(shape(2, 3, 4), values).unwrap();
        assert_eq!(latent.as_array()[[1, 2, 3]], f16::from(23u8));
        assert_eq!(latent.as_array()[[1, 0, 0]], f16::from(12u8));
    }
}
