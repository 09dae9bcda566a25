//! `latentdb doctor`: what is found, what works, and what state the store is in.

use latentdb::{Database, ErrorKind, ModelSpec, Provider, Runtime};

use crate::context::Context;
use crate::output;
use crate::report::Failure;

/// Show what latentdb finds and what works
///
/// Where ONNX Runtime was looked for and found, and in which version; which execution providers
/// really work; the models; the store's path and state. Ends with exit code 1 if images can't be
/// encoded.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  latentdb doctor")]
pub(crate) struct Doctor {}

pub(crate) fn run(context: &Context, _command: &Doctor) -> Result<(), Failure> {
    output::line(&format!("latentdb {}", env!("CARGO_PKG_VERSION")))?;
    let works = runtime(context)?;
    output::line("\nmodels")?;
    for model in context.hub.models() {
        output::line(&format!("  {}", describe(model)))?;
    }
    for broken in context.hub.broken_models() {
        output::line(&format!("  {}: {:#}", broken.name, broken.error))?;
    }
    store(context)?;
    if works {
        Ok(())
    } else {
        Err(Failure::Silent(1))
    }
}

fn runtime(context: &Context) -> Result<bool, Failure> {
    let runtime = match context.hub.runtime() {
        Ok(runtime) => runtime,
        Err(error) => {
            output::line("\nONNX Runtime: not usable")?;
            output::line(&format!("  {error:#}"))?;
            output::line("  looked for at, in this order:")?;
            for candidate in Runtime::candidates(context.global.onnxruntime.as_deref()) {
                let (origin, path) = (candidate.origin, candidate.path.display());
                output::line(&format!("    {path}  ({origin})"))?;
            }
            output::line("  hint: latentdb runtime install fetches it")?;
            return Ok(false);
        }
    };
    let version = runtime
        .version()
        .unwrap_or_else(|| "of unknown version".into());
    output::line(&format!(
        "
ONNX Runtime {version}"
    ))?;
    output::line(&format!("  {}", runtime.path().display()))?;
    output::line("\nexecution providers")?;
    let mut usable = false;
    let mut providers = vec![Provider::Cpu, Provider::Cuda(0)];
    if !providers.contains(&context.global.provider) && context.global.provider != Provider::Auto {
        providers.push(context.global.provider);
    }
    for provider in providers {
        let wanted = [Provider::Auto, provider].contains(&context.global.provider);
        match context.hub.try_provider(provider) {
            Ok(()) => {
                usable |= wanted;
                output::line(&format!("  {provider}: works"))?;
            }
            Err(error) => output::line(&format!("  {provider}: {}", cause(&error)))?,
        }
    }
    Ok(usable)
}

fn describe(model: &ModelSpec) -> String {
    let halves = match (&model.encoder, &model.decoder) {
        (Some(_), Some(_)) => "encoder and decoder",
        (Some(_), None) => "encoder",
        _ => "decoder",
    };
    format!(
        "{}: {halves}, latent space `{}`, f{}, {} channels, fingerprint {}, {}",
        model.name,
        model.latent_space,
        model.spatial_compression_ratio,
        model.latent_channels,
        model
            .fingerprint
            .as_deref()
            .map_or("none", |digits| &digits[..12]),
        model.license
    )
}

fn store(context: &Context) -> Result<(), Failure> {
    let path = context.db_path()?;
    output::line(&format!("\nstore\n  {}", path.display()))?;
    let state = match Database::open_read_only(&path).and_then(|db| db.store().stats()) {
        Ok(stats) => format!(
            "{}, {} stored, {} on disk",
            output::count(stats.records, "record"),
            output::bytes(stats.stored_bytes),
            output::bytes(stats.disk_bytes)
        ),
        Err(error) if error.kind() == ErrorKind::StoreNotFound => {
            "not there yet: put or init makes it".into()
        }
        Err(error) => format!("can't be read: {error:#}"),
    };
    output::line(&format!("  {state}"))
}

/// The innermost cause, on one line: ONNX Runtime's own words.
fn cause(error: &latentdb::Error) -> String {
    let mut innermost: &dyn std::error::Error = error;
    while let Some(next) = innermost.source() {
        innermost = next;
    }
    innermost
        .to_string()
        .lines()
        .next()
        .unwrap_or_default()
        .to_owned()
}
