//! What archives of every version look like, written out: they must be readable whatever becomes of the code.

use super::tests::{assert_same, files, read, record, tar, without_what_version_1_lacked};

/// What version 3 added.
const OF_VERSION_3: &str = r#"  "measured": {
    "decoder": "tiny",
    "psnr": 27.123456789,
    "ssim": 0.912345678,
    "ms_ssim": null,
    "ssimulacra2": -3.25
  },
  "original": false,
"#;

#[test]
fn the_json_says_everything_in_a_fixed_order() {
    let mut record = record("a/b");
    record.header.source.as_mut().unwrap().name = "é.png".into();
    let (json, _) = files(&record);
    let checksum = "5467e6230fcdfc300b7784a17b89bb0b8c9fca4c77f4a6bc70dc0e1271fab3c5";
    let of_version_4 = r#"  "kept_as": "fast",
  "latent_error": [
    [
      0.1,
      0.0625
    ],
    [
      0.0,
      0.0
    ]
  ],
"#;
    let later = [OF_VERSION_3, of_version_4].concat();
    assert_eq!(String::from_utf8(json).unwrap(), said(4, &later, checksum));
}

#[test]
fn an_archive_of_version_3_is_read() {
    let mut record = record("a/b");
    record.header.source.as_mut().unwrap().name = "é.png".into();
    record.header.latent_error.clear();
    let (_, tensor) = files(&record);
    // What the third version of archives had here.
    let checksum = "501d105b0caea71f83b146a1431ab73eb01b4ecace65b8060be402d59e4fd529";
    let json = said(3, OF_VERSION_3, checksum);
    let bytes = tar(&[("a/b.json", json.as_bytes()), ("a/b.safetensors", &tensor)]);
    assert_same(&read(&bytes).unwrap(), &[record]);
}

/// The JSON of the record above, as a version of archives says it, with what `later` versions added.
fn said(version: u32, later: &str, checksum: &str) -> String {
    let (fingerprint, blake3) = ("07".repeat(32), "a9".repeat(32));
    format!(
        r#"{{
  "format": "latentdb archive",
  "version": {version},
  "id": "a/b",
  "width": 23,
  "height": 9,
  "latent_shape": [
    2,
    2,
    3
  ],
  "latent_space": "tiny-1",
  "coding": "fast",
  "alpha": true,
  "encoder": {{
    "name": "tiny",
    "fingerprint": "{fingerprint}",
    "computed": "f32 cpu"
  }},
  "source": {{
    "name": "é.png",
    "format": "png",
    "bytes": 18446744073709551615,
    "blake3": "{blake3}"
  }},
  "preparation": "resize=23x9",
  "tiling": {{
    "size": 512,
    "overlap": 64
  }},
  "exif": {{
    "taken": "2026-11-22T10:31:05+01:00",
    "camera": "Maker Model 3",
    "orientation": 6,
    "position": [
      -33.856784,
      151.215297
    ]
  }},
  "tags": {{
    "caption": "two lines\nand \"quotes\"",
    "stars": "5"
  }},
{later}  "created_ms": 1800000000123,
  "unknown": [
    {{
      "tag": 1911,
      "value": "6c6174657200ff"
    }},
    {{
      "tag": 256,
      "value": ""
    }}
  ],
  "checksum": "{checksum}"
}}
"#
    )
}

#[test]
fn an_archive_of_version_2_is_read() {
    let mut record = record("a/b");
    record.header.source.as_mut().unwrap().name = "é.png".into();
    record.header.measured = None;
    record.header.latent_error.clear();
    let (_, tensor) = files(&record);
    // What the second version of archives had here.
    let checksum = "b0bc9a62313a9bfa37b67c886761e4d8aa934d2338132d82405a045018bb328e";
    let json = said(2, "", checksum);
    let bytes = tar(&[("a/b.json", json.as_bytes()), ("a/b.safetensors", &tensor)]);
    assert_same(&read(&bytes).unwrap(), &[record]);
}

#[test]
fn an_archive_of_version_1_is_read() {
    let mut record = record("a/b");
    without_what_version_1_lacked(&mut record);
    let source = record.header.source.as_mut().unwrap();
    source.name = "é.png".into();
    source.format.clear();
    record.header.unknown[1].0 = 9;
    let (fingerprint, blake3) = ("07".repeat(32), "a9".repeat(32));
    // What the first version of this program wrote.
    let checksum = "3bfc7a9bb475f1b8c84234071c6431e35ad30ff27d2a84a4f32f2962eb1abdcf";
    let json = format!(
        r#"{{
  "format": "latentdb archive",
  "version": 1,
  "id": "a/b",
  "width": 23,
  "height": 9,
  "latent_shape": [
    2,
    2,
    3
  ],
  "latent_space": "tiny-1",
  "coding": "fast",
  "encoder": {{
    "name": "tiny",
    "fingerprint": "{fingerprint}",
    "computed": "f32 cpu"
  }},
  "source": {{
    "name": "é.png",
    "bytes": 18446744073709551615,
    "blake3": "{blake3}"
  }},
  "preparation": "resize=23x9",
  "created_ms": 1800000000123,
  "unknown": [
    {{
      "tag": 1911,
      "value": "6c6174657200ff"
    }},
    {{
      "tag": 9,
      "value": ""
    }}
  ],
  "checksum": "{checksum}"
}}
"#
    );
    let (_, tensor) = files(&record);
    let bytes = tar(&[("a/b.json", json.as_bytes()), ("a/b.safetensors", &tensor)]);
    assert_same(&read(&bytes).unwrap(), &[record]);
}
