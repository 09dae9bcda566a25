//! `latentdb model pull`: a known model comes from the Hugging Face hub.

use latentdb::{
    HubAccess, ImportOptions, KnownModel, PullPlan, PullProgress, PullStage, Pulled, known_models,
};

use super::import::said;
use crate::context::Context;
use crate::output::{self, bytes};
use crate::progress::{self, with_spinner};
use crate::report::Failure;

/// Fetch a known model from the Hugging Face hub
///
/// Shows the licence and the size, loads what isn't in the hub's cache yet, checks its hashes, and
/// imports it. A pull that was broken off goes on where it stopped. Without NAME the known models
/// are listed: name, latent space, licence, what it is for. Heeded are HF_ENDPOINT, HF_TOKEN,
/// HF_HOME, HF_HUB_CACHE, HF_HUB_OFFLINE and the usual proxy variables.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  latentdb model pull
  latentdb model pull sd
  latentdb model pull taesd --name preview
  latentdb model pull sdxl --download-only")]
pub(crate) struct Pull {
    /// Which model
    model: Option<String>,
    /// The name to give it [default: the one it was pulled by]
    #[arg(long, requires = "model")]
    name: Option<String>,
    /// Replace a model of the same name
    #[arg(long, requires = "model")]
    replace: bool,
    /// Load the files into the hub's cache and import nothing, for a machine without a network
    /// that shares it, or for another program; prints the folder
    #[arg(long, requires = "model", conflicts_with_all = ["name", "replace"])]
    download_only: bool,
}

pub(crate) fn run(context: &Context, command: &Pull) -> Result<(), Failure> {
    let Some(wanted) = &command.model else {
        return list();
    };
    let known = known_models().iter().find(|model| model.name == wanted);
    let Some(known) = known else {
        let names: Vec<_> = known_models().iter().map(|model| model.name).collect();
        return Err(Failure::Usage(format!(
            "`{wanted}` can't be pulled by name (known: {})\nhint: download it, then model import PATH",
            names.join(", ")
        )));
    };
    let name = command.name.as_deref().unwrap_or(known.name);
    let access = HubAccess::from_env()?;
    let plan = with_spinner("asking the hub", || access.plan(known))?;
    show(known, &plan);
    if command.download_only {
        let folder = fetch(&access, &plan)?.folder;
        return output::line(&folder.display().to_string());
    }
    let models = context.models()?;
    let config = access.fetch_config(&plan)?;
    models
        .check_import(name, command.replace, &config)
        .map_err(|error| match error.hint() {
            None => error.with_hint("--download-only loads it into the hub's cache all the same"),
            Some(_) => error,
        })?;
    let folder = fetch(&access, &plan)?.folder;
    let options = ImportOptions {
        name: Some(name.to_owned()),
        latent_space: Some(known.latent_space.to_owned()),
        license: Some(plan.license.clone()),
        source: Some(format!("{} at commit {}", plan.page, plan.commit)),
        replace: command.replace,
        ..ImportOptions::default()
    };
    let spec = with_spinner("importing", || models.import(&folder, &options))?;
    said("pulled", &spec);
    Ok(())
}

fn fetch(access: &HubAccess, plan: &PullPlan) -> latentdb::Result<Pulled> {
    let bar = progress::bar(plan.bytes());
    let pulled = access.fetch(plan, &mut |progress: PullProgress<'_>| {
        bar.set_position(progress.done);
        bar.set_message(match progress.stage {
            PullStage::Waiting => "waiting for another process",
            PullStage::Pausing => "pausing: the connection broke",
            PullStage::Checking => "checking",
            _ => "loading",
        });
    });
    bar.finish_and_clear();
    pulled
}

fn list() -> Result<(), Failure> {
    for model in known_models() {
        output::line(&format!(
            "{:12}{:8}{:26}{}",
            model.name, model.latent_space, model.license, model.about
        ))?;
    }
    Ok(())
}

/// What is about to be fetched, before it is.
fn show(known: &KnownModel, plan: &PullPlan) {
    if let Some(reason) = &plan.unasked {
        eprintln!("note: {reason}");
    }
    eprintln!("{}: {}", known.name, known.about);
    eprintln!("  from:    {} at commit {}", plan.page, plan.commit);
    eprintln!("  licence: {}", plan.license);
    let left = match plan.bytes_to_load() {
        0 => "all of it in the cache".to_owned(),
        left => format!("{} to load", bytes(left)),
    };
    eprintln!("  size:    {}, {left}", bytes(plan.bytes()));
}
