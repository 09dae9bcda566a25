//! The table on stdout: a line an image as soon as it is done, sums and means at the end.
//!
//! Invariant: plain ASCII, at most 80 columns.

/// What is said of one image.
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) size: (u32, u32),
    pub(crate) source_bytes: u64,
    pub(crate) stored_bytes: u64,
    pub(crate) bits_per_pixel: f64,
    /// In dB, at the image's own size.
    pub(crate) psnr: f64,
}

/// The lines so far.
pub(crate) struct Table {
    rows: Vec<Row>,
}

const NAME_WIDTH: usize = 24;

impl Table {
    pub(crate) fn new() -> Self {
        Self { rows: Vec::new() }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    /// Prints the row; before the first one the heading.
    pub(crate) fn add(&mut self, row: Row) {
        if self.rows.is_empty() {
            line(
                "image",
                "size",
                "source bytes",
                "stored bytes",
                "bits/px",
                "PSNR dB",
            );
            println!("{}", "-".repeat(80));
        }
        line(
            &short(&row.name),
            &format!("{}x{}", row.size.0, row.size.1),
            &row.source_bytes.to_string(),
            &row.stored_bytes.to_string(),
            &format!("{:.3}", row.bits_per_pixel),
            &format!("{:.2}", row.psnr),
        );
        self.rows.push(row);
    }

    /// Prints the sums, the mean PSNR, and the bits over all pixels.
    pub(crate) fn finish(&self) {
        let sum = |of: fn(&Row) -> u64| self.rows.iter().map(of).sum::<u64>();
        let source = sum(|row| row.source_bytes);
        let stored = sum(|row| row.stored_bytes);
        let pixels = sum(|row| u64::from(row.size.0) * u64::from(row.size.1));
        let count = self.rows.len();
        let mean = self.rows.iter().map(|row| row.psnr).sum::<f64>() / count as f64;
        println!("{}", "-".repeat(80));
        line(
            "total (PSNR: mean)",
            &format!("{count} image{}", if count == 1 { "" } else { "s" }),
            &source.to_string(),
            &stored.to_string(),
            &format!("{:.3}", 8.0 * stored as f64 / pixels as f64),
            &format!("{mean:.2}"),
        );
        let ratio = source as f64 / stored as f64;
        println!("\nBytes of the source files to bytes stored: {ratio:.1} to 1.");
    }
}

fn line(name: &str, size: &str, source: &str, stored: &str, bits_per_pixel: &str, psnr: &str) {
    println!(
        "{name:<NAME_WIDTH$} {size:>11} {source:>13} {stored:>12} {bits_per_pixel:>7} {psnr:>8}"
    );
}

/// The name in the width of its column, in ASCII.
fn short(name: &str) -> String {
    let ascii = |c: char| {
        if c == ' ' || c.is_ascii_graphic() {
            c
        } else {
            '?'
        }
    };
    let name: String = name.chars().map(ascii).collect();
    if name.len() <= NAME_WIDTH {
        return name;
    }
    // The end tells more: numbers, the format.
    format!("..{}", &name[name.len() - (NAME_WIDTH - 2)..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_cut_in_front_and_shown_in_ascii() {
        assert_eq!(short("a photo.png"), "a photo.png");
        assert_eq!(short("caf\u{e9}\n.png"), "caf??.png");
        let cut = short(&format!("{}0017.png", "x".repeat(100)));
        assert!(
            cut.len() == NAME_WIDTH && cut.starts_with("..x") && cut.ends_with("x0017.png"),
            "{cut}"
        );
    }
}
