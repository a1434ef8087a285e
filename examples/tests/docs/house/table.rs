//! The table of ARCHITECTURE.md with the folders that each folder may use.

use std::fs;

use traffik_test_support::folder;

/// A row: a folder, and the folders that it may use.
pub(super) struct Row {
    pub(super) place: String,
    pub(super) may_know: Vec<String>,
}

/// Reads the rows. Replaces `all folders above` and `all crates above` by the folders.
pub(super) fn rows(is_crate: impl Fn(&str) -> bool) -> Vec<Row> {
    let text = fs::read_to_string(folder::workspace().join("ARCHITECTURE.md")).unwrap();
    let mut rows: Vec<Row> = Vec::new();
    for line in text.lines().filter(|line| line.starts_with("| `")) {
        let columns: Vec<_> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [place, _, known] = columns[..] else { panic!("a row of three columns: {line}") };
        let place = place.trim_matches('`').to_owned();
        let above = |holds: &dyn Fn(&str) -> bool| {
            rows.iter().map(|row| row.place.clone()).filter(|place| holds(place)).collect::<Vec<_>>()
        };
        let may_know = match known {
            "all crates above" => above(&is_crate),
            "all folders above" => {
                let within = rows.iter().rev().find(|row| is_crate(&row.place)).unwrap().place.clone() + "/";
                above(&|place| place.starts_with(&within))
            }
            named => named
                .split(", ")
                .filter(|it| !it.is_empty())
                .map(|it| it.trim_matches('`').to_owned())
                .collect(),
        };
        rows.push(Row { place, may_know });
    }
    rows
}
