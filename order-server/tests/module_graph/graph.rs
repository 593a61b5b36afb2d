//! The imports between the files of a crate, and the rules that they break.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::{
    resolve::Target,
    tree::{Segments, Tree},
};

/// The imports between the files of a crate.
pub struct Graph {
    imports: BTreeSet<(File, File)>,
    /// The modules at the top of the crate.
    top: BTreeSet<String>,
}

/// A file, after the names of its module from the crate's root.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct File {
    path: Segments,
    name: String,
}

/// Edges between names, each with an import that makes it.
type Edges<'a> = BTreeMap<&'a str, BTreeMap<&'a str, &'a (File, File)>>;

/// The module of a crate that is there for tests only, and imports whatever it likes.
const TEST_SUPPORT: &str = "testing";

/// The name of a folder's own file among its neighbours.
const OWN: &str = "mod.rs";

impl Graph {
    pub fn of(tree: &Tree) -> Self {
        let file = |module: usize| File {
            path: tree.modules[module].file_path.clone(),
            name: tree.modules[module].file.clone(),
        };
        let mut edges = BTreeSet::new();
        for (at, module) in tree.modules.iter().enumerate() {
            if module
                .file_path
                .first()
                .is_some_and(|top| top == TEST_SUPPORT)
            {
                continue;
            }
            let imports = module.imports.iter().map(|(_, path)| path);
            let names = imports.chain(&module.mentions).map(|path| (path, false));
            let globs = module.globs.iter().map(|path| (path, true));
            for (path, is_glob) in names.chain(globs) {
                // The name of a module imports nothing yet: the paths that begin with it do.
                let to = match tree.resolve(at, path) {
                    Some(Target::Item(to)) => to,
                    Some(Target::Module(to)) if is_glob => to,
                    _ => continue,
                };
                edges.insert((file(at), file(to)));
            }
        }
        edges.retain(|(from, to)| from != to);
        Self {
            imports: edges,
            top: tree.modules[0].children.keys().cloned().collect(),
        }
    }

    /// The number of pairs of files of which one imports the other.
    pub fn import_count(&self) -> usize {
        self.imports.len()
    }

    /// Everything that breaks a rule, a line for each.
    pub fn violations(&self, layers: &[&[&str]]) -> Vec<String> {
        let mut found = self.circles_of_files();
        found.extend(self.circles_of_neighbours());
        found.extend(self.upward_imports(layers));
        found
    }

    fn circles_of_files(&self) -> Vec<String> {
        let mut edges = Edges::new();
        for import in &self.imports {
            let (from, to) = import;
            edges
                .entry(&from.name)
                .or_default()
                .insert(&to.name, import);
        }
        let line = |circle: Vec<&str>| format!("files form a circle: {}", circle.join(" -> "));
        circles(&edges).into_iter().map(line).collect()
    }

    fn circles_of_neighbours(&self) -> Vec<String> {
        let mut folders: BTreeMap<&[String], Edges<'_>> = BTreeMap::new();
        for import in &self.imports {
            let (from, to) = import;
            let both = from.path.iter().zip(&to.path);
            let depth = both.take_while(|(from, to)| from == to).count();
            let [from, to] =
                [from, to].map(|file| file.path.get(depth).map_or(OWN, String::as_str));
            let edges = folders.entry(&import.0.path[..depth]).or_default();
            edges.entry(from).or_default().insert(to, import);
        }
        let mut lines = vec![];
        for (folder, edges) in &folders {
            let folder = [&["crate".to_owned()], *folder].concat().join("::");
            for circle in circles(edges) {
                let imports = circle.windows(2).map(|pair| {
                    let (from, to) = edges[pair[0]][pair[1]];
                    format!("    {} imports {}", from.name, to.name)
                });
                let imports: Vec<String> = imports.collect();
                lines.push(format!(
                    "modules in {folder} form a circle: {}\n{}",
                    circle.join(" -> "),
                    imports.join("\n")
                ));
            }
        }
        lines
    }

    fn upward_imports(&self, layers: &[&[&str]]) -> Vec<String> {
        let listed = || layers.iter().copied().flatten();
        let mut lines: Vec<String> = vec![];
        for name in &self.top {
            if !listed().any(|listed| listed == name) {
                lines.push(format!("{name} has no layer"));
            }
        }
        for (from, to) in &self.imports {
            let (lower, upper) = (layer(layers, from), layer(layers, to));
            if lower < upper {
                lines.push(format!("{} imports upward {}", from.name, to.name));
            }
        }
        lines
    }
}

/// The number of a file's layer, by the longest path of the list that leads to it. The file of
/// the crate's root lies above all.
fn layer(layers: &[&[&str]], file: &File) -> usize {
    let path = file.path.join("::");
    let leads_here = |name: &str| {
        let rest = path.strip_prefix(name);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
    };
    let mut found = None;
    for (number, names) in layers.iter().enumerate() {
        for name in names.iter().filter(|name| leads_here(name)) {
            found = found.max(Some((name.len(), number)));
        }
    }
    found.map_or(layers.len(), |(_, number)| number)
}

/// A shortest circle through each name that is in one, but for names of a circle already given.
fn circles<'a>(edges: &Edges<'a>) -> Vec<Vec<&'a str>> {
    let mut given = BTreeSet::new();
    let mut circles = vec![];
    for start in edges.keys() {
        if given.contains(start) {
            continue;
        }
        if let Some(circle) = way_back(edges, start) {
            given.extend(circle.iter().copied());
            circles.push(circle);
        }
    }
    circles
}

/// A shortest way from `start` to itself.
fn way_back<'a>(edges: &Edges<'a>, start: &'a str) -> Option<Vec<&'a str>> {
    let mut came_from: BTreeMap<&str, &str> = BTreeMap::new();
    let mut open = VecDeque::from([start]);
    while let Some(at) = open.pop_front() {
        for next in edges.get(at).into_iter().flat_map(BTreeMap::keys) {
            if *next == start {
                let mut way = vec![start, at];
                while let Some(before) = came_from.get(way[way.len() - 1]) {
                    way.push(before);
                }
                way.reverse();
                return Some(way);
            }
            if !came_from.contains_key(next) {
                came_from.insert(*next, at);
                open.push_back(next);
            }
        }
    }
    None
}
