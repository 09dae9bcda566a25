//! Models of the Hugging Face hub that are known by name, and how to get what isn't there.
//!
//! Invariant: `config.json` comes first among a model's files, so that a family that can't be run is refused before
//! its weights are loaded. The latent space is written down here because weights don't say it.

use crate::spaces;

/// A model of the Hugging Face hub, and the name it goes by here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KnownModel {
    /// The name to pull it by.
    pub name: &'static str,
    /// Its repository on the hub.
    pub repo: &'static str,
    /// The files that are needed; the configuration first.
    pub files: &'static [&'static str],
    /// The latent space that it writes and reads.
    pub latent_space: &'static str,
    /// The licence it had when this table was written; the hub is asked for today's.
    pub license: &'static str,
    /// One line on what it is good for.
    pub about: &'static str,
}

/// All models that can be pulled by name.
pub fn known_models() -> &'static [KnownModel] {
    &KNOWN
}

const FILES: &[&str] = &["config.json", "diffusion_pytorch_model.safetensors"];
/// Of a whole pipeline only the autoencoder.
const VAE_FILES: &[&str] = &["vae/config.json", "vae/diffusion_pytorch_model.safetensors"];

const KNOWN: [KnownModel; 10] = [
    KnownModel {
        name: "sd",
        repo: "stabilityai/sd-vae-ft-mse",
        files: FILES,
        latent_space: "sd-v1",
        license: "mit",
        about: "Stable Diffusion 1 and 2, decoder tuned for small errors",
    },
    KnownModel {
        name: "sd-ema",
        repo: "stabilityai/sd-vae-ft-ema",
        files: FILES,
        latent_space: "sd-v1",
        license: "mit",
        about: "Stable Diffusion 1 and 2, decoder tuned for sharpness",
    },
    KnownModel {
        name: "sdxl",
        repo: "stabilityai/sdxl-vae",
        files: FILES,
        latent_space: "sdxl",
        license: "mit",
        about: "Stable Diffusion XL",
    },
    KnownModel {
        name: "sd3",
        repo: "stabilityai/stable-diffusion-3-medium-diffusers",
        files: VAE_FILES,
        latent_space: "sd3",
        license: "stabilityai-ai-community",
        about: "Stable Diffusion 3; its licence must be accepted on its page first",
    },
    KnownModel {
        name: "flux1",
        repo: "black-forest-labs/FLUX.1-schnell",
        files: VAE_FILES,
        latent_space: "flux1",
        license: "apache-2.0",
        about: "FLUX.1",
    },
    KnownModel {
        name: "taesd",
        repo: "madebyollin/taesd",
        files: FILES,
        latent_space: "sd-v1",
        license: "mit",
        about: "tiny and fast, for Stable Diffusion 1 and 2",
    },
    KnownModel {
        name: "taesdxl",
        repo: "madebyollin/taesdxl",
        files: FILES,
        latent_space: "sdxl",
        license: "mit",
        about: "tiny and fast, for Stable Diffusion XL",
    },
    KnownModel {
        name: "taesd3",
        repo: "madebyollin/taesd3",
        files: FILES,
        latent_space: "sd3",
        license: "mit",
        about: "tiny and fast, for Stable Diffusion 3",
    },
    KnownModel {
        name: "taef1",
        repo: "madebyollin/taef1",
        files: FILES,
        latent_space: "flux1",
        license: "mit",
        about: "tiny and fast, for FLUX.1",
    },
    KnownModel {
        name: "consistency",
        repo: "openai/consistency-decoder",
        files: FILES,
        latent_space: "sd-v1",
        license: "mit",
        about: "a slow decoder for Stable Diffusion 1 that invents plausible detail",
    },
];

/// What a person may do who asked for the model `name`.
pub(super) fn how_to_get(name: &str) -> String {
    let import = format!(
        "latentdb model import PATH --name {} takes weights you have",
        name.escape_debug()
    );
    match KNOWN.iter().find(|model| model.name == name) {
        Some(model) => format!(
            "latentdb model pull {name} fetches it ({}, {}); {import}",
            model.repo, model.license
        ),
        None => format!("{import}; model list shows the models that are there"),
    }
}

/// What a person may do who wants to decode a latent of `latent_space` that `encoder` made.
pub(super) fn how_to_read(latent_space: &str, encoder: Option<&str>) -> String {
    let about =
        spaces::known(latent_space).map_or_else(String::new, |space| format!(" ({})", space.about));
    let name = encoder.unwrap_or("NAME");
    let pull = KNOWN
        .iter()
        .find(|model| model.latent_space == latent_space)
        .map_or_else(String::new, |model| {
            format!("; model pull {} fetches one", model.name)
        });
    format!("latentdb model import PATH --name {name} takes a decoder of that space{about}{pull}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_configurations_come_first() {
        for (at, model) in KNOWN.iter().enumerate() {
            assert!(
                KNOWN[..at].iter().all(|other| other.name != model.name),
                "{}",
                model.name
            );
            assert!(model.files[0].ends_with("config.json"), "{}", model.name);
            assert!(!model.about.is_empty() && !model.license.is_empty());
        }
    }
}
