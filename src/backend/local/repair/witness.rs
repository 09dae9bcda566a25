//! What a copy of the index knows of operations that can't be read in the log.
//!
//! Invariant: the store's own index is neither opened nor changed; a copy that isn't whole is asked
//! for nothing but how far it saw the log.

use std::collections::HashMap;
use std::path::Path;

use super::super::INDEX;
use super::super::frame::Kind;
use super::super::tree::Tree;
use super::super::verify::survey::Survey;
use super::super::{Affected, Standing};
use crate::error::Result;
use crate::fs;

/// The index of the store at `path`, copied to `copy`; `None` where that is of no use.
pub(super) fn open_copy(path: &Path, copy: &Path) -> Option<Tree> {
    copy_folder(&path.join(INDEX), copy).ok()?;
    let index = Tree::open(copy).ok()?;
    index.checkpoint().is_some().then_some(index)
}

fn copy_folder(from: &Path, to: &Path) -> std::io::Result<()> {
    let entries = std::fs::read_dir(from)?;
    std::fs::create_dir(to)?;
    for entry in entries {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_folder(&entry.path(), &target)?;
        } else {
            std::fs::copy(entry.path(), target)?;
        }
    }
    fs::io::sync_dir(to)
}

/// Lets `index` name the operations that nothing else does; returns what came of it, as sentences.
pub(super) fn ask(index: &Tree, survey: &mut Survey) -> Result<Vec<String>> {
    let Some(checkpoint) = index.checkpoint() else {
        return Ok(Vec::new());
    };
    let reached = checkpoint.position.sequence;
    let ranges: Vec<_> = (survey.verification.findings.iter().enumerate())
        .filter_map(|(at, finding)| Some((at, finding.unnamed.clone()?)))
        .collect();
    let ours = survey.store == Some(checkpoint.store);
    if ranges.is_empty() || !ours || !index.is_sound().unwrap_or(false) {
        return Ok(Vec::new());
    }
    let mut known = HashMap::new();
    for entry in index.scan(b"", b"") {
        let (key, latest) = entry?;
        let operation = latest.location.sequence;
        known.insert(key.clone(), operation);
        let Some((at, _)) = ranges.iter().find(|(_, range)| range.contains(&operation)) else {
            continue;
        };
        if survey
            .newest
            .get(&key)
            .is_some_and(|n| n.location.sequence >= operation)
        {
            continue;
        }
        survey.verification.findings[*at].affected.push(Affected {
            key: key.clone(),
            operation,
            standing: Standing::Live,
        });
        survey.headless.insert(key.clone(), latest.clone());
        survey.learn(key, &latest, Some(*at));
    }
    // What the index doesn't hold although it saw later operations was deleted by one of those.
    let mut deleted = 0u64;
    for (key, newest) in &mut survey.newest {
        let seen = newest.location.sequence <= reached;
        if newest.kind == Kind::Put && seen && !known.contains_key(key) {
            newest.kind = Kind::Delete;
            deleted += 1;
        }
    }
    for (at, range) in ranges {
        if *range.end() <= reached {
            survey.verification.findings[at].unnamed = None;
        }
    }
    let mut notes = vec!["the index says what the operations were that can't be read".to_owned()];
    if deleted > 0 {
        notes.push(format!(
            "{deleted} records were deleted by operations that can't be read, as the index knows: \
             they are left out"
        ));
    }
    Ok(notes)
}
