//! A disk with a sector that can't be read: the system's error hides nothing else.

use std::ffi::OsString;
use std::io;
use std::ops::Range;

use super::super::disk::{Disk, DiskFile};
use super::super::verify::survey::Survey;
use super::verify::three_kinds;
use super::*;
use crate::backend::Damage;

/// Fails every read that touches `bad` in the file `name`.
#[derive(Debug, Clone)]
struct BadSector {
    name: PathBuf,
    bad: Range<u64>,
}

#[derive(Debug)]
struct BadFile {
    file: File,
    bad: Range<u64>,
}

impl DiskFile for BadFile {
    fn len(&self) -> io::Result<u64> {
        DiskFile::len(&self.file)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let end = offset + buffer.len() as u64;
        if offset < self.bad.end && self.bad.start < end {
            return Err(io::Error::other("the medium has an error"));
        }
        DiskFile::read_at(&self.file, buffer, offset)
    }

    fn write_at(&self, _: &[&[u8]], _: u64) -> io::Result<()> {
        panic!("verifying writes nothing")
    }

    fn set_len(&self, _: u64) -> io::Result<()> {
        panic!("verifying cuts nothing")
    }

    fn sync(&self) -> io::Result<()> {
        panic!("verifying syncs nothing")
    }
}

impl Disk for BadSector {
    fn open(&self, path: &Path, access: Access) -> io::Result<Box<dyn DiskFile>> {
        assert_eq!(access, Access::Read);
        let bad = if path == self.name {
            self.bad.clone()
        } else {
            0..0
        };
        let file = File::open(path)?;
        Ok(Box::new(BadFile { file, bad }))
    }

    fn rename(&self, _: &Path, _: &Path) -> io::Result<()> {
        panic!("verifying renames nothing")
    }

    fn remove(&self, _: &Path) -> io::Result<()> {
        panic!("verifying removes nothing")
    }

    fn create_dir(&self, _: &Path) -> io::Result<()> {
        panic!("verifying makes nothing")
    }

    fn names(&self, folder: &Path) -> io::Result<Vec<OsString>> {
        std::fs::read_dir(folder)?
            .map(|entry| Ok(entry?.file_name()))
            .collect()
    }

    fn sync_dir(&self, _: &Path) -> io::Result<()> {
        panic!("verifying syncs nothing")
    }

    fn available(&self, _: &Path) -> io::Result<u64> {
        Ok(u64::MAX)
    }
}

#[test]
fn what_the_system_can_not_read_is_told_and_what_lies_around_it_is_read() {
    let (fixture, _) = three_kinds();
    // Larger than the pieces that are read where a block can't be.
    fixture
        .open()
        .commit(
            (0..40)
                .map(|n| put(&format!("big{n}"), &[n; 1000]))
                .collect(),
        )
        .unwrap();
    let names = fs::names(&fixture.path().join(SEGMENTS)).unwrap();
    for name in names {
        let name = fixture.path().join(SEGMENTS).join(name);
        let size = std::fs::metadata(&name).unwrap().len();
        for at in (0..size).step_by(211) {
            let disk = BadSector {
                name: name.clone(),
                bad: at..at + 1,
            };
            let medium = Medium::simulated(Arc::new(disk));
            let check = &mut |_: &[u8], _: &[u8], _: &[u8]| Ok(());
            let survey = Survey::of(&medium, &fixture.path(), &[], check, &mut |_, _| ());
            let found = survey.unwrap().verification;
            assert!(!found.is_sound(), "{at} of {size}");
            if size > 20_000 && at > 100 {
                assert!(found.frames > 30, "{at}: {}", found.frames);
                let told = |f: &crate::backend::Finding| f.damage == Damage::Unreadable;
                assert!(found.findings.iter().any(told), "{at}");
            }
        }
    }
}
