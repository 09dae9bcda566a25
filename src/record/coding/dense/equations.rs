//! Least squares: normal equations, added up and solved.
//!
//! Invariant: equations without a solution, or with many, still give finite numbers.

/// In whole vectors of 4.
pub(super) const MOST_TERMS: usize = 24;

type Matrix<T> = [[T; MOST_TERMS]; MOST_TERMS];

/// Of `count` unknowns.
pub(super) struct Equations {
    count: usize,
    sums: Box<Matrix<f64>>,
    right: [f64; MOST_TERMS],
    // Since the last row: few enough that f32 is exact enough.
    row_sums: Box<Matrix<f32>>,
    row_right: [f32; MOST_TERMS],
}

impl Equations {
    pub(super) fn new(count: usize) -> Self {
        Self {
            count,
            sums: Box::new([[0.0; MOST_TERMS]; MOST_TERMS]),
            right: [0.0; MOST_TERMS],
            row_sums: Box::new([[0.0; MOST_TERMS]; MOST_TERMS]),
            row_right: [0.0; MOST_TERMS],
        }
    }

    /// That `terms` give `result`, which counts so much.
    #[inline]
    pub(super) fn add(&mut self, terms: &[f32; MOST_TERMS], result: f32, importance: f32) {
        let (terms_by_4, _) = terms.as_chunks::<4>();
        for (at, sums) in self.row_sums[..self.count].iter_mut().enumerate() {
            let factor = terms[at] * importance;
            let (sums, _) = sums.as_chunks_mut::<4>();
            for (sums, terms) in sums[..=at / 4].iter_mut().zip(terms_by_4) {
                for (sum, term) in sums.iter_mut().zip(terms) {
                    *sum += factor * term;
                }
            }
            self.row_right[at] += factor * result;
        }
    }

    /// The same with fewer terms.
    #[inline]
    pub(super) fn add_few(&mut self, terms: &[f32; 8], result: f32, importance: f32) {
        for (at, sums) in self.sums[..self.count].iter_mut().enumerate() {
            let factor = terms[at] * importance;
            for (sum, term) in sums[..8].iter_mut().zip(terms) {
                *sum += f64::from(factor * term);
            }
            self.right[at] += f64::from(factor * result);
        }
    }

    /// Every few hundred terms, so that sums stay exact.
    pub(super) fn end_row(&mut self) {
        for (sums, row) in self.sums.iter_mut().zip(self.row_sums.iter_mut()) {
            for (sum, row) in sums.iter_mut().zip(row) {
                *sum += f64::from(std::mem::take(row));
            }
        }
        for (sum, row) in self.right.iter_mut().zip(&mut self.row_right) {
            *sum += f64::from(std::mem::take(row));
        }
    }

    /// By Cholesky's decomposition, with a little added to the diagonal.
    pub(super) fn solve(mut self) -> Vec<f64> {
        let count = self.count;
        let trace: f64 = (0..count).map(|i| self.sums[i][i]).sum();
        let ridge = trace / count as f64 * 1e-7 + 1e-12;
        let lower = &mut self.sums;
        for i in 0..count {
            for j in 0..=i {
                let known: f64 = (0..j).map(|k| lower[i][k] * lower[j][k]).sum();
                lower[i][j] = if i == j {
                    (lower[i][i] + ridge - known).max(ridge).sqrt()
                } else {
                    (lower[i][j] - known) / lower[j][j]
                };
            }
        }
        let mut out = self.right[..count].to_vec();
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
    pub(super) fn solve_positive(&self, start: &[f32]) -> Vec<f32> {
        let mut out: Vec<f64> = start.iter().map(|&weight| f64::from(weight)).collect();
        for _ in 0..60 {
            for i in 0..self.count {
                let sums = &self.sums[i];
                let others: f64 =
                    (0..self.count).map(|j| sums[j] * out[j]).sum::<f64>() - sums[i] * out[i];
                out[i] = ((self.right[i] - others) / (sums[i] + 1e-12)).max(0.0);
            }
        }
        out.into_iter().map(|weight| weight as f32).collect()
    }
}
