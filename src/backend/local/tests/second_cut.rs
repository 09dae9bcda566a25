//! Power goes again while the store is opened after a cut, or while it is made.

use super::power_cut::seeds;
use super::sim_image::{Dice, Image};
use super::workload::{Content, Doing, Progress, Rig, assert_same, contents, cuts, each, script};
use super::*;

#[test]
fn a_second_cut_while_the_store_is_put_in_order_loses_nothing_either() {
    let steps = script(false);
    let contents = contents(&steps);
    let cuts = cuts(&steps);
    for seed in 0..seeds() {
        each(&cuts, |cut| {
            let mut dice = Dice(seed << 32 | cut.call);
            if dice.below(6) > 0 {
                return;
            }
            let _doing = Doing(format!("call {} ({}), seed {seed}", cut.call, cut.what));
            let left = match dice.below(2) {
                0 => cut.image.clone(),
                _ => cut.image.torn(&mut dice),
            };
            let index = Some(&cut.index).filter(|_| dice.below(2) == 0);
            let rig = Rig::of(left, index);
            rig.disk.record();
            let store = rig.open().unwrap();
            let before = content(&store);
            // What opening showed has to stay.
            let mut progress = Progress {
                acknowledged: 1,
                ..Progress::default()
            };
            rig.disk.note(progress);
            store.commit(vec![put("after", b"x")]).unwrap();
            progress.synced = 1;
            rig.disk.note(progress);
            drop(store);
            let mut after = before.clone();
            after.insert("after".into(), b"x".to_vec());
            let most = cut.note.acknowledged + usize::from(cut.note.trying);
            let allowed = &contents[cut.note.synced..=most];
            for second in rig.disk.cuts() {
                let _doing = Doing(format!(
                    "second cut, call {} ({})",
                    second.call, second.what
                ));
                let rig = Rig::of(second.image.torn(&mut dice), None);
                let held = content(&rig.open().unwrap());
                match second.note {
                    Progress { synced: 1, .. } => assert_same(&held, &after, "after the put"),
                    Progress {
                        acknowledged: 1, ..
                    } => {
                        assert!(held == before || held == after, "{:?}", held.keys());
                    }
                    _ => assert!(allowed.contains(&held), "{:?}", held.keys()),
                }
            }
        });
    }
}

#[test]
fn making_a_store_can_be_done_again_after_a_cut_at_any_moment() {
    let rig = Rig::of(Image::default(), None);
    rig.disk.record();
    LocalBackend::create_on(&rig.medium(), &rig.path(), BTreeMap::new()).unwrap();
    for cut in rig.disk.cuts() {
        for seed in 0..8 + seeds() {
            let _doing = Doing(format!("call {} ({}), seed {seed}", cut.call, cut.what));
            let left = match seed {
                0 => cut.image.clone(),
                1 => cut.image.synced(),
                _ => cut.image.torn(&mut Dice(seed << 32 | cut.call)),
            };
            let rig = Rig::of(left, None);
            if rig.open().is_err() {
                LocalBackend::create_on(&rig.medium(), &rig.path(), BTreeMap::new()).unwrap();
            }
            let store = rig.open().unwrap();
            assert_eq!(content(&store), Content::new());
            store.commit(vec![put("a", b"1")]).unwrap();
            let again = Rig::of(rig.disk.image().synced(), None);
            assert_eq!(content(&again.open().unwrap()).len(), 1);
        }
    }
}

#[test]
fn temporary_files_of_a_killed_process_with_the_same_number_are_in_nobodys_way() {
    let fixture = Fixture::new();
    fixture.open().commit(vec![put("a", b"1")]).unwrap();
    let mut bytes = std::fs::read(fixture.segment(1)).unwrap();
    let end = bytes.len();
    bytes.extend(b"torn");
    std::fs::write(fixture.segment(1), bytes).unwrap();
    let lost = fixture.path().join(LOST);
    std::fs::create_dir(&lost).unwrap();
    let next = fs::temporary_name(&lost.join(format!("00000001-{end}-1.torn")));
    let name = next.to_str().unwrap().strip_suffix(".tmp").unwrap();
    let (name, call) = name.rsplit_once('-').unwrap();
    let call: u32 = call.parse().unwrap();
    // Tests beside this one take numbers too.
    for call in call..call + 2000 {
        std::fs::write(format!("{name}-{call}.tmp"), b"half").unwrap();
    }
    let store = LocalBackend::open(&fixture.path()).unwrap();
    assert!(store.recovered().is_some());
    assert_eq!(content(&store).len(), 1);
}
