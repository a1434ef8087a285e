//! Finds the throttles of a descriptor by hash lookups, however many throttles there are.

use std::collections::HashMap;
use std::sync::Arc;

use envoy_types::pb::envoy::extensions::common::ratelimit::v3::rate_limit_descriptor::Entry;

use crate::limits::descriptors::{DescriptorSpec, EntrySpec, EntryValue, Lookup};

/// The throttles of all descriptors, as trees of entries by domain.
#[derive(Default)]
pub(crate) struct DescriptorIndex {
    /// The tree of the domains of the throttles that name one.
    best: HashMap<String, Node>,
    /// The tree of throttles that are looked up step by step.
    step: HashMap<String, Node>,
    /// The tree of throttles that apply in any domain.
    any: Node,
}

/// The descriptors that begin with the same entries.
#[derive(Default)]
struct Node {
    /// The positions of the throttles whose descriptors end here.
    throttles: Vec<usize>,
    next: HashMap<String, Branches>,
}

/// The next entries of one key.
#[derive(Default)]
struct Branches {
    exact: HashMap<String, Node>,
    prefixes: Vec<(String, Node)>,
    any: Option<Box<Node>>,
}

impl DescriptorIndex {
    /// Builds the index of throttles, which are known by their positions.
    pub(crate) fn new<'a>(specs: impl Iterator<Item = (usize, &'a Arc<DescriptorSpec>)>) -> Self {
        let mut index = Self::default();
        for (throttle, spec) in specs {
            let root = match (&spec.domain, spec.lookup) {
                (None, _) => &mut index.any,
                (Some(domain), Lookup::BestMatch) => index.best.entry(domain.clone()).or_default(),
                (Some(domain), Lookup::StepByStep) => index.step.entry(domain.clone()).or_default(),
            };
            spec.entries.iter().fold(root, Node::at).throttles.push(throttle);
        }
        index
    }

    /// Returns the positions of the throttles that apply to a descriptor.
    pub(crate) fn find(&self, domain: &str, entries: &[Entry]) -> impl Iterator<Item = usize> {
        let best = self.best.get(domain).and_then(|root| root.find(entries, Lookup::BestMatch));
        let step = self.step.get(domain).and_then(|root| root.find(entries, Lookup::StepByStep));
        let any = self.any.find(entries, Lookup::BestMatch);
        [best, step, any].into_iter().flatten().flatten().copied()
    }
}

impl Node {
    /// Returns the node below this one for an entry, and adds it if it is missing.
    fn at(&mut self, entry: &EntrySpec) -> &mut Self {
        let branches = self.next.entry(entry.key.clone()).or_default();
        match &entry.value {
            EntryValue::Exact(value) => branches.exact.entry(value.clone()).or_default(),
            EntryValue::Any => branches.any.get_or_insert_default(),
            EntryValue::Prefix(prefix) => {
                let prefixes = &mut branches.prefixes;
                let known = prefixes.iter().position(|(known, _)| known == prefix);
                let at = known.unwrap_or(prefixes.len());
                if known.is_none() {
                    prefixes.push((prefix.clone(), Self::default()));
                }
                match prefixes.get_mut(at) {
                    Some((_, node)) => node,
                    // Never taken: `at` is the position of an element.
                    None => branches.any.get_or_insert_default(),
                }
            }
        }
    }

    /// Returns the throttles whose entries are exactly these. An exact value goes before a prefix, and a
    /// prefix before any value.
    fn find(&self, entries: &[Entry], lookup: Lookup) -> Option<&Vec<usize>> {
        let Some((entry, rest)) = entries.split_first() else {
            return Some(&self.throttles).filter(|throttles| !throttles.is_empty());
        };
        let branches = self.next.get(&entry.key)?;
        let prefixes = branches.prefixes.iter().filter(|(prefix, _)| entry.value.starts_with(prefix));
        let exact = branches.exact.get(&entry.value).into_iter();
        let mut nodes = exact.chain(prefixes.map(|(_, node)| node)).chain(branches.any.as_deref());
        match lookup {
            Lookup::BestMatch => nodes.find_map(|node| node.find(rest, lookup)),
            Lookup::StepByStep => nodes.next()?.find(rest, lookup),
        }
    }
}
