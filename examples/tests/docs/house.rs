//! The layout of the crates: no two files and no two folders import each other in a circle, and each folder
//! imports only the folders that ARCHITECTURE.md allows.

mod circles;
mod imports;
mod modules;
mod names;
mod table;

use std::collections::BTreeSet;
use std::path::Path;

use circles::circles;
use imports::{crates, imports};
use modules::Crate;
use traffik_test_support::folder;

/// The crates that are checked, with the folder of each.
const CRATES: &[(&str, &str)] = &[
    ("traffik", "src"), // one a line
    ("traffik_runtimes", "runtimes/src"),
    ("traffik_backends", "std-backends/src"),
    ("traffik_core", "core/src"),
    ("traffik_integrations", "integrations/src"),
    ("traffik_gateway", "examples/gateway/src"),
];

fn read(source: &str) -> Crate {
    let folder = folder::workspace().join(source);
    let root = if folder.join("lib.rs").exists() { "lib.rs" } else { "main.rs" };
    Crate::read(&folder.join(root))
}

/// Returns the circles of imports among files, and among the files and folders of each level.
fn tangles(source: &Path, edges: &BTreeSet<(Vec<String>, Vec<String>)>) -> Vec<String> {
    let mut found = Vec::new();
    let files = edges.iter().map(|(from, to)| (from.join("/"), to.join("/"))).collect();
    found.extend(circles(&files).into_iter().map(|circle| format!("{}: files {circle}", source.display())));
    let deepest = edges.iter().flat_map(|(from, to)| [from.len(), to.len()]).max().unwrap_or(0);
    for level in 0..deepest {
        let rooms = edges.iter().filter_map(|(from, to)| {
            let shared = from.iter().zip(to).take_while(|(from, to)| from == to).count();
            let room = |file: &[String]| match file.get(level) {
                Some(name) => [&file[..level], std::slice::from_ref(name)].concat().join("/"),
                None => file.join("/") + ".rs",
            };
            (shared == level).then(|| (room(from), room(to)))
        });
        let rooms = rooms.collect();
        found.extend(
            circles(&rooms).into_iter().map(|circle| format!("{}: rooms {circle}", source.display())),
        );
    }
    found
}

#[test]
fn no_files_and_no_rooms_import_each_other_in_a_circle() {
    let mut found = Vec::new();
    for (_, source) in CRATES {
        let edges = imports(&read(source));
        found.extend(tangles(Path::new(source), &edges));
    }
    assert!(found.is_empty(), "{} circles:\n{}", found.len(), found.join("\n"));
}

#[test]
fn everybody_knows_only_whom_the_table_allows() {
    let rows = table::rows(|place| CRATES.iter().any(|(_, source)| *source == place));
    let mut wrong = Vec::new();
    for (_, source) in CRATES {
        let it = read(source);
        let row =
            rows.iter().find(|row| row.place == *source).unwrap_or_else(|| panic!("{source} has no row"));
        for known in crates(&it, CRATES) {
            let (_, known) = CRATES.iter().find(|(name, _)| *name == known).unwrap();
            if known != source && !row.may_know.iter().any(|allowed| allowed == known) {
                wrong.push(format!("{source} knows {known}"));
            }
        }
        // Returns the innermost folder of a file that has a row.
        let room = |file: &[String]| {
            let file = format!("{source}/{}/", file.join("/"));
            let holds = rows.iter().filter(|row| file.starts_with(&format!("{}/", row.place)));
            holds.max_by_key(|row| row.place.len()).unwrap()
        };
        for (from, to) in imports(&it) {
            let (knowing, known) = (room(&from), room(&to));
            let is_free = known.place == *source || known.place == knowing.place;
            if !is_free && knowing.place != *source && !knowing.may_know.contains(&known.place) {
                wrong.push(format!("{source}: {} knows {}", from.join("/"), to.join("/")));
            }
        }
    }
    assert!(wrong.is_empty(), "not allowed by ARCHITECTURE.md:\n{}", wrong.join("\n"));
}

/// Most public types and traits of all libraries.
const MOST: usize = 180;

/// The libraries, whose public names users have to know.
const LIBRARIES: [&str; 4] = ["core/src", "std-backends/src", "runtimes/src", "integrations/src"];

#[test]
fn public_types_and_traits_are_few() {
    let mut count = 0;
    for library in LIBRARIES {
        let names = read(library).public_names();
        println!("{library}: {} types and traits", names.len());
        for name in &names {
            println!("  {name}");
        }
        count += names.len();
    }
    println!("{count} public types and traits in all libraries");
    assert!(count <= MOST, "{count} public types and traits in all libraries, more than {MOST}");
}

/// Tests of every strategy iterate over one list, so the list must name every strategy.
#[test]
fn the_list_of_strategies_is_complete() {
    let core = folder::workspace().join("core/src");
    let list = std::fs::read_to_string(core.join("laws/strategies.rs")).unwrap();
    let mut strategies = 0;
    for file in std::fs::read_dir(core.join("strategy")).unwrap() {
        let path = file.unwrap().path();
        if path.is_dir() || !std::fs::read_to_string(&path).unwrap().contains(" Strategy for ") {
            continue;
        }
        let name = path.file_stem().unwrap().to_str().unwrap();
        assert!(list.contains(&format!("$each!({name}, ")), "{name} is not in core/src/laws/strategies.rs");
        strategies += 1;
    }
    assert!(strategies >= 13, "{strategies} strategies were found");
}
