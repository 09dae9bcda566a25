//! What the tests of pulling share: a hub with one model, a cache of its own, and what must be in it.
//!
//! Invariant: nothing of the user's environment or caches is read or written.
#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]
#![allow(dead_code, reason = "each test file uses a part of it")]

use std::path::PathBuf;
use std::time::Duration;

use latentdb::{Error, ErrorKind, HubAccess, KnownModel, PullPlan, Pulled, known_models};

use crate::fake_hub::{FakeHub, sha256};

pub(crate) const CONFIG: &str = "config.json";
pub(crate) const WEIGHTS: &str = "diffusion_pytorch_model.safetensors";
pub(crate) const CONFIG_BYTES: &[u8] = br#"{"_class_name": "AutoencoderTiny"}"#;

pub(crate) fn model() -> KnownModel {
    let models = known_models();
    *models.iter().find(|model| model.name == "taesd").unwrap()
}

/// Bytes without a pattern that a shift by some bytes would keep.
pub(crate) fn weights() -> Vec<u8> {
    let mut state = 1_u32;
    let next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    std::iter::repeat_with(next).take(300_000).collect()
}

/// A hub with a model, and a cache of its own.
pub(crate) struct Place {
    pub(crate) hub: FakeHub,
    pub(crate) folder: tempfile::TempDir,
}

impl Place {
    pub(crate) fn new() -> Self {
        let hub = FakeHub::new(model().repo);
        hub.add(CONFIG, CONFIG_BYTES, false);
        hub.add(WEIGHTS, &weights(), true);
        hub.add("README.md", b"not asked for", false);
        Self {
            hub,
            folder: tempfile::tempdir().unwrap(),
        }
    }

    pub(crate) fn access(&self) -> HubAccess {
        self.access_to(&self.hub.url())
    }

    pub(crate) fn access_to(&self, endpoint: &str) -> HubAccess {
        let access = HubAccess::new(endpoint, self.folder.path()).unwrap();
        access.with_first_pause(Duration::ZERO)
    }

    pub(crate) fn plan(&self) -> PullPlan {
        self.access().plan(&model()).unwrap()
    }

    pub(crate) fn pull(&self) -> Result<Pulled, Error> {
        let access = self.access();
        access.fetch(&access.plan(&model())?, &mut |_| ())
    }

    /// A path below the repository's folder in the cache.
    pub(crate) fn cached(&self, path: &str) -> PathBuf {
        let repo = format!("models--{}", model().repo.replace('/', "--"));
        self.folder.path().join(repo).join(path)
    }

    pub(crate) fn weights_blob(&self) -> PathBuf {
        self.cached(&format!("blobs/{}", sha256(&weights())))
    }

    pub(crate) fn part(&self) -> PathBuf {
        self.cached(&format!("blobs/{}.incomplete", sha256(&weights())))
    }

    /// What an earlier pull left.
    pub(crate) fn leave_part(&self, bytes: &[u8]) {
        std::fs::create_dir_all(self.cached("blobs")).unwrap();
        std::fs::write(self.part(), bytes).unwrap();
    }

    #[track_caller]
    pub(crate) fn assert_whole(&self, pulled: &Pulled) {
        let read = |name: &str| std::fs::read(pulled.folder.join(name)).unwrap();
        assert_eq!(read(CONFIG), CONFIG_BYTES);
        assert!(read(WEIGHTS) == weights());
        assert!(!self.part().exists());
    }
}

/// Asserts an error of this kind that says `parts`, in its message or its hint.
#[track_caller]
pub(crate) fn assert_says(error: &Error, kind: ErrorKind, parts: &[&str]) {
    let text = format!("{error:#}; hint: {}", error.hint().unwrap_or_default());
    assert_eq!(error.kind(), kind, "{text}");
    for part in parts {
        assert!(text.contains(part), "no `{part}` in: {text}");
    }
    assert!(!text.ends_with('.'), "{text}");
}
