//! The one distribution that all residuals are coded with, in integers.
//!
//! Invariant: what the constants say never changes; stored latents have it.
//!
//! Student's t distribution with 6 degrees of freedom, scaled: between a Gaussian and a Laplace
//! distribution, as residuals are whose scale is only estimated. Of latents of photographs, t of 3 or 8
//! degrees, Gauss, Laplace and the logistic distribution mostly take 0.1 to 3 % more.

/// The sum of all slots: a probability is a number of these.
pub(super) const SLOTS: u32 = 1 << 16;
/// The first slot of the escape.
pub(super) const ESCAPE: u32 = SLOTS - 16;
/// Parts of a cell in which a prediction is given.
pub(super) const FRACTION: i32 = 16;
/// A scale is counted in this part of a cell.
pub(super) const FINE: i32 = 64;
/// Scales are below this: 8 cells.
pub(super) const SCALES: u32 = 512;
/// The least scale, an eighth of a cell; lower ones are taken for it.
const LEAST: i32 = 8;

/// Steps of the distribution function in one scale, and the last of them: 12 scales.
const STEP: i32 = 128;
const LAST: i32 = 12 * STEP;
/// The least cell has so many steps, and at least one slot before the last step.
const NARROW: i32 = 16;
/// Slots that the distribution is cut into on either side; with those that narrow cells need, half of all.
const HALF: u64 = 32733;
/// Bits of a reciprocal below one step.
const RECIPROCAL_BITS: u32 = 13;
/// A decoder begins to look at most so far from the middle, in steps, and looks at no cell whose end is beyond the other.
const NEAR: i32 = 6 * STEP;
const FAR: i32 = 23 * STEP;

/// The probability of a value between 0 and i/16 scales, in 2^20ths of that up to 12 scales; made by
/// `benches/dense_table.py`.
#[rustfmt::skip]
const TABLE: [u32; 193] = [
    0, 50_128, 100_029, 149_479, 198_261, 246_172, 293_022, 338_637, 382_864, 425_571, 466_647, 506_004,
    543_574, 579_313, 613_196, 645_216, 675_383, 703_723, 730_275, 755_089, 778_223, 799_744, 819_723, 838_236,
    855_361, 871_177, 885_763, 899_197, 911_556, 922_913, 933_341, 942_908, 951_679, 959_715, 967_075, 973_811,
    979_976, 985_616, 990_774, 995_493, 999_808, 1_003_755, 1_007_364, 1_010_666, 1_013_688, 1_016_452, 1_018_983, 1_021_300,
    1_023_422, 1_025_367, 1_027_149, 1_028_783, 1_030_282, 1_031_658, 1_032_921, 1_034_081, 1_035_148, 1_036_128, 1_037_030, 1_037_861,
    1_038_625, 1_039_330, 1_039_980, 1_040_579, 1_041_132, 1_041_643, 1_042_115, 1_042_552, 1_042_956, 1_043_329, 1_043_676, 1_043_996,
    1_044_294, 1_044_570, 1_044_826, 1_045_064, 1_045_285, 1_045_491, 1_045_682, 1_045_860, 1_046_026, 1_046_180, 1_046_324, 1_046_459,
    1_046_584, 1_046_701, 1_046_811, 1_046_913, 1_047_009, 1_047_098, 1_047_182, 1_047_261, 1_047_334, 1_047_403, 1_047_468, 1_047_529,
    1_047_586, 1_047_639, 1_047_690, 1_047_737, 1_047_782, 1_047_824, 1_047_863, 1_047_900, 1_047_935, 1_047_968, 1_048_000, 1_048_029,
    1_048_057, 1_048_083, 1_048_108, 1_048_131, 1_048_153, 1_048_174, 1_048_194, 1_048_213, 1_048_230, 1_048_247, 1_048_263, 1_048_278,
    1_048_293, 1_048_306, 1_048_319, 1_048_331, 1_048_343, 1_048_354, 1_048_364, 1_048_374, 1_048_384, 1_048_393, 1_048_402, 1_048_410,
    1_048_418, 1_048_425, 1_048_432, 1_048_439, 1_048_445, 1_048_451, 1_048_457, 1_048_463, 1_048_468, 1_048_473, 1_048_478, 1_048_482,
    1_048_487, 1_048_491, 1_048_495, 1_048_499, 1_048_503, 1_048_506, 1_048_510, 1_048_513, 1_048_516, 1_048_519, 1_048_522, 1_048_525,
    1_048_527, 1_048_530, 1_048_532, 1_048_534, 1_048_537, 1_048_539, 1_048_541, 1_048_543, 1_048_545, 1_048_546, 1_048_548, 1_048_550,
    1_048_551, 1_048_553, 1_048_554, 1_048_556, 1_048_557, 1_048_558, 1_048_560, 1_048_561, 1_048_562, 1_048_563, 1_048_564, 1_048_565,
    1_048_566, 1_048_567, 1_048_568, 1_048_569, 1_048_570, 1_048_571, 1_048_572, 1_048_572, 1_048_573, 1_048_574, 1_048_575, 1_048_575,
    1_048_576,
];

/// For each step from -23 to 23 scales, the slots of all values below it.
static BELOW: [u16; 2 * FAR as usize + 1] = below();

const fn below() -> [u16; 2 * FAR as usize + 1] {
    let mut out = [0; 2 * FAR as usize + 1];
    let mut side = [0; LAST as usize + 1];
    let mut at = 0;
    while at <= FAR {
        if at <= LAST {
            let (from, part) = ((at / 8) as usize, at as u64 % 8);
            let to = if from + 1 < TABLE.len() {
                from + 1
            } else {
                from
            };
            let share = (8 - part) * TABLE[from] as u64 + part * TABLE[to] as u64;
            let slots = ((HALF * share + (1 << 22)) >> 23) as u16;
            let least = if at < NARROW {
                0
            } else {
                side[(at - NARROW) as usize] + 1
            };
            side[at as usize] = if slots > least { slots } else { least };
        }
        let slots = side[(if at < LAST { at } else { LAST }) as usize];
        out[(FAR + at) as usize] = (ESCAPE / 2) as u16 + slots;
        out[(FAR - at) as usize] = (ESCAPE / 2) as u16 - slots;
        at += 1;
    }
    assert!(
        side[LAST as usize] as u32 == ESCAPE / 2,
        "all slots are used"
    );
    out
}

/// 2^22 divided by a scale: what makes 16ths of a cell steps of the distribution function.
static RECIPROCALS: [i32; SCALES as usize] = reciprocals();

const fn reciprocals() -> [i32; SCALES as usize] {
    let mut out = [0; SCALES as usize];
    let mut scale = 0;
    while scale < SCALES.cast_signed() {
        let divisor = if scale < LEAST { LEAST } else { scale };
        out[scale as usize] = ((1 << (9 + RECIPROCAL_BITS)) + divisor / 2) / divisor;
        scale += 1;
    }
    out
}

/// For every 32 slots about the step they belong to: where a decoder begins to look.
static STEPS: [i16; (SLOTS / 32) as usize] = steps();

const fn steps() -> [i16; (SLOTS / 32) as usize] {
    let mut out = [0; (SLOTS / 32) as usize];
    let mut step = -NEAR;
    let mut at = 0;
    while at < out.len() {
        while step < NEAR && (BELOW[(FAR + step) as usize] as usize) < at * 32 + 16 {
            step += 1;
        }
        out[at] = step as i16;
        at += 1;
    }
    out
}

/// Slots of one symbol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Slots {
    pub(super) first: u32,
    pub(super) count: u32,
}

/// The slots of escapes.
pub(super) const ESCAPES: Slots = Slots {
    first: ESCAPE,
    count: SLOTS - ESCAPE,
};

/// The distribution of one value's residual.
#[derive(Debug, Clone, Copy)]
pub(super) struct Distribution {
    scale: i32,
    reciprocal: i32,
    fraction: i32,
}

impl Distribution {
    /// Of a prediction that lies so many 16ths above the lower end of cell 0, with a `scale` of
    /// 64ths of a cell, below [`SCALES`].
    #[inline]
    pub(super) fn new(scale: u32, fraction: i32) -> Self {
        let scale = scale % SCALES;
        Self {
            scale: scale.cast_signed(),
            reciprocal: RECIPROCALS[scale as usize],
            fraction,
        }
    }

    /// The slots below `cell`.
    fn below(self, cell: i32) -> u32 {
        let from = i64::from(cell) * i64::from(FRACTION) - i64::from(self.fraction);
        let step = (from * i64::from(self.reciprocal)) >> RECIPROCAL_BITS;
        let step = step.clamp(-i64::from(FAR), i64::from(FAR)) as i32;
        u32::from(BELOW[(step + FAR) as usize])
    }

    /// The slots of `cell`, if it has any.
    pub(super) fn slots(self, cell: i32) -> Option<Slots> {
        let first = self.below(cell);
        let count = self.below(cell + 1) - first;
        (count > 0).then_some(Slots { first, count })
    }

    /// The cell that has `slot`, which is below [`ESCAPE`], and its slots.
    #[inline]
    pub(super) fn find(self, slot: u32) -> (i32, Slots) {
        let step = i32::from(STEPS[(slot / 32) as usize]);
        let cell = (((step * self.scale) >> 9) + self.fraction) >> 4;
        let from = (FRACTION * cell - self.fraction) * self.reciprocal;
        let to = from + FRACTION * self.reciprocal;
        let at = |product: i32| u32::from(BELOW[((product >> RECIPROCAL_BITS) + FAR) as usize]);
        let (first, end) = (at(from), at(to));
        if slot < first || slot >= end {
            return self.search(slot, cell);
        }
        let count = end - first;
        (cell, Slots { first, count })
    }

    #[cold]
    fn search(self, slot: u32, mut cell: i32) -> (i32, Slots) {
        while slot < self.below(cell) {
            cell -= 1;
        }
        while slot >= self.below(cell + 1) {
            cell += 1;
        }
        let first = self.below(cell);
        let count = self.below(cell + 1) - first;
        (cell, Slots { first, count })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_slot_leads_to_the_cell_that_has_it() {
        for scale in 0..SCALES {
            for fraction in [0, 1, 7, 8, 15] {
                let distribution = Distribution::new(scale, fraction);
                let mut next = 0;
                for cell in -100..=100 {
                    let Some(slots) = distribution.slots(cell) else {
                        continue;
                    };
                    assert_eq!(slots.first, next, "no gap");
                    next += slots.count;
                    for slot in [slots.first, next - 1] {
                        assert_eq!(distribution.find(slot), (cell, slots));
                    }
                }
                assert_eq!(next, ESCAPE);
            }
        }
    }

    #[test]
    fn cells_within_twelve_scales_have_slots() {
        for scale in LEAST.cast_unsigned()..SCALES {
            for fraction in 0..FRACTION {
                let distribution = Distribution::new(scale, fraction);
                let reach = scale.cast_signed() * 12 / 64 - 1;
                assert!((-reach..=reach).all(|cell| distribution.slots(cell).is_some()));
            }
        }
    }

    #[test]
    fn no_cell_takes_less_than_a_hundredth_of_a_bit() {
        let scales = (0..SCALES).flat_map(|scale| (0..FRACTION).map(move |f| (scale, f)));
        let distributions = scales.map(|(scale, fraction)| Distribution::new(scale, fraction));
        let counts = distributions
            .filter_map(|d| d.slots(0))
            .map(|slots| slots.count);
        let most = counts.max().unwrap();
        assert!((f64::from(SLOTS) / f64::from(most)).log2() > 0.01, "{most}");
    }
}
