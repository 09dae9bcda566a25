//! The models that are there, by name: the built-in ones and those in the user's folder.
//!
//! Invariant: a model that can't be used never hides the others, and is answered for by name with its reason.

use super::builtin;
use super::folder::{BrokenModel, ModelsFolder};
use super::spec::ModelSpec;
use crate::error::{Error, ErrorKind, Result};
use crate::latent::LatentShape;
use crate::spaces;

/// Models by name.
pub(super) struct Registry {
    models: Vec<ModelSpec>,
    broken: Vec<BrokenModel>,
    /// That the folder itself can't be read.
    unreadable: Option<Error>,
}

impl Registry {
    pub(super) fn read(folder: Option<&ModelsFolder>) -> Self {
        let mut registry = Self {
            models: builtin::models(),
            broken: Vec::new(),
            unreadable: None,
        };
        match folder.map(ModelsFolder::list) {
            Some(Ok((models, broken))) => {
                registry.models.extend(models);
                registry.broken = broken;
            }
            Some(Err(error)) => registry.unreadable = Some(error),
            None => {}
        }
        registry
    }

    pub(super) fn models(&self) -> &[ModelSpec] {
        &self.models
    }

    pub(super) fn broken(&self) -> &[BrokenModel] {
        &self.broken
    }

    pub(super) fn get(&self, name: &str) -> Result<&ModelSpec> {
        if let Some(model) = self.models.iter().find(|model| model.name == name) {
            return Ok(model);
        }
        if let Some(broken) = self.broken.iter().find(|broken| broken.name == name) {
            return Err(
                Error::new(broken.error.kind(), format!("{:#}", broken.error))
                    .with_hint(format!("latentdb model remove {name} removes it")),
            );
        }
        let known: Vec<_> = self.models.iter().map(|m| m.name.as_str()).collect();
        let error = Error::new(
            ErrorKind::ModelNotFound,
            format!(
                "there is no model `{}` (there are: {})",
                name.escape_debug(),
                known.join(", ")
            ),
        )
        .with_hint(super::known::how_to_get(name));
        Err(match &self.unreadable {
            Some(unreadable) => error.with_source(format!("{unreadable:#}")),
            None => error,
        })
    }

    /// The model of `latent_space` that has a decoder: `preferred` if it does, else any.
    pub(super) fn decoder_for(
        &self,
        latent_space: &str,
        preferred: Option<&str>,
    ) -> Result<&ModelSpec> {
        let mut fit = self
            .models
            .iter()
            .filter(|model| model.latent_space == latent_space && model.decoder.is_some());
        let first = fit.clone().next();
        let best = fit
            .find(|model| Some(model.name.as_str()) == preferred)
            .or(first);
        best.ok_or_else(|| {
            Error::new(
                ErrorKind::ModelNotFound,
                format!("there is no decoder for the latent space `{latent_space}`"),
            )
            .with_hint(super::known::how_to_read(latent_space, preferred))
        })
    }

    pub(super) fn scaling(&self, latent_space: &str) -> Result<(f64, f64)> {
        let model = self
            .models
            .iter()
            .find(|model| model.latent_space == latent_space);
        let factors = model.map(|model| (model.scaling_factor, model.shift_factor));
        factors
            .or_else(|| spaces::known(latent_space).map(|space| space.factors))
            .ok_or_else(|| {
                Error::invalid(format!(
                    "the scaling of the latent space `{}` is not known",
                    latent_space.escape_debug()
                ))
            })
    }

    /// The spatial compression ratio of `latent_space`; `None` if nothing is known of it.
    pub(super) fn compression_ratio(&self, latent_space: &str) -> Option<u32> {
        let mut models = self.models.iter();
        let model = models.find(|model| model.latent_space == latent_space);
        let of_space = || spaces::known(latent_space).map(|_| spaces::RATIO as u32);
        model
            .map(|model| model.spatial_compression_ratio)
            .or_else(of_space)
    }

    /// Refuses a latent whose shape can't belong to an image of `width` x `height` pixels in
    /// `latent_space`. Of a space that nothing is known of, anything is taken.
    pub(super) fn check_shape(
        &self,
        shape: LatentShape,
        latent_space: &str,
        (width, height): (u32, u32),
    ) -> Result<()> {
        let of_model = self
            .models
            .iter()
            .find(|model| model.latent_space == latent_space)
            .map(|model| model.latent_shape(width, height));
        let ratio = spaces::RATIO as u32;
        let of_space = || {
            spaces::known(latent_space).map(|space| LatentShape {
                channels: space.channels,
                height: height.div_ceil(ratio),
                width: width.div_ceil(ratio),
            })
        };
        match of_model.or_else(of_space) {
            Some(expected) if shape != expected => Err(Error::new(
                ErrorKind::ModelMismatch,
                format!(
                    "a latent of `{latent_space}` for {width}x{height} pixels has the shape {expected}, and this one has the shape {shape}"
                ),
            )),
            _ => Ok(()),
        }
    }
}
