//! The names that autoencoders' tensors go by in the wild, and the canonical ones: those of diffusers for
//! `AutoencoderKL`, those of the original code for TAESD and its kin.
//!
//! Invariant: the same weights get the same canonical names whichever way they were published, so that they have
//! the same fingerprint.

use super::source::Half;
use crate::error::{Error, Result};
use crate::model::family::{Family, UNET};
use crate::model::weights::Tensors;

/// What the autoencoder's tensors begin with inside a checkpoint of a whole diffusion model.
const CHECKPOINT_PREFIXES: [&str; 2] = ["first_stage_model.", "vae."];

/// Parts of an autoencoder, by which its tensors are told from others in the same file.
const PARTS: [&str; 5] = [
    "encoder.",
    "decoder.",
    "quant_conv.",
    "post_quant_conv.",
    UNET,
];

/// A tensor that the consistency decoder's UNet has and no autoencoder: its table of times, learned as no other
/// UNet's is.
const TIMES: &str = "time_proj.weight";

/// In the name of a layer that only OpenAI's own consistency decoder has.
const OPENAIS: &str = "embed_image.";

/// Names in the original code of latent diffusion, and in diffusers.
const LDM: [(&str, &str); 10] = [
    (".mid.block_1.", ".mid_block.resnets.0."),
    (".mid.block_2.", ".mid_block.resnets.1."),
    (".mid.attn_1.norm.", ".mid_block.attentions.0.group_norm."),
    (".mid.attn_1.q.", ".mid_block.attentions.0.to_q."),
    (".mid.attn_1.k.", ".mid_block.attentions.0.to_k."),
    (".mid.attn_1.v.", ".mid_block.attentions.0.to_v."),
    (".mid.attn_1.proj_out.", ".mid_block.attentions.0.to_out.0."),
    (".nin_shortcut.", ".conv_shortcut."),
    (".downsample.conv.", ".downsamplers.0.conv."),
    (".upsample.conv.", ".upsamplers.0.conv."),
];

/// diffusers' own names of the attention before version 0.17, and after.
const OLD_ATTENTION: [(&str, &str); 4] = [
    (".attentions.0.query.", ".attentions.0.to_q."),
    (".attentions.0.key.", ".attentions.0.to_k."),
    (".attentions.0.value.", ".attentions.0.to_v."),
    (".attentions.0.proj_attn.", ".attentions.0.to_out.0."),
];

/// The autoencoder among `files`: its family, and its tensors under their canonical names.
///
/// # Errors
/// `InvalidInput` if there is none of a known family.
pub(super) fn canonical(files: Vec<(Half, Tensors)>) -> Result<(Family, Tensors)> {
    let mut tensors = Tensors::new();
    for (half, found) in files {
        if found.keys().any(|name| name.contains(OPENAIS)) {
            let what = "the weights have OpenAI's own names for those of its consistency decoder";
            return Err(Error::invalid(what).with_hint(super::source::OPENAI));
        }
        for (name, tensor) in strip(half, found) {
            if let Some(twice) = tensors.insert(name.clone(), tensor) {
                return Err(Error::invalid(format!(
                    "the tensor `{name}` is in {} and in another file as well",
                    twice.path().display()
                )));
            }
        }
    }
    let any = |test: &dyn Fn(&str) -> bool| tensors.keys().any(|name| test(name));
    let numbered = |name: &str| {
        let rest = name.split_once('.').map_or("", |(_, rest)| rest);
        rest.starts_with(|c: char| c.is_ascii_digit())
    };
    let has_unet = any(&|name| name.starts_with(UNET));
    let rename: Box<dyn Fn(&str) -> String> = if any(&|name| name.contains("coder.layers.")) {
        Box::new(tiny_of_diffusers)
    } else if any(&numbered) {
        Box::new(str::to_owned)
    } else if any(&|name| name.starts_with("encoder.down.") || name.starts_with("decoder.up.")) {
        let levels = tensors.keys().filter_map(|name| level(name)).max();
        let levels = levels.unwrap_or(0) + 1;
        Box::new(move |name| of_ldm(name, levels))
    } else if has_unet || any(&|name| name.contains("coder.conv_in.")) {
        Box::new(|name| replaced(name, &OLD_ATTENTION))
    } else {
        return Err(Error::invalid(
            "the weights are of no known autoencoder: AutoencoderKL (names of diffusers or of the original code), AutoencoderTiny (TAESD and its kin) and the UNet of ConsistencyDecoderVAE are",
        ));
    };
    let family = if has_unet {
        Family::Consistency
    } else if any(&|name| name.contains("coder.layers.") || numbered(name)) {
        Family::Tiny
    } else {
        Family::Kl
    };
    let mut renamed = Tensors::new();
    for (name, mut tensor) in tensors {
        let name = rename(&name);
        // The original code projects with 1x1 convolutions, diffusers with matrices of the same values.
        if name.contains(".attentions.") && tensor.dims.ends_with(&[1, 1]) {
            tensor.dims.truncate(2);
        }
        renamed.insert(name, tensor);
    }
    Ok((family, renamed))
}

/// The autoencoder's tensors of one file, each beginning with one of [`PARTS`].
fn strip(half: Half, tensors: Tensors) -> Tensors {
    if tensors.contains_key(TIMES) {
        let named = tensors.into_iter();
        return named
            .map(|(name, tensor)| (format!("{UNET}{name}"), tensor))
            .collect();
    }
    let prefix = CHECKPOINT_PREFIXES
        .into_iter()
        .find(|prefix| tensors.keys().any(|name| name.starts_with(prefix)))
        .unwrap_or("");
    let is_part = |name: &str| PARTS.iter().any(|part| name.starts_with(part));
    let named = tensors.into_iter().filter_map(|(name, tensor)| {
        let name = name.strip_prefix(prefix)?;
        let name = match half {
            Half::Encoder if !is_part(name) => format!("encoder.{name}"),
            Half::Decoder if !is_part(name) => format!("decoder.{name}"),
            _ => name
                .replace("taesd_encoder.", "encoder.")
                .replace("taesd_decoder.", "decoder."),
        };
        is_part(&name).then_some((name, tensor))
    });
    named.collect()
}

/// diffusers leaves the decoder's first layer, the clamp, out of its numbering.
fn tiny_of_diffusers(name: &str) -> String {
    let Some(rest) = name.strip_prefix("decoder.layers.") else {
        return name.replacen("encoder.layers.", "encoder.", 1);
    };
    match rest.split_once('.') {
        Some((number, part)) => match number.parse::<u64>() {
            Ok(number) if number < u64::MAX => format!("decoder.{}.{part}", number + 1),
            _ => name.to_owned(),
        },
        None => name.to_owned(),
    }
}

/// The level in `encoder.down.N.` or `decoder.up.N.`.
fn level(name: &str) -> Option<u64> {
    let rest = name
        .strip_prefix("encoder.down.")
        .or_else(|| name.strip_prefix("decoder.up."))?;
    rest.split_once('.')?
        .0
        .parse()
        .ok()
        .filter(|level| *level < 64)
}

fn of_ldm(name: &str, levels: u64) -> String {
    let mut name = replaced(name, &LDM).replacen("coder.norm_out.", "coder.conv_norm_out.", 1);
    if let Some(level) = level(&name) {
        // The original code counts the decoder's levels from the image, diffusers from the latent.
        name = name
            .replacen(
                &format!("encoder.down.{level}.block."),
                &format!("encoder.down_blocks.{level}.resnets."),
                1,
            )
            .replacen(
                &format!("encoder.down.{level}."),
                &format!("encoder.down_blocks.{level}."),
                1,
            );
        let from_latent = levels - 1 - level;
        name = name
            .replacen(
                &format!("decoder.up.{level}.block."),
                &format!("decoder.up_blocks.{from_latent}.resnets."),
                1,
            )
            .replacen(
                &format!("decoder.up.{level}."),
                &format!("decoder.up_blocks.{from_latent}."),
                1,
            );
    }
    name
}

fn replaced(name: &str, table: &[(&str, &str)]) -> String {
    table.iter().fold(name.to_owned(), |name, (from, to)| {
        name.replacen(from, to, 1)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_the_original_code_become_those_of_diffusers() {
        for (ldm, diffusers) in [
            (
                "encoder.down.1.block.0.norm1.weight",
                "encoder.down_blocks.1.resnets.0.norm1.weight",
            ),
            (
                "encoder.down.0.downsample.conv.bias",
                "encoder.down_blocks.0.downsamplers.0.conv.bias",
            ),
            (
                "encoder.down.2.block.0.nin_shortcut.weight",
                "encoder.down_blocks.2.resnets.0.conv_shortcut.weight",
            ),
            (
                "encoder.mid.attn_1.proj_out.bias",
                "encoder.mid_block.attentions.0.to_out.0.bias",
            ),
            (
                "decoder.mid.block_2.conv1.weight",
                "decoder.mid_block.resnets.1.conv1.weight",
            ),
            (
                "decoder.up.3.upsample.conv.weight",
                "decoder.up_blocks.0.upsamplers.0.conv.weight",
            ),
            (
                "decoder.up.0.block.2.conv2.bias",
                "decoder.up_blocks.3.resnets.2.conv2.bias",
            ),
            ("decoder.norm_out.weight", "decoder.conv_norm_out.weight"),
            ("quant_conv.weight", "quant_conv.weight"),
        ] {
            assert_eq!(of_ldm(ldm, 4), diffusers);
        }
    }

    #[test]
    fn the_decoders_layers_of_diffusers_are_counted_from_the_clamp() {
        assert_eq!(
            tiny_of_diffusers("decoder.layers.0.weight"),
            "decoder.1.weight"
        );
        assert_eq!(
            tiny_of_diffusers("decoder.layers.17.conv.0.bias"),
            "decoder.18.conv.0.bias"
        );
        assert_eq!(
            tiny_of_diffusers("encoder.layers.14.bias"),
            "encoder.14.bias"
        );
    }
}
