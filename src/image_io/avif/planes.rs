//! Planes of luma and chroma samples, as AV1 codes them.
//!
//! Invariant: the sides of a chroma plane are those of the image, halved and rounded up where the layout says so.

/// How many chroma samples there are for the samples of luma.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Layout {
    /// None: 4:0:0.
    Grey,
    /// One for two by two: 4:2:0.
    Quarter,
    /// One for two beside each other: 4:2:2.
    Half,
    /// As many: 4:4:4.
    Full,
}

impl Layout {
    /// By how much x and y of luma are shifted to the right to get those of chroma.
    pub(super) fn shifts(self) -> (u32, u32) {
        match self {
            Self::Quarter => (1, 1),
            Self::Half => (1, 0),
            Self::Grey | Self::Full => (0, 0),
        }
    }
}

/// What ITU-T H.273 has code points for, and whether samples use their whole range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cicp {
    pub(super) primaries: u8,
    pub(super) transfer: u8,
    pub(super) matrix: u8,
    pub(super) full_range: bool,
}

pub(super) struct Plane {
    pub(super) width: usize,
    samples: Vec<u16>,
}

impl Plane {
    fn new(width: u32, height: u32) -> Self {
        let (width, height) = (width as usize, height as usize);
        Self {
            width,
            samples: vec![0; width * height],
        }
    }

    pub(super) fn row(&self, y: usize) -> &[u16] {
        &self.samples[y * self.width..][..self.width]
    }

    pub(super) fn height(&self) -> usize {
        self.samples.len() / self.width
    }

    pub(super) fn rows_mut(&mut self) -> impl Iterator<Item = &mut [u16]> {
        self.samples.chunks_exact_mut(self.width)
    }

    /// Lays another plane over this one, its top left corner at (`x`, `y`); what leaves this one is left out.
    fn paste(&mut self, other: &Self, x: usize, y: usize) {
        let width = other.width.min(self.width - x);
        for (to, from) in self
            .rows_mut()
            .skip(y)
            .zip(other.samples.chunks_exact(other.width))
        {
            to[x..x + width].copy_from_slice(&from[..width]);
        }
    }
}

pub(super) struct Planes {
    pub(super) width: u32,
    pub(super) height: u32,
    /// Bits a sample: 8, 10 or 12.
    pub(super) depth: u8,
    pub(super) layout: Layout,
    /// Luma, and in colour blue and red chroma.
    pub(super) parts: Vec<Plane>,
}

impl Planes {
    pub(super) fn new(width: u32, height: u32, depth: u8, layout: Layout) -> Self {
        let mut parts = vec![Plane::new(width, height)];
        if layout != Layout::Grey {
            let (x, y) = layout.shifts();
            let chroma = || Plane::new(width.div_ceil(1 << x), height.div_ceil(1 << y));
            parts.extend([chroma(), chroma()]);
        }
        Self {
            width,
            height,
            depth,
            layout,
            parts,
        }
    }

    /// Lays a tile over these planes, its top left corner at (`x`, `y`). `None` if it is of another kind, or
    /// cuts a chroma sample in two.
    pub(super) fn paste(&mut self, tile: &Self, x: u32, y: u32) -> Option<()> {
        let (right, down) = self.layout.shifts();
        let same = (tile.depth, tile.layout) == (self.depth, self.layout);
        if !same || !x.is_multiple_of(1 << right) || !y.is_multiple_of(1 << down) {
            return None;
        }
        for (index, (plane, part)) in self.parts.iter_mut().zip(&tile.parts).enumerate() {
            let (right, down) = if index == 0 { (0, 0) } else { (right, down) };
            plane.paste(part, (x >> right) as usize, (y >> down) as usize);
        }
        Some(())
    }
}
