//! How to get a model that isn't there.

use super::spaces;

/// What a person may do who asked for the model `name`.
pub(super) fn how_to_get(name: &str) -> String {
    format!(
        "latentdb model import PATH --name {} takes weights you have; model list shows the models that are there",
        name.escape_debug()
    )
}

/// What a person may do who wants to decode a latent of `latent_space` that `encoder` made.
pub(super) fn how_to_read(latent_space: &str, encoder: Option<&str>) -> String {
    let about =
        spaces::known(latent_space).map_or_else(String::new, |space| format!(" ({})", space.about));
    let name = encoder.unwrap_or("NAME");
    format!(
        "import a model of that space{about}: latentdb model import PATH --name {name}; or model pull"
    )
}
