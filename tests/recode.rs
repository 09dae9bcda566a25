//! Records in every coding: at put and ingest, by recode, through archives; and what lossy codings state of themselves.
#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

mod support;

use std::sync::atomic::{AtomicBool, Ordering};

use latentdb::{Coding, CodingChoice, Database, Inputs, RecodeOptions, RecodeOutcome, Tier};
use serde_json::Value;
use support::folders::{lines, pictures, told};
use support::{Sandbox, picture};

/// A sandbox with three records that `tiny` made.
fn with_records() -> Sandbox {
    let sandbox = Sandbox::new();
    pictures(&sandbox, &["in/a.png", "in/b.png", "in/c.png"], (120, 88));
    sandbox.run(&["ingest", "in"]).succeeds();
    sandbox
}

/// The values of a latent's file.
fn npy(bytes: &[u8]) -> Vec<f32> {
    let file = latentdb::read_latent(bytes, "latent.npy").unwrap();
    file.latent
        .as_slice()
        .iter()
        .map(|value| value.to_f32())
        .collect()
}

fn info(sandbox: &Sandbox, id: &str) -> Value {
    sandbox.run(&["info", id, "--json"]).succeeds().json()
}

/// The latent under `id` as a file of NumPy.
fn latent(sandbox: &Sandbox, id: &str) -> Vec<u8> {
    let get = ["get", id, "--latent", "--format", "npy"];
    sandbox.run(&get).succeeds().stdout
}

#[test]
fn dense_takes_fewer_bytes_and_changes_no_value_and_there_is_a_way_back() {
    let sandbox = with_records();
    let before: Vec<_> = ["a.png", "b.png", "c.png"]
        .map(|id| latent(&sandbox, id))
        .into();
    let stored = info(&sandbox, "a.png")["bytes_stored"].as_u64().unwrap();

    let planned = sandbox
        .run(&["recode", "--coding", "dense", "--dry-run", "--json"])
        .succeeds();
    assert_eq!(
        told(&planned),
        ["a.png recoded", "b.png recoded", "c.png recoded"]
    );
    assert_eq!(info(&sandbox, "a.png")["coding"], "fast");

    let done = sandbox
        .run(&["recode", "--coding", "dense", "--json"])
        .succeeds();
    assert_eq!(lines(&done), lines(&planned));
    let after = info(&sandbox, "a.png");
    assert_eq!(after["coding"], "dense");
    assert_eq!(after["latent_error"], Value::Null);
    assert_eq!(after["bytes_stored"], lines(&done)[0]["bytes_after"]);
    assert!(after["bytes_stored"].as_u64().unwrap() < stored);
    let dense: Vec<_> = ["a.png", "b.png", "c.png"]
        .map(|id| latent(&sandbox, id))
        .into();
    assert!(dense == before);

    let again = sandbox
        .run(&["recode", "--coding", "dense", "--json"])
        .succeeds();
    assert_eq!(
        told(&again),
        ["a.png skipped", "b.png skipped", "c.png skipped"]
    );
    sandbox
        .run(&["recode", "--coding", "fast", "--prefix", "a"])
        .succeeds();
    assert_eq!(info(&sandbox, "a.png")["bytes_stored"], stored);
    assert_eq!(info(&sandbox, "b.png")["coding"], "dense");
    sandbox.run(&["verify", "--deep"]).succeeds();
}

#[test]
fn a_lossy_coding_states_bounds_that_hold_for_every_value() {
    let sandbox = with_records();
    let exact = npy(&latent(&sandbox, "a.png"));
    sandbox.run(&["recode", "--coding", "q6"]).succeeds();
    let coarse = npy(&latent(&sandbox, "a.png"));
    let errors = info(&sandbox, "a.png")["latent_error"].clone();
    assert_eq!(errors.as_array().unwrap().len(), 4);
    let channel = exact.len() / 4;
    for (number, stated) in errors.as_array().unwrap().iter().enumerate() {
        let range = number * channel..(number + 1) * channel;
        let moved = exact[range.clone()]
            .iter()
            .zip(&coarse[range])
            .map(|(a, b)| f64::from((a - b).abs()));
        let moved: Vec<_> = moved.collect();
        let largest = moved.iter().copied().fold(0.0, f64::max);
        let rms = (moved.iter().map(|d| d * d).sum::<f64>() / moved.len() as f64).sqrt();
        let said = |key: &str| stated[key].as_f64().unwrap();
        assert!(
            largest > 0.0 && largest <= said("max_abs") && said("max_abs") < largest * 1.001,
            "{stated} {largest}"
        );
        assert!(
            rms <= said("rms") && said("rms") < rms * 1.001,
            "{stated} {rms}"
        );
    }
    // One step less loses more, and what was lost before counts too.
    sandbox.run(&["recode", "--coding", "q5"]).succeeds();
    let later = info(&sandbox, "a.png")["latent_error"].clone();
    for (before, after) in errors
        .as_array()
        .unwrap()
        .iter()
        .zip(later.as_array().unwrap())
    {
        assert!(after["max_abs"].as_f64() > before["max_abs"].as_f64());
    }
    let coarser = npy(&latent(&sandbox, "a.png"));
    let moved = exact
        .iter()
        .zip(&coarser)
        .map(|(a, b)| f64::from((a - b).abs()));
    let bound = later
        .as_array()
        .unwrap()
        .iter()
        .map(|e| e["max_abs"].as_f64().unwrap());
    assert!(moved.fold(0.0, f64::max) <= bound.fold(0.0, f64::max));
    // The bounds stay with the values, however these are kept.
    sandbox.run(&["recode", "--coding", "fast"]).succeeds();
    assert_eq!(info(&sandbox, "a.png")["latent_error"], later);
    let text = sandbox.run(&["info", "a.png"]).succeeds();
    assert!(text.text().contains("at most"), "{}", text.text());
}

#[test]
fn put_and_ingest_keep_a_latent_as_recode_would() {
    let sandbox = with_records();
    sandbox
        .run(&["put", "a6", "in/a.png", "--coding", "q6"])
        .succeeds();
    sandbox.run(&["recode", "--coding", "q6"]).succeeds();
    assert!(latent(&sandbox, "a6") == latent(&sandbox, "a.png"));
    assert_eq!(
        info(&sandbox, "a6")["latent_error"],
        info(&sandbox, "a.png")["latent_error"]
    );
    assert_eq!(info(&sandbox, "a6")["coding"], "q6");
    let ratio = |id: &str| info(&sandbox, id)["bits_per_pixel"].as_f64().unwrap();
    sandbox
        .run(&["ingest", "in", "--id", "4/{path}", "--coding", "q4"])
        .succeeds();
    assert!(ratio("4/a.png") < ratio("a6"));
    // A latent made elsewhere can be kept so, too.
    let get = ["get", "a6", "--latent", "-o", "a6.safetensors"];
    sandbox.run(&get).succeeds();
    sandbox
        .run(&[
            "put",
            "copy",
            "--latent",
            "a6.safetensors",
            "--coding",
            "q6",
        ])
        .succeeds();
    assert!(latent(&sandbox, "copy") == latent(&sandbox, "a6"));
    sandbox
        .run(&["import", "a6.safetensors", "--coding", "dense", "--replace"])
        .succeeds();
    assert_eq!(info(&sandbox, "a6")["coding"], "dense");
}

#[test]
fn a_record_in_a_coarser_coding_is_left_alone() {
    let sandbox = with_records();
    sandbox
        .run(&["recode", "--coding", "q5", "--prefix", "b"])
        .succeeds();
    let before = latent(&sandbox, "b.png");
    let done = sandbox
        .run(&["recode", "--coding", "q8", "--json"])
        .succeeds();
    assert_eq!(
        told(&done),
        ["a.png recoded", "b.png skipped", "c.png recoded"]
    );
    assert_eq!(info(&sandbox, "b.png")["coding"], "q5");
    assert!(latent(&sandbox, "b.png") == before);
}

#[test]
fn the_loss_of_psnr_is_measured_beside_the_original() {
    let sandbox = Sandbox::new();
    sandbox.image("a.png", &picture(200, 184, 1));
    let psnr = |id: &str| {
        sandbox.run(&["get", id, "-o", "back.png"]).succeeds();
        let metrics = sandbox
            .run(&["metrics", "a.png", "back.png", "--json"])
            .succeeds();
        metrics.json()["psnr"].as_f64().unwrap()
    };
    sandbox.run(&["put", "exact", "a.png"]).succeeds();
    let exact = psnr("exact");
    let mut sizes = vec![info(&sandbox, "exact")["bytes_stored"].as_u64().unwrap()];
    for allowed in [0.02, 0.2, 1.0] {
        let id = format!("within {allowed}");
        sandbox
            .run(&["put", &id, "a.png", "--psnr-loss", &allowed.to_string()])
            .succeeds();
        let lost = exact - psnr(&id);
        assert!(lost < allowed, "{lost} of {allowed}");
        // The next coarser tier would have lost more.
        let coding: Coding = info(&sandbox, &id)["coding"]
            .as_str()
            .unwrap()
            .parse()
            .unwrap();
        let coarser = Tier::all()
            .take_while(|tier| Coding::Quantised(*tier) != coding)
            .last();
        if let Some(coarser) = coarser {
            sandbox
                .run(&[
                    "put",
                    "coarser",
                    "a.png",
                    "--replace",
                    "--coding",
                    &coarser.to_string(),
                ])
                .succeeds();
            assert!(exact - psnr("coarser") >= allowed, "{coding} for {allowed}");
        }
        sizes.push(info(&sandbox, &id)["bytes_stored"].as_u64().unwrap());
    }
    assert!(sizes.is_sorted_by(|a, b| a > b), "{sizes:?}");

    // Recoding comes to the same, from the file or from an original that is kept.
    sandbox
        .run(&[
            "put",
            "kept",
            "a.png",
            "--min-psnr",
            "99",
            "--below",
            "keep-original",
        ])
        .succeeds();
    let alone = sandbox.run(&[
        "recode",
        "--psnr-loss",
        "0.2",
        "--prefix",
        "exact",
        "--json",
    ]);
    assert_eq!(
        (alone.code, told(&alone)),
        (3, vec!["exact missing".to_owned()])
    );
    sandbox
        .run(&["recode", "--psnr-loss", "0.2", "--prefix", "kept"])
        .succeeds();
    sandbox
        .run(&[
            "recode",
            "--psnr-loss",
            "0.2",
            "--prefix",
            "exact",
            "--from",
            ".",
        ])
        .succeeds();
    let wanted = latent(&sandbox, "within 0.2");
    assert!(latent(&sandbox, "exact") == wanted && latent(&sandbox, "kept") == wanted);
    // What was measured of the record is measured again.
    let measured = info(&sandbox, "kept")["quality"]["psnr"].as_f64().unwrap();
    assert!((measured - psnr("exact")).abs() < 1e-9, "{measured}");
}

#[test]
fn a_measured_quality_that_holds_no_more_is_forgotten_and_said_to_be() {
    let sandbox = with_records();
    sandbox
        .run(&["put", "m", "in/a.png", "--measure"])
        .succeeds();
    sandbox.run(&["recode", "--coding", "dense"]).succeeds();
    assert!(info(&sandbox, "m")["quality"].is_object());
    let told = sandbox.run(&["recode", "--coding", "q5"]).succeeds();
    assert!(
        told.stderr.contains("measured of 1 record is forgotten"),
        "{}",
        told.stderr
    );
    assert!(info(&sandbox, "m")["quality"].is_null());
    // Measured on its way in, it is that of what is stored.
    sandbox
        .run(&["put", "m5", "in/a.png", "--measure", "--coding", "q5"])
        .succeeds();
    sandbox.run(&["get", "m5", "-o", "back.png"]).succeeds();
    let metrics = sandbox
        .run(&["metrics", "in/a.png", "back.png", "--json"])
        .succeeds();
    let quality = info(&sandbox, "m5")["quality"]["psnr"].as_f64().unwrap();
    assert!((quality - metrics.json()["psnr"].as_f64().unwrap()).abs() < 1e-9);
}

#[test]
fn an_archive_keeps_the_coding_and_the_bounds() {
    let sandbox = with_records();
    sandbox
        .run(&["recode", "--coding", "q6", "--prefix", "a"])
        .succeeds();
    sandbox
        .run(&["recode", "--coding", "dense", "--prefix", "b"])
        .succeeds();
    let before: Vec<_> = ["a.png", "b.png", "c.png"]
        .map(|id| info(&sandbox, id))
        .into();
    sandbox.run(&["export", "-o", "all.tar"]).succeeds();
    sandbox.run(&["rm", "a.png", "b.png", "c.png"]).succeeds();
    sandbox.run(&["import", "all.tar"]).succeeds();
    let after: Vec<_> = ["a.png", "b.png", "c.png"]
        .map(|id| info(&sandbox, id))
        .into();
    assert_eq!(after, before);
}

#[test]
fn what_can_be_no_coding_is_a_slip_that_leaves_all_as_it_was() {
    let sandbox = with_records();
    let before = sandbox.run(&["ls", "--json"]).succeeds().stdout;
    for (args, said) in [
        (&["recode"][..], "--coding or --psnr-loss"),
        (&["recode", "--coding", "q3"], "there is no coding `q3`"),
        (&["recode", "--coding", "zip"], "there is no coding `zip`"),
        (&["recode", "--psnr-loss", "0"], "above 0"),
        (&["recode", "--psnr-loss=-1"], "above 0"),
        (&["recode", "--psnr-loss", "NaN"], "above 0"),
        (
            &["recode", "--psnr-loss", "1", "--coding", "q6"],
            "cannot be used with",
        ),
        (
            &["recode", "--coding", "q6", "--from", "in"],
            "--from is for --psnr-loss",
        ),
        (
            &["put", "x", "in/a.png", "--coding", "lossless"],
            "there is no coding `lossless`",
        ),
    ] {
        sandbox.run(args).fails(2, &[said]);
    }
    sandbox
        .run(&["recode", "--psnr-loss", "1", "--from", "nowhere"])
        .fails(1, &["there is no nowhere"]);
    assert!(sandbox.run(&["ls", "--json"]).succeeds().stdout == before);
    let empty = Sandbox::new();
    empty
        .run(&["recode", "--coding", "q6"])
        .fails(1, &["latentdb init makes a store"]);
    assert_eq!(empty.names(), [""; 0]);
}

#[test]
fn a_recoding_that_was_stopped_goes_on_where_it_was() {
    let sandbox = Sandbox::new();
    let database = Database::create(sandbox.path("store"), "tiny").unwrap();
    for n in 0..200u32 {
        database
            .put_latent(&format!("{n:03}"), support::stores::latent(n), false)
            .unwrap();
    }
    let options = RecodeOptions {
        coding: CodingChoice::Of(Coding::Dense),
        ..RecodeOptions::default()
    };
    let run = |most: usize| {
        let stop = AtomicBool::new(false);
        let (mut recoded, mut skipped) = (0, 0);
        let mut each = |done: &latentdb::Recoded| {
            match done.outcome {
                RecodeOutcome::Recoded(_) => recoded += 1,
                RecodeOutcome::Skipped => skipped += 1,
                _ => panic!("{done:?}"),
            }
            stop.store(recoded >= most, Ordering::Relaxed);
        };
        database
            .recode(Inputs::default(), &options, &stop, &mut each)
            .unwrap();
        (recoded, skipped)
    };
    let (first, _) = run(1);
    assert!((1..200).contains(&first), "{first}");
    assert_eq!(run(usize::MAX), (200 - first, first));
    for n in 0..200u32 {
        let record = database
            .store()
            .get(&format!("{n:03}").parse().unwrap())
            .unwrap();
        assert_eq!(record.header.coding, Coding::Dense);
        assert!(record.latent == support::stores::latent(n).latent);
    }
}
