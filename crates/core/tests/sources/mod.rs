//! Reads the sources of the crates.

use std::fs;
use std::path::{Path, PathBuf};

/// Returns a source without its comments and unit tests.
pub fn production(source: &str) -> String {
    let production = source.split("\nmod tests {").next().unwrap();
    let code = production.lines().filter(|line| !line.trim_start().starts_with("//"));
    code.collect::<Vec<_>>().join("\n")
}

/// Returns the files in a folder and the folders within.
pub fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let (folders, files): (Vec<_>, Vec<_>) = entries.partition(|path| path.is_dir());
    folders
        .iter()
        .flat_map(|folder| self::files(folder))
        .chain(files)
        .collect()
}
