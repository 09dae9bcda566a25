//! What the shared arguments become: paths, the hub of models, an opened database.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use latentdb::backend::OpenOptions;
use latentdb::{Database, Error, ErrorKind, Hub, HubOptions, ModelsFolder};

use crate::args::Global;
use crate::progress::with_spinner;

/// What every command gets.
pub(crate) struct Context {
    pub(crate) global: Global,
    pub(crate) hub: Arc<Hub>,
}

impl Context {
    pub(crate) fn new(global: Global) -> Self {
        let models = match &global.models {
            Some(path) => Some(ModelsFolder::new(path)),
            None => ModelsFolder::from_env(),
        };
        let hub = Hub::new(HubOptions {
            runtime: global.onnxruntime.clone(),
            models: models.map(|folder| folder.path().to_path_buf()),
            provider: global.provider,
            precision: global.precision,
            threads: global.threads.map(|threads| threads.get().into()),
            tile: global.tile,
            memory: global.memory,
            ..HubOptions::default()
        });
        Self {
            global,
            hub: Arc::new(hub),
        }
    }

    /// The store's folder: `--db`, `LATENTDB_PATH`, or `store` in the user's data folder.
    pub(crate) fn db_path(&self) -> latentdb::Result<PathBuf> {
        if let Some(path) = &self.global.db {
            return Ok(path.clone());
        }
        let data = latentdb::user_data_folder().ok_or_else(|| {
            Error::new(
                ErrorKind::InvalidInput,
                "there is no home folder to keep a store in: name one with --db",
            )
        })?;
        Ok(data.join("store"))
    }

    /// The folder of models: `--models`, `LATENTDB_MODELS`, or `models` in the user's data folder.
    pub(crate) fn models(&self) -> latentdb::Result<&ModelsFolder> {
        self.hub.models_folder().ok_or_else(|| {
            Error::new(
                ErrorKind::InvalidInput,
                "there is no home folder to keep models in: name one with --models",
            )
        })
    }

    /// The database for writing; made if it isn't there.
    pub(crate) fn open_or_create(&self) -> latentdb::Result<Database> {
        let options = self.open_options();
        self.opened(|path| Database::open_or_create_with(path, &options))
    }

    /// The database for writing; it must be there.
    pub(crate) fn open(&self) -> latentdb::Result<Database> {
        let options = self.open_options();
        self.opened(|path| Database::open_with(path, &options))
    }

    /// The database for reading; needs no lock, and never makes a store.
    pub(crate) fn open_read_only(&self) -> latentdb::Result<Database> {
        self.opened(Database::open_read_only)
    }

    fn open_options(&self) -> OpenOptions {
        let mut options = OpenOptions::default();
        options.automatic_compaction = !self.global.no_auto_compact;
        options
    }

    fn opened(
        &self,
        open: impl FnOnce(PathBuf) -> latentdb::Result<Database>,
    ) -> latentdb::Result<Database> {
        let path = self.db_path()?;
        // After a crash, opening may have to walk over a large log.
        let database = with_spinner("opening the store", || open(path)).map_err(with_hint)?;
        if let Some(recovered) = database.recovered() {
            eprintln!("note: {recovered}");
        }
        Ok(database.with_hub(Arc::clone(&self.hub)))
    }

    /// Says something that only `--verbose` asks for.
    pub(crate) fn say(&self, message: impl FnOnce() -> String) {
        if self.global.verbose {
            eprintln!("{}", message());
        }
    }
}

/// What to do about a store that is too damaged to be opened.
pub(crate) fn with_hint(error: Error) -> Error {
    if error.kind() == ErrorKind::Corrupted && error.hint().is_none() {
        return error.with_hint(
            "latentdb verify says what is damaged, latentdb repair keeps what is whole",
        );
    }
    error
}

/// The last part of a path, for messages.
pub(crate) fn file_name(path: &Path) -> String {
    path.file_name()
        .unwrap_or(path.as_os_str())
        .to_string_lossy()
        .into_owned()
}
