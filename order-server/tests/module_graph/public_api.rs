//! What a crate offers to others, as its sources declare it: the items that can be reached from the
//! outside, with their signatures. Types are written as the sources write them.

use std::collections::BTreeMap;

use quote::ToTokens;
use syn::{
    Attribute, Fields, GenericArgument, Generics, ImplItem, Item, ItemImpl, Path, PathArguments,
    Signature, TraitItem, Type, Visibility,
};

use crate::{
    resolve::Target,
    tree::{Segments, Tree, attributes, flatten, name},
};

/// Gives the public items, one a line and sorted, with what belongs to an item below it.
pub fn listing(tree: &Tree, crate_name: &str) -> String {
    let mut api = Api {
        tree,
        lines: vec![],
        types: BTreeMap::new(),
    };
    api.module(0, crate_name, "");
    api.impls();
    api.lines.sort();
    api.lines.dedup();
    let lines = api.lines.iter().map(|(_, line)| format!("{line}\n"));
    lines.collect()
}

struct Api<'a> {
    tree: &'a Tree,
    /// Each with what it is sorted by: its path.
    lines: Vec<(String, String)>,
    /// The public paths of types and traits, by their module and name.
    types: BTreeMap<(usize, String), String>,
}

impl<'a> Api<'a> {
    /// Lists the public items of a module, which is itself there under the conditions `cfg`.
    fn module(&mut self, module: usize, path: &str, cfg: &str) {
        let here = &self.tree.modules[module];
        for item in &here.syntax {
            let cfg = format!("{cfg}{}", shown(attributes(item), &["cfg"]));
            match item {
                Item::Mod(child) if is_public(&child.vis) => {
                    let name = child.ident.to_string();
                    let below = format!("{path}::{name}");
                    self.line(&below, format!("{cfg}pub mod {below}"));
                    self.module(here.children[&name], &below, &cfg);
                }
                Item::Use(item) if is_public(&item.vis) => {
                    flatten(&item.tree, &mut vec![], &mut |name, target| {
                        self.reexport(module, path, name, &target, &cfg);
                    });
                }
                other => self.item(module, other, path, &cfg),
            }
        }
    }

    fn reexport(
        &mut self,
        module: usize,
        path: &str,
        name: Option<String>,
        target: &Segments,
        cfg: &str,
    ) {
        let (Some(name), Some(own_name)) = (name, target.last()) else {
            let target = target.join("::");
            return self.line(path, format!("{cfg}pub use {path}::* = {target}::*"));
        };
        let public = format!("{path}::{name}");
        let found = match self.tree.resolve(module, target) {
            Some(Target::Item(at)) => at,
            Some(Target::Module(at)) => return self.module(at, &public, cfg),
            None => {
                let target = target.join("::");
                return self.line(&public, format!("{cfg}pub use {public} = {target}"));
            }
        };
        if let Some(known) = self.types.get(&(found, own_name.clone())) {
            let line = format!("{cfg}pub use {public} = {known}");
            return self.line(&public, line);
        }
        let items = &self.tree.modules[found].syntax;
        let mut own = items
            .iter()
            .filter(|item| crate::tree::name(item).as_ref() == Some(own_name))
            .peekable();
        if own.peek().is_none() {
            // A macro makes it.
            self.types.insert((found, own_name.clone()), public.clone());
            self.line(&public, format!("{cfg}pub {public}"));
        }
        for item in own {
            self.item(found, item, path, cfg);
        }
    }

    /// Lists an item that is declared in `module`, and public at `path`.
    fn item(&mut self, module: usize, item: &'a Item, path: &str, cfg: &str) {
        let Some(name) = name(item) else {
            return;
        };
        let public = format!("{path}::{name}");
        let attributes = shown(attributes(item), &["derive", "doc", "non_exhaustive"]);
        let before = format!("{cfg}{attributes}");
        match item {
            Item::Const(item) if is_public(&item.vis) => {
                let line = format!("{before}pub const {public}: {}", text(&item.ty));
                return self.line(&public, line);
            }
            Item::Fn(item) if is_public(&item.vis) => {
                let signature = signature(&item.sig).replacen(&name, &public, 1);
                return self.line(&public, format!("{before}pub {signature}"));
            }
            Item::Struct(item) if is_public(&item.vis) => {
                let generics = generics(&item.generics);
                self.line(&public, format!("{before}pub struct {public}{generics}"));
                self.fields(&public, &item.fields);
            }
            Item::Enum(item) if is_public(&item.vis) => {
                let generics = generics(&item.generics);
                self.line(&public, format!("{before}pub enum {public}{generics}"));
                for variant in &item.variants {
                    let member = format!("{public}::{}", variant.ident);
                    let fields = text(&undocumented(&variant.fields)).replacen('{', " {", 1);
                    self.line(&member, format!("    {}{fields}", variant.ident));
                }
            }
            Item::Trait(item) if is_public(&item.vis) => {
                let above = text(&item.supertraits);
                let line = format!(
                    "{before}pub trait {public}{}: {above}",
                    generics(&item.generics)
                );
                self.line(&public, line.trim_end_matches(": ").to_owned());
                for member in &item.items {
                    self.trait_item(&public, member);
                }
            }
            Item::Type(item) if is_public(&item.vis) => {
                let line = format!("{before}pub type {public} = {}", text(&item.ty));
                self.line(&public, line);
                self.alias(module, &item.ty, &public);
            }
            _ => return,
        }
        self.types.insert((module, name), public);
    }

    /// What an alias stands for is as public as the alias.
    fn alias(&mut self, module: usize, ty: &Type, public: &str) {
        if let Some((at, name)) = self.declaration(module, ty) {
            self.types
                .entry((at, name))
                .or_insert_with(|| public.to_owned());
        }
    }

    fn fields(&mut self, public: &str, fields: &Fields) {
        let mut has_private = false;
        for (n, field) in fields.iter().enumerate() {
            if !is_public(&field.vis) {
                has_private = true;
                continue;
            }
            let name = field
                .ident
                .as_ref()
                .map_or(n.to_string(), ToString::to_string);
            let line = format!("    pub {name}: {}", text(&field.ty));
            self.line(&format!("{public}::{name}"), line);
        }
        if has_private {
            self.line(&format!("{public}::"), "    (private fields)".to_owned());
        }
    }

    fn trait_item(&mut self, public: &str, member: &TraitItem) {
        let (name, line, is_provided) = match member {
            TraitItem::Fn(item) => (
                &item.sig.ident,
                signature(&item.sig),
                item.default.is_some(),
            ),
            TraitItem::Const(item) => (
                &item.ident,
                format!("const {}: {}", item.ident, text(&item.ty)),
                item.default.is_some(),
            ),
            TraitItem::Type(item) => (
                &item.ident,
                format!("type {}", item.ident),
                item.default.is_some(),
            ),
            _ => return,
        };
        let provided = if is_provided { " (provided)" } else { "" };
        self.line(
            &format!("{public}::{name}"),
            format!("    {line}{provided}"),
        );
    }

    /// Lists what is implemented for public types, wherever that stands.
    fn impls(&mut self) {
        for (at, module) in self.tree.modules.iter().enumerate() {
            for item in &module.syntax {
                if let Item::Impl(item) = item
                    && let Some(declaration) = self.declaration(at, &item.self_ty)
                    && let Some(public) = self.types.get(&declaration).cloned()
                {
                    self.implementation(at, item, &public);
                }
            }
        }
    }

    fn implementation(&mut self, module: usize, item: &ItemImpl, public: &str) {
        let cfg = shown(&item.attrs, &["cfg", "doc"]);
        if let Some((path, _)) = &item.trait_ {
            if !self.is_internal(module, path) {
                let key = format!("{public}::");
                self.line(&key, format!("    {cfg}impl {}", text(path)));
            }
            return;
        }
        for member in &item.items {
            let (name, line, attributes) = match member {
                ImplItem::Fn(item) if is_public(&item.vis) => {
                    (&item.sig.ident, signature(&item.sig), &item.attrs)
                }
                ImplItem::Const(item) if is_public(&item.vis) => {
                    let line = format!("const {}: {}", item.ident, text(&item.ty));
                    (&item.ident, line, &item.attrs)
                }
                _ => continue,
            };
            let own = shown(attributes, &["cfg", "doc"]);
            let line = format!("    {cfg}{own}pub {line}");
            self.line(&format!("{public}::{name}"), line);
        }
    }

    /// The module and the name by which a type of this crate is declared.
    fn declaration(&self, module: usize, ty: &Type) -> Option<(usize, String)> {
        match ty {
            Type::Path(ty) => self.declaration_of(module, &ty.path),
            _ => None,
        }
    }

    fn declaration_of(&self, module: usize, path: &Path) -> Option<(usize, String)> {
        let names = path.segments.iter().map(|one| one.ident.to_string());
        let names: Segments = names.collect();
        match self.tree.resolve(module, &names)? {
            Target::Item(at) => Some((at, names.last()?.clone())),
            Target::Module(_) => None,
        }
    }

    /// Tells whether a trait, or a type that it is for, is one of this crate that nobody else sees.
    fn is_internal(&self, module: usize, path: &Path) -> bool {
        let last = path.segments.last().map(|last| &last.arguments);
        let types = match last {
            Some(PathArguments::AngleBracketed(list)) => list.args.iter().collect(),
            _ => vec![],
        };
        let types = types.into_iter().filter_map(|argument| match argument {
            GenericArgument::Type(ty) => self.declaration(module, ty),
            _ => None,
        });
        let mut all = types.chain(self.declaration_of(module, path));
        all.any(|declaration| !self.types.contains_key(&declaration))
    }

    fn line(&mut self, key: &str, line: String) {
        self.lines.push((key.to_owned(), line));
    }
}

fn is_public(visibility: &Visibility) -> bool {
    matches!(visibility, Visibility::Public(_))
}

/// Those of the attributes that have one of these names, but for documentation itself.
fn shown(attributes: &[Attribute], names: &[&str]) -> String {
    let shown = attributes.iter().filter(|one| {
        let path = one.path();
        names.iter().any(|name| path.is_ident(name)) && one.meta.require_name_value().is_err()
    });
    shown.map(|one| format!("{} ", text(one))).collect()
}

/// Fields without their attributes.
fn undocumented(fields: &Fields) -> Fields {
    let mut fields = fields.clone();
    for field in &mut fields {
        field.attrs.clear();
    }
    fields
}

fn generics(generics: &Generics) -> String {
    let bounds = generics.where_clause.as_ref().map(text);
    let bounds = bounds.map_or(String::new(), |bounds| format!(" {bounds}"));
    format!("{}{bounds}", text(generics))
}

fn signature(signature: &Signature) -> String {
    text(signature)
}

/// The tokens of `syntax`, spaced as one writes them.
fn text(syntax: &impl ToTokens) -> String {
    let mut text = syntax.to_token_stream().to_string();
    for (loose, tight) in [
        (" :: ", "::"),
        (":: ", "::"),
        (" ::", "::"),
        (" :", ":"),
        (" ,", ","),
        (" ;", ";"),
        (" (", "("),
        ("( ", "("),
        (" )", ")"),
        (" <", "<"),
        ("< ", "<"),
        (" >", ">"),
        ("# [", "#["),
        ("[ ", "["),
        (" ]", "]"),
        ("& ", "&"),
        (",)", ")"),
        (", >", ">"),
        (", }", " }"),
        ("=(", "= ("),
    ] {
        text = text.replace(loose, tight);
    }
    text
}
