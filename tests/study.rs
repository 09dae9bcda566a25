//! Studies: what is compared with what, and what is refused.
#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

mod support;

use std::sync::Arc;

use latentdb::{
    Below, Compared, Database, Hub, HubOptions, Kind, Promise, PutOptions, Resize, Study,
    StudyOptions, Subject, Summary, measure,
};
use support::{Sandbox, onnxruntime, picture};

fn database(sandbox: &Sandbox) -> Database {
    let hub = Hub::new(HubOptions {
        runtime: Some(onnxruntime()),
        ..HubOptions::default()
    });
    let database = Database::open_or_create(sandbox.path("store")).unwrap();
    database.with_hub(Arc::new(hub))
}

fn record(sandbox: &Sandbox, id: &str, original: Option<&str>) -> Subject {
    Subject::Record {
        id: id.parse().unwrap(),
        original: original.map(|name| sandbox.path(name)),
    }
}

fn compare(database: &Database, subject: &Subject) -> latentdb::Result<Compared> {
    Study::new(database, StudyOptions::default())?.compare(subject)
}

/// Name, bytes, PSNR and SSIM of each contender.
fn numbers(compared: &Compared) -> Vec<(&str, u64, u64, Option<u64>)> {
    let contenders = compared.contenders.iter();
    let numbers = contenders.map(|contender| {
        let quality = &contender.quality;
        let bits = (quality.psnr.to_bits(), quality.ssim.map(f64::to_bits));
        (contender.name.as_str(), contender.bytes, bits.0, bits.1)
    });
    numbers.collect()
}

#[test]
fn a_file_and_the_record_it_becomes_have_the_same_numbers() {
    let sandbox = Sandbox::new();
    let alpha = (0..64 * 56).map(|at| (at / 20) as u8).collect();
    let seen = picture(64, 56, 1).with_alpha(alpha).unwrap();
    for pixels in [picture(72, 61, 1), seen] {
        sandbox.image("a.png", &pixels);
        let database = database(&sandbox);
        let of_file = compare(&database, &Subject::File(sandbox.path("a.png"))).unwrap();
        assert!(
            !database
                .store()
                .contains(&"a.png".parse().unwrap())
                .unwrap()
        );
        let stored = database.put_file("a.png", sandbox.path("a.png"), &PutOptions::default());
        let stored = stored.unwrap().entry.stored_bytes;
        let subject = record(&sandbox, "a.png", Some("a.png"));
        let of_record = compare(&database, &subject).unwrap();
        assert_eq!(of_file.stored_bytes, stored);
        assert_eq!(of_record.stored_bytes, stored);
        assert_eq!(numbers(&of_file), numbers(&of_record));
        assert_eq!(of_record.notes, [""; 0]);
        assert_eq!(of_file.original, pixels);
        database.remove("a.png").unwrap();
    }
}

#[test]
fn every_number_is_of_the_pixels_beside_it_and_codecs_take_no_more_bytes() {
    let sandbox = Sandbox::new();
    sandbox.image("a.png", &picture(64, 64, 2));
    let database = database(&sandbox);
    let compared = compare(&database, &Subject::File(sandbox.path("a.png"))).unwrap();
    let names: Vec<_> = compared.contenders.iter().map(|c| &*c.name).collect();
    assert_eq!(names, ["tiny", "jpeg", "webp", "avif"]);
    assert_eq!(compared.encoder.as_deref(), Some("tiny"));
    for contender in &compared.contenders {
        let quality = measure(&compared.original, &contender.pixels).unwrap();
        assert_eq!(contender.quality, quality, "{}", contender.name);
        let bits = 8.0 * contender.bytes as f64 / (64.0 * 64.0);
        assert_eq!(contender.bits_per_pixel.to_bits(), bits.to_bits());
        match contender.kind {
            Kind::Decoder { .. } => assert_eq!(contender.bytes, compared.stored_bytes),
            Kind::Codec { quality } => {
                let larger = contender.bytes > compared.stored_bytes;
                assert_eq!(larger, !contender.notes.is_empty());
                assert!(!larger || quality == 1, "{}", contender.name);
            }
        }
    }
}

#[test]
fn an_original_that_is_kept_is_compared_with_and_not_counted() {
    let sandbox = Sandbox::new();
    sandbox.image("a.png", &picture(64, 64, 2));
    let database = database(&sandbox);
    let promise = Promise {
        min_psnr: Some(99.0),
        below: Below::KeepOriginal,
        ..Promise::default()
    };
    let options = PutOptions {
        promise,
        ..PutOptions::default()
    };
    let stored = database.put_file("a", sandbox.path("a.png"), &options);
    let file = sandbox.read("a.png").len() as u64;
    let compared = compare(&database, &record(&sandbox, "a", None)).unwrap();
    assert_eq!(compared.original, picture(64, 64, 2));
    assert!(compared.contenders[0].quality.psnr < 99.0);
    assert!(compared.stored_bytes < stored.unwrap().entry.stored_bytes - file);
    let note = format!("the original that `a` keeps, {file} bytes, isn't counted");
    assert_eq!(compared.notes, [note]);
}

#[test]
fn an_original_is_prepared_as_it_was_for_the_encoder() {
    let sandbox = Sandbox::new();
    sandbox.image("a.png", &picture(90, 70, 3));
    let resize = Resize {
        width: 64,
        height: 64,
        center_crop: true,
    };
    let options = PutOptions {
        resize: Some(resize),
        ..PutOptions::default()
    };
    let database = database(&sandbox);
    database
        .put_file("a", sandbox.path("a.png"), &options)
        .unwrap();
    let compared = compare(&database, &record(&sandbox, "a", Some("a.png"))).unwrap();
    assert_eq!(
        compared.original,
        resize.apply(&picture(90, 70, 3)).unwrap()
    );
}

#[test]
fn what_can_not_be_compared_is_refused_by_name() {
    let sandbox = Sandbox::new();
    sandbox.image("a.png", &picture(64, 56, 1));
    sandbox.image("turned.png", &picture(56, 64, 1));
    sandbox.image("other.png", &picture(64, 56, 2));
    let database = database(&sandbox);
    database
        .put_file("a", sandbox.path("a.png"), &PutOptions::default())
        .unwrap();
    let told = |subject: &Subject| compare(&database, subject).unwrap_err();
    let error = told(&record(&sandbox, "a", Some("turned.png")));
    assert_eq!(
        error.to_string(),
        "turned.png is an image of 56x64 pixels, and the record `a` says 64x56"
    );
    let error = told(&record(&sandbox, "a", None));
    assert_eq!(error.to_string(), "`a` has no original to be compared with");
    assert_eq!(error.hint(), Some("name its file with --original"));

    let other = compare(&database, &record(&sandbox, "a", Some("other.png"))).unwrap();
    let note = "other.png isn't the very file that `a` was made of: their bytes differ";
    assert_eq!(other.notes, [note]);

    let study = |options| Study::new(&database, options).map(drop).unwrap_err();
    let error = study(StudyOptions {
        decoders: vec!["tiny".into(), "wonder".into()],
        ..StudyOptions::default()
    });
    assert!(error.to_string().contains("`wonder`"), "{error}");
    let sampling = StudyOptions {
        steps: Some(4),
        ..StudyOptions::default()
    };
    let mut sampling = Study::new(&database, sampling).unwrap();
    let error = sampling
        .compare(&record(&sandbox, "a", Some("a.png")))
        .unwrap_err();
    assert!(error.to_string().contains("none of `tiny`"), "{error}");
}

#[test]
fn a_summary_has_mean_and_sample_deviation_of_each_contender() {
    let sandbox = Sandbox::new();
    let database = database(&sandbox);
    let mut study = Study::new(&database, StudyOptions::default()).unwrap();
    let mut summary = Summary::default();
    let mut psnr = Vec::new();
    for seed in 0..2 {
        sandbox.image("a.png", &picture(48, 48, seed));
        let compared = study
            .compare(&Subject::File(sandbox.path("a.png")))
            .unwrap();
        summary.add(&compared);
        psnr.push(compared.contenders[0].quality.psnr);
    }
    let rows = summary.rows();
    let names: Vec<_> = rows
        .iter()
        .map(|row| (&*row.name, row.codec, row.images))
        .collect();
    assert_eq!(
        names,
        [
            ("tiny", false, 2),
            ("jpeg", true, 2),
            ("webp", true, 2),
            ("avif", true, 2)
        ]
    );
    let found = rows[0].psnr.as_ref().unwrap();
    assert!((found.mean - f64::midpoint(psnr[0], psnr[1])).abs() < 1e-9);
    // Of two values, the deviation of a sample is their distance over the root of two.
    let deviation = (psnr[0] - psnr[1]).abs() / 2f64.sqrt();
    assert!((found.deviation - deviation).abs() < 1e-9);
    assert!(rows[0].setting.is_none() && rows[1].setting.is_some());
}
