//! Pulling models from a server that plays the Hugging Face hub: the plan, the bytes, their hashes.
#![cfg(feature = "pull")]
#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

#[path = "support/fake_hub.rs"]
mod fake_hub;
#[path = "support/pull_place.rs"]
mod pull_place;

use std::fs::File;
use std::path::Path;

use fake_hub::{Fault, git_blob_id, sha256};
use latentdb::{ErrorKind, KnownModel, PullProgress, PullStage};
use pull_place::{CONFIG, CONFIG_BYTES, Place, WEIGHTS, assert_says, model, weights};

#[test]
fn the_plan_says_licence_size_and_commit_before_anything_is_loaded() {
    let place = Place::new();
    let plan = place.plan();
    assert_eq!(plan.license, "mit");
    assert_eq!(plan.commit, "c".repeat(40));
    assert_eq!(plan.page, format!("{}/{}", place.hub.url(), model().repo));
    assert_eq!(plan.bytes(), (CONFIG_BYTES.len() + 300_000) as u64);
    assert_eq!(plan.bytes_to_load(), plan.bytes());
    assert_eq!(plan.unasked, None);
    let [config, weights_file] = &plan.files[..] else {
        panic!("{plan:?}");
    };
    assert_eq!(config.git_blob_id, Some(git_blob_id(CONFIG_BYTES)));
    assert_eq!(config.sha256, None);
    assert_eq!(weights_file.sha256, Some(sha256(&weights())));
    assert!(!config.cached && !weights_file.cached);
    assert_eq!(place.hub.state().seen.len(), 1);
    assert_eq!(std::fs::read_dir(place.folder.path()).unwrap().count(), 0);
}

#[test]
fn without_a_licence_on_the_hub_the_one_of_the_table_is_shown() {
    let place = Place::new();
    place.hub.state().description = r#""tags": ["diffusers"]"#.into();
    assert_eq!(place.plan().license, model().license);
    place.hub.state().description = r#""tags": ["license:apache-2.0"]"#.into();
    assert_eq!(place.plan().license, "apache-2.0");
}

#[test]
fn a_model_is_loaded_whole_and_lies_where_python_looks_for_it() {
    let place = Place::new();
    let pulled = place.pull().unwrap();
    place.assert_whole(&pulled);

    let snapshot = format!("snapshots/{}", "c".repeat(40));
    assert_eq!(pulled.folder, place.cached(&snapshot));
    let main = std::fs::read_to_string(place.cached("refs/main")).unwrap();
    assert_eq!(main, "c".repeat(40));
    assert!(std::fs::read(place.weights_blob()).unwrap() == weights());
    let config = format!("blobs/{}", git_blob_id(CONFIG_BYTES));
    assert_eq!(std::fs::read(place.cached(&config)).unwrap(), CONFIG_BYTES);
    if cfg!(unix) {
        let link = std::fs::read_link(pulled.folder.join(WEIGHTS)).unwrap();
        let expected = format!("../../blobs/{}", sha256(&weights()));
        assert_eq!(link, Path::new(&expected));
    }
    assert_eq!(pulled.files[0].sha256, sha256(CONFIG_BYTES));
    assert_eq!(pulled.files[1].sha256, sha256(&weights()));
    assert_eq!(place.hub.seen("README.md").len(), 0);
}

#[test]
fn progress_grows_to_the_total_and_names_the_files() {
    let place = Place::new();
    let plan = place.plan();
    let mut seen = Vec::new();
    let mut note = |p: PullProgress<'_>| seen.push((p.file.to_owned(), p.stage, p.done, p.total));
    place.access().fetch(&plan, &mut note).unwrap();

    assert!(seen.is_sorted_by_key(|(.., done, _)| *done));
    assert!(seen.iter().all(|(.., total)| *total == plan.bytes()));
    let (file, stage, done, _) = seen.last().unwrap();
    assert_eq!((file.as_str(), *stage), (WEIGHTS, PullStage::Whole));
    assert_eq!(*done, plan.bytes());
    for stage in [PullStage::Loading, PullStage::Checking, PullStage::Whole] {
        for name in [CONFIG, WEIGHTS] {
            assert!(
                seen.iter().any(|s| s.0 == name && s.1 == stage),
                "{stage:?}"
            );
        }
    }
}

#[test]
fn the_configuration_can_be_had_before_the_weights() {
    let place = Place::new();
    let plan = place.plan();
    assert_eq!(place.access().fetch_config(&plan).unwrap(), CONFIG_BYTES);
    assert_eq!(place.hub.sent(WEIGHTS), 0);
    // Not whole yet: nobody must take it for the model.
    assert!(!place.cached("refs/main").exists());

    let pulled = place.access().fetch(&plan, &mut |_| ()).unwrap();
    place.assert_whole(&pulled);
    assert_eq!(
        place.hub.sent("resolve-cache/config.json?etag=%22x%22"),
        CONFIG_BYTES.len()
    );
}

#[test]
fn a_huge_configuration_is_refused() {
    let place = Place::new();
    place.hub.add(CONFIG, &vec![b' '; (1 << 20) + 1], true);
    let error = place.access().fetch_config(&place.plan()).unwrap_err();
    assert_says(&error, ErrorKind::LimitExceeded, &[CONFIG, "1048577"]);
}

#[test]
fn a_connection_that_breaks_is_taken_up_where_it_ended() {
    let place = Place::new();
    place.access().fetch_config(&place.plan()).unwrap();
    let plan = place.plan();
    place
        .hub
        .fail([Fault::Cut(100_000), Fault::Cut(0), Fault::Cut(50_000)]);
    let mut pauses = 0;
    let mut note = |p: PullProgress<'_>| pauses += u32::from(p.stage == PullStage::Pausing);
    let pulled = place.access().fetch(&plan, &mut note).unwrap();
    place.assert_whole(&pulled);
    assert_eq!(pauses, 3);

    let ranges: Vec<_> = place
        .hub
        .seen(WEIGHTS)
        .into_iter()
        .map(|s| s.range)
        .collect();
    let from = |byte: u32| Some(format!("bytes={byte}-"));
    assert_eq!(ranges, [None, from(100_000), from(100_000), from(150_000)]);
    assert_eq!(place.hub.sent(WEIGHTS), 300_000, "no byte was sent twice");
}

#[test]
fn a_pull_that_failed_is_taken_up_by_the_next_one() {
    let place = Place::new();
    place.access().fetch_config(&place.plan()).unwrap();
    let plan = place.plan();
    place.hub.fail([Fault::Cut(100_000)]);
    place.hub.fail(vec![Fault::Cut(0); 5]);
    let error = place.access().fetch(&plan, &mut |_| ()).unwrap_err();
    assert_says(
        &error,
        ErrorKind::Network,
        &[WEIGHTS, model().repo, "100000 of 300000"],
    );
    assert!(!place.weights_blob().exists());
    assert!(!place.cached("refs/main").exists());
    place.hub.state().faults.clear();

    let plan = place.plan();
    assert_eq!(plan.files[1].partial, 100_000);
    assert_eq!(plan.bytes_to_load(), 200_000);
    let mut first = None;
    let mut note = |p: PullProgress<'_>| {
        if p.file == WEIGHTS {
            first.get_or_insert(p.done);
        }
    };
    let pulled = place.access().fetch(&plan, &mut note).unwrap();
    place.assert_whole(&pulled);
    assert_eq!(first, Some(CONFIG_BYTES.len() as u64 + 100_000));
    assert_eq!(place.hub.sent(WEIGHTS), 300_000, "no byte was sent twice");
}

#[test]
fn a_part_that_is_whole_already_is_only_checked() {
    let place = Place::new();
    place.leave_part(&weights());
    place.assert_whole(&place.pull().unwrap());
    assert_eq!(place.hub.seen(WEIGHTS).len(), 0);
}

#[test]
fn a_server_that_knows_no_ranges_starts_over() {
    let place = Place::new();
    place.hub.state().ranges = false;
    place.leave_part(&weights()[..100_000]);
    place.assert_whole(&place.pull().unwrap());
    let seen = place.hub.seen(WEIGHTS);
    assert_eq!(seen[0].range.as_deref(), Some("bytes=100000-"));
    assert_eq!(
        (seen.len(), seen[0].status, seen[0].sent),
        (1, 200, 300_000)
    );
}

#[test]
fn a_line_that_breaks_often_but_gets_on_is_not_given_up() {
    let place = Place::new();
    place.access().fetch_config(&place.plan()).unwrap();
    let plan = place.plan();
    place.hub.fail(vec![Fault::Cut(20_000); 12]);
    place.assert_whole(&place.access().fetch(&plan, &mut |_| ()).unwrap());
    assert_eq!(place.hub.sent(WEIGHTS), 300_000);
}

#[test]
fn a_server_that_refuses_a_range_is_asked_for_all() {
    let place = Place::new();
    place.access().fetch_config(&place.plan()).unwrap();
    let plan = place.plan();
    place.leave_part(&weights()[..100_000]);
    place.hub.fail([Fault::Status(416, "")]);
    place.assert_whole(&place.access().fetch(&plan, &mut |_| ()).unwrap());
    let seen = place.hub.seen(WEIGHTS);
    assert_eq!((seen.len(), seen[1].range.as_deref()), (2, None));
}

#[test]
fn a_part_that_a_crash_damaged_is_loaded_anew() {
    let place = Place::new();
    place.leave_part(&vec![0; 100_000]);
    place.assert_whole(&place.pull().unwrap());
    let seen = place.hub.seen(WEIGHTS);
    assert_eq!(seen[0].range.as_deref(), Some("bytes=100000-"));
    assert_eq!((seen.len(), seen[1].range.as_deref()), (2, None));
}

#[test]
fn a_part_that_is_too_long_is_loaded_anew() {
    let place = Place::new();
    place.leave_part(&vec![7; 300_001]);
    assert_eq!(place.plan().files[1].partial, 0);
    place.assert_whole(&place.pull().unwrap());
    assert_eq!(place.hub.seen(WEIGHTS)[0].range, None);
}

#[test]
fn weights_of_another_hash_are_refused_by_both_hashes_and_not_kept() {
    let place = Place::new();
    let mut wrong = weights();
    wrong[200_000] ^= 1;
    place.hub.send_instead(WEIGHTS, &wrong);
    let error = place.pull().unwrap_err();
    let hashes = [sha256(&weights()), sha256(&wrong)];
    assert_says(
        &error,
        ErrorKind::Corrupted,
        &[WEIGHTS, &hashes[0], &hashes[1]],
    );
    assert!(!place.weights_blob().exists() && !place.part().exists());
    assert!(!place.cached("refs/main").exists());
    assert_eq!(place.hub.sent(WEIGHTS), 300_000);
}

#[test]
fn small_files_are_held_to_their_git_object_id() {
    let place = Place::new();
    let wrong = CONFIG_BYTES.to_ascii_uppercase();
    place.hub.send_instead(CONFIG, &wrong);
    let error = place.pull().unwrap_err();
    let ids = [git_blob_id(CONFIG_BYTES), git_blob_id(&wrong)];
    assert_says(&error, ErrorKind::Corrupted, &[CONFIG, &ids[0], &ids[1]]);
    assert_eq!(place.hub.sent(WEIGHTS), 0);
}

#[test]
fn bytes_past_the_stated_size_are_not_taken() {
    let place = Place::new();
    let long = [weights(), vec![0; 1_000_000]].concat();
    place.hub.send_instead(WEIGHTS, &long);
    place.assert_whole(&place.pull().unwrap());
}

#[test]
fn a_model_of_a_pipeline_keeps_its_folder() {
    let place = Place::new();
    let files = &["vae/config.json", "vae/weights.safetensors"];
    place.hub.add(files[0], b"{}", false);
    place.hub.add(files[1], b"weights", true);
    let access = place.access();
    let plan = access.plan(&KnownModel { files, ..model() }).unwrap();
    let pulled = access.fetch(&plan, &mut |_| ()).unwrap();
    assert!(pulled.folder.ends_with(format!("{}/vae", plan.commit)));
    assert_eq!(
        std::fs::read(pulled.folder.join("config.json")).unwrap(),
        b"{}"
    );
    assert_eq!(std::fs::read(&pulled.files[1].path).unwrap(), b"weights");
}

#[test]
fn a_file_that_another_program_loads_is_waited_for() {
    let place = Place::new();
    let lock = format!(
        ".locks/models--{}/{}.lock",
        model().repo.replace('/', "--"),
        sha256(&weights())
    );
    let lock = place.folder.path().join(lock);
    std::fs::create_dir_all(lock.parent().unwrap()).unwrap();
    let mut other = Some(File::create(lock).unwrap());
    other.as_ref().unwrap().lock().unwrap();

    let mut note = |p: PullProgress<'_>| {
        if p.stage == PullStage::Waiting {
            assert_eq!(p.file, WEIGHTS);
            other = None; // the other program is done
        }
    };
    let pulled = place.access().fetch(&place.plan(), &mut note).unwrap();
    place.assert_whole(&pulled);
    assert!(other.is_none());
}

#[test]
fn two_pulls_at_once_load_each_file_once() {
    let place = Place::new();
    let plan = place.plan();
    let both = std::thread::scope(|scope| {
        let pull = || place.access().fetch(&plan, &mut |_| ());
        let threads = [scope.spawn(pull), scope.spawn(pull)];
        threads.map(|thread| thread.join().unwrap().unwrap())
    });
    assert_eq!(both[0], both[1]);
    place.assert_whole(&both[0]);
    assert_eq!(place.hub.sent(WEIGHTS), 300_000);
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_said_to_be_full() {
    let place = Place::new();
    std::fs::create_dir_all(place.cached("blobs")).unwrap();
    std::os::unix::fs::symlink("/dev/full", place.part()).unwrap();
    let error = place.pull().unwrap_err();
    assert_says(&error, ErrorKind::Full, &["incomplete"]);
    assert_eq!(place.hub.seen(WEIGHTS).len(), 1, "it is not tried again");
}
