//! The samples as files: the scenes, rendered and written as PNG.
//!
//! Invariant: the same files at every run.

use std::fs;
use std::path::{Path, PathBuf};

use latentdb::{ImageFormat, Pixels, WriteOptions, write_image};

use crate::Outcome;
use crate::scenes::SCENES;

/// Renders every scene into `folder`; the files' paths, by name.
pub(crate) fn render_into(folder: &Path) -> Outcome<Vec<PathBuf>> {
    eprintln!(
        "rendering {} samples into {} ...",
        SCENES.len(),
        folder.display()
    );
    fs::create_dir_all(folder)
        .map_err(|e| format!("can't make the folder {}: {e}", folder.display()))?;
    let mut paths = Vec::new();
    for scene in &SCENES {
        let (width, height) = scene.size;
        let pixels = Pixels::from_rgb(width, height, (scene.picture)(scene.size))?;
        let path = folder.join(format!("{}.png", scene.name));
        fs::write(
            &path,
            write_image(&pixels, ImageFormat::Png, &WriteOptions::default())?,
        )
        .map_err(|e| format!("can't write {}: {e}", path.display()))?;
        paths.push(path);
    }
    paths.sort();
    Ok(paths)
}
