//! Power, or the process, goes at every moment of a script: what was acknowledged is there, wholly or not at all.

use super::sim_disk::{Cut, IndexFiles};
use super::sim_image::{Dice, Image};
use super::workload::{Content, Doing, Rig, assert_same, contents, cuts, each, indexes, script};
use super::*;

/// Seeds for what survives of unsynced writes; `LATENTDB_SEEDS` gives more.
const SEEDS: u64 = 2;

pub(super) fn seeds() -> u64 {
    let given = std::env::var("LATENTDB_SEEDS");
    given.map_or(SEEDS, |seeds| seeds.parse().unwrap())
}

/// What a store holds, read whole.
fn read(store: Result<LocalBackend>) -> Content {
    content(&store.unwrap())
}

/// Opens what is left, with each of the index folders; returns what it held.
fn check(
    image: &Image,
    indexes: &[(&'static str, Option<IndexFiles>)],
    allowed: &[Content],
    dice: &mut Dice,
) -> Content {
    let mut found = None;
    for (name, index) in indexes {
        let _doing = Doing((*name).to_owned());
        let rig = Rig::of(image.clone(), index.as_ref());
        let beside = read(rig.reader());
        let store = rig.open().unwrap();
        let mut held = content(&store);
        assert!(allowed.contains(&held), "holds {:?}", held.keys());
        let first = found.get_or_insert_with(|| held.clone());
        assert_same(&held, first, "another index gives another answer");
        assert_same(&beside, &held, "a reader sees something else");
        store.commit(vec![put("after", &[99; 40])]).unwrap();
        held.insert("after".into(), vec![99; 40]);
        if dice.below(2) == 0 {
            drop(store);
            assert_same(&read(rig.open()), &held, "after closing");
        } else {
            let again = Rig::of(rig.disk.image().torn(dice), None);
            rig.disk.turn_off();
            assert_same(&read(again.reader()), &held, "a reader after a second cut");
            assert_same(&read(again.open()), &held, "after a second cut");
        }
    }
    found.unwrap()
}

/// Lets `survive` say what is left at every moment of the script, and checks it.
fn at_every_moment(killed: bool, survive: impl Fn(&Cut, &mut Dice) -> Image + Sync) {
    for seed in 0..seeds() {
        let eager = seed % 2 == 1;
        let steps = script(eager);
        let contents = contents(&steps);
        let cuts = cuts(&steps);
        each(&cuts, |cut| {
            let note = cut.note;
            let _doing = Doing(format!(
                "call {} ({}), seed {seed}, killed {killed}, {note:?}",
                cut.call, cut.what
            ));
            let mut dice = Dice(seed << 32 | cut.call);
            let image = survive(cut, &mut dice);
            let least = if killed {
                note.acknowledged
            } else {
                note.synced
            };
            let most = note.acknowledged + usize::from(note.trying);
            let mut indexes = indexes(&cuts, cut, &mut dice);
            // sled takes its time: each moment gets one of its folders, and none.
            let one = 1 + dice.below(indexes.len() - 1);
            indexes.swap(1, one);
            indexes.truncate(2);
            check(&image, &indexes, &contents[least..=most], &mut dice);
        });
    }
}

#[test]
fn a_power_cut_takes_only_what_was_not_synced() {
    at_every_moment(false, |cut, _| cut.image.synced());
}

#[test]
fn a_power_cut_that_leaves_any_part_of_unsynced_writes_leaves_whole_batches() {
    at_every_moment(false, |cut, dice| cut.image.torn(dice));
}

#[test]
fn a_killed_process_loses_nothing_that_was_acknowledged() {
    at_every_moment(true, |cut, _| cut.image.clone());
}
