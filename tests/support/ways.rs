//! The same scenes played in several ways, and what differs between them.

use std::fmt::Write;

/// The texts of several ways: in full the first one, and of the others the differences from it.
pub fn compared(told: &[(&str, String)]) -> String {
    let Some((first, full)) = told.first() else { return String::new() };
    let alike = |text: &str| -> Vec<_> { told.iter().filter(|it| it.1 == text).map(|it| it.0).collect() };
    let mut all = if alike(full).len() == told.len() {
        format!("-- every way\n{full}")
    } else {
        format!("-- {}\n{full}", alike(full).join("; "))
    };
    let mut seen = vec![full];
    for (_, text) in told {
        if !seen.contains(&text) {
            seen.push(text);
            let ways = alike(text).join("; ");
            write!(all, "-- {ways}: not as {first}\n{}", difference(full, text)).unwrap();
        }
    }
    all
}

/// The lines that two texts do not have in common, each with its number in its own text.
fn difference(one: &str, other: &str) -> String {
    let (one, other): (Vec<_>, Vec<_>) = (one.lines().collect(), other.lines().collect());
    // How many lines the rests of both have in common.
    let mut common = vec![vec![0_usize; other.len() + 1]; one.len() + 1];
    for at in (0..one.len()).rev() {
        for to in (0..other.len()).rev() {
            common[at][to] = if one[at] == other[to] {
                common[at + 1][to + 1] + 1
            } else {
                common[at + 1][to].max(common[at][to + 1])
            };
        }
    }
    let (mut at, mut to, mut text) = (0, 0, String::new());
    while at < one.len() || to < other.len() {
        if at < one.len() && to < other.len() && one[at] == other[to] {
            (at, to) = (at + 1, to + 1);
        } else if to == other.len() || at < one.len() && common[at + 1][to] >= common[at][to + 1] {
            writeln!(text, "-{:<4}{}", at + 1, one[at]).unwrap();
            at += 1;
        } else {
            writeln!(text, "+{:<4}{}", to + 1, other[to]).unwrap();
            to += 1;
        }
    }
    text
}
