//! Least squares: normal equations, added up and solved.
//!
//! Invariant: equations without a solution, or with many, still give finite numbers.

/// Sums that run beside each other.
pub(super) const LANES: usize = 16;
/// Equations are added when there are so many: few enough for f32 to be exact enough, and for a cache.
const AT_ONCE: usize = 512;

/// Of some unknowns: the factor of each in what is to be added up to results.
pub(super) struct Equations {
    /// Of equations that aren't added yet: one for each unknown, and the results.
    terms: Vec<Vec<f32>>,
    /// Of products of terms `i` with terms `j`, where `j` is at most `i`.
    sums: Vec<Vec<f64>>,
}

impl Equations {
    pub(super) fn new(unknowns: usize) -> Self {
        Self {
            terms: vec![Vec::new(); unknowns + 1],
            sums: (0..=unknowns).map(|i| vec![0.0; i + 1]).collect(),
        }
    }

    /// What unknown `number` is multiplied with in some more equations; the number after the last unknown has the results. An
    /// equation counts as the square of a factor that all of it has.
    pub(super) fn extend(&mut self, number: usize, terms: impl Iterator<Item = f32>) {
        self.terms[number].extend(terms);
    }

    /// After the same number of equations was given for each unknown.
    pub(super) fn end_row(&mut self) {
        if self.terms[0].len() >= AT_ONCE {
            self.add();
        }
    }

    fn add(&mut self) {
        for (sums, terms) in self.sums.iter_mut().zip(&self.terms) {
            for (sum, others) in sums.iter_mut().zip(&self.terms) {
                *sum += f64::from(sum_of_products(terms, others));
            }
        }
        self.terms.iter_mut().for_each(Vec::clear);
    }

    /// The sum of products of terms `i` and `j`.
    fn sum(&self, i: usize, j: usize) -> f64 {
        self.sums[i.max(j)][i.min(j)]
    }

    /// The first `count` unknowns, without the others, by Cholesky's decomposition, with a little added to the diagonal.
    pub(super) fn solve(&mut self, count: usize) -> Vec<f64> {
        self.add();
        let trace: f64 = (0..count).map(|i| self.sum(i, i)).sum();
        let ridge = trace / count as f64 * 1e-7 + 1e-12;
        let mut lower = vec![vec![0.0; count]; count];
        for i in 0..count {
            for j in 0..=i {
                let known: f64 = (0..j).map(|k| lower[i][k] * lower[j][k]).sum();
                let left = self.sum(i, j) - known;
                lower[i][j] = if i == j {
                    (left + ridge).max(ridge).sqrt()
                } else {
                    left / lower[j][j]
                };
            }
        }
        let mut out: Vec<f64> = (0..count)
            .map(|i| self.sum(self.sums.len() - 1, i))
            .collect();
        for i in 0..count {
            let known: f64 = (0..i).map(|k| lower[i][k] * out[k]).sum();
            out[i] = (out[i] - known) / lower[i][i];
        }
        for i in (0..count).rev() {
            let known: f64 = (i + 1..count).map(|k| lower[k][i] * out[k]).sum();
            out[i] = (out[i] - known) / lower[i][i];
        }
        out
    }

    /// None of them negative: one after the other, from `start` on.
    pub(super) fn solve_positive(&mut self, start: &[f32]) -> Vec<f32> {
        self.add();
        let unknowns = start.len();
        let mut out: Vec<f64> = start.iter().map(|&weight| f64::from(weight)).collect();
        for _ in 0..60 {
            for i in 0..unknowns {
                let all: f64 = (0..unknowns).map(|j| self.sum(i, j) * out[j]).sum();
                let own = self.sum(i, i);
                let others = all - own * out[i];
                out[i] = ((self.sum(unknowns, i) - others) / (own + 1e-12)).max(0.0);
            }
        }
        out.into_iter().map(|weight| weight as f32).collect()
    }
}

#[inline]
pub(super) fn sum_of_products(a: &[f32], b: &[f32]) -> f32 {
    let ((a, a_end), (b, b_end)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
    let mut sums = [0.0; LANES];
    for (a, b) in a.iter().zip(b) {
        for ((sum, a), b) in sums.iter_mut().zip(a).zip(b) {
            *sum += a * b;
        }
    }
    let end = a_end.iter().zip(b_end).map(|(a, b)| a * b);
    sums.iter().sum::<f32>() + end.sum::<f32>()
}
