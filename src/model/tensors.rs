//! Pixels and latents as the tensors of a graph, and back, for graphs that want other types, orders or ranges than
//! those written here do.
//!
//! Invariant: a graph written here gets its bytes and hands out its latent without any arithmetic.

use half::f16;

use super::spec::{Layout, PixelTensor};
use crate::latent::LatentShape;
use crate::pixels::Pixels;

/// A type of a graph's values.
pub(super) trait Number: Copy {
    fn from_f32(value: f32) -> Self;
    fn to_f32(self) -> f32;
    /// The same values, if they are bytes.
    fn bytes(_values: &[Self]) -> Option<&[u8]> {
        None
    }
    /// The same values, if they are bytes.
    fn bytes_mut(_values: &mut [Self]) -> Option<&mut [u8]> {
        None
    }
}

impl Number for f32 {
    fn from_f32(value: f32) -> Self {
        value
    }
    fn to_f32(self) -> f32 {
        self
    }
}

impl Number for f16 {
    fn from_f32(value: f32) -> Self {
        f16::from_f32(value)
    }
    fn to_f32(self) -> f32 {
        self.to_f32()
    }
}

impl Number for u8 {
    /// Rounds half to even and clips, as images are rounded everywhere here.
    fn from_f32(value: f32) -> Self {
        value.round_ties_even() as u8
    }
    fn to_f32(self) -> f32 {
        f32::from(self)
    }
    fn bytes(values: &[Self]) -> Option<&[u8]> {
        Some(values)
    }
    fn bytes_mut(values: &mut [Self]) -> Option<&mut [u8]> {
        Some(values)
    }
}

/// The shape of a batch of images of `width` x `height` as a graph wants it.
pub(super) fn pixel_shape(
    tensor: &PixelTensor,
    batch: usize,
    (width, height): (u32, u32),
) -> [i64; 4] {
    let batch = batch.cast_signed() as i64;
    let (width, height) = (i64::from(width), i64::from(height));
    match tensor.layout {
        Layout::Nhwc => [batch, height, width, 3],
        Layout::Nchw => [batch, 3, height, width],
    }
}

/// Whether a tensor of bytes is just what [`Pixels`] are.
fn is_rgb(tensor: &PixelTensor) -> bool {
    tensor.layout == Layout::Nhwc
        && tensor.range.map(f32::to_bits) == [0.0, 255.0].map(f32::to_bits)
}

/// Writes images of one size into a graph's input.
pub(super) fn fill_pixels<T: Number>(tensor: &PixelTensor, images: &[&Pixels], out: &mut [T]) {
    let [low, high] = tensor.range;
    let span = (high - low) / 255.0;
    let value = |byte: u8| T::from_f32(f32::from(byte) * span + low);
    let mut rest = out;
    for image in images {
        let bytes = image.as_rgb();
        let (own, next) = rest.split_at_mut(bytes.len());
        rest = next;
        if let (true, Some(own)) = (is_rgb(tensor), T::bytes_mut(own)) {
            own.copy_from_slice(bytes);
            continue;
        }
        match tensor.layout {
            Layout::Nhwc => own.iter_mut().zip(bytes).for_each(|(o, b)| *o = value(*b)),
            Layout::Nchw => {
                let planes = own.chunks_exact_mut(bytes.len() / 3).enumerate();
                for (channel, plane) in planes {
                    let bytes = bytes.iter().skip(channel).step_by(3);
                    plane
                        .iter_mut()
                        .zip(bytes)
                        .for_each(|(o, b)| *o = value(*b));
                }
            }
        }
    }
}

/// RGB bytes of one image out of a graph's output.
pub(super) fn take_pixels<T: Number>(tensor: &PixelTensor, values: &[T]) -> Vec<u8> {
    if let (true, Some(bytes)) = (is_rgb(tensor), T::bytes(values)) {
        return bytes.to_vec();
    }
    let [low, high] = tensor.range;
    let span = 255.0 / (high - low);
    let byte = |value: &T| u8::from_f32((value.to_f32() - low) * span);
    match tensor.layout {
        Layout::Nhwc => values.iter().map(byte).collect(),
        Layout::Nchw => {
            let pixels = values.len() / 3;
            let at = |pixel: usize, channel: usize| byte(&values[channel * pixels + pixel]);
            (0..pixels)
                .flat_map(|pixel| [at(pixel, 0), at(pixel, 1), at(pixel, 2)])
                .collect()
        }
    }
}

/// How a graph's latents differ from those that are kept: `stored * factor + offset`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Units {
    factor: f32,
    offset: f32,
}

impl Units {
    /// Unscaled, as latents are kept.
    pub(super) const STORED: Units = Units {
        factor: 1.0,
        offset: 0.0,
    };

    /// `(stored - shift) * scaling`.
    pub(super) fn scaled(scaling: f64, shift: f64) -> Self {
        Self {
            factor: scaling as f32,
            offset: (-shift * scaling) as f32,
        }
    }

    /// Writes a kept latent into a graph's input.
    pub(super) fn fill<T: Number>(self, latent: &[f16], out: &mut [T]) {
        for (out, value) in out.iter_mut().zip(latent) {
            *out = T::from_f32(value.to_f32() * self.factor + self.offset);
        }
    }

    /// The posterior mean of one image, whose values come first in its part of a graph's output.
    pub(super) fn take<T: Number>(self, values: &[T], shape: LatentShape) -> Vec<f16> {
        let kept = (shape.byte_len() / 2) as usize;
        let stored = |value: &T| f16::from_f32((value.to_f32() - self.offset) / self.factor);
        values.iter().take(kept).map(stored).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::spec::Element;

    fn tensor(layout: Layout, range: [f32; 2]) -> PixelTensor {
        PixelTensor {
            name: "x".into(),
            element: Element::F32,
            layout,
            range,
        }
    }

    #[test]
    fn pixels_survive_every_layout_and_range() {
        let bytes: Vec<u8> = (0..=255).cycle().take(2 * 128 * 3).collect();
        let image = Pixels::from_rgb(128, 2, bytes.clone()).unwrap();
        for layout in [Layout::Nhwc, Layout::Nchw] {
            for range in [[0.0, 255.0], [-1.0, 1.0], [0.0, 1.0], [1.0, -1.0]] {
                let tensor = tensor(layout, range);
                let mut values = vec![0f32; 2 * bytes.len()];
                fill_pixels(&tensor, &[&image, &image], &mut values);
                let second = &values[bytes.len()..];
                assert_eq!(take_pixels(&tensor, second), bytes, "{tensor:?}");
            }
        }
    }

    #[test]
    fn channels_come_first_where_they_should() {
        let image = Pixels::from_rgb(2, 1, vec![1, 2, 3, 4, 5, 6]).unwrap();
        let mut values = [0f32; 6];
        fill_pixels(&tensor(Layout::Nchw, [0.0, 255.0]), &[&image], &mut values);
        assert_eq!(values.map(|v| v as u8), [1, 4, 2, 5, 3, 6]);
    }

    #[test]
    fn values_beyond_black_and_white_are_clipped_and_halves_round_to_even() {
        let unit = tensor(Layout::Nhwc, [0.0, 255.0]);
        let bytes = take_pixels(&unit, &[-7.0f32, 300.0, 0.5, 1.5, 2.5, f32::NAN]);
        assert_eq!(bytes, [0, 255, 0, 2, 2, 0]);
    }

    #[test]
    fn scaled_latents_are_kept_unscaled() {
        let shape = LatentShape {
            channels: 1,
            height: 1,
            width: 2,
        };
        let units = Units::scaled(0.5, 3.0);
        // Mean, then a variance that isn't kept.
        let stored = units.take(&[-1.0f32, 0.5, 9.0, 9.0], shape);
        assert_eq!(stored, [f16::from_f32(1.0), f16::from_f32(4.0)]);
        let mut back = [0f32; 2];
        units.fill(&stored, &mut back);
        assert_eq!(back.map(f32::to_bits), [-1.0f32, 0.5].map(f32::to_bits));
    }
}
