//! What the environment says of where things lie.
//!
//! Invariant: this and `runtime` are the only places in the library that read the environment.

use std::path::PathBuf;

use etcetera::BaseStrategy;

use super::folder::ModelsFolder;

/// The environment variable that names the folder of models.
const MODELS: &str = "LATENTDB_MODELS";

/// The folder for this program's data: `$XDG_DATA_HOME/latentdb`, `~/.local/share/latentdb`, or
/// what Windows has instead. Reads the environment.
pub fn user_data_folder() -> Option<PathBuf> {
    let strategy = etcetera::choose_base_strategy().ok()?;
    Some(strategy.data_dir().join("latentdb"))
}

impl ModelsFolder {
    /// The user's folder of models: `$LATENTDB_MODELS`, or `models` in [`user_data_folder`]. Reads
    /// the environment.
    pub fn from_env() -> Option<Self> {
        let named = std::env::var_os(MODELS).filter(|path| !path.is_empty());
        let path = named.map(PathBuf::from);
        let path = path.or_else(|| Some(user_data_folder()?.join("models")));
        path.map(Self::new)
    }
}
