//! Comparisons as one page that needs nothing beside it: images and script are inside.
//!
//! Invariant: what is shown of names is text, never markup; the page asks nothing of a network.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use latentdb::{Compared, Contender, ImageFormat, Pixels, Summarized, WriteOptions, write_image};

use super::numbers::{DIGITS, MEASURED, label, measured, shown, spreads, title};
use crate::output::{count, grouped};

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// Browsers open no page that is much larger; images that come later are in the tables alone.
const MAX_BYTES: usize = 96 << 20;

/// One article an image.
#[derive(Default)]
pub(super) struct Page {
    articles: String,
    images: u64,
    left_out: u64,
}

impl Page {
    /// Adds an article.
    pub(super) fn add(&mut self, compared: &Compared) -> latentdb::Result<()> {
        self.images += 1;
        let gallery = match self.left_out {
            0 => gallery(compared)?,
            _ => String::new(),
        };
        let room = MAX_BYTES.saturating_sub(self.articles.len());
        let fits = self.left_out == 0 && (gallery.len() <= room || self.articles.is_empty());
        self.left_out += u64::from(!fits);
        let gallery = if fits { gallery } else { String::new() };
        let (width, height) = (compared.original.width(), compared.original.height());
        let encoder = compared.encoder.as_deref();
        let encoder = encoder.map_or(String::new(), |name| format!(" by {}", escaped(name)));
        // Writing into a string can't fail.
        let _ = writeln!(
            self.articles,
            "<article>\n<h2>{}</h2>\n<p>{width} &times; {height} pixels; a latent of {}{encoder} in {} bytes, {:.3} bits per pixel</p>\n{gallery}{}</article>",
            escaped(&compared.name),
            escaped(&compared.latent_space),
            grouped(compared.stored_bytes),
            compared.bits_per_pixel(compared.stored_bytes),
            table(&compared.contenders),
        );
        Ok(())
    }

    /// What the page doesn't show, as a sentence for people.
    pub(super) fn note(&self) -> Option<String> {
        (self.left_out > 0).then(|| {
            let images = count(self.left_out, "image");
            format!("in the page with numbers alone, or it would grow too large: {images}")
        })
    }

    /// The page, its summary made of `rows`.
    pub(super) fn to_html(&self, rows: &[Summarized]) -> String {
        let summary = match self.images {
            0 | 1 => String::new(),
            images => summary(rows, images),
        };
        let note = self.note().map(|note| format!(" {}.", escaped(&note)));
        format!(
            "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; img-src data:; \
             style-src 'unsafe-inline'; script-src 'unsafe-inline'\">\n\
             <title>Decoders side by side</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n\
             <header>\n<h1>Decoders side by side</h1>\n\
             <p>What decoders bring back of a stored latent, beside the original, and beside image codecs at the best \
             quality that takes no more bytes.{}</p>\n</header>\n\
             <main>\n{summary}{}</main>\n<script>\n{SCRIPT}</script>\n</body>\n</html>\n",
            note.unwrap_or_default(),
            self.articles
        )
    }
}

/// The original and what came back of it.
fn gallery(compared: &Compared) -> latentdb::Result<String> {
    let mut html = String::from("<div class=\"gallery\">\n");
    html.push_str(&figure("original", "", &compared.original)?);
    for contender in &compared.contenders {
        let [psnr, ssim, ssimulacra2, _] = measured(contender);
        let numbers = format!(
            "{} bytes, PSNR {}, SSIM {}, SSIMULACRA2 {}",
            grouped(contender.bytes),
            shown(psnr, 2),
            shown(ssim, 4),
            shown(ssimulacra2, 2)
        );
        html.push_str(&figure(&label(contender), &numbers, &contender.pixels)?);
    }
    html.push_str("</div>\n");
    Ok(html)
}

fn figure(name: &str, numbers: &str, pixels: &Pixels) -> latentdb::Result<String> {
    let (name, numbers) = (escaped(name), escaped(numbers));
    let (width, height) = (pixels.width(), pixels.height());
    let file = write_image(
        &pixels.over([255; 3]),
        ImageFormat::Png,
        &WriteOptions::default(),
    )?;
    Ok(format!(
        "<figure><img alt=\"{name}\" width=\"{width}\" height=\"{height}\" src=\"data:image/png;base64,{}\">\
         <figcaption><b>{name}</b> {numbers}</figcaption></figure>\n",
        STANDARD.encode(&file)
    ))
}

fn table(contenders: &[Contender]) -> String {
    let best = best(contenders);
    let mut html = head(&["", "bytes", "bits per pixel"]);
    for contender in contenders {
        let name = escaped(title(&contender.name, is_codec(contender)));
        let quality = setting(contender);
        let _ = write!(
            html,
            "<tr><th scope=\"row\">{name}{quality}</th><td>{}</td><td>{:.3}</td>",
            grouped(contender.bytes),
            contender.bits_per_pixel
        );
        let values = measured(contender).into_iter().zip(DIGITS).zip(best);
        for ((value, digits), best) in values {
            let class = match value {
                Some(value) if Some(value) == best => " class=\"best\"",
                _ => "",
            };
            let _ = write!(html, "<td{class}>{}</td>", shown(value, digits));
        }
        html.push_str("</tr>\n");
    }
    html + "</tbody></table></div>\n"
}

fn is_codec(contender: &Contender) -> bool {
    matches!(contender.kind, latentdb::Kind::Codec { .. })
}

/// The quality of a codec's file.
fn setting(contender: &Contender) -> String {
    match contender.kind {
        latentdb::Kind::Codec { quality } => format!(" quality {quality}"),
        latentdb::Kind::Decoder { .. } => String::new(),
    }
}

/// The best value of each measured column, which is the least of seconds. Bytes have none: codecs are given as many as
/// the record takes.
fn best(contenders: &[Contender]) -> [Option<f64>; 4] {
    let all: Vec<_> = contenders.iter().map(measured).collect();
    std::array::from_fn(|column| {
        let values = all.iter().filter_map(|values| values[column]);
        match MEASURED[column] {
            "seconds" => values.min_by(f64::total_cmp),
            _ => values.max_by(f64::total_cmp),
        }
    })
}

fn summary(rows: &[Summarized], images: u64) -> String {
    let mut html = format!(
        "<section>\n<h2>Summary</h2>\n<p>{}: mean and standard deviation (of a sample: n &minus; 1)</p>\n",
        count(images, "image")
    );
    html.push_str(&head(&["", "images", "quality", "bytes", "bits per pixel"]));
    let spread = |spread: Option<&latentdb::Distribution>, digits: usize| match spread {
        Some(spread) => format!(
            "<td>{:.digits$}<small>&plusmn;{:.digits$}</small></td>",
            spread.mean, spread.deviation
        ),
        None => "<td></td>".to_owned(),
    };
    for row in rows {
        let name = escaped(title(&row.name, row.codec));
        let _ = write!(
            html,
            "<tr><th scope=\"row\">{name}</th><td>{}</td>",
            row.images
        );
        html.push_str(&spread(row.setting.as_ref(), 1));
        html.push_str(&spread(row.bytes.as_ref(), 0));
        html.push_str(&spread(row.bits_per_pixel.as_ref(), 3));
        for (value, digits) in spreads(row).into_iter().zip(DIGITS) {
            html.push_str(&spread(value, digits));
        }
        html.push_str("</tr>\n");
    }
    html + "</tbody></table></div>\n</section>\n"
}

/// A table up to its first row.
fn head(first: &[&str]) -> String {
    let mut html = String::from("<div class=\"scroll\"><table><thead><tr>");
    for cell in first.iter().chain(&MEASURED) {
        let _ = write!(html, "<th scope=\"col\">{cell}</th>");
    }
    html + "</tr></thead><tbody>\n"
}

/// Text as it may stand in HTML, also in an attribute.
fn escaped(text: &str) -> String {
    let mut html = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => html.push_str("&amp;"),
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            '"' => html.push_str("&quot;"),
            '\'' => html.push_str("&#39;"),
            letter => html.push(letter),
        }
    }
    html
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_in_names_is_text() {
        let name = "<script>alert('1 & 2')</script>\"";
        let escaped = escaped(name);
        assert!(!escaped.contains(['<', '>', '"', '\'']), "{escaped}");
        assert!(escaped.contains("&lt;script&gt;"), "{escaped}");
    }
}
