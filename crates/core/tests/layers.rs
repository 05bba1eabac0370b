//! Holds every `use crate::` of the core against the layers that `src/lib.rs` names.

#![allow(clippy::unwrap_used, reason = "a test stops at the first failure")]

use std::fs;
use std::path::{Path, PathBuf};

/// Each module with the modules that it may import beside itself, from the ground up.
const LAYERS: [(&str, &[&str]); 11] = [
    ("ids", &[]),
    ("backoff", &[]),
    ("error", &[]),
    ("stats", &["ids", "error"]),
    ("waker", &[]),
    ("sys", &["ids", "error", "stats"]),
    ("protocol", &["ids", "error", "stats", "sys"]),
    ("channel", &["ids", "error", "stats", "sys", "protocol"]),
    (
        "parent",
        &[
            "ids", "backoff", "error", "stats", "waker", "sys", "protocol", "channel",
        ],
    ),
    (
        "worker",
        &[
            "ids", "backoff", "error", "stats", "waker", "sys", "protocol", "channel",
        ],
    ),
    (
        "descriptors",
        &[
            "ids", "backoff", "error", "stats", "waker", "sys", "protocol", "channel",
        ],
    ),
];

#[test]
fn a_module_imports_only_layers_below_its_own() {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    let mut seen = 0;
    for file in files(&sources) {
        let relative = file.strip_prefix(&sources).unwrap();
        let first = relative.iter().next().unwrap().to_str().unwrap();
        let module = first.trim_end_matches(".rs");
        if module == "lib" {
            continue;
        }
        let (_, allowed) = LAYERS
            .iter()
            .find(|(name, _)| *name == module)
            .unwrap_or_else(|| panic!("{module} is in no layer: add {module} to LAYERS"));
        seen += 1;
        for imported in imports(&fs::read_to_string(&file).unwrap()) {
            if imported != module && !allowed.contains(&imported.as_str()) {
                found.push(format!("{} imports {imported}", relative.display()));
            }
        }
    }
    assert!(seen > 40, "only {seen} files were read");
    assert!(found.is_empty(), "imports against the layers:\n{}", found.join("\n"));
}

/// Returns the first segment of every `crate::` path in production code. Unit tests may use any layer as a model.
fn imports(source: &str) -> Vec<String> {
    let production = source.split("#[cfg(test)]\nmod tests").next().unwrap();
    let code = production.lines().filter(|line| !line.trim_start().starts_with("//"));
    code.flat_map(|line| line.split("crate::").skip(1).map(str::to_owned))
        .map(|path| {
            path.chars()
                .take_while(|c| c.is_ascii_lowercase() || *c == '_')
                .collect()
        })
        .collect()
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let (folders, files): (Vec<_>, Vec<_>) = entries.partition(|path| path.is_dir());
    folders
        .iter()
        .flat_map(|folder| self::files(folder))
        .chain(files)
        .collect()
}
