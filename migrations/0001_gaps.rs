//! Format 1 to 2: segments may be numbered with gaps, because compaction puts several into one.
//!
//! Every byte that format 1 wrote means the same in format 2, so the step only raises the number in
//! `store.json`. It raises it because a program of format 1 would take a compacted store for one
//! that lost segments. What `store.json` said before stays beside it as `store.format-1.json`: put
//! back, it undoes the step, as long as nothing was compacted.

use super::{Error, INDEX, StoreFile, segment};
use super::{Medium, Path, Result, SEGMENTS, StoreId, View, catalog, check_log_reaches, tree};

/// Where the old `store.json` is kept.
const BEFORE: &str = "store.format-1.json";

pub(super) fn run(medium: &Medium, folder: &Path, store: StoreId) -> Result<()> {
    let segments = folder.join(SEGMENTS);
    for (expected, number) in (1..).zip(catalog::numbers(medium, &segments)?) {
        if number != expected {
            let missing = segments.join(segment::file_name(expected));
            return Err(Error::corrupted(format!(
                "{} is missing",
                missing.display()
            )));
        }
    }
    // The index of format 1 is the only one who knows how far the log went. Format 2 makes a new
    // one, so it is asked now.
    let acknowledged = tree::last_of_format_1(&folder.join(INDEX), store);
    let view = View::open(medium, &segments, store, acknowledged.unwrap_or(0))?;
    check_log_reaches(view.last_sequence(), acknowledged.unwrap_or(0))?;

    let before = StoreFile::bytes(medium, folder)?;
    medium.write_atomic(&folder.join(BEFORE), &before)?;
    StoreFile::raise_format(medium, folder, 2)
}
