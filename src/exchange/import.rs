//! Latent files and WebDataset shards into the store.
//!
//! Invariant: a latent is told to be imported only once its record is durable; none is replaced unless asked for.

use std::collections::BTreeSet;
use std::io::Read;
use std::path::Path;
use std::sync::atomic::AtomicU64;

use super::sample::Sample;
use super::source::{self, Found, Place};
use super::{Exchanged, LatentImport};
use crate::backend::Mode;
use crate::database::{Database, ForeignLatent, Stored, source_of};
use crate::error::{Error, ErrorKind, Result};
use crate::latent::LatentShape;
use crate::latent_io::{LatentFormat, is_scaled_in_npz, read_unscaled};
use crate::parallel::in_order;
use crate::record::{Record, RecordId, Tags};
use crate::store::BatchSize;

/// What came of a latent before it is stored.
struct Made {
    name: String,
    record: Result<Record>,
    notes: Vec<String>,
}

impl Database {
    /// Stores the latent files at `path`: a file, or all below a folder. `each` is told of every one. Returns how many
    /// other files lie there.
    ///
    /// The id of a file is its path below the folder, without its ending; names that
    /// [`export_files`](Self::export_files) gave become the ids that they were made of. Files whose names begin with a
    /// dot don't count, nor does the text that sd-scripts keep in npz files.
    ///
    /// # Errors
    /// What ends all: see [`Store::put`](crate::Store::put). What was told to be stored stays so. Failures of single
    /// files are told.
    pub fn import_files(
        &self,
        path: &Path,
        options: &LatentImport,
        each: &mut dyn FnMut(Exchanged),
    ) -> Result<u64> {
        let ignored = AtomicU64::new(0);
        let found = source::files(path, &ignored).map(Ok);
        self.import_all(found, options, each)?;
        Ok(ignored.into_inner())
    }

    /// Stores the latents of a WebDataset shard: of each sample the one file that is a latent. `each` is told of every
    /// sample that has one.
    ///
    /// What [`export_shard`](Self::export_shard) says in a sample's JSON counts; a JSON of another form doesn't matter,
    /// and the key is the id then.
    ///
    /// # Errors
    /// `InvalidInput` and `Corrupted` where the bytes are no tar or end early; as [`import_files`](Self::import_files).
    pub fn import_shard(
        &self,
        input: impl Read + Send,
        options: &LatentImport,
        each: &mut dyn FnMut(Exchanged),
    ) -> Result<()> {
        self.import_all(source::samples(input), options, each)
    }

    /// Keeps the latent in the bytes of a latent file under `id`, with `tags`. `name` is the file's, for messages and as
    /// the source's. The stored record's notes say what of the file is left out.
    ///
    /// # Errors
    /// `InvalidInput` if the bytes are no latent file, or where nobody says the latent space or the size of the image;
    /// as [`put_latent`](Self::put_latent).
    pub fn put_latent_file(
        &self,
        id: &str,
        bytes: &[u8],
        name: &str,
        options: &LatentImport,
        tags: Tags,
    ) -> Result<Stored> {
        let file = File {
            name,
            bytes,
            said: None,
        };
        let mut notes = Vec::new();
        let latent = self.foreign_latent(&file, options, &mut notes)?;
        let latent = ForeignLatent { tags, ..latent };
        let mut stored = self.put_latent(id, latent, options.replace)?;
        stored.notes.extend(notes);
        Ok(stored)
    }

    fn import_all(
        &self,
        found: impl Iterator<Item = Result<Found>> + Send,
        options: &LatentImport,
        each: &mut dyn FnMut(Exchanged),
    ) -> Result<()> {
        let work = |found: Result<Found>| Ok(self.made(found?, options));
        in_order(found, work, |results| {
            let mut commit = Commit::new(self, options, each);
            for made in results {
                match made {
                    Ok(made) => commit.add(made)?,
                    Err(error) => {
                        // What came before it is in order.
                        commit.write()?;
                        return Err(error);
                    }
                }
            }
            commit.write()
        })
    }

    fn made(&self, found: Found, options: &LatentImport) -> Made {
        let Found { name, place } = found;
        let mut notes = Vec::new();
        let record = match place {
            Place::Failed(error) => Err(error),
            Place::File(path, below) => source::read(&path).and_then(|bytes| {
                let id = source::id_of_file(&below)?;
                let file = File {
                    name: &file_name(&path),
                    bytes: &bytes,
                    said: None,
                };
                self.latent_record(id, &file, options, &mut notes)
            }),
            Place::Sample(group) => self.sample_record(&group, options, &mut notes),
        };
        Made {
            name,
            record,
            notes,
        }
    }

    fn sample_record(
        &self,
        group: &super::shard::Group,
        options: &LatentImport,
        notes: &mut Vec<String>,
    ) -> Result<Record> {
        let [(name, bytes)] = &group.latents[..] else {
            let names = group.latents.iter().map(|(name, _)| name.as_str());
            let names: Vec<_> = names.collect();
            return Err(Error::invalid(format!(
                "a sample has one latent, this one {}: {}",
                names.len(),
                names.join(", ")
            )));
        };
        let said = group.json.as_deref().and_then(Sample::read);
        let id = match &said {
            Some(said) => RecordId::new(said.id.clone())?,
            None => source::id_of_key(&group.key)?,
        };
        let file = File {
            name: &file_name(Path::new(name)),
            bytes,
            said: said.as_ref(),
        };
        self.latent_record(id, &file, options, notes)
    }

    fn latent_record(
        &self,
        id: RecordId,
        file: &File<'_>,
        options: &LatentImport,
        notes: &mut Vec<String>,
    ) -> Result<Record> {
        let latent = self.foreign_latent(file, options, notes)?;
        let mut record = self.foreign_record(id, latent)?;
        if let Some(said) = file.said {
            record.header.encoder = said.encoder()?;
        }
        // In a batch it would be a failure of all.
        record.check()?;
        Ok(record)
    }

    fn foreign_latent(
        &self,
        file: &File<'_>,
        options: &LatentImport,
        notes: &mut Vec<String>,
    ) -> Result<ForeignLatent> {
        let space_of = |in_file: Option<&str>| {
            let said = || file.said.map(|said| said.latent_space.as_str());
            let space = options.latent_space.as_deref().or(in_file).or_else(said);
            space.map(str::to_owned).ok_or_else(|| {
                Error::invalid("nobody says its latent space")
                    .with_hint("say it with --latent-space NAME")
            })
        };
        let factors = |format, in_file: Option<&str>| {
            let space = space_of(in_file)?;
            let scaled = format == LatentFormat::Npz && is_scaled_in_npz(&space);
            if options.scaled || scaled {
                return Ok(Some(self.hub().scaling(&space)?));
            }
            Ok(None)
        };
        let (read, left_out) = read_unscaled(file.bytes, "the file", &factors)?;
        notes.extend(left_out);
        let latent_space = space_of(read.latent_space.as_deref())?;
        let said = file.said.map(|said| (said.width, said.height));
        let size = match options.size.or(read.size).or(said) {
            Some(size) => size,
            None => self.full_size(read.latent.shape(), &latent_space, options)?,
        };
        let mut latent = ForeignLatent::new(read.latent, &latent_space, size);
        latent.encoder = read.encoder;
        latent.coding = options.coding;
        latent.alpha = read.alpha;
        latent.source = match file.said {
            Some(said) => said.source()?,
            None => Some(source_of(file.bytes, file.name)),
        };
        if let Some(said) = file.said {
            latent.tags = said.tags()?;
        }
        Ok(latent)
    }

    /// The size of an image that fills all cells of its latent.
    fn full_size(
        &self,
        shape: LatentShape,
        latent_space: &str,
        options: &LatentImport,
    ) -> Result<(u32, u32)> {
        let known = || self.hub().compression_ratio(latent_space);
        let ratio = options.compression_ratio.or_else(known).ok_or_else(|| {
            Error::invalid(format!(
                "nobody says how many pixels a cell of a latent of `{}` stands for",
                latent_space.escape_debug()
            ))
            .with_hint("say it with --compression-ratio N")
        })?;
        let side = |cells: u32| {
            cells.checked_mul(ratio).ok_or_else(|| {
                Error::invalid(format!(
                    "an image of {cells} cells of {ratio} pixels is too large"
                ))
            })
        };
        Ok((side(shape.width)?, side(shape.height)?))
    }
}

/// A latent file that is read, and what its sample says of it.
struct File<'a> {
    name: &'a str,
    bytes: &'a [u8],
    said: Option<&'a Sample>,
}

fn file_name(path: &Path) -> String {
    path.file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}

/// Records that wait to be made durable.
struct Commit<'a, 'e> {
    database: &'a Database,
    mode: Mode,
    each: &'e mut dyn FnMut(Exchanged),
    records: Vec<Record>,
    /// What is told of each of `records`.
    told: Vec<Exchanged>,
    ids: BTreeSet<RecordId>,
    size: BatchSize,
}

impl<'a, 'e> Commit<'a, 'e> {
    fn new(
        database: &'a Database,
        options: &LatentImport,
        each: &'e mut dyn FnMut(Exchanged),
    ) -> Self {
        Self {
            database,
            mode: if options.replace {
                Mode::Replace
            } else {
                Mode::Create
            },
            each,
            records: Vec::new(),
            told: Vec::new(),
            ids: BTreeSet::new(),
            size: BatchSize::default(),
        }
    }

    fn add(&mut self, made: Made) -> Result<()> {
        let mut done = Exchanged {
            name: made.name,
            result: Ok(()),
            notes: made.notes,
        };
        let record = match made.record {
            Ok(record) => record,
            Err(error) => {
                done.result = Err(error);
                (self.each)(done);
                return Ok(());
            }
        };
        let id = record.header.id.clone();
        if self.ids.contains(&id) {
            // Two records of one id can't be in one batch.
            self.write()?;
        }
        if self.mode == Mode::Create && self.database.store().contains(&id)? {
            let error = Error::new(ErrorKind::AlreadyExists, format!("`{id}` exists already"));
            done.result = Err(error.with_hint("import --replace replaces records"));
            (self.each)(done);
            return Ok(());
        }
        let due = self.size.add(&record);
        self.ids.insert(id);
        self.records.push(record);
        self.told.push(done);
        if due {
            self.write()?;
        }
        Ok(())
    }

    fn write(&mut self) -> Result<()> {
        self.database.store().put(&self.records, self.mode)?;
        self.records.clear();
        self.ids.clear();
        self.size = BatchSize::default();
        self.told.drain(..).for_each(&mut self.each);
        Ok(())
    }
}
