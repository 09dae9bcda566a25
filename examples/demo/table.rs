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
            line("image", "size", "source bytes", "stored bytes", "bits/px", "PSNR dB");
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

    /// Prints the sums and means.
    pub(crate) fn finish(&self) {
        let sum = |of: fn(&Row) -> u64| self.rows.iter().map(of).sum::<u64>();
        let mean = |of: fn(&Row) -> f64| self.rows.iter().map(of).sum::<f64>() / self.rows.len() as f64;
        let (source, stored) = (sum(|row| row.source_bytes), sum(|row| row.stored_bytes));
        println!("{}", "-".repeat(80));
        line(
            "total, mean",
            &format!("{} images", self.rows.len()),
            &source.to_string(),
            &stored.to_string(),
            &format!("{:.3}", mean(|row| row.bits_per_pixel)),
            &format!("{:.2}", mean(|row| row.psnr)),
        );
        println!("\nBytes of the source files to bytes stored: {:.1} to 1.", source as f64 / stored as f64);
    }
}

fn line(name: &str, size: &str, source: &str, stored: &str, bits_per_pixel: &str, psnr: &str) {
    println!("{name:<NAME_WIDTH$} {size:>11} {source:>13} {stored:>12} {bits_per_pixel:>7} {psnr:>8}");
}

/// The name in the width of its column, in ASCII.
fn short(name: &str) -> String {
    let ascii = |c: char| if c == ' ' || c.is_ascii_graphic() { c } else { '?' };
    let name: String = name.chars().map(ascii).collect();
    if name.len() <= NAME_WIDTH {
        return name;
    }
    // The end tells more: numbers, the format.
    format!("..{}", &name[name.len() - (NAME_WIDTH - 2)..])
}
