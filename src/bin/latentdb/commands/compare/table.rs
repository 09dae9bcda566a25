//! Comparisons as tables for a terminal.
//!
//! Invariant: columns are aligned; names are left, numbers right.

use latentdb::{Compared, Summarized};

use super::numbers::{DIGITS, MEASURED, label, measured, shown, spread, spreads, title};
use crate::output::grouped;

/// One image: what it is, and a line a contender.
pub(super) fn image(compared: &Compared) -> String {
    let mut rows = vec![header(&["bytes", "bpp"])];
    for contender in &compared.contenders {
        let mut row = vec![
            label(contender),
            grouped(contender.bytes),
            format!("{:.3}", contender.bits_per_pixel),
        ];
        let values = measured(contender).into_iter().zip(DIGITS);
        row.extend(values.map(|(value, digits)| shown(value, digits)));
        rows.push(row);
    }
    format!("{}\n{}", about(compared), aligned(&rows))
}

/// What was compared, in a line.
fn about(compared: &Compared) -> String {
    let (width, height) = (compared.original.width(), compared.original.height());
    let encoder = compared.encoder.as_deref();
    let encoder = encoder.map_or(String::new(), |name| format!(" by {name}"));
    let name = compared.name.escape_debug();
    let space = &compared.latent_space;
    format!("{name}: {width}x{height} pixels, a latent of {space}{encoder}")
}

/// Many images: a line a contender, means and deviations.
pub(super) fn summary(rows: &[Summarized], images: usize) -> String {
    let mut lines = vec![header(&["images", "quality", "bytes", "bpp"])];
    for row in rows {
        let mut line = vec![
            title(&row.name, row.codec).to_owned(),
            row.images.to_string(),
            row.setting
                .as_ref()
                .map(|setting| spread(Some(setting), 1))
                .unwrap_or_default(),
            spread(row.bytes.as_ref(), 0),
            spread(row.bits_per_pixel.as_ref(), 3),
        ];
        let values = spreads(row).into_iter().zip(DIGITS);
        line.extend(values.map(|(value, digits)| spread(value, digits)));
        lines.push(line);
    }
    format!(
        "{images} images: mean ±standard deviation (of a sample: n - 1)\n{}",
        aligned(&lines)
    )
}

fn header(first: &[&str]) -> Vec<String> {
    let cells = [""].iter().chain(first).chain(&MEASURED);
    cells.map(|&cell| cell.to_owned()).collect()
}

fn aligned(rows: &[Vec<String>]) -> String {
    let columns = rows.first().map_or(0, Vec::len);
    let widest = |column: usize| {
        rows.iter()
            .map(move |row| row[column].chars().count())
            .max()
    };
    let widths: Vec<_> = (0..columns).filter_map(widest).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).enumerate();
        let cells = cells.map(|(at, (cell, &width))| match at {
            0 => format!("{cell:<width$}"),
            _ => format!("{cell:>width$}"),
        });
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}
