//! The arguments of every command that encodes images.

use latentdb::{
    Below, Coding, CodingChoice, Error, ErrorKind, Limits, Promise, PutOptions, Resize, Tags,
};

use crate::report::Failure;

/// What is done to an image, and said of it.
#[derive(Debug, clap::Args)]
pub(crate) struct ImageArgs {
    /// The encoder [default: the store's]
    #[arg(long, value_name = "NAME")]
    pub(crate) encoder: Option<String>,
    /// Resize images first, with an antialiased bicubic filter
    #[arg(long, value_name = "WxH", value_parser = parse_size)]
    resize: Option<(u32, u32)>,
    /// Before resizing, cut the largest centred rectangle of the target's aspect ratio
    #[arg(long, requires = "resize")]
    center_crop: bool,
    /// Keep the place where a picture was taken, if its file says it
    #[arg(long)]
    keep_gps: bool,
    #[command(flatten)]
    pub(crate) coding: CodingArgs,
    #[command(flatten)]
    limits: LimitArgs,
}

/// How latents are kept.
#[derive(Debug, clap::Args)]
pub(crate) struct CodingArgs {
    /// Keep latents as fast or dense (without loss), or as q8, q6, q5 or q4 (rounded to so many bits) [default: fast]
    #[arg(long, value_name = "NAME", value_parser = parse_coding)]
    coding: Option<Coding>,
    /// Keep each latent in the coarsest tier whose decoded image loses less PSNR than this
    #[arg(long, value_name = "DB", value_parser = parse_loss, conflicts_with = "coding")]
    psnr_loss: Option<f64>,
}

impl CodingArgs {
    /// What the arguments say, if they do.
    pub(crate) fn chosen(&self) -> Option<CodingChoice> {
        let measured = self.psnr_loss.map(CodingChoice::PsnrLoss);
        measured.or(self.coding.map(CodingChoice::Of))
    }

    /// The coding that doesn't depend on an image.
    pub(crate) fn coding(&self) -> Coding {
        self.coding.unwrap_or_default()
    }
}

pub(crate) fn parse_coding(text: &str) -> Result<Coding, String> {
    text.parse().map_err(|e: Error| e.to_string())
}

fn parse_loss(text: &str) -> Result<f64, String> {
    let loss = text.parse().ok();
    let loss = loss.filter(|loss: &f64| loss.is_finite() && *loss > 0.0);
    loss.ok_or_else(|| "a loss of PSNR is a number of dB above 0, such as 0.1".to_owned())
}

/// How near images must come back.
#[derive(Debug, clap::Args)]
pub(crate) struct PromiseArgs {
    /// Decode what is stored, and record how near it comes: PSNR, SSIM, MS-SSIM, SSIMULACRA2
    #[arg(long)]
    measure: bool,
    /// Accept images that come back at this PSNR or better
    #[arg(long, value_name = "DB", value_parser = parse_psnr)]
    min_psnr: Option<f64>,
    /// Accept images that come back at this SSIM or better; those under 11 pixels a side have none
    #[arg(long, value_name = "X", value_parser = parse_ssim)]
    min_ssim: Option<f64>,
    /// What happens to others: reject them, or keep the original file beside the latent
    #[arg(long, value_name = "WHAT", default_value = "reject")]
    below: BelowArg,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum BelowArg {
    Reject,
    KeepOriginal,
}

impl PromiseArgs {
    /// What the arguments ask for.
    pub(crate) fn promise(&self) -> Result<Promise, Failure> {
        let below = match self.below {
            BelowArg::Reject => Below::Reject,
            BelowArg::KeepOriginal => Below::KeepOriginal,
        };
        if below == Below::KeepOriginal && self.min_psnr.is_none() && self.min_ssim.is_none() {
            let what = "--below keep-original needs --min-psnr or --min-ssim to say what is below";
            return Err(Failure::Usage(what.to_owned()));
        }
        Ok(Promise {
            measure: self.measure,
            min_psnr: self.min_psnr,
            min_ssim: self.min_ssim,
            below,
        })
    }
}

fn parse_psnr(text: &str) -> Result<f64, String> {
    let psnr = text.parse().ok();
    let psnr = psnr.filter(|psnr: &f64| psnr.is_finite() && *psnr >= 0.0);
    psnr.ok_or_else(|| "a PSNR is a number of dB, such as 28".to_owned())
}

fn parse_ssim(text: &str) -> Result<f64, String> {
    let ssim = text.parse().ok();
    let ssim = ssim.filter(|ssim: &f64| (-1.0..=1.0).contains(ssim));
    ssim.ok_or_else(|| "an SSIM is a number up to 1, such as 0.9".to_owned())
}

/// What an image file may cost to read.
#[derive(Debug, clap::Args)]
pub(crate) struct LimitArgs {
    /// Refuse images of more pixels than this
    #[arg(long, value_name = "N", default_value_t = Limits::default().max_pixels)]
    max_pixels: u64,
    /// Refuse images whose decoding takes more memory than this
    #[arg(long, value_name = "BYTES", default_value_t = Limits::default().max_alloc_bytes)]
    max_image_bytes: u64,
}

impl LimitArgs {
    pub(crate) fn limits(&self) -> Limits {
        Limits {
            max_pixels: self.max_pixels,
            max_alloc_bytes: self.max_image_bytes,
        }
    }
}

impl ImageArgs {
    /// What the arguments ask for.
    pub(crate) fn options(&self, replace: bool, tags: Tags, promise: Promise) -> PutOptions {
        PutOptions {
            encoder: self.encoder.clone(),
            replace,
            resize: self.resize.map(|(width, height)| Resize {
                width,
                height,
                center_crop: self.center_crop,
            }),
            limits: self.limits.limits(),
            tags,
            keep_position: self.keep_gps,
            coding: self.coding.chosen().unwrap_or_default(),
            promise,
        }
    }
}

/// Names the flag that lets a larger image in.
pub(crate) fn with_limit_hint(error: Error) -> Error {
    if error.kind() == ErrorKind::LimitExceeded && error.hint().is_none() {
        return error.with_hint("--max-pixels and --max-image-bytes say what an image may cost");
    }
    error
}

/// What a user says of images.
#[derive(Debug, clap::Args)]
pub(crate) struct TagArgs {
    /// Say something of the image, for `info` and `ls --where`; may be given several times
    #[arg(long = "tag", value_name = "KEY=VALUE", value_parser = parse_tag)]
    tags: Vec<(String, String)>,
}

impl TagArgs {
    pub(crate) fn tags(&self) -> Result<Tags, Failure> {
        let mut tags = Tags::default();
        for (key, value) in &self.tags {
            tags.set(key, value)
                .map_err(|e| Failure::Usage(e.to_string()))?;
        }
        Ok(tags)
    }
}

/// Width and height in pixels.
pub(crate) fn parse_size(text: &str) -> Result<(u32, u32), String> {
    let sides = text
        .split_once('x')
        .map(|(w, h)| (w.parse::<u32>(), h.parse::<u32>()));
    match sides {
        Some((Ok(width), Ok(height))) if width > 0 && height > 0 => Ok((width, height)),
        _ => Err("a size is WxH in pixels, such as 512x512".into()),
    }
}

/// Takes `KEY=VALUE` apart.
pub(crate) fn parse_tag(text: &str) -> Result<(String, String), String> {
    let (key, value) = text
        .split_once('=')
        .ok_or("a tag is KEY=VALUE, such as album=pets")?;
    Ok((key.to_owned(), value.to_owned()))
}
