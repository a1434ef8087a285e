//! Circles in a graph.

use std::collections::{BTreeMap, BTreeSet};

/// Returns the groups of names in which each name leads to every other one, each as the list of its edges.
pub(super) fn circles(edges: &BTreeSet<(String, String)>) -> Vec<String> {
    let mut ahead = BTreeMap::<&str, BTreeSet<&str>>::new();
    for (from, to) in edges {
        if from != to {
            ahead.entry(from).or_default().insert(to);
        }
    }
    let reached: BTreeMap<&str, BTreeSet<&str>> =
        ahead.keys().map(|from| (*from, reach(&ahead, from))).collect();
    let leads = |from: &str, to: &str| reached.get(from).is_some_and(|all| all.contains(to));
    let (mut found, mut seen) = (Vec::new(), BTreeSet::new());
    for from in ahead.keys() {
        let circle: BTreeSet<&str> = reached[from].iter().filter(|to| leads(to, from)).copied().collect();
        if circle.is_empty() || !seen.insert(circle.clone()) {
            continue;
        }
        let ties = edges.iter().filter(|(from, to)| {
            from != to && circle.contains(from.as_str()) && circle.contains(to.as_str())
        });
        let ties: Vec<String> = ties.map(|(from, to)| format!("{from} -> {to}")).collect();
        found.push(ties.join(", "));
    }
    found
}

fn reach<'a>(ahead: &BTreeMap<&'a str, BTreeSet<&'a str>>, from: &str) -> BTreeSet<&'a str> {
    let mut reached = BTreeSet::new();
    let mut open: Vec<&str> = ahead.get(from).into_iter().flatten().copied().collect();
    while let Some(next) = open.pop() {
        if reached.insert(next) {
            open.extend(ahead.get(next).into_iter().flatten());
        }
    }
    reached
}

#[test]
fn circles_of_two_and_of_more_are_found_and_chains_are_not() {
    let edges = |pairs: &[(&str, &str)]| {
        pairs.iter().map(|(from, to)| ((*from).to_owned(), (*to).to_owned())).collect::<BTreeSet<_>>()
    };
    assert!(circles(&edges(&[("a", "b"), ("b", "c"), ("a", "c"), ("c", "c")])).is_empty());
    assert_eq!(circles(&edges(&[("a", "b"), ("b", "a"), ("b", "c")])), ["a -> b, b -> a"]);
    let two = circles(&edges(&[("a", "b"), ("b", "c"), ("c", "a"), ("d", "e"), ("e", "d"), ("c", "d")]));
    assert_eq!(two, ["a -> b, b -> c, c -> a", "d -> e, e -> d"]);
}
