//! The modules of a crate, without tests: the names that each defines, imports and uses.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use proc_macro2::{TokenStream, TokenTree};
use syn::visit::Visit;
use syn::{Attribute, Item, ItemUse, Macro, UseTree, Visibility};

/// A path as it is written: `crate::a::B`, `super::C`, `d::E`.
pub(super) type Names = Vec<String>;

/// The modules of a crate; the first is its root.
#[derive(Default)]
pub(super) struct Crate {
    pub(super) modules: Vec<Module>,
}

/// One module, in a file of its own or within that of another.
#[derive(Default)]
pub(super) struct Module {
    /// The path of the module whose file holds this one: empty for `lib.rs`.
    pub(super) file: Names,
    pub(super) parent: usize,
    /// Modules within, by name.
    pub(super) children: BTreeMap<String, usize>,
    pub(super) names: BTreeMap<String, Name>,
    /// Modules of which all names are imported.
    pub(super) globs: Vec<Names>,
    /// All paths that its code names.
    pub(super) paths: Vec<Names>,
    pub(super) shown: Vec<Shown>,
}

/// A name that a module can use.
pub(super) enum Name {
    Defined,
    Imported(Names),
}

/// A name that a module shows to others, unless it is hidden from the docs.
pub(super) struct Shown {
    pub(super) name: String,
    pub(super) is_type: bool,
}

impl Crate {
    /// Reads the crate of this root file.
    pub(super) fn read(root: &Path) -> Self {
        let mut it = Self::default();
        it.file(root, Vec::new(), 0);
        it
    }

    fn file(&mut self, path: &Path, file: Names, parent: usize) -> usize {
        let source = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let parsed = syn::parse_file(&source).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        self.module(&parsed.items, path, file, parent)
    }

    fn module(&mut self, items: &[Item], path: &Path, file: Names, parent: usize) -> usize {
        let at = self.modules.len();
        self.modules.push(Module { file: file.clone(), parent, ..Module::default() });
        for item in items {
            self.modules[at].show(item);
            match item {
                Item::Mod(module) if !is_test(&module.attrs) => {
                    let name = module.ident.to_string();
                    let child = match &module.content {
                        Some((_, items)) => self.module(items, path, file.clone(), at),
                        None => {
                            let below = within(path, &name, &module.attrs);
                            self.file(&below, [file.clone(), vec![name.clone()]].concat(), at)
                        }
                    };
                    self.modules[at].children.entry(name).or_insert(child);
                }
                Item::Use(item) if !is_test(&item.attrs) => self.modules[at].import(item),
                Item::Mod(_) | Item::Use(_) => {}
                item => {
                    if let Some(name) = defined(item) {
                        self.modules[at].names.insert(name, Name::Defined);
                    }
                    Paths(&mut self.modules[at].paths).visit_item(item);
                }
            }
        }
        at
    }
}

impl Module {
    /// Adds the names that an item shows to other crates.
    fn show(&mut self, item: &Item) {
        // Types within a macro, such as `pin_project!` or `named!`.
        if let Item::Macro(it) = item
            && let Ok(within) = syn::parse2::<syn::File>(it.mac.tokens.clone())
        {
            for item in within.items {
                self.names.extend(defined(&item).map(|name| (name, Name::Defined)));
                self.show(&item);
            }
            return;
        }
        let (attributes, visibility) = match item {
            Item::Enum(it) => (&it.attrs, &it.vis),
            Item::Mod(it) => (&it.attrs, &it.vis),
            Item::Struct(it) => (&it.attrs, &it.vis),
            Item::Trait(it) => (&it.attrs, &it.vis),
            Item::Union(it) => (&it.attrs, &it.vis),
            Item::Use(it) => (&it.attrs, &it.vis),
            _ => return,
        };
        if !matches!(visibility, Visibility::Public(_)) || is_hidden(attributes) {
            return;
        }
        match item {
            Item::Mod(it) => self.shown.push(Shown { name: it.ident.to_string(), is_type: false }),
            Item::Use(it) => {
                let mut leaves = Vec::new();
                flatten(&it.tree, &mut Vec::new(), &mut leaves);
                let names = leaves.into_iter().filter_map(|(_, name)| name);
                self.shown.extend(names.map(|name| Shown { name, is_type: false }));
            }
            item => {
                self.shown.extend(defined(item).map(|name| Shown { name, is_type: true }));
            }
        }
    }

    fn import(&mut self, item: &ItemUse) {
        let is_private = matches!(item.vis, Visibility::Inherited);
        let mut leaves = Vec::new();
        flatten(&item.tree, &mut Vec::new(), &mut leaves);
        for (path, name) in leaves {
            if is_private {
                self.paths.push(path.clone());
            }
            match name {
                Some(name) => drop(self.names.insert(name, Name::Imported(path))),
                None => self.globs.push(path),
            }
        }
    }
}

/// Collects the paths of a tree of imports, each with the name that it imports; `None` for a glob.
fn flatten(tree: &UseTree, before: &mut Names, leaves: &mut Vec<(Names, Option<String>)>) {
    let mut leaf = |name: &syn::Ident, given: &syn::Ident| {
        let itself = name == "self";
        let path = if itself { before.clone() } else { [before.clone(), vec![name.to_string()]].concat() };
        let given = if itself && given == "self" { before.last().cloned() } else { Some(given.to_string()) };
        leaves.push((path, given));
    };
    match tree {
        UseTree::Name(name) => leaf(&name.ident, &name.ident),
        UseTree::Rename(name) => leaf(&name.ident, &name.rename),
        UseTree::Glob(_) => leaves.push((before.clone(), None)),
        UseTree::Path(path) => {
            before.push(path.ident.to_string());
            flatten(&path.tree, before, leaves);
            before.pop();
        }
        UseTree::Group(group) => group.items.iter().for_each(|tree| flatten(tree, before, leaves)),
    }
}

/// Returns the file of a module that the file `path` declares.
fn within(path: &Path, name: &str, attributes: &[Attribute]) -> PathBuf {
    let folder = path.parent().unwrap();
    let given = attributes.iter().find_map(|attribute| match &attribute.meta {
        syn::Meta::NameValue(given) if given.path.is_ident("path") => match &given.value {
            syn::Expr::Lit(syn::ExprLit { lit: syn::Lit::Str(path), .. }) => Some(path.value()),
            _ => None,
        },
        _ => None,
    });
    if let Some(given) = given {
        return folder.join(given);
    }
    let stem = path.file_stem().unwrap().to_str().unwrap();
    let folder = if ["lib", "main", "mod"].contains(&stem) { folder.to_owned() } else { folder.join(stem) };
    folder.join(format!("{name}.rs"))
}

fn is_test(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| match &attribute.meta {
        syn::Meta::List(list) if list.path.is_ident("cfg") => {
            let on = list.tokens.to_string();
            on == "test" || on == "doctest" || on.starts_with("all (test")
        }
        _ => false,
    })
}

fn is_hidden(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| match &attribute.meta {
        syn::Meta::List(list) => list.path.is_ident("doc") && list.tokens.to_string() == "hidden",
        _ => false,
    })
}

/// Returns the name that an item defines.
fn defined(item: &Item) -> Option<String> {
    let name = match item {
        Item::Const(it) => &it.ident,
        Item::Enum(it) => &it.ident,
        Item::Fn(it) => &it.sig.ident,
        Item::Static(it) => &it.ident,
        Item::Struct(it) => &it.ident,
        Item::Trait(it) => &it.ident,
        Item::Type(it) => &it.ident,
        Item::Union(it) => &it.ident,
        Item::Macro(it) => it.ident.as_ref()?,
        _ => return None,
    };
    Some(name.to_string())
}

/// Collects the paths of code, those within macros included.
struct Paths<'a>(&'a mut Vec<Names>);

impl Visit<'_> for Paths<'_> {
    fn visit_path(&mut self, path: &syn::Path) {
        self.0.push(path.segments.iter().map(|segment| segment.ident.to_string()).collect());
        syn::visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, called: &Macro) {
        self.visit_path(&called.path);
        self.tokens(called.tokens.clone());
    }

    /// Skips attributes: documentation may link to any module.
    fn visit_attribute(&mut self, _: &Attribute) {}

    fn visit_item_mod(&mut self, module: &syn::ItemMod) {
        assert!(is_test(&module.attrs), "a module within a function or a constant: {}", module.ident);
    }
}

impl Paths<'_> {
    fn tokens(&mut self, tokens: TokenStream) {
        let (mut path, mut colons) = (Names::new(), 0);
        for token in tokens {
            match token {
                TokenTree::Ident(name) => {
                    if colons != 2 {
                        self.0.extend((!path.is_empty()).then(|| std::mem::take(&mut path)));
                    }
                    path.push(name.to_string());
                    colons = 0;
                }
                TokenTree::Punct(mark) if mark.as_char() == ':' => colons += 1,
                other => {
                    self.0.extend((!path.is_empty()).then(|| std::mem::take(&mut path)));
                    colons = 0;
                    if let TokenTree::Group(group) = other {
                        self.tokens(group.stream());
                    }
                }
            }
        }
        self.0.extend((!path.is_empty()).then_some(path));
    }
}
