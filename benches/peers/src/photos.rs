//! Photographs that nobody took: pictures with the statistics of photographs, from a seed.

use latentdb::Pixels;

use crate::Result;

/// A picture of `width` x `height` pixels: noise of all scales that falls off as in photographs (about 1/f), tinted,
/// with a few sharp edges.
pub fn photo(width: u32, height: u32, seed: u64) -> Result<Pixels> {
    let mut noise = Noise(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let (columns, rows) = (width as usize, height as usize);
    let mut light = vec![0.0f32; columns * rows];
    let mut step = 256usize;
    while step >= 2 {
        let (across, down) = (columns / step + 2, rows / step + 2);
        let grid: Vec<f32> = (0..across * down).map(|_| noise.next()).collect();
        let weight = (step as f32).powf(0.9);
        for y in 0..rows {
            for x in 0..columns {
                let (gx, gy) = (x / step, y / step);
                let (fx, fy) = (
                    (x % step) as f32 / step as f32,
                    (y % step) as f32 / step as f32,
                );
                let at = |dx: usize, dy: usize| grid[(gy + dy) * across + gx + dx];
                let top = at(0, 0) * (1.0 - fx) + at(1, 0) * fx;
                let bottom = at(0, 1) * (1.0 - fx) + at(1, 1) * fx;
                light[y * columns + x] += weight * (top * (1.0 - fy) + bottom * fy);
            }
        }
        step /= 2;
    }
    let edge = noise.next() * 60.0;
    let tint: [f32; 3] = std::array::from_fn(|_| 0.8 + 0.3 * noise.next());
    let colors = light.iter().enumerate().flat_map(|(at, &value)| {
        let (x, y) = ((at % columns) as f32, (at / columns) as f32);
        let inside = (x - 0.6 * width as f32).hypot(y - 0.4 * height as f32) < 0.2 * width as f32;
        let value = 120.0 + 0.35 * value + if inside { edge } else { 0.0 };
        tint.map(|tint| (value * tint).clamp(0.0, 255.0) as u8)
    });
    Ok(Pixels::from_rgb(width, height, colors.collect())?)
}

/// Numbers from -1 to 1 (xorshift64*).
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> f32 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let bits = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 40;
        bits as f32 / 8_388_608.0 - 1.0
    }
}
