//! The modules of a crate as their source files declare them: their items, and the paths that
//! they mention.

use std::collections::{BTreeMap, BTreeSet};

use proc_macro2::{TokenStream, TokenTree};
use syn::{
    Attribute, ImplItem, Item, Meta, Token, UseTree,
    punctuated::Punctuated,
    visit::{self, Visit},
};

/// A path of a program by its segments.
pub type Segments = Vec<String>;

/// A module, in a file of its own or inside of its parent's.
pub struct Module {
    /// Its file, below the source folder.
    pub file: String,
    /// The names that lead to that file's module from the crate's root.
    pub file_path: Segments,
    pub parent: Option<usize>,
    pub children: BTreeMap<String, usize>,
    /// Its items, but for those of tests.
    pub syntax: Vec<Item>,
    /// The names of its items.
    pub items: BTreeSet<String>,
    /// Imported names, each with its path.
    pub imports: Vec<(String, Segments)>,
    /// The paths that end in `*`.
    pub globs: Vec<Segments>,
    /// All other paths with more than one segment.
    pub mentions: BTreeSet<Segments>,
}

/// The modules of a crate; the first one is its root.
pub struct Tree {
    pub modules: Vec<Module>,
}

/// Gives the text of a file, if it is there.
type Read<'a> = &'a dyn Fn(&str) -> Option<String>;

impl Tree {
    /// Reads the crate whose root module is in the file `root`.
    pub fn read(root: &str, read: Read<'_>) -> Self {
        let mut tree = Self { modules: vec![] };
        tree.add(None, root.to_owned(), vec![]);
        tree.fill(0, parse(root, read).unwrap(), "", read);
        tree
    }

    /// All imports and mentioned paths, each with its file.
    pub fn paths(&self) -> impl Iterator<Item = (&str, &Segments)> {
        self.modules.iter().flat_map(|module| {
            let imports = module.imports.iter().map(|(_, path)| path);
            let all = imports.chain(&module.globs).chain(&module.mentions);
            all.filter(|path| path.len() > 1)
                .map(|path| (module.file.as_str(), path))
        })
    }

    fn add(&mut self, parent: Option<usize>, file: String, file_path: Segments) -> usize {
        self.modules.push(Module {
            file,
            file_path,
            parent,
            children: BTreeMap::new(),
            syntax: vec![],
            items: BTreeSet::new(),
            imports: vec![],
            globs: vec![],
            mentions: BTreeSet::new(),
        });
        self.modules.len() - 1
    }

    /// Adds `items` to a module, whose children's files are in `folder`.
    fn fill(&mut self, module: usize, items: Vec<Item>, folder: &str, read: Read<'_>) {
        for item in items {
            if is_only_for_tests(attributes(&item)) {
                continue;
            }
            self.modules[module].syntax.push(item.clone());
            match item {
                Item::Mod(child) => self.declare(module, child, folder, read),
                Item::Use(item) if item.leading_colon.is_some() => {}
                Item::Use(item) => flatten(&item.tree, &mut vec![], &mut |name, path| {
                    let module = &mut self.modules[module];
                    match name {
                        Some(name) => module.imports.push((name, path)),
                        None => module.globs.push(path),
                    }
                }),
                other => {
                    let module = &mut self.modules[module];
                    module.items.extend(name(&other));
                    Mentions(&mut module.mentions).visit_item(&other);
                }
            }
        }
    }

    fn declare(&mut self, parent: usize, child: syn::ItemMod, folder: &str, read: Read<'_>) {
        let name = child.ident.to_string();
        let below = format!("{folder}{name}/");
        let (file, items, is_file) = match child.content {
            Some((_, items)) => (self.modules[parent].file.clone(), items, false),
            None => {
                let files = [format!("{folder}{name}.rs"), format!("{below}mod.rs")];
                let mut found = files.into_iter().filter_map(|file| {
                    let items = parse(&file, read)?;
                    Some((file, items, true))
                });
                found.next().unwrap_or_else(|| panic!("no file: {below}"))
            }
        };
        let mut file_path = self.modules[parent].file_path.clone();
        if is_file {
            file_path.push(name.clone());
        }
        let module = self.add(Some(parent), file, file_path);
        self.modules[parent].children.insert(name, module);
        self.fill(module, items, &below, read);
    }
}

fn parse(file: &str, read: Read<'_>) -> Option<Vec<Item>> {
    let text = read(file)?;
    let parsed = syn::parse_file(&text);
    Some(
        parsed
            .unwrap_or_else(|error| panic!("{file}: {error}"))
            .items,
    )
}

pub fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Union(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

pub fn name(item: &Item) -> Option<String> {
    let name = match item {
        Item::Const(item) => &item.ident,
        Item::Enum(item) => &item.ident,
        Item::Fn(item) => &item.sig.ident,
        Item::Macro(item) => item.ident.as_ref()?,
        Item::Static(item) => &item.ident,
        Item::Struct(item) => &item.ident,
        Item::Trait(item) => &item.ident,
        Item::Type(item) => &item.ident,
        Item::Union(item) => &item.ident,
        _ => return None,
    };
    Some(name.to_string())
}

/// Tells whether an item is compiled for tests only.
fn is_only_for_tests(attributes: &[Attribute]) -> bool {
    let conditions = attributes.iter().filter(|one| one.path().is_ident("cfg"));
    conditions
        .filter_map(|one| one.parse_args::<Meta>().ok())
        .any(|condition| !is_possible(&condition))
}

/// Tells whether a condition of `cfg` can hold outside of tests.
fn is_possible(condition: &Meta) -> bool {
    let parts = |list: &syn::MetaList| {
        list.parse_args_with(Punctuated::<Meta, Token![,]>::parse_terminated)
            .unwrap_or_default()
    };
    match condition {
        Meta::Path(path) => !path.is_ident("test"),
        Meta::List(list) if list.path.is_ident("all") => parts(list).iter().all(is_possible),
        Meta::List(list) if list.path.is_ident("any") => parts(list).iter().any(is_possible),
        _ => true,
    }
}

/// Gives each import of a `use`: its name, unless it is `*`, and its path.
pub fn flatten(
    tree: &UseTree,
    before: &mut Segments,
    give: &mut dyn FnMut(Option<String>, Segments),
) {
    let with = |before: &Segments, name: String| [before.as_slice(), &[name]].concat();
    match tree {
        UseTree::Path(path) => {
            before.push(path.ident.to_string());
            flatten(&path.tree, before, give);
            before.pop();
        }
        UseTree::Name(name) if name.ident == "self" => {
            give(before.last().cloned(), before.clone());
        }
        UseTree::Name(name) => {
            let name = name.ident.to_string();
            give(Some(name.clone()), with(before, name));
        }
        UseTree::Rename(name) => {
            let path = with(before, name.ident.to_string());
            give(Some(name.rename.to_string()), path);
        }
        UseTree::Glob(_) => give(None, before.clone()),
        UseTree::Group(group) => {
            for tree in &group.items {
                flatten(tree, before, give);
            }
        }
    }
}

/// Collects the paths in an item, also those in the tokens of macros and attributes.
struct Mentions<'a>(&'a mut BTreeSet<Segments>);

impl<'ast> Visit<'ast> for Mentions<'_> {
    fn visit_path(&mut self, path: &'ast syn::Path) {
        if path.leading_colon.is_none() && path.segments.len() > 1 {
            let names = path.segments.iter().map(|one| one.ident.to_string());
            self.0.insert(names.collect());
        }
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        self.visit_path(&call.path);
        self.scan(call.tokens.clone());
    }

    fn visit_attribute(&mut self, attribute: &'ast Attribute) {
        if let Meta::List(list) = &attribute.meta {
            self.scan(list.tokens.clone());
        }
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        flatten(&item.tree, &mut vec![], &mut |_, path| {
            self.0.insert(path);
        });
    }

    fn visit_impl_item(&mut self, item: &'ast ImplItem) {
        let attributes = match item {
            ImplItem::Const(item) => &item.attrs,
            ImplItem::Fn(item) => &item.attrs,
            ImplItem::Type(item) => &item.attrs,
            ImplItem::Macro(item) => &item.attrs,
            _ => return,
        };
        if !is_only_for_tests(attributes) {
            visit::visit_impl_item(self, item);
        }
    }

    /// Where an item can be seen is no import.
    fn visit_visibility(&mut self, _: &'ast syn::Visibility) {}
}

impl Mentions<'_> {
    /// Finds names with `::` between them.
    fn scan(&mut self, tokens: TokenStream) {
        let (mut path, mut colons) = (Segments::new(), 0);
        for token in tokens {
            match token {
                TokenTree::Punct(punct) if punct.as_char() == ':' => colons += 1,
                TokenTree::Ident(name) => {
                    if colons != 2 {
                        self.end(&mut path);
                    } else if path.is_empty() {
                        // From outside of the crate.
                        path.push(String::new());
                    }
                    path.push(name.to_string());
                    colons = 0;
                }
                other => {
                    self.end(&mut path);
                    colons = 0;
                    if let TokenTree::Group(group) = other {
                        self.scan(group.stream());
                    }
                }
            }
        }
        self.end(&mut path);
    }

    fn end(&mut self, path: &mut Segments) {
        let path = std::mem::take(path);
        if path.len() > 1 {
            self.0.insert(path);
        }
    }
}
