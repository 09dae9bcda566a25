//! `latentdb compare`: images beside what decoders and image codecs make of them, as tables, a figure or a page.

mod canvas;
mod figure;
mod numbers;
mod page;
mod table;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::ValueHint;
use latentdb::backend::MemoryBackend;
use latentdb::{
    Compared, Database, Error, ErrorKind, ImageFormat, RecordId, Store, Study, StudyOptions,
    Subject, Summary, WriteOptions, write_image,
};
use serde_json::{Value, json};

use crate::context::Context;
use crate::image_args::{CodingArgs, LimitArgs, with_limit_hint};
use crate::output::{self, Target};
use crate::progress::with_spinner;
use crate::report::Failure;
use figure::{Figure, Zoom};
use page::Page;

/// Compare what decoders bring back with the original, and with image codecs at as many bytes
///
/// A FILE is encoded as put does it, and kept nowhere; an ID is held against the file that --original names, or the
/// original that its record keeps. JPEG, WebP and AVIF are written at the best quality that takes no more bytes than
/// the record. With --json one object: images (name, width, height, encoder, latent_space, bytes, bits_per_pixel,
/// contenders, notes) and summary. A contender has name, kind (decoder or codec), quality (of a codec's file) or
/// computed (by a decoder), bytes, bits_per_pixel, psnr, ssim, ms_ssim, ssimulacra2, identical, seconds and notes; the
/// summary has of each contender the mean and the deviation of these over all images. See docs/compare.md.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  latentdb compare cat.jpg
  latentdb compare cat.jpg -o figure.png --zoom 200,120,64,48
  latentdb compare photos/*.png --encoder sd --decoders sd,consistency -o report.html -o table.csv
  latentdb compare cat --original cat.jpg --json | jq .images[0].contenders")]
pub(crate) struct Compare {
    /// Records' ids, or image files
    #[arg(required = true, value_name = "ID|FILE", value_hint = ValueHint::AnyPath)]
    subjects: Vec<OsString>,
    /// The files that the ids were made of, in the order of the ids
    #[arg(long, value_name = "FILE", num_args = 1.., value_hint = ValueHint::FilePath)]
    original: Vec<PathBuf>,
    /// The decoders, with commas between them [default: all of the latent space]
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    decoders: Vec<String>,
    /// The encoder of files [default: the store's, or tiny where there is no store]
    #[arg(long, value_name = "NAME")]
    encoder: Option<String>,
    /// How often a decoder that samples runs its network, from 1 to 64 [default: 2]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=64))]
    steps: Option<u32>,
    /// What a decoder that samples makes its noise from [default: the id, or the file's name]
    #[arg(long, value_name = "TEXT")]
    seed: Option<String>,
    /// Show this detail enlarged in the figure, in pixels of the original
    #[arg(long, value_name = "X,Y,W,H", value_parser = figure::parse_zoom)]
    zoom: Option<Zoom>,
    /// A figure (.png or another image), a page to look at (.html) or a table (.csv); may be given several times
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    output: Vec<PathBuf>,
    #[command(flatten)]
    coding: CodingArgs,
    #[command(flatten)]
    limits: LimitArgs,
    /// One JSON object instead of tables
    #[arg(long)]
    json: bool,
}

/// What a file is to hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Figure(ImageFormat),
    Page,
    Table,
}

pub(crate) fn run(context: &Context, command: &Compare) -> Result<(), Failure> {
    let outputs = command.outputs()?;
    let (database, subjects) = command.subjects(context)?;
    let mut study = Study::new(
        &database,
        StudyOptions {
            decoders: command.decoders.clone(),
            encoder: command.encoder.clone(),
            steps: command.steps,
            seed: command.seed.clone(),
            limits: command.limits.limits(),
            coding: command.coding.chosen().unwrap_or_default(),
        },
    )?;
    let mut told = Told::new(command, &outputs);
    let mut failed = 0;
    for (name, subject) in &subjects {
        let compared = with_spinner("comparing", || study.compare(subject));
        match compared.map_err(with_limit_hint) {
            Ok(compared) => told.tell(&compared)?,
            Err(error) if subjects.len() == 1 || concerns_all(&error) => return Err(error.into()),
            Err(error) => {
                eprintln!("error: {name}: {error:#}");
                failed += 1;
            }
        }
    }
    if failed == subjects.len() {
        return Err(Failure::Silent(1));
    }
    told.end()?;
    if failed > 0 {
        return Err(Failure::Silent(3));
    }
    Ok(())
}

/// Whether no other image fares better after this error.
fn concerns_all(error: &Error) -> bool {
    use ErrorKind::{ProviderUnavailable, RuntimeUnavailable};
    matches!(error.kind(), ProviderUnavailable | RuntimeUnavailable)
}

impl Compare {
    /// The files to write. What can't be one is refused before any work is done for it.
    fn outputs(&self) -> Result<Vec<(Form, &Path)>, Failure> {
        let output = |path: &'_ PathBuf| -> Result<Form, Failure> {
            let ending = path.extension().unwrap_or_default().to_ascii_lowercase();
            let form = match ending.to_str() {
                Some("html" | "htm") => Form::Page,
                Some("csv") => Form::Table,
                _ => {
                    let format = ImageFormat::from_path(path);
                    let format = format.and_then(|format| {
                        WriteOptions::default().check(format)?;
                        Ok(format)
                    });
                    Form::Figure(format.map_err(|error| {
                        let what = "a comparison is written as an image, .html or .csv";
                        Failure::Usage(format!("{what}: {error}"))
                    })?)
                }
            };
            let folder = path.parent().filter(|folder| *folder != Path::new(""));
            if let Some(folder) = folder.filter(|folder| !folder.is_dir()) {
                let what = format!("there is no folder {}", folder.display());
                return Err(Error::new(ErrorKind::Io, what).into());
            }
            Ok(form)
        };
        let forms = self.output.iter();
        let forms: Vec<_> = forms
            .map(|path| Ok((output(path)?, path.as_path())))
            .collect::<Result<_, Failure>>()?;
        let figure = |(form, _): &(Form, _)| matches!(form, Form::Figure(_));
        if self.zoom.is_some() && !forms.iter().any(figure) {
            let what = "--zoom is for a figure: name an image with -o";
            return Err(Failure::Usage(what.to_owned()));
        }
        Ok(forms)
    }

    /// What is to be compared, under the name it was given by, and the database that reads it.
    fn subjects(&self, context: &Context) -> Result<(Database, Vec<(String, Subject)>), Failure> {
        let is_file = |subject: &OsString| Path::new(subject).is_file();
        let ids: Vec<_> = self
            .subjects
            .iter()
            .filter(|given| !is_file(given))
            .collect();
        let originals = self.original.len();
        if self.coding.chosen().is_some() && !ids.is_empty() {
            let what = "--coding and --psnr-loss are for files: a record is compared as it is kept";
            return Err(Failure::Usage(what.to_owned()));
        }
        let database = match (context.open_read_only(), ids.first()) {
            (Ok(database), _) => database,
            (Err(error), first) if error.kind() == ErrorKind::StoreNotFound => {
                if let Some(id) = first {
                    let id = id.to_string_lossy();
                    let what =
                        format!("there is no file {id}, and no store with a record of that id");
                    return Err(Error::new(error.kind(), what).with_source(error).into());
                }
                // Files need no store.
                let store = Store::new(MemoryBackend::new());
                Database::over(store).with_hub(Arc::clone(&context.hub))
            }
            (Err(error), _) => return Err(error.into()),
        };
        if originals > 0 && originals != ids.len() {
            return Err(Failure::Usage(format!(
                "there are {}, and --original names {}",
                output::count(ids.len() as u64, "id"),
                output::count(originals as u64, "file")
            )));
        }
        let mut originals = self.original.iter();
        let subject = |given: &OsString| {
            let name = given.to_string_lossy().into_owned();
            let id = given.to_str().map(RecordId::new).and_then(Result::ok);
            if is_file(given) {
                if let Some(id) = id.filter(|id| matches!(database.store().contains(id), Ok(true)))
                {
                    eprintln!("note: `{id}` is a file and a record: the file is compared");
                }
                return Ok((name, Subject::File(given.into())));
            }
            let id = id.ok_or_else(|| {
                let what = format!("there is no file {}, and no id is so", name.escape_debug());
                Failure::Usage(what)
            })?;
            let original = originals.next().cloned();
            if !database.store().contains(&id)? {
                let what = format!("there is no record `{id}`, and no file of that name");
                return Err(Error::new(ErrorKind::NotFound, what).into());
            }
            Ok((name, Subject::Record { id, original }))
        };
        let subjects: Result<_, Failure> = self.subjects.iter().map(subject).collect();
        Ok((database, subjects?))
    }
}

/// What was compared so far, in every form that was asked for.
struct Told<'a> {
    outputs: &'a [(Form, &'a Path)],
    json: Option<Vec<Value>>,
    summary: Summary,
    images: usize,
    figure: Figure,
    page: Page,
    table: String,
}

impl<'a> Told<'a> {
    fn new(command: &Compare, outputs: &'a [(Form, &'a Path)]) -> Self {
        Self {
            outputs,
            json: command.json.then(Vec::new),
            summary: Summary::default(),
            images: 0,
            figure: Figure::new(command.zoom),
            page: Page::default(),
            table: numbers::CSV_HEADER.to_owned(),
        }
    }

    fn tell(&mut self, compared: &Compared) -> Result<(), Failure> {
        for note in &compared.notes {
            eprintln!("note: {}: {note}", compared.name);
        }
        for contender in &compared.contenders {
            for note in &contender.notes {
                eprintln!("note: {}: {}: {note}", compared.name, contender.name);
            }
        }
        self.images += 1;
        self.summary.add(compared);
        let wanted = |wanted: fn(Form) -> bool| self.outputs.iter().any(|&(form, _)| wanted(form));
        if wanted(|form| matches!(form, Form::Figure(_))) {
            self.figure.add(compared)?;
        }
        if wanted(|form| form == Form::Page) {
            self.page.add(compared)?;
        }
        if wanted(|form| form == Form::Table) {
            self.table.push_str(&numbers::csv(compared));
        }
        match &mut self.json {
            Some(images) => images.push(numbers::json(compared)),
            None if self.images == 1 => output::line(&table::image(compared))?,
            None => output::line(&format!("\n{}", table::image(compared)))?,
        }
        Ok(())
    }

    /// Sums up, and writes the files.
    fn end(self) -> Result<(), Failure> {
        let rows = self.summary.rows();
        if let Some(images) = self.json {
            let summary: Vec<_> = rows.iter().map(numbers::summary_json).collect();
            output::line(&json!({ "images": images, "summary": summary }).to_string())?;
        } else if self.images > 1 {
            output::line(&format!("\n{}", table::summary(&rows, self.images)))?;
        }
        for note in self.figure.note().into_iter().chain(self.page.note()) {
            eprintln!("note: {note}");
        }
        for (form, path) in self.outputs {
            let target = Target::File(path);
            match form {
                Form::Figure(format) => {
                    let figure = self.figure.to_pixels()?;
                    target.write(&write_image(&figure, *format, &WriteOptions::default())?)?;
                }
                Form::Page => target.write(self.page.to_html(&rows).as_bytes())?,
                Form::Table => target.write(self.table.as_bytes())?,
            }
        }
        Ok(())
    }
}
