//! Pulling models: who may, what a hub refuses, what the cache does without it.
#![cfg(feature = "pull")]
#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

#[path = "support/fake_hub.rs"]
mod fake_hub;
#[path = "support/pull_place.rs"]
mod pull_place;

use fake_hub::{FakeHub, Fault, sha256};
use latentdb::{ErrorKind, HubAccess, KnownModel};
use pull_place::{CONFIG, Place, WEIGHTS, assert_says, model, weights};

#[test]
fn the_token_goes_to_the_hub_and_to_no_other_host() {
    let place = Place::new();
    let far = FakeHub::new(model().repo);
    far.add(WEIGHTS, &weights(), true);
    place.hub.state().large_files_at = Some(far.url());
    let access = place.access().with_token("hf_secret").unwrap();
    let plan = access.plan(&model()).unwrap();
    far.fail([Fault::Cut(1000)]);
    place.assert_whole(&access.fetch(&plan, &mut |_| ()).unwrap());

    let hub = place.hub.state().seen.clone();
    // The description, the configuration with its redirect within the hub, the weights twice.
    assert_eq!(hub.len(), 5, "{hub:#?}");
    for seen in hub {
        assert_eq!(seen.token.as_deref(), Some("Bearer hf_secret"), "{seen:?}");
    }
    let far = far.seen(WEIGHTS);
    assert_eq!(far.len(), 2);
    assert!(far.iter().all(|seen| seen.token.is_none()), "{far:?}");
    assert_eq!(far[1].range.as_deref(), Some("bytes=1000-"));
}

#[test]
fn an_address_that_has_run_out_is_asked_for_anew() {
    let place = Place::new();
    let far = FakeHub::new(model().repo);
    far.add(WEIGHTS, &weights(), true);
    far.fail([Fault::Status(403, "")]);
    place.hub.state().large_files_at = Some(far.url());
    place.assert_whole(&place.pull().unwrap());
}

#[test]
fn a_gated_model_says_where_its_licence_is_accepted() {
    let place = Place::new();
    let plan = place.plan();
    place.hub.fail([Fault::Status(401, "GatedRepo")]);
    let error = place.access().fetch_config(&plan).unwrap_err();
    let settings = format!("{}/settings/tokens", place.hub.url());
    let parts = [plan.page.as_str(), "accept", "HF_TOKEN", &settings];
    assert_says(&error, ErrorKind::AccessDenied, &parts);
    assert_eq!(place.hub.state().seen.len(), 3, "it is not asked again");
}

#[test]
fn a_token_that_is_refused_is_spoken_of_and_not_shown() {
    let place = Place::new();
    place
        .hub
        .fail([Fault::Status(401, ""), Fault::Status(401, "")]);
    let access = place.access().with_token("hf_secret").unwrap();
    let error = access.plan(&model()).unwrap_err();
    assert_says(
        &error,
        ErrorKind::AccessDenied,
        &["401", "token", model().repo],
    );
    assert!(!format!("{error:?}").contains("hf_secret"));
    let error = place.access().plan(&model()).unwrap_err();
    assert_says(
        &error,
        ErrorKind::AccessDenied,
        &["401", "HF_TOKEN", model().repo],
    );
}

#[test]
fn a_model_or_a_file_that_the_hub_lacks_is_named() {
    let place = Place::new();
    let repo = "madebyollin/taesd9";
    let error = place
        .access()
        .plan(&KnownModel { repo, ..model() })
        .unwrap_err();
    assert_says(
        &error,
        ErrorKind::ModelNotFound,
        &[repo, "404", &place.hub.url()],
    );
    let files = &["config.json", "model.safetensors"];
    let error = place
        .access()
        .plan(&KnownModel { files, ..model() })
        .unwrap_err();
    assert_says(&error, ErrorKind::ModelNotFound, &[files[1], model().repo]);
}

#[test]
fn a_busy_hub_is_asked_again() {
    let place = Place::new();
    let busy = |code| Fault::Status(code, "");
    // For the description, the configuration and the weights.
    place.hub.fail([busy(503), busy(429), Fault::None]);
    place.hub.fail([busy(500), busy(502), Fault::None]);
    place.hub.fail([busy(504), busy(408)]);
    place.assert_whole(&place.pull().unwrap());
}

#[test]
fn a_hub_that_stays_broken_is_given_up() {
    let place = Place::new();
    let broken = || vec![Fault::Status(500, ""); 5];
    let plan = place.plan();
    place.hub.fail(broken());
    let error = place.access().plan(&model()).unwrap_err();
    assert_says(
        &error,
        ErrorKind::Network,
        &["500", &place.hub.url(), model().repo],
    );
    assert_eq!(place.hub.state().seen.len(), 6);
    place.hub.fail(broken());
    let error = place.access().fetch(&plan, &mut |_| ()).unwrap_err();
    assert_says(&error, ErrorKind::Network, &["500", CONFIG, model().repo]);
}

#[test]
fn an_answer_that_is_no_hubs_is_told_from_a_hubs() {
    let place = Place::new();
    place.hub.state().instead = Some("<html>Please log in</html>".into());
    let error = place.access().plan(&model()).unwrap_err();
    assert_says(
        &error,
        ErrorKind::Network,
        &[&place.hub.url(), "as a hub does"],
    );
    place.hub.state().instead = Some(r#"{"sha": "../../../x", "siblings": []}"#.into());
    let error = place.access().plan(&model()).unwrap_err();
    assert_says(&error, ErrorKind::Network, &["commit"]);
    let hashless = r#"{"sha": "SHA", "siblings": [{"rfilename": "config.json", "size": 1}]}"#;
    place.hub.state().instead = Some(hashless.replace("SHA", &"a".repeat(40)));
    let error = place.access().plan(&model()).unwrap_err();
    assert_says(&error, ErrorKind::Network, &[CONFIG, "hash"]);
    let path = r#"{"rfilename": "config.json", "size": 1, "blobId": "../../x"}"#;
    let path = format!(r#"{{"sha": "{}", "siblings": [{path}]}}"#, "a".repeat(40));
    place.hub.state().instead = Some(path);
    let error = place.access().plan(&model()).unwrap_err();
    assert_says(&error, ErrorKind::Network, &[CONFIG, "hash"]);
}

#[test]
fn names_that_the_hub_sends_never_become_paths() {
    let place = Place::new();
    place.hub.add("../../evil", b"x", false);
    place.hub.add("/tmp/evil", b"x", false);
    let pulled = place.pull().unwrap();
    place.assert_whole(&pulled);
    assert_eq!(pulled.files.len(), 2);
    let mut plan = place.plan();
    plan.files[0].name = "../../evil".into();
    let error = place.access().fetch(&plan, &mut |_| ()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    plan = place.plan();
    plan.commit = "..".into();
    let error = place.access().fetch(&plan, &mut |_| ()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
}

#[test]
fn what_is_cached_is_not_loaded_again() {
    let place = Place::new();
    place.pull().unwrap();
    let plan = place.plan();
    assert!(plan.files.iter().all(|file| file.cached));
    assert_eq!(plan.bytes_to_load(), 0);
    let before = place.hub.state().seen.len();
    place.assert_whole(&place.access().fetch(&plan, &mut |_| ()).unwrap());
    assert_eq!(place.hub.state().seen.len(), before);
}

#[test]
fn a_new_commit_with_the_same_weights_loads_only_what_changed() {
    let place = Place::new();
    let old = place.pull().unwrap();
    place.hub.state().commit = "d".repeat(40);
    place.hub.add(CONFIG, b"{}", false);
    let plan = place.plan();
    assert_eq!(plan.bytes_to_load(), 2);
    let new = place.access().fetch(&plan, &mut |_| ()).unwrap();
    assert_eq!(std::fs::read(new.folder.join(CONFIG)).unwrap(), b"{}");
    assert!(std::fs::read(new.folder.join(WEIGHTS)).unwrap() == weights());
    assert_eq!(place.hub.sent(WEIGHTS), 300_000);
    place.assert_whole(&old);
    let main = std::fs::read_to_string(place.cached("refs/main")).unwrap();
    assert_eq!(main, "d".repeat(40));
}

#[test]
fn a_cached_file_that_is_damaged_is_loaded_again() {
    let place = Place::new();
    place.pull().unwrap();
    let mut damaged = weights();
    damaged[5] ^= 4;
    std::fs::write(place.weights_blob(), &damaged).unwrap();
    place.assert_whole(&place.pull().unwrap());
    assert_eq!(place.hub.sent(WEIGHTS), 600_000);
    // And one that is too short is not even planned as cached.
    std::fs::write(place.weights_blob(), &damaged[..9]).unwrap();
    assert!(!place.plan().files[1].cached);
    place.assert_whole(&place.pull().unwrap());
}

#[test]
fn a_snapshot_of_plain_files_is_as_good_as_one_of_links() {
    let place = Place::new();
    let pulled = place.pull().unwrap();
    for name in [CONFIG, WEIGHTS] {
        let path = pulled.folder.join(name);
        let bytes = std::fs::read(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, bytes).unwrap();
    }
    std::fs::remove_dir_all(place.cached("blobs")).unwrap();
    assert_eq!(place.plan().bytes_to_load(), 0);
    place.assert_whole(&place.pull().unwrap());
    let offline = place.access().with_offline(true);
    let plan = offline.plan(&model()).unwrap();
    let pulled = offline.fetch(&plan, &mut |_| ()).unwrap();
    assert_eq!(pulled.files[1].sha256, sha256(&weights()));
    assert_eq!(place.hub.sent(WEIGHTS), 300_000);
}

#[test]
fn without_a_network_the_error_says_which_hub_was_wanted_for_what() {
    let place = Place::new();
    let endpoint = place.hub.url();
    drop(place.hub);
    let access = HubAccess::new(&endpoint, place.folder.path()).unwrap();
    // With the usual pauses: a hub that can't be reached is not waited for.
    let error = access.plan(&model()).unwrap_err();
    assert_says(
        &error,
        ErrorKind::Network,
        &["can't reach", &endpoint, model().repo],
    );
    assert!(std::error::Error::source(&error).is_some());
    assert_eq!(std::fs::read_dir(place.folder.path()).unwrap().count(), 0);
}

#[test]
fn without_a_network_a_model_that_is_whole_is_taken_from_the_cache() {
    let place = Place::new();
    place.pull().unwrap();
    let endpoint = place.hub.url();
    let Place { hub, folder } = place;
    drop(hub);
    let access = HubAccess::new(&endpoint, folder.path()).unwrap();
    let plan = access.plan(&model()).unwrap();
    assert!(
        plan.unasked.as_ref().unwrap().contains(&endpoint),
        "{plan:?}"
    );
    assert_eq!(
        (plan.commit.as_str(), plan.bytes_to_load()),
        (&*"c".repeat(40), 0)
    );
    let pulled = access.fetch(&plan, &mut |_| ()).unwrap();
    assert_eq!(pulled.files[1].sha256, sha256(&weights()));
}

#[test]
fn offline_nothing_is_asked_and_the_cache_must_do() {
    let place = Place::new();
    let offline = place.access().with_offline(true);
    let error = offline.plan(&model()).unwrap_err();
    let cache = place.folder.path().display().to_string();
    assert_says(
        &error,
        ErrorKind::Network,
        &["HF_HUB_OFFLINE", model().repo, &cache],
    );
    assert_eq!(place.hub.state().seen.len(), 0);

    place.pull().unwrap();
    let asked = place.hub.state().seen.len();
    let plan = offline.plan(&model()).unwrap();
    assert_eq!(plan.files[1].sha256, Some(sha256(&weights())));
    assert_eq!(plan.unasked.as_deref(), Some("HF_HUB_OFFLINE is set"));
    place.assert_whole(&offline.fetch(&plan, &mut |_| ()).unwrap());

    // Damage is found, and what can't be replaced is not removed.
    let mut damaged = weights();
    damaged[5] ^= 4;
    std::fs::write(place.weights_blob(), &damaged).unwrap();
    let error = offline.fetch(&plan, &mut |_| ()).unwrap_err();
    assert_says(&error, ErrorKind::Corrupted, &[WEIGHTS, "HF_HUB_OFFLINE"]);
    assert!(place.weights_blob().exists());
    assert_eq!(place.hub.state().seen.len(), asked);
}

#[cfg(unix)]
#[test]
fn a_cache_that_may_only_be_read_serves_what_is_whole_in_it() {
    use std::os::unix::fs::PermissionsExt;
    let place = Place::new();
    place.pull().unwrap();
    let refs = place.cached("refs");
    std::fs::write(refs.join("main"), "b".repeat(40)).unwrap();
    let mode = |mode| std::fs::set_permissions(&refs, PermissionsExt::from_mode(mode)).unwrap();
    mode(0o500);
    let pulled = place.pull();
    mode(0o700);
    place.assert_whole(&pulled.unwrap());
}
