//! `make demo`: images go into a store, come back out of it, and are shown beside their originals.
//!
//! Invariant: every picture on the sheet went through the store on disk, and every image that was given is in
//! the table or named on stderr.

mod samples;
mod scenes;
mod sheet;
mod table;

use std::error::Error;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use latentdb::{
    Database, ErrorKind, ImageFormat, Limits, PutOptions, WriteOptions, psnr, read_image,
    write_image,
};
use sheet::Sheet;
use table::{Row, Table};

/// Everything the demo makes lies here, in the working folder.
const FOLDER: &str = "demo";

type Outcome<T> = Result<T, Box<dyn Error>>;

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    let is_option = |argument: &OsString| argument.to_string_lossy().starts_with('-');
    if arguments.len() > 1 || arguments.iter().any(is_option) {
        eprintln!("usage: cargo run --release --example demo -- [FOLDER_OF_IMAGES]");
        return ExitCode::from(2);
    }
    match demo(arguments.first().map(Path::new)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", chain(&*error));
            ExitCode::FAILURE
        }
    }
}

/// The error and its causes in one line.
fn chain(error: &(dyn Error + 'static)) -> String {
    let chain = std::iter::successors(Some(error), |&error| error.source());
    let messages: Vec<_> = chain.map(ToString::to_string).collect();
    messages.join(": ")
}

fn demo(folder: Option<&Path>) -> Outcome<()> {
    // The user's own images are looked for before anything of the last demo is touched.
    let images = folder.map(files_of).transpose()?;
    let output = Path::new(FOLDER);
    fs::create_dir_all(output).map_err(|e| format!("can't make the folder {FOLDER}: {e}"))?;
    let images = match images {
        Some(images) => images,
        None => samples::render_into(&output.join("samples"))?,
    };

    let sheet_path = output.join("side-by-side.png");
    match fs::remove_file(&sheet_path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(format!("can't replace {}: {error}", sheet_path.display()).into());
        }
        _ => {}
    }
    let db = fresh_store(&output.join("store"))?;
    let mut sheet = Sheet::default();
    let mut table = Table::new();
    let mut failed = 0;
    for path in &images {
        match through_the_store(&db, path, &mut sheet) {
            Ok(row) => table.add(row),
            Err(error) if is_no_image(&*error) => eprintln!("skipped: {}", chain(&*error)),
            // Without a working model the next image fares no better.
            Err(error) if concerns_all(&*error) => return Err(error),
            Err(error) => {
                eprintln!("error: {}: {}", path.display(), chain(&*error));
                failed += 1;
            }
        }
    }
    if table.is_empty() && failed == 0 {
        let folder = folder.unwrap_or(output);
        let folder = folder.display();
        return Err(format!("no file in {folder} is an image that can be read").into());
    }
    if !table.is_empty() {
        table.finish();
        write_sheet(&sheet, &sheet_path)?;
    }
    match failed {
        0 => Ok(()),
        _ => Err(format!("{failed} of {} images failed", table.len() + failed).into()),
    }
}

/// Puts the file at `path`, gets it back by its id, and shows both.
fn through_the_store(db: &Database, path: &Path, sheet: &mut Sheet) -> Outcome<Row> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let bytes = fs::read(path).map_err(|e| format!("can't read it: {e}"))?;
    let original = read_image(&bytes, &name, &Limits::default())?.pixels;

    let stored = db.put_file(&name, path, &PutOptions::default())?;
    for note in &stored.notes {
        eprintln!("note: {name}: {note}");
    }
    let decoded = db.get(&name, None)?.pixels;

    sheet.add(&original, &decoded)?;
    Ok(Row {
        name: name.into_owned(),
        size: (decoded.width(), decoded.height()),
        source_bytes: bytes.len() as u64,
        stored_bytes: stored.entry.stored_bytes,
        bits_per_pixel: stored.entry.bits_per_pixel(),
        psnr: psnr(&original, &decoded)?,
    })
}

fn kind_of(error: &(dyn Error + 'static)) -> Option<ErrorKind> {
    error
        .downcast_ref::<latentdb::Error>()
        .map(latentdb::Error::kind)
}

fn is_no_image(error: &(dyn Error + 'static)) -> bool {
    matches!(
        kind_of(error),
        Some(ErrorKind::UnsupportedImage | ErrorKind::LimitExceeded)
    )
}

fn concerns_all(error: &(dyn Error + 'static)) -> bool {
    use ErrorKind::{Full, Io, ModelNotFound, Poisoned, ProviderUnavailable, RuntimeUnavailable};
    kind_of(error).is_some_and(|kind| {
        matches!(
            kind,
            RuntimeUnavailable | ProviderUnavailable | ModelNotFound | Poisoned | Full | Io
        )
    })
}

/// The files in `folder`, by name.
fn files_of(folder: &Path) -> Outcome<Vec<PathBuf>> {
    let failed = |error| format!("can't read the folder {}: {error}", folder.display());
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if !path.is_dir() {
            files.push(path);
        }
    }
    if files.is_empty() {
        return Err(format!("there are no files in the folder {}", folder.display()).into());
    }
    files.sort();
    Ok(files)
}

/// A new store at `path`, where the last demo's may lie. What is no store is left alone.
fn fresh_store(path: &Path) -> Outcome<Database> {
    match Database::open(path) {
        // Held until here: nobody else is writing to it.
        Ok(old) => {
            drop(old);
            fs::remove_dir_all(path)
                .map_err(|e| format!("can't remove the old {}: {e}", path.display()))?;
        }
        Err(error) if error.kind() == ErrorKind::StoreNotFound => {}
        Err(error) => {
            let hint = format!(
                "the last demo's store can't be removed safely; remove {} yourself",
                path.display()
            );
            return Err(format!("{hint}: {}", chain(&error)).into());
        }
    }
    Ok(Database::open_or_create(path)?)
}

fn write_sheet(sheet: &Sheet, path: &Path) -> Outcome<()> {
    let bytes = write_image(
        &sheet.to_pixels()?,
        ImageFormat::Png,
        &WriteOptions::default(),
    )?;
    fs::write(path, bytes).map_err(|e| format!("can't write {}: {e}", path.display()))?;
    println!(
        "Originals (left) beside what came back (right): {}",
        path.display()
    );
    for note in sheet.notes() {
        println!("{note}");
    }
    Ok(())
}
