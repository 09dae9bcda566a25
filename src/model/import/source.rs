//! What lies at the path that is to be imported: which files, of what layout.
//!
//! Invariant: nothing is loaded that could run code: pickles are refused by name and by their first bytes.

use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::fs;
use crate::model::family::Config;

/// Endings of files that Python unpickles.
const PICKLES: [&str; 5] = ["bin", "ckpt", "pkl", "pt", "pth"];

/// The weights in a diffusers folder, the one preferred first.
const DIFFUSERS: [&str; 2] = [
    "diffusion_pytorch_model.safetensors",
    "diffusion_pytorch_model.fp16.safetensors",
];

/// A larger `config.json` or README is none.
const MAX_TEXT: u64 = 1 << 20;

/// Which half of a model a file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Half {
    Both,
    Encoder,
    Decoder,
}

/// Files with an autoencoder's weights.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) files: Vec<(Half, PathBuf)>,
    pub(super) config: Option<Config>,
    /// The model's name unless another is given: the folder's, or the file's without its ending.
    pub(super) name: String,
    /// As the model card in the folder states it.
    pub(super) license: Option<String>,
}

impl Source {
    /// Looks at `path`, a folder or a file.
    ///
    /// # Errors
    /// `Io` if it can't be read; `InvalidInput` if it holds no weights, or more than one model's.
    pub(super) fn find(path: &Path) -> Result<Self> {
        let metadata = std::fs::metadata(path).map_err(|e| Error::io("read", path, e))?;
        if !metadata.is_dir() {
            return Self::of_file(path);
        }
        // A whole pipeline has its autoencoder in a folder of its own.
        let vae = path.join("vae");
        let is_pipeline = !path.join("config.json").exists() && vae.join("config.json").exists();
        let folder = if is_pipeline { vae } else { path.to_path_buf() };
        let mut source = Self::of_folder(&folder)?;
        source.name = name_of(path)?;
        source.license = license(path);
        Ok(source)
    }

    fn of_folder(folder: &Path) -> Result<Self> {
        let mut found: Vec<PathBuf> = Vec::new();
        let mut others: Vec<String> = Vec::new();
        for name in fs::names(folder)? {
            let path = folder.join(&name);
            if has_ending(&path, &["safetensors"]) {
                found.push(path);
            } else {
                others.push(name.to_string_lossy().into_owned());
            }
        }
        found.sort();
        let config = folder.join("config.json");
        let config = if config.exists() {
            Some(Config::from_bytes(&small_file(&config)?)?)
        } else {
            None
        };
        let whole = |files| Self {
            files,
            config: config.clone(),
            name: String::new(),
            license: None,
        };
        let preferred = DIFFUSERS.iter().find_map(|name| {
            let wanted = folder.join(name);
            found.contains(&wanted).then_some(wanted)
        });
        if let Some(path) = preferred {
            return Ok(whole(vec![(Half::Both, path)]));
        }
        let of = |half: &str| -> Vec<&PathBuf> {
            let names = |path: &&PathBuf| file_name(path).contains(half);
            found.iter().filter(names).collect()
        };
        match (&of("encoder")[..], &of("decoder")[..], &found[..]) {
            ([encoder], [decoder], _) if encoder != decoder => Ok(whole(vec![
                (Half::Encoder, (*encoder).clone()),
                (Half::Decoder, (*decoder).clone()),
            ])),
            (_, _, [one]) => Ok(whole(vec![(half_of(one), one.clone())])),
            (_, _, []) => Err(nothing(folder, &others)),
            _ => Err(Error::invalid(format!(
                "{} holds the weights of several models: {}; name one file, and its other half beside it is found",
                folder.display(),
                found
                    .iter()
                    .map(|path| file_name(path))
                    .collect::<Vec<_>>()
                    .join(", ")
            ))),
        }
    }

    fn of_file(path: &Path) -> Result<Self> {
        if has_ending(path, &["onnx"]) {
            return Err(Error::invalid(format!(
                "{} is an ONNX file: `model add` takes those",
                path.display()
            )));
        }
        if has_ending(path, &PICKLES) || starts_like_a_pickle(path)? {
            return Err(pickle(path));
        }
        let mut files = vec![(half_of(path), path.to_path_buf())];
        let mut name = name_of(path)?;
        let (own, other) = match files[0].0 {
            Half::Both => ("", ""),
            Half::Encoder => ("encoder", "decoder"),
            Half::Decoder => ("decoder", "encoder"),
        };
        if !own.is_empty() {
            let sibling = path.with_file_name(file_name(path).replacen(own, other, 1));
            if sibling.is_file() {
                files.push((half_of(&sibling), sibling));
            }
            let stem = name.replacen(own, "", 1);
            let stem = stem.trim_matches(['_', '-', '.']);
            name = if stem.is_empty() {
                name
            } else {
                stem.to_owned()
            };
        }
        Ok(Self {
            files,
            config: None,
            name,
            license: path.parent().and_then(license),
        })
    }
}

fn file_name(path: &Path) -> String {
    path.file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}

fn half_of(path: &Path) -> Half {
    let name = file_name(path);
    match (name.contains("encoder"), name.contains("decoder")) {
        (true, false) => Half::Encoder,
        (false, true) => Half::Decoder,
        _ => Half::Both,
    }
}

fn has_ending(path: &Path, endings: &[&str]) -> bool {
    let ending = path.extension().unwrap_or_default();
    endings.iter().any(|one| ending.eq_ignore_ascii_case(one))
}

/// The last part of `path`, also where it is written as `.` or `..`.
fn name_of(path: &Path) -> Result<String> {
    let whole = path
        .canonicalize()
        .map_err(|e| Error::io("find", path, e))?;
    let name = if whole.is_dir() {
        whole.file_name()
    } else {
        whole.file_stem()
    };
    Ok(name.unwrap_or_default().to_string_lossy().into_owned())
}

/// torch writes zip archives and, before that, bare pickles, which begin with their protocol.
fn starts_like_a_pickle(path: &Path) -> Result<bool> {
    let file = fs::open(path)?;
    let length = fs::len(&file, path)?;
    let mut head = [0; 8];
    if length < 8 {
        return Ok(false);
    }
    fs::read_exact_at(&file, path, &mut head, 0)?;
    // A safetensors file may begin with the same two bytes: the length of its header.
    let bare = head[0] == 0x80 && (2..=5).contains(&head[1]) && u64::from_le_bytes(head) > length;
    Ok(bare || head.starts_with(b"PK\x03\x04"))
}

/// Turns a pickle that its owner trusts into what can be imported.
const CONVERT: &str = "take the model's .safetensors; or, where you trust the file, make one: python3 -c \"import sys, torch; from safetensors.torch import save_file; d = torch.load(sys.argv[1], map_location='cpu'); d = d.get('state_dict', d); save_file({k: v.contiguous().clone() for k, v in d.items() if torch.is_tensor(v)}, sys.argv[2])\" IN.ckpt OUT.safetensors";

/// What makes of OpenAI's `decoder.pt`, or of tensors with its names, what can be imported.
pub(super) const OPENAI: &str = "OpenAI's consistency decoder: onnx/tools/consistency.py in latentdb's sources turns its decoder.pt into a .safetensors file that can be imported";

fn pickle(path: &Path) -> Error {
    let reason = "is a pickle, and isn't read: reading one runs whatever code it holds";
    // Its code and its weights are in one archive, which torch.load doesn't take for a file of tensors.
    let is_openais = file_name(path) == "decoder.pt";
    let hint = if is_openais { OPENAI } else { CONVERT };
    Error::invalid(format!("{} {reason}", path.display())).with_hint(hint)
}

fn nothing(folder: &Path, others: &[String]) -> Error {
    let with = |endings: &[&str]| {
        others
            .iter()
            .find(|name| has_ending(Path::new(name), endings))
    };
    if let Some(name) = with(&PICKLES) {
        return pickle(&folder.join(name));
    }
    if let Some(name) = with(&["onnx"]) {
        return Error::invalid(format!(
            "{} holds ONNX files ({name}): `model add` takes those",
            folder.display()
        ));
    }
    Error::invalid(format!("{} holds no .safetensors file", folder.display()))
}

fn small_file(path: &Path) -> Result<Vec<u8>> {
    let file = fs::open(path)?;
    let length = fs::len(&file, path)?;
    if length > MAX_TEXT {
        return Err(Error::invalid(format!(
            "{} has {length} bytes: at most {MAX_TEXT} are read",
            path.display()
        )));
    }
    let mut bytes = vec![0; length as usize];
    fs::read_exact_at(&file, path, &mut bytes, 0)?;
    Ok(bytes)
}

/// As the model card states it, or else the first line of the licence itself.
fn license(folder: &Path) -> Option<String> {
    of_card(folder).or_else(|| {
        let names = ["LICENSE", "LICENSE.md", "LICENSE.txt"];
        let text = names
            .into_iter()
            .find_map(|name| small_file(&folder.join(name)).ok())?;
        let text = String::from_utf8(text).ok()?;
        let line = text
            .lines()
            .map(|line| line.trim_matches([' ', '#']))
            .find(|line| !line.is_empty())?;
        let title = line.chars().count() <= 60 && line.to_lowercase().contains("licen");
        title.then(|| line.to_owned())
    })
}

/// `license: NAME` in the head of the model card, which stands between two lines of `---`.
fn of_card(folder: &Path) -> Option<String> {
    let card = small_file(&folder.join("README.md")).ok()?;
    let card = String::from_utf8(card).ok()?;
    let head = card.strip_prefix("---")?.split("\n---").next()?;
    let value = head
        .lines()
        .find_map(|line| line.strip_prefix("license:"))?;
    let value = value.trim().trim_matches(['"', '\'']);
    (!value.is_empty()).then(|| value.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder_with(names: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for name in names {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "{}").unwrap();
        }
        folder
    }

    fn found(names: &[&str]) -> Vec<(Half, String)> {
        let folder = folder_with(names);
        let source = Source::find(folder.path()).unwrap();
        let names = source.files.iter();
        names.map(|(half, path)| (*half, file_name(path))).collect()
    }

    #[test]
    fn the_files_of_every_layout_are_found() {
        let whole = "diffusion_pytorch_model.safetensors";
        let fp16 = "diffusion_pytorch_model.fp16.safetensors";
        assert_eq!(
            found(&["config.json", fp16, whole]),
            [(Half::Both, whole.into())]
        );
        assert_eq!(found(&["config.json", fp16]), [(Half::Both, fp16.into())]);
        let pipeline = [
            "model_index.json",
            "vae/config.json",
            "vae/diffusion_pytorch_model.safetensors",
        ];
        assert_eq!(found(&pipeline), [(Half::Both, whole.into())]);
        let pair = ["a_encoder.safetensors", "a_decoder.safetensors", "LICENSE"];
        assert_eq!(
            found(&pair),
            [
                (Half::Encoder, pair[0].into()),
                (Half::Decoder, pair[1].into())
            ]
        );
        assert_eq!(found(&pair[1..]), [(Half::Decoder, pair[1].into())]);
        assert_eq!(
            found(&["x.safetensors"]),
            [(Half::Both, "x.safetensors".into())]
        );
    }

    #[test]
    fn the_other_half_lies_beside_a_named_file() {
        let folder = folder_with(&[
            "taesd_encoder.safetensors",
            "taesd_decoder.safetensors",
            "taesdxl_encoder.safetensors",
        ]);
        let source = Source::find(&folder.path().join("taesd_decoder.safetensors")).unwrap();
        assert_eq!(source.files.len(), 2);
        assert_eq!(source.name, "taesd");
        let error = Source::find(folder.path()).unwrap_err().to_string();
        assert!(error.contains("several models"), "{error}");
    }

    #[test]
    fn pickles_are_refused_with_the_reason_and_a_way_out() {
        for name in ["a.ckpt", "a.PT", "diffusion_pytorch_model.bin"] {
            let folder = folder_with(&[name]);
            for path in [folder.path().to_path_buf(), folder.path().join(name)] {
                let error = Source::find(&path).unwrap_err();
                assert!(error.to_string().contains("runs whatever code"), "{error}");
                assert!(error.hint().unwrap().contains("safetensors"), "{error}");
            }
        }
        let folder = tempfile::tempdir().unwrap();
        let disguised = folder.path().join("a.safetensors");
        std::fs::write(&disguised, b"PK\x03\x04 and more").unwrap();
        let error = Source::find(&disguised).unwrap_err().to_string();
        assert!(error.contains("is a pickle"), "{error}");
    }

    #[test]
    fn the_licence_is_read_off_the_model_card_or_the_licence_file() {
        let folder = folder_with(&["x.safetensors"]);
        let card = "---\ntags:\n- a\nlicense: mit\n---\n# license: none\n";
        std::fs::write(folder.path().join("README.md"), card).unwrap();
        let license = || Source::find(folder.path()).unwrap().license;
        assert_eq!(license().as_deref(), Some("mit"));
        std::fs::remove_file(folder.path().join("README.md")).unwrap();
        std::fs::write(
            folder.path().join("LICENSE"),
            "\nMIT License\n\nCopyright ...",
        )
        .unwrap();
        assert_eq!(license().as_deref(), Some("MIT License"));
    }
}
