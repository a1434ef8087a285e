//! The imports among the files of a crate.

use std::collections::BTreeSet;

use super::modules::{Crate, Name, Names};

/// Returns pairs of files: the first names an item that the second defines. A `pub use` does not count as a
/// definition.
pub(super) fn imports(it: &Crate) -> BTreeSet<(Names, Names)> {
    let mut found = BTreeSet::new();
    for (at, module) in it.modules.iter().enumerate() {
        for path in &module.paths {
            if let Some((defining, _)) = it.find(at, path, 0)
                && it.modules[defining].file != module.file
            {
                found.insert((module.file.clone(), it.modules[defining].file.clone()));
            }
        }
    }
    found
}

/// Returns the crates of this workspace that a crate names.
pub(super) fn crates(it: &Crate, known: &[(&str, &str)]) -> BTreeSet<String> {
    let named = it.modules.iter().flat_map(|module| &module.paths).filter_map(|path| path.first());
    named.filter(|name| known.iter().any(|(known, _)| known == name)).cloned().collect()
}

impl Crate {
    /// Resolves a path that the module `from` names. Returns the module that defines the item, and its name
    /// there; `None` if the path leads to a module or to another crate.
    pub(super) fn find(&self, from: usize, path: &[String], depth: usize) -> Option<(usize, String)> {
        let (first, rest) = path.split_first()?;
        match first.as_str() {
            "crate" => self.below(0, rest, depth),
            "self" => self.below(from, rest, depth),
            "super" => {
                let (mut at, mut rest) = (self.modules[from].parent, rest);
                while let Some((first, more)) = rest.split_first()
                    && first == "super"
                {
                    (at, rest) = (self.modules[at].parent, more);
                }
                self.below(at, rest, depth)
            }
            _ => self.below(from, path, depth),
        }
    }

    /// Resolves a path that begins in the module `at`.
    fn below(&self, at: usize, path: &[String], depth: usize) -> Option<(usize, String)> {
        assert!(depth < 50, "names that import each other: {path:?} in {:?}", self.modules[at].file);
        let (first, rest) = path.split_first()?;
        let module = &self.modules[at];
        let child = module.children.get(first);
        // A module and a function may have the same name.
        if let Some(child) = child
            && !rest.is_empty()
        {
            return self.below(*child, rest, depth + 1);
        }
        match module.names.get(first) {
            Some(Name::Defined) => return Some((at, first.clone())),
            // A path that begins with its own name leads to another crate.
            Some(Name::Imported(path)) if path.first() != Some(first) || child.is_some() => {
                return self.find(at, &[path, rest].concat(), depth + 1);
            }
            Some(Name::Imported(_)) => return None,
            None if child.is_some() => return None,
            None => {}
        }
        let is_ours = |first: &String| {
            ["crate", "self", "super"].contains(&first.as_str()) || module.children.contains_key(first)
        };
        let globs = module.globs.iter().filter(|glob| glob.first().is_some_and(is_ours));
        globs.filter_map(|glob| self.find(at, &[glob, path].concat(), depth + 1)).next()
    }
}
