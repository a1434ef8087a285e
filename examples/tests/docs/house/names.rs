//! The types and traits that a crate shows to its users.

use std::collections::BTreeSet;

use super::modules::{Crate, Name};

impl Crate {
    /// Returns the types and traits that the docs of the crate show, each with the module that defines it.
    pub(super) fn public_names(&self) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        self.collect(0, &mut found, 0);
        found
    }

    fn collect(&self, at: usize, found: &mut BTreeSet<String>, depth: usize) {
        assert!(depth < 20, "modules that show each other: {:?}", self.modules[at].file);
        for shown in &self.modules[at].shown {
            let mut defined = Some((at, shown.name.clone()));
            if !shown.is_type {
                let path = std::slice::from_ref(&shown.name);
                let child = self.modules[at].children.get(&shown.name);
                match child.or_else(|| self.module_of(at, &shown.name)) {
                    Some(module) => {
                        self.collect(*module, found, depth + 1);
                        defined = None;
                    }
                    None => defined = self.find(at, path, 0),
                }
            }
            if let Some((module, name)) = defined
                && self.modules[module].shown.iter().any(|shown| shown.is_type && shown.name == name)
            {
                found.insert([self.modules[module].file.join("::"), name].join("::"));
            }
        }
    }

    /// Returns the module that an imported name refers to, such as `headers` of
    /// `pub use crate::http::headers`.
    fn module_of(&self, at: usize, name: &str) -> Option<&usize> {
        let Some(Name::Imported(path)) = self.modules[at].names.get(name) else { return None };
        let (mut module, mut rest) = (at, path.as_slice());
        match rest.split_first() {
            Some((first, more)) if first == "crate" => (module, rest) = (0, more),
            Some((first, more)) if first == "self" => rest = more,
            _ => {}
        }
        let mut found = None;
        for name in rest {
            found = Some(self.modules[module].children.get(name)?);
            module = *found?;
        }
        found
    }
}
