//! What a store must hold after its writer was killed, from what the writer said.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Write;

use latentdb::backend::Backend;

use crate::support::values::{body, version_of};

/// Keys that exist, with their versions.
pub(crate) type Content = BTreeMap<String, u64>;

/// What one life of the writer came to.
#[derive(Default)]
pub(crate) struct Life {
    /// The store, as far as it was acknowledged.
    pub(crate) content: Content,
    /// What each thread had begun and nobody acknowledged.
    begun: HashMap<String, String>,
    pub(crate) acknowledged: u64,
    pub(crate) refused: u64,
    /// Compactions that rewrote something.
    pub(crate) compactions: u64,
    compacting: u64,
    phase: String,
}

impl Life {
    /// A life that begins with `content`.
    pub(crate) fn of(content: Content) -> Self {
        Self {
            content,
            ..Self::default()
        }
    }

    /// Takes in a line of the writer.
    pub(crate) fn hear(&mut self, line: &str) {
        let Some((thread, said)) = line.split_once(' ') else {
            line.clone_into(&mut self.phase);
            return;
        };
        let (what, rest) = said.split_once(' ').unwrap_or((said, ""));
        match what {
            "begin" => drop(self.begun.insert(thread.into(), rest.into())),
            "done" => {
                let batch = self.begun.remove(thread).unwrap();
                change(&mut self.content, &batch);
                self.acknowledged += 1;
            }
            "refused" => {
                self.begun.remove(thread).unwrap();
                self.refused += 1;
            }
            "compacting" => self.compacting += 1,
            "compacted" => {
                self.compacting -= 1;
                self.compactions += u64::from(rest != "0");
            }
            _ => panic!("{line}"),
        }
    }

    /// What the writer was at when it was killed.
    pub(crate) fn killed_while(&self) -> &'static str {
        match self.phase.as_str() {
            "" => "starting",
            "opening" => "opening",
            "closing" | "closed" => "closing",
            _ if self.compacting > 0 => "compacting",
            _ => "writing",
        }
    }

    /// What `found` must be: each batch that wasn't acknowledged may be there, but as a whole.
    pub(crate) fn check(mut self, found: Content) -> Result<Content, String> {
        for (thread, batch) in &self.begun {
            let mut after = self.content.clone();
            change(&mut after, batch);
            let of_thread = |content: &Content| -> Content {
                let prefix = format!("{thread}-");
                let own = content.iter().filter(|(key, _)| key.starts_with(&prefix));
                own.map(|(key, version)| (key.clone(), *version)).collect()
            };
            if of_thread(&found) == of_thread(&after) {
                self.content = after;
            }
        }
        if self.content == found {
            return Ok(found);
        }
        let mut text = String::new();
        let keys = self.content.keys().chain(found.keys());
        for key in keys.collect::<BTreeSet<_>>() {
            let (expected, found) = (self.content.get(key), found.get(key));
            if expected != found {
                let _ = write!(text, "\n`{key}`: expected {expected:?}, found {found:?}");
            }
        }
        Err(format!("{text}\nbatches under way: {:?}", self.begun))
    }
}

/// Carries out a batch as it was said.
fn change(content: &mut Content, batch: &str) {
    for word in batch.split(' ') {
        match (word.strip_prefix('-'), word.strip_prefix('+')) {
            (Some(key), _) => assert!(content.remove(key).is_some(), "{word}"),
            (_, Some(put)) => {
                let (key, version) = put.split_once('=').unwrap();
                content.insert(key.into(), version.parse().unwrap());
            }
            _ => panic!("{word}"),
        }
    }
}

/// Everything in `store`, read in each way there is.
pub(crate) fn content(store: &impl Backend) -> Result<Content, String> {
    let mut found = Content::new();
    for entry in store.scan(b"", b"") {
        let entry = entry.map_err(|e| format!("listing: {e}"))?;
        let key = String::from_utf8(entry.key.clone()).unwrap();
        let version = version_of(&entry.facts);
        let item = store.get(&entry.key).map_err(|e| format!("reading: {e}"))?;
        let item = item.ok_or_else(|| format!("`{key}` is listed and not there"))?;
        if item.bytes != body(&key, version) || item.stored_bytes != entry.stored_bytes {
            return Err(format!("`{key}` isn't what was put as {version}"));
        }
        let same = store
            .entry(&entry.key)
            .map_err(|e| format!("asking: {e}"))?;
        if same != Some(entry) {
            return Err(format!("`{key}`: a listing and a question disagree"));
        }
        if found.last_key_value().is_some_and(|(last, _)| *last >= key) {
            return Err(format!("`{key}` is listed out of order"));
        }
        found.insert(key, version);
    }
    Ok(found)
}
