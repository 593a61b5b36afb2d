//! Runs the command line as an operator does.
#![allow(dead_code)] // Each test file uses its part.

use std::{
    io::Write,
    path::Path,
    process::{Command, Output, Stdio},
};

use serde_json::Value;

/// Prepares `order-cli` in `dir`, where its database is unless the arguments say otherwise.
pub fn command(dir: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_order-cli"));
    command
        .args(arguments)
        .current_dir(dir)
        .env_remove("DATABASE_URL")
        .stdin(Stdio::null());
    command
}

/// Runs it.
pub fn cli(dir: &Path, arguments: &[&str]) -> Output {
    command(dir, arguments).output().unwrap()
}

/// Runs it with something to read.
pub fn cli_reading(dir: &Path, arguments: &[&str], input: &[u8]) -> Output {
    let mut child = command(dir, arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    child.wait_with_output().unwrap()
}

/// Runs it, expects it to succeed, and reads the JSON lines that it prints in a pipe.
pub fn rows(dir: &Path, arguments: &[&str]) -> Vec<Value> {
    let output = cli(dir, arguments);
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    lines(&output.stdout)
}

/// JSON, one value a line.
pub fn lines(text: &[u8]) -> Vec<Value> {
    let text = std::str::from_utf8(text).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

pub fn row(dir: &Path, arguments: &[&str]) -> Value {
    let mut rows = rows(dir, arguments);
    assert_eq!(rows.len(), 1);
    rows.remove(0)
}

pub fn product(dir: &Path, stock: &str) -> String {
    let product = row(
        dir,
        &[
            "product", "create", "--name", "Lamp", "--price", "19.99", "--stock", stock,
        ],
    );
    product["id"].as_str().unwrap().to_owned()
}
