//! The README is short, its programs can be copied, and its tables leave nothing out.
//!
//! The doctests compile and run the programs.

const README: &str = include_str!("../../../README.md");
const STRATEGIES: &str = include_str!("../../../docs/guide/strategies.md");
const MANIFEST: &str = include_str!("../../../Cargo.toml");

/// Returns the lines after the line `from`, up to the next that begins with `to`.
fn section<'a>(text: &'a str, from: &str, to: &str) -> Vec<&'a str> {
    text.lines().skip_while(|line| *line != from).skip(1).take_while(|line| !line.starts_with(to)).collect()
}

/// The texts in backquotes.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// Returns the names in the first column of a table, sorted.
fn first_column(table: &[&str]) -> Vec<String> {
    let rows = table.iter().filter(|line| line.starts_with("| `"));
    let mut names: Vec<_> =
        rows.flat_map(|row| quoted(row.split('|').nth(1).unwrap_or_default())).map(str::to_owned).collect();
    names.sort();
    names
}

/// Only rustdoc hides lines that begin with `# `. All other readers of the README would see them.
#[test]
fn programs_hide_nothing() {
    let mut in_program = false;
    for line in README.lines() {
        in_program = if line.starts_with("```") { line == "```rust" } else { in_program };
        assert!(!in_program || !line.starts_with("# "), "{line}");
    }
}

#[test]
fn a_visitor_sees_code_at_once() {
    let first = README.lines().position(|line| line == "```rust").unwrap() + 1;
    assert!(first < 25, "the first program begins at line {first}");
    let length = README.lines().count();
    assert!(length <= 150, "{length} lines");
}

#[test]
fn tables_are_narrow() {
    for row in README.lines().filter(|line| line.starts_with('|')) {
        assert!(row.matches('|').count() - 1 <= 5, "{row}");
    }
}

#[test]
fn every_feature_is_listed() {
    let manifest = section(MANIFEST, "[features]", "[");
    let features =
        manifest.iter().filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once(" = "));
    let mut features: Vec<_> =
        features.map(|(name, _)| name.to_owned()).filter(|name| name != "default").collect();
    features.sort();
    assert_eq!(first_column(&section(README, "## Features", "## ")), features);
}

#[test]
fn every_strategy_has_its_place_in_the_guide() {
    // Each strategy's file is named after it.
    let guide = STRATEGIES.to_lowercase();
    let rooms = [
        include_str!("../../../core/src/strategy.rs"),
        include_str!("../../../core/src/strategy/compose.rs"),
    ];
    let helpers = ["composite", "error", "family", "pair", "per_limit", "shares"];
    let mut strategies = 0;
    for room in rooms {
        let files = room.lines().filter_map(|line| {
            line.strip_prefix("pub(crate) ").unwrap_or(line).strip_prefix("mod ")?.strip_suffix(';')
        });
        for strategy in
            files.filter(|file| !["compose", "math", "wire"].contains(file) && !helpers.contains(file))
        {
            assert!(guide.contains(&strategy.replace('_', "")), "{strategy}");
            strategies += 1;
        }
    }
    assert!(strategies >= 18, "{strategies}");
}
