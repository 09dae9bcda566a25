//! What a pull will load: asked of the hub, or remembered by the cache.
//!
//! Invariant: a plan holds only names from the model's table, and hashes and commits that are
//! nothing but hexadecimal digits, so that all of them can be parts of paths.

use serde::Deserialize;
use serde_json::Value;

use super::cache::{RepoCache, is_hex};
use super::http::{Client, Subject, Trouble};
use super::{HubAccess, KnownModel, PullFile, PullPlan};
use crate::error::{Error, ErrorKind, Result};

/// The longest description of a repository that is read.
const LONGEST_ANSWER: u64 = 16 << 20;

/// What is read of the hub's description of a model.
#[derive(Deserialize)]
struct Answer {
    sha: String,
    siblings: Vec<Sibling>,
    #[serde(default, rename = "cardData")]
    card: Value,
    #[serde(default)]
    tags: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct Sibling {
    rfilename: String,
    size: Option<u64>,
    #[serde(rename = "blobId")]
    blob_id: Option<String>,
    lfs: Option<Lfs>,
}

#[derive(Deserialize)]
struct Lfs {
    sha256: String,
    size: u64,
}

impl HubAccess {
    /// Asks the hub what `model` consists of, and looks what of it is cached.
    ///
    /// If the hub can't be reached, or must not be asked, a model that is whole in the cache is
    /// planned from there, and [`PullPlan::unasked`] says why.
    ///
    /// # Errors
    /// `Network` if the hub can't be reached or doesn't answer as a hub does, and the cache lacks
    /// the model; `AccessDenied`; `ModelNotFound` if the hub has no such repository or file;
    /// `InvalidInput` for a name in `model` that can't be a path.
    pub fn plan(&self, model: &KnownModel) -> Result<PullPlan> {
        check_names(model)?;
        let cache = RepoCache::new(&self.cache, model.repo);
        if self.offline {
            let unasked = "HF_HUB_OFFLINE is set".to_owned();
            return self.remembered(model, &cache, unasked).ok_or_else(|| {
                Error::new(
                    ErrorKind::Network,
                    format!(
                        "`{}` is not whole in the cache {}, and HF_HUB_OFFLINE forbids to load it",
                        model.repo,
                        self.cache.display()
                    ),
                )
                .with_hint("unset HF_HUB_OFFLINE, or set HF_HUB_CACHE to where it is")
            });
        }
        match self.ask(model) {
            Ok(answer) => self.understand(model, &cache, &answer),
            Err(error) if error.kind() == ErrorKind::Network => self
                .remembered(model, &cache, format!("{error:#}"))
                .ok_or(error),
            Err(error) => Err(error),
        }
    }

    fn ask(&self, model: &KnownModel) -> Result<Answer> {
        let subject = Subject {
            repo: model.repo,
            file: None,
        };
        let path = format!("/api/models/{}/revision/main?blobs=true", model.repo);
        let client = Client::new(self);
        let answer = client.patiently(|| {
            let response = client.get(&path, 0, subject)?;
            let body = response.into_body().into_with_config();
            let bytes = body.limit(LONGEST_ANSWER).read_to_vec();
            bytes.map_err(|error| Trouble::Passing {
                error: Error::new(
                    ErrorKind::Network,
                    format!(
                        "the answer of {} about `{}` broke off",
                        self.endpoint, model.repo
                    ),
                )
                .with_source(error),
                reached: true,
                wait: None,
            })
        })?;
        serde_json::from_slice(&answer).map_err(|e| {
            self.no_hub(
                model,
                "its answer can't be read, as if something else had answered",
            )
            .with_source(e)
        })
    }

    fn no_hub(&self, model: &KnownModel, why: &str) -> Error {
        Error::new(
            ErrorKind::Network,
            format!(
                "{} did not describe `{}` as a hub does: {why}",
                self.endpoint, model.repo
            ),
        )
        .with_hint("check HF_ENDPOINT, and whether a login page answers instead of the hub")
    }

    fn understand(
        &self,
        model: &KnownModel,
        cache: &RepoCache,
        answer: &Answer,
    ) -> Result<PullPlan> {
        if !is_hex(&answer.sha, 40) {
            return Err(self.no_hub(model, "the commit is no hash"));
        }
        let files = model.files.iter().map(|name| {
            let sibling = answer.siblings.iter().find(|s| s.rfilename == **name);
            let sibling = sibling.ok_or_else(|| {
                Error::new(
                    ErrorKind::ModelNotFound,
                    format!(
                        "{} has no {name} in `{}` at commit {}",
                        self.endpoint, model.repo, answer.sha
                    ),
                )
                .with_hint(format!("see {}", self.page(model)))
            })?;
            let mut file = sibling
                .file()
                .ok_or_else(|| self.no_hub(model, &format!("{name} lacks a size or a hash")))?;
            cache.look(&answer.sha, &mut file);
            Ok(file)
        });
        Ok(PullPlan {
            model: *model,
            commit: answer.sha.clone(),
            license: answer.license().unwrap_or_else(|| model.license.to_owned()),
            page: self.page(model),
            files: files.collect::<Result<_>>()?,
            unasked: None,
        })
    }

    /// The plan for what the cache has whole; `None` if it lacks a part.
    fn remembered(
        &self,
        model: &KnownModel,
        cache: &RepoCache,
        unasked: String,
    ) -> Option<PullPlan> {
        let commit = cache.main_commit().filter(|commit| is_hex(commit, 40))?;
        let files = model
            .files
            .iter()
            .map(|name| cache.remembered(&commit, name));
        Some(PullPlan {
            model: *model,
            files: files.collect::<Option<_>>()?,
            commit,
            license: model.license.to_owned(),
            page: self.page(model),
            unasked: Some(unasked),
        })
    }

    fn page(&self, model: &KnownModel) -> String {
        format!("{}/{}", self.endpoint, model.repo)
    }
}

impl Sibling {
    /// `None` if the size or the hash is missing or no hash.
    fn file(&self) -> Option<PullFile> {
        // The git object of a large file is but a note that says its SHA-256.
        let (bytes, sha256, git_blob_id) = match &self.lfs {
            Some(lfs) => (lfs.size, Some(lfs.sha256.clone()), None),
            None => (self.size?, None, Some(self.blob_id.clone()?)),
        };
        let file = PullFile {
            name: self.rfilename.clone(),
            bytes,
            sha256,
            git_blob_id,
            cached: false,
            partial: 0,
        };
        check_hashes(&file).then_some(file)
    }
}

impl Answer {
    fn license(&self) -> Option<String> {
        let card = |key: &str| match self.card.get(key)? {
            Value::String(text) => Some(text.clone()),
            Value::Array(several) => {
                let several: Vec<_> = several.iter().filter_map(Value::as_str).collect();
                Some(several.join(", "))
            }
            _ => None,
        };
        let tag = || {
            let mut tags = self.tags.iter().flatten();
            tags.find_map(|tag| tag.strip_prefix("license:").map(str::to_owned))
        };
        let mut license = card("license").or_else(tag)?;
        if license == "other" {
            license = card("license_name").unwrap_or(license);
        }
        // It is shown to people, and comes from a server.
        let shown: String = license
            .chars()
            .filter(|c| !c.is_control())
            .take(100)
            .collect();
        (!shown.is_empty()).then_some(shown)
    }
}

/// Refuses a plan that could lead outside the cache, wherever it comes from.
pub(super) fn check(plan: &PullPlan) -> Result<()> {
    check_names(&plan.model)?;
    let names = plan.files.iter().map(|file| file.name.as_str());
    let fine = is_hex(&plan.commit, 40)
        && names.eq(plan.model.files.iter().copied())
        && plan.files.iter().all(check_hashes);
    if fine {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "the plan for `{}` was not made by `HubAccess::plan`",
        plan.model.repo.escape_debug()
    )))
}

fn check_hashes(file: &PullFile) -> bool {
    let fits = |hash: &Option<String>, digits| hash.as_ref().is_none_or(|h| is_hex(h, digits));
    fits(&file.sha256, 64) && fits(&file.git_blob_id, 40)
}

fn check_names(model: &KnownModel) -> Result<()> {
    let part = |part: &str| {
        let first = part.bytes().next();
        first.is_some_and(|byte| byte != b'.')
            && part
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
    };
    let fine = |name: &&str| name.split('/').all(part);
    let bad = std::iter::once(&model.repo)
        .chain(model.files)
        .find(|name| !fine(name));
    match bad {
        Some(bad) => Err(Error::invalid(format!(
            "`{}` is no name of a repository or of a file in one",
            bad.escape_debug()
        ))),
        None if model.files.is_empty() => Err(Error::invalid(format!(
            "the model `{}` names no files",
            model.name
        ))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_lead_elsewhere_are_refused() {
        let good = crate::known_models()[0];
        assert!(check_names(&good).is_ok());
        for bad in [
            "../x", "/x", "a//b", "a/", "", "a\\b", "c:x", "a/../b", ".git/x", "a?b",
        ] {
            let repo = KnownModel { repo: bad, ..good };
            assert!(check_names(&repo).is_err(), "{bad}");
            let files: &'static [&'static str] = Box::leak(Box::new([bad]));
            let file = KnownModel { files, ..good };
            assert!(check_names(&file).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_licence_is_that_of_the_card_or_else_of_the_tags() {
        let license = |rest: &str| {
            let text = format!(r#"{{"sha": "x", "siblings": [] {rest}}}"#);
            serde_json::from_str::<Answer>(&text).unwrap().license()
        };
        assert_eq!(license(""), None);
        assert_eq!(license(r#", "cardData": null, "tags": null"#), None);
        let tags = r#", "tags": ["a", "license:mit"]"#;
        assert_eq!(license(tags).unwrap(), "mit");
        let card = r#", "cardData": {"license": "apache-2.0"}, "tags": ["license:mit"]"#;
        assert_eq!(license(card).unwrap(), "apache-2.0");
        let other = r#", "cardData": {"license": "other", "license_name": "a\u001bb"}"#;
        assert_eq!(license(other).unwrap(), "ab");
        let both = r#", "cardData": {"license": ["mit", "cc0-1.0"]}"#;
        assert_eq!(license(both).unwrap(), "mit, cc0-1.0");
    }
}
