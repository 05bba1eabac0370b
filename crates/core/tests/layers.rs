//! Checks every import of the core against the layers that `src/lib.rs` names, and finds circles of imports in all crates.

#![allow(clippy::unwrap_used, reason = "a test stops at the first failure")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

mod sources;

use sources::{files, production};

/// Each module with the modules that it may import beside itself, from the ground up.
const LAYERS: [(&str, &[&str]); 12] = [
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
    ("admin", &["error", "sys", "parent"]),
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
    production(source)
        .lines()
        .flat_map(|line| line.split("crate::").skip(1).map(str::to_owned))
        .map(|path| {
            path.chars()
                .take_while(|c| c.is_ascii_lowercase() || *c == '_')
                .collect()
        })
        .collect()
}

#[test]
fn no_modules_import_each_other_except_a_module_and_its_child() {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    for name in ["core", "napi", "load"] {
        let sources = crates.join(name).join("src");
        let modules: BTreeMap<Module, String> = files(&sources)
            .iter()
            .map(|file| {
                let source = fs::read_to_string(file).unwrap();
                (module_of(file.strip_prefix(&sources).unwrap()), production(&source))
            })
            .collect();
        let imports = modules.iter().map(|(module, source)| {
            let paths = used_paths(source).into_iter();
            let targets = paths.filter_map(|path| resolve(module, &path, &modules));
            let is_related = |target: &Module| target.starts_with(module) || module.starts_with(target);
            (module.clone(), targets.filter(|target| !is_related(target)).collect())
        });
        let mut graph: BTreeMap<Module, BTreeSet<Module>> = imports.collect();
        assert!(graph.len() > 10, "only {} modules of {name} were read", graph.len());
        // A module that imports nothing, or that nothing imports, is in no circle.
        loop {
            let imported: BTreeSet<Module> = graph.values().flatten().cloned().collect();
            let is_free =
                |module: &Module, targets: &BTreeSet<Module>| targets.is_empty() || !imported.contains(module);
            let free = graph.iter().filter(|(module, targets)| is_free(module, targets));
            let free: Vec<Module> = free.map(|(module, _)| module.clone()).collect();
            if free.is_empty() {
                break;
            }
            graph.retain(|module, _| !free.contains(module));
            for targets in graph.values_mut() {
                targets.retain(|target| !free.contains(target));
            }
        }
        let left: Vec<_> = graph
            .iter()
            .flat_map(|(module, targets)| targets.iter().map(move |target| (module.join("::"), target.join("::"))))
            .map(|(module, target)| format!("{module} imports {target}"))
            .collect();
        assert!(
            left.is_empty(),
            "circles of imports in crates/{name}:\n{}",
            left.join("\n")
        );
    }
}

/// The path of a module from the root of its crate.
type Module = Vec<String>;

fn module_of(file: &Path) -> Module {
    let segments = file.with_extension("");
    let segments = segments.iter().map(|segment| segment.to_str().unwrap().to_owned());
    segments
        .filter(|segment| !["mod", "lib", "main"].contains(&segment.as_str()))
        .collect()
}

/// Returns the longest module that a path names, as seen from `from`.
fn resolve(from: &Module, path: &[String], modules: &BTreeMap<Module, String>) -> Option<Module> {
    let mut absolute = match path.first()?.as_str() {
        "crate" => Vec::new(),
        "super" | "self" => from.clone(),
        _ => return None,
    };
    for segment in path
        .iter()
        .skip_while(|segment| ["crate", "self"].contains(&segment.as_str()))
    {
        if segment == "super" {
            absolute.pop();
        } else {
            absolute.push(segment.clone());
            if !modules.contains_key(&absolute) {
                absolute.pop();
                break;
            }
        }
    }
    Some(absolute)
}

/// Returns the paths in the `use` declarations of a source, with their braces expanded.
fn used_paths(source: &str) -> Vec<Vec<String>> {
    // Only at the start of a line: a string or a comment may contain the word.
    let is_declaration = |line: &str| line.starts_with("use ") || (line.starts_with("pub") && line.contains(" use "));
    let mut lines = source.lines().map(str::trim);
    let mut paths = Vec::new();
    while let Some(line) = lines.by_ref().find(|line| is_declaration(line)) {
        let mut declaration = line.split_once("use ").unwrap().1.to_owned();
        while !declaration.ends_with(';') {
            declaration.push_str(lines.next().expect("a declaration ends with a semicolon"));
        }
        declaration.retain(|character| !character.is_whitespace() && character != ';');
        paths.extend(expand(&declaration));
    }
    paths
}

fn expand(tree: &str) -> Vec<Vec<String>> {
    let Some((prefix, group)) = tree.split_once('{') else {
        return vec![tree.split("::").map(str::to_owned).collect()];
    };
    let prefix: Vec<String> = prefix.split_terminator("::").map(str::to_owned).collect();
    let (mut depth, mut branches) = (0, vec![String::new()]);
    for character in group.trim_end_matches('}').chars() {
        match character {
            ',' if depth == 0 => branches.push(String::new()),
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if character != ',' || depth > 0 {
            branches.last_mut().unwrap().push(character);
        }
    }
    let expanded = branches.iter().flat_map(|branch| {
        let closing = branch.matches('{').count() - branch.matches('}').count();
        expand(&format!("{branch}{}", "}".repeat(closing)))
    });
    expanded
        .map(|path| prefix.iter().cloned().chain(path).collect())
        .collect()
}
