//! The modules of each crate import each other without circles, and only downward.
//!
//! - Files form no circle.
//! - Neighbours in a folder form none either, each taken with everything below it. A `mod.rs`
//!   (or `lib.rs`) counts as a neighbour of the modules that it declares.
//! - The modules at the top of a crate lie in layers; none imports one of a layer above its own.
//!
//! An import of a name that another module re-exports counts as an import of the file that
//! defines it. Tests import whatever they like.
#![allow(clippy::unwrap_used)] // Panicking is how a test tells.

mod graph;
mod planted;
mod public_api;
mod resolve;
mod tree;

use std::{collections::BTreeSet, env, fs, path::Path};

use graph::Graph;
use tree::Tree;

/// The layers of a crate from bottom to top. Each line names modules of the crate's root.
type Layers = &'static [&'static [&'static str]];

const ORDER_CORE: Layers = &[
    &["domain", "sync"],
    &["clock"],
    &["error"],
    &["decide", "decision", "trace", "redis_client"],
    &["keys", "stats", "verify", "heartbeat", "queue", "process"],
    &["audit", "history"],
    &["metrics"],
    &["supervise"],
    &["store"],
    &["cache"],
    &["watch"],
    &["worker"],
    &["service"],
    &["bench"],
    &["testing"],
];

const ORDER_SERVER: Layers = &[
    &["metrics", "recent", "telemetry", "http"],
    &["auth", "connections"],
    &["config"],
    &["api", "middleware", "pages"],
    &["app"],
    &["upkeep"],
    &["serve", "metrics_server"],
    &["runtime"],
];

const ORDER_CLI: Layers = &[&["help", "output", "pinned_tls", "progress"], &["commands"]];

/// Reads a crate of this workspace, whose root module is in `root`.
fn read(name: &str, root: &str) -> Tree {
    let src = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("..")
        .join(name)
        .join("src");
    Tree::read(root, &|file| fs::read_to_string(src.join(file)).ok())
}

fn check(tree: &Tree, layers: Layers) {
    let graph = Graph::of(tree);
    assert!(graph.import_count() > 20, "the imports are not found");
    let violations = graph.violations(layers);
    assert!(violations.is_empty(), "\n{}", violations.join("\n"));
}

#[test]
fn order_core_imports_downward_and_without_circles() {
    check(&read("order-core", "lib.rs"), ORDER_CORE);
}

#[test]
fn order_server_imports_downward_and_without_circles() {
    check(&read("order-server", "lib.rs"), ORDER_SERVER);
}

#[test]
fn order_cli_imports_downward_and_without_circles() {
    check(&read("order-cli", "main.rs"), ORDER_CLI);
}

#[test]
fn order_cli_takes_from_the_server_its_runtime_only() {
    for (file, path) in read("order-cli", "main.rs").paths() {
        if path[0] == "order_server" {
            assert_eq!(path[1], "runtime", "{file} imports {}", path.join("::"));
        }
    }
}

/// The lines of a listing, each with the item that it belongs to.
fn below_their_items(listing: &str) -> BTreeSet<String> {
    let mut item = "";
    let lines = listing.lines().map(|line| {
        if line.starts_with(' ') {
            return format!("{item}\n  {line}");
        }
        item = line;
        line.to_owned()
    });
    lines.collect()
}

/// Whoever changes what the library offers sees it in the diff of a file.
#[test]
fn the_public_api_of_order_core_is_the_one_that_is_kept() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/public-api.txt");
    let is = public_api::listing(&read("order-core", "lib.rs"), "order_core");
    if env::var_os("WRITE").is_some() {
        fs::write(&file, &is).unwrap();
    }
    let kept = fs::read_to_string(&file).unwrap_or_default();
    let (new, old) = (below_their_items(&is), below_their_items(&kept));
    let gone = old.difference(&new).map(|line| format!("- {line}"));
    let come = new.difference(&old).map(|line| format!("+ {line}"));
    let diff: Vec<String> = gone.chain(come).collect();
    assert!(
        is == kept,
        "the public API of order-core changed:\n{}\nif that is meant, keep it: \
         WRITE=1 cargo test --workspace --all-features --locked --test module_graph public_api",
        diff.join("\n")
    );
}
