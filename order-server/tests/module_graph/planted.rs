//! Small crates with one fault each: every rule finds its own.

use crate::{graph::Graph, tree::Tree};

/// The rules that a crate of these files breaks, with `low` below `high`.
fn violations(files: &[(&str, &str)]) -> Vec<String> {
    let read = |name: &str| {
        let file = files.iter().find(|(known, _)| *known == name);
        file.map(|(_, text)| (*text).to_owned())
    };
    Graph::of(&Tree::read("lib.rs", &read)).violations(&[&["low"], &["high"]])
}

const ROOT: (&str, &str) = ("lib.rs", "mod low; mod high;");

#[test]
fn nothing_is_found_where_nothing_is_wrong() {
    let files = [
        ROOT,
        (
            "high.rs",
            "use crate::low::{Low, two}; fn f(_: two::Two) {}",
        ),
        ("low/mod.rs", "mod one; pub mod two; pub use one::Low;"),
        ("low/one.rs", "pub struct Low;"),
        // Leads to one.rs, through a mod.rs that imports this file.
        ("low/two.rs", "use super::Low; pub struct Two(Low);"),
    ];
    assert_eq!(violations(&files), [""; 0]);
}

#[test]
fn a_circle_of_files_is_found() {
    let files = [
        ROOT,
        ("high.rs", ""),
        (
            "low/mod.rs",
            "mod one; mod two; pub use {one::One, two::Two};",
        ),
        ("low/one.rs", "pub struct One(super::Two);"),
        (
            "low/two.rs",
            "pub struct Two; fn f() { vec![super::One::new()]; }",
        ),
    ];
    let found = violations(&files);
    assert_eq!(
        found[0],
        "files form a circle: low/one.rs -> low/two.rs -> low/one.rs"
    );
}

#[test]
fn a_circle_of_folders_whose_files_form_none_is_found() {
    let files = [
        ROOT,
        ("high.rs", ""),
        ("low/mod.rs", "mod a; mod b;"),
        ("low/a/mod.rs", "pub(super) mod one; mod two;"),
        ("low/a/one.rs", "pub struct One;"),
        ("low/a/two.rs", "use crate::low::b::one::One;"),
        ("low/b/mod.rs", "pub(super) mod one; mod two;"),
        ("low/b/one.rs", "pub struct One;"),
        ("low/b/two.rs", "use super::super::a::one::*;"),
    ];
    let circle = "modules in crate::low form a circle: a -> b -> a\n    \
                  low/a/two.rs imports low/b/one.rs\n    \
                  low/b/two.rs imports low/a/one.rs";
    assert_eq!(violations(&files), [circle]);
}

#[test]
fn a_module_that_imports_an_item_of_its_own_parent_is_found() {
    let files = [
        ROOT,
        ("high.rs", ""),
        ("low/mod.rs", "mod one; pub use one::One; pub struct Two;"),
        ("low/one.rs", "pub struct One(super::Two);"),
    ];
    let found = violations(&files);
    assert_eq!(
        found[0],
        "files form a circle: low/mod.rs -> low/one.rs -> low/mod.rs"
    );
}

#[test]
fn an_upward_import_is_found() {
    for import in [
        "use crate::high::High;",
        "use super::high::*;",
        "use crate::high; fn f(_: high::High) {}",
        "type Above = crate::high::High;",
        "fn f() { use crate::high::High as Other; }",
        "fn f() { g!(x = [crate::high::High]); }",
        "macro_rules! m { () => { $crate::high::High } }",
        "#[a(b = crate::high::High)] struct S;",
        "mod inner { use super::super::high::High; }",
    ] {
        let files = [ROOT, ("high.rs", "pub struct High;"), ("low.rs", import)];
        let upward = "low.rs imports upward high.rs";
        assert_eq!(violations(&files), [upward], "{import}");
    }
}

#[test]
fn a_module_without_a_layer_is_found() {
    let files = [
        ("lib.rs", "mod low; mod high; mod other;"),
        ("high.rs", ""),
        ("low.rs", ""),
        ("other.rs", ""),
    ];
    assert_eq!(violations(&files), ["other has no layer"]);
}

#[test]
fn tests_other_crates_and_documentation_are_passed_over() {
    for import in [
        "#[cfg(test)] mod tests { use crate::high::High; }",
        "#[cfg(all(test, unix))] use crate::high::High;",
        "struct S; impl S { #[cfg(test)] fn f(_: crate::high::High) {} }",
        "/// As [`High`](crate::high::High).\nstruct S;",
        "use ::high::High; fn f(_: ::high::High) { g!(::high::High); }",
        "use other::high; fn f(_: high::High) {}",
    ] {
        let files = [ROOT, ("high.rs", "pub struct High;"), ("low.rs", import)];
        assert_eq!(violations(&files), [""; 0], "{import}");
    }
}
