//! safetensors: read by the `safetensors` crate.
//!
//! Written here, because the crate keeps metadata in a hash map: its bytes would differ from run to run.

use safetensors::{Dtype, SafeTensors};
use serde_json::{Map, Value, json};

use super::{
    Element, FactorsOf, LatentFile, LatentFormat, check_alpha, check_size, le_bytes, parse,
};
use crate::error::{Error, Result};

/// The tensor that may be there beside the latent.
const ALPHA: &str = "alpha";

/// More tensor names than these are not listed in a message.
const LISTED: usize = 5;

pub(super) fn read(bytes: &[u8], factors: &FactorsOf<'_>) -> Result<LatentFile> {
    let damaged =
        |error| Error::invalid("the bytes are none of safetensors, npy and npz").with_source(error);
    let tensors = SafeTensors::deserialize(bytes).map_err(damaged)?;
    let (_, header) = SafeTensors::read_metadata(bytes).map_err(damaged)?;

    let mut names = tensors.names();
    if names.len() == 2 {
        names.retain(|name| *name != ALPHA);
    }
    let [name] = names[..] else {
        names.sort_unstable();
        let more = if names.len() > LISTED { ", ..." } else { "" };
        return Err(Error::invalid(format!(
            "a latent file holds one tensor, this one {}: {}{more}",
            names.len(),
            names[..names.len().min(LISTED)].join(", ")
        )));
    };
    let tensor = tensors.tensor(name).map_err(damaged)?;
    let element = match tensor.dtype() {
        Dtype::F16 => Element::F16,
        Dtype::BF16 => Element::Bf16,
        Dtype::F32 => Element::F32,
        other => {
            return Err(Error::invalid(format!(
                "the tensor `{name}` is {other}: known are F16, BF16 and F32"
            )));
        }
    };
    let metadata = |key: &str| header.metadata().as_ref()?.get(key).cloned();
    let size = match (metadata("width"), metadata("height")) {
        (Some(width), Some(height)) => Some(size(&width, &height)?),
        (None, None) => None,
        _ => {
            return Err(Error::invalid(
                "the metadata has only one of width and height",
            ));
        }
    };
    let alpha = match tensors.tensor(ALPHA) {
        Ok(alpha) if name != ALPHA => {
            let (dtype, bytes) = (alpha.dtype(), alpha.data().len());
            let shape = size.map(|(width, height)| [height as usize, width as usize]);
            if dtype != Dtype::U8 || shape.is_some_and(|shape| alpha.shape() != shape) {
                return Err(Error::invalid(format!(
                    "the tensor `{ALPHA}` is {dtype} of the shape {:?}, and not U8 of the height and width of the image",
                    alpha.shape()
                )));
            }
            check_alpha(size, bytes)?;
            Some(alpha.data().to_vec())
        }
        _ => None,
    };
    let latent_space = metadata("latent_space");
    let factors = factors(LatentFormat::Safetensors, latent_space.as_deref())?;
    Ok(LatentFile {
        latent: parse(tensor.shape(), element, tensor.data(), factors)?,
        latent_space,
        encoder: metadata("encoder"),
        size,
        alpha,
    })
}

fn size(width: &str, height: &str) -> Result<(u32, u32)> {
    let (Ok(width), Ok(height)) = (width.parse(), height.parse()) else {
        return Err(Error::invalid(format!(
            "the metadata's width `{width}` and height `{height}` are not both numbers of pixels"
        )));
    };
    check_size(width, height)?;
    Ok((width, height))
}

pub(super) fn write(file: &LatentFile) -> Vec<u8> {
    let (width, height) = file.size.unzip();
    let metadata: Map<String, Value> = [
        ("latent_space", file.latent_space.clone()),
        ("encoder", file.encoder.clone()),
        ("width", width.map(|n| n.to_string())),
        ("height", height.map(|n| n.to_string())),
    ]
    .into_iter()
    .filter_map(|(key, value)| Some((key.to_owned(), value?.into())))
    .collect();

    let shape = file.latent.shape();
    let mut header = json!({
        "__metadata__": metadata,
        "latent": {
            "dtype": "F16",
            "shape": [shape.channels, shape.height, shape.width],
            "data_offsets": [0, shape.byte_len()],
        },
    });
    let alpha = file.alpha.as_deref().unwrap_or_default();
    if !alpha.is_empty() {
        header[ALPHA] = json!({
            "dtype": "U8",
            "shape": [height, width],
            "data_offsets": [shape.byte_len(), shape.byte_len() + alpha.len() as u64],
        });
    }
    let mut header = header.to_string();
    while !header.len().is_multiple_of(8) {
        header.push(' ');
    }
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.into_bytes());
    bytes.extend(le_bytes(&file.latent));
    bytes.extend_from_slice(alpha);
    bytes
}

#[cfg(test)]
mod tests {
    use super::super::tests::{file, refusal};
    use super::super::{read_latent, write_latent};
    use super::*;
    use crate::latent::Latent;
    use half::f16;

    /// A file whose header is `header`.
    fn bytes(header: &str, data: &[u8]) -> Vec<u8> {
        [
            &(header.len() as u64).to_le_bytes(),
            header.as_bytes(),
            data,
        ]
        .concat()
    }

    fn tensor(dtype: &str, data: &[u8]) -> Vec<u8> {
        let end = data.len();
        let header = format!(
            r#"{{"samples":{{"dtype":"{dtype}","shape":[1,1,1,2],"data_offsets":[0,{end}]}}}}"#
        );
        bytes(&header, data)
    }

    fn with_metadata(metadata: &str) -> Vec<u8> {
        let latent = r#""latent":{"dtype":"F16","shape":[1,1,1],"data_offsets":[0,2]}"#;
        bytes(
            &format!(r#"{{"__metadata__":{metadata},{latent}}}"#),
            &[0, 0],
        )
    }

    #[test]
    fn what_is_written_is_what_the_format_says() {
        let written = write_latent(&file(), LatentFormat::Safetensors).unwrap();
        let (length, rest) = written.split_at(8);
        let (header, data) = rest.split_at(length[0].into());
        let header = std::str::from_utf8(header).unwrap();
        assert_eq!(
            header.trim_end(),
            concat!(
                r#"{"__metadata__":{"latent_space":"sd-v1","encoder":"tiny","width":"23","height":"16"},"#,
                r#""latent":{"dtype":"F16","shape":[2,2,3],"data_offsets":[0,24]},"#,
                r#""alpha":{"dtype":"U8","shape":[16,23],"data_offsets":[24,392]}}"#
            )
        );
        assert_eq!(header.len() % 8, 0);
        assert_eq!(data.len(), 24 + 16 * 23);
        let written = write_latent(
            &LatentFile {
                alpha: None,
                ..file()
            },
            LatentFormat::Safetensors,
        );
        assert!(!String::from_utf8_lossy(&written.unwrap()).contains("alpha"));
    }

    #[test]
    fn what_is_not_known_is_not_written() {
        let file = LatentFile {
            latent_space: None,
            encoder: None,
            size: None,
            alpha: None,
            ..file()
        };
        let written = write_latent(&file, LatentFormat::Safetensors).unwrap();
        assert_eq!(read_latent(&written, "a").unwrap(), file);
    }

    #[test]
    fn f32_and_bf16_under_any_name_are_read() {
        let expected = [f16::ONE, f16::from_f32(-2.5)];
        let values = |latent: &Latent| latent.as_slice().to_vec();
        let f32s = tensor("F32", &[1.0f32, -2.5].map(f32::to_le_bytes).concat());
        assert_eq!(values(&read_latent(&f32s, "a").unwrap().latent), expected);
        let bf16s = tensor("BF16", &[0x80, 0x3f, 0x20, 0xc0]);
        assert_eq!(values(&read_latent(&bf16s, "a").unwrap().latent), expected);
    }

    #[test]
    fn other_types_are_refused_by_name() {
        let reason = refusal(&tensor("I16", &[0; 4]));
        assert!(reason.contains("`samples` is I16"), "{reason}");
    }

    #[test]
    fn several_tensors_are_refused_with_their_names() {
        let one = |name, at| {
            format!(
                r#""{name}":{{"dtype":"U8","shape":[1],"data_offsets":[{at},{}]}}"#,
                at + 1
            )
        };
        let header = format!("{{{},{}}}", one("mean", 0), one("logvar", 1));
        let reason = refusal(&bytes(&header, &[0, 0]));
        assert!(reason.ends_with("this one 2: logvar, mean"), "{reason}");
        let reason = refusal(&bytes("{}", &[]));
        assert!(reason.contains("this one 0"), "{reason}");
    }

    #[test]
    fn a_size_that_is_half_or_no_number_is_refused() {
        for (metadata, part) in [
            (r#"{"width":"8"}"#, "only one"),
            (r#"{"width":"8","height":"eight"}"#, "`eight`"),
            (r#"{"width":"8","height":"-8"}"#, "`-8`"),
            (r#"{"width":"8","height":"0"}"#, "8x0"),
        ] {
            let reason = refusal(&with_metadata(metadata));
            assert!(reason.contains(part), "{reason}");
        }
        let read = read_latent(&with_metadata(r#"{"width":"8","height":"7"}"#), "a").unwrap();
        assert_eq!(read.size, Some((8, 7)));
    }

    #[test]
    fn a_header_length_beyond_the_file_is_refused() {
        let reason = refusal(&u64::MAX.to_le_bytes());
        assert!(reason.contains("none of"), "{reason}");
    }
}
