//! Finds the module that defines the name at the end of a path, through re-exports.

use crate::tree::{Segments, Tree};

/// The end of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// A module.
    Module(usize),
    /// An item of this module.
    Item(usize),
}

/// The names that are being looked up, each in its module: an import that leads to itself ends.
type Open = Vec<(usize, String)>;

impl Tree {
    /// The end of a path in `module`; none when it leads out of the crate, or to a local name.
    pub fn resolve(&self, module: usize, path: &[String]) -> Option<Target> {
        self.resolve_open(module, path, &mut vec![])
    }

    fn resolve_open(&self, module: usize, path: &[String], open: &mut Open) -> Option<Target> {
        let (first, rest) = path.split_first()?;
        match first.as_str() {
            "crate" => self.walk(0, rest, open),
            "self" => self.walk(module, rest, open),
            "super" => self.walk(self.modules[module].parent?, rest, open),
            _ => self.lookup(module, first, rest, open),
        }
    }

    /// Goes on from a module of this crate. A name that is not found there (a macro may have made
    /// it) counts as an item of it.
    fn walk(&self, module: usize, path: &[String], open: &mut Open) -> Option<Target> {
        match path.split_first() {
            None => Some(Target::Module(module)),
            Some((name, rest)) if name == "super" => {
                self.walk(self.modules[module].parent?, rest, open)
            }
            Some((name, rest)) => self
                .lookup(module, name, rest, open)
                .or(Some(Target::Item(module))),
        }
    }

    /// Finds `name` among the names of a module, and goes on from there.
    fn lookup(
        &self,
        module: usize,
        name: &str,
        rest: &[String],
        open: &mut Open,
    ) -> Option<Target> {
        let here = &self.modules[module];
        if let Some(child) = here.children.get(name) {
            return self.walk(*child, rest, open);
        }
        if here.items.contains(name) {
            return Some(Target::Item(module));
        }
        let entry = (module, name.to_owned());
        if open.contains(&entry) {
            return None;
        }
        open.push(entry);
        let imports = here.imports.iter().filter(|(known, _)| known == name);
        for (_, path) in imports {
            let path: Segments = [path.as_slice(), rest].concat();
            if let Some(found) = self.resolve_open(module, &path, open) {
                return Some(found);
            }
        }
        here.globs
            .iter()
            .find_map(|path| match self.resolve_open(module, path, open)? {
                Target::Module(within) => self.lookup(within, name, rest, open),
                Target::Item(_) => None,
            })
    }
}
