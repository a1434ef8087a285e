//! The reference page: it lists each key that the program knows, and no other, and its examples are valid.

use super::config::{File, check};
use super::refused;

const PAGE: &str = include_str!("../../REFERENCE.md");

/// Returns the rows of the table below a heading of the page: the cells of each.
fn rows(heading: &str) -> Vec<Vec<&'static str>> {
    let section = PAGE.split(&format!("\n## {heading}\n")).nth(1).unwrap();
    let section = section.split("\n## ").next().unwrap();
    let rows = section.lines().filter(|line| line.starts_with("| `"));
    rows.map(|row| row.trim_matches('|').split('|').map(str::trim).collect()).collect()
}

/// Returns the keys that the program lists if a table has an unknown one.
fn known(name: &str, text: &str) -> Vec<String> {
    let error = refused(&["--config", File::new(name, text).path()]);
    let listed = error.split("expected one of").nth(1).unwrap_or_else(|| panic!("{error}"));
    listed.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

fn same(heading: &str, name: &str, text: &str) {
    let mut listed: Vec<_> =
        rows(heading).iter().map(|row| row[0].trim_matches('`').replace('_', "-")).collect();
    // The program also lists the spelling with a hyphen.
    let mut known: Vec<_> = known(name, text).iter().map(|key| key.replace('_', "-")).collect();
    listed.sort();
    known.sort();
    known.dedup();
    assert_eq!(listed, known, "{heading}");
}

#[test]
fn the_reference_lists_each_key() {
    let throttle = "[[throttle]]\nuid = \"a\"\nrate = \"1/s\"\n";
    same("`[[throttle]]`", "known-throttle", &format!("{throttle}zzz = 1\n"));
    same("`[defaults]`", "known-defaults", &format!("[defaults]\nzzz = 1\n{throttle}"));
    same("`rules`", "known-rules", &format!("{throttle}rules = {{ zzz = 1 }}\n"));
}

/// Each example of a table is a line of a throttle, of the defaults, or of a rule.
#[test]
fn each_example_of_the_reference_is_valid() {
    let passes = |name: &str, text: &str| {
        let file = File::new(name, text);
        assert!(check(&["--config", file.path()]).contains("zz: "), "{text}");
    };
    let example = |row: &[&'static str]| row[4].trim_matches('`');
    for row in rows("`[[throttle]]`")
        .iter()
        .filter(|row| !["`uid`", "`body_type`", "`domain`", "`descriptors`"].contains(&row[0]))
    {
        let rate = if row[0].starts_with("`rate") { "" } else { "rate = \"9/s\"\n" };
        passes("example-throttle", &format!("[[throttle]]\nuid = \"zz\"\n{rate}{}\n", example(row)));
    }
    for row in rows("`[defaults]`") {
        let throttle = "[[throttle]]\nuid = \"zz\"\nrate = \"1/s\"\n";
        passes("example-defaults", &format!("[defaults]\n{}\n{throttle}", example(&row)));
    }
    for row in rows("`rules`") {
        let throttle = "[[throttle]]\nuid = \"zz\"\nrate = \"1/s\"\n";
        passes("example-rule", &format!("{throttle}rules = {{ {} }}\n", example(&row)));
    }
    for row in rows("Keys of clients").iter().filter(|row| !row[0].contains("NAME") && !row[0].contains(','))
    {
        let key = row[0].trim_matches('`');
        passes("example-key", &format!("[[throttle]]\nuid = \"zz\"\nrate = \"1/s\"\nkey = \"{key}\"\n"));
    }
}

#[test]
fn the_file_of_the_reference_passes_its_check() {
    let text = PAGE.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    let file = File::new("reference", text);
    let printed = check(&["--config", file.path()]);
    assert!(printed.contains("logins: ") && printed.contains("users: "), "{printed}");
}
