//! The samples of settings say what is so.

use std::ffi::{OsStr, OsString};

use clap::{Args, CommandFactory};

use super::{Settings, parse_from};
use crate::metrics_server::MetricsServer;

/// What no program of ours parses: libraries read it, or it names a file.
const OF_OTHERS: [&str; 3] = [
    "DATABASE_URL_FILE",
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "RUST_LOG",
];

fn sample(name: &str) -> String {
    let path = format!("{}/../{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(path).unwrap()
}

/// The settings of a file: name, value, and whether it is set or only shown.
fn lines(text: &str, equals: &str) -> Vec<(String, String, bool)> {
    let setting = |line: &str| {
        let is_set = !line.starts_with('#');
        let (name, value) = line.trim_start_matches('#').split_once(equals)?;
        let is_name = |letter: char| letter.is_ascii_alphabetic() || letter == '_';
        let is_setting = !name.is_empty() && name.chars().all(is_name);
        is_setting.then(|| (name.to_owned(), value.to_owned(), is_set))
    };
    text.lines().filter_map(setting).collect()
}

fn read(file: &str) -> Result<Settings, String> {
    parse_from([OsString::from("order-server")], file).map_err(|error| error.to_string())
}

fn shown(file: &str) -> String {
    format!("{:?}", read(file).unwrap())
}

#[test]
fn the_sample_of_the_environment_has_every_setting_and_its_default() {
    let text = sample(".env.example");
    assert!(text.contains("read no file .env"), "it says who reads it");
    let lines = lines(&text, "=");
    let server = Settings::command();
    let worker = MetricsServer::augment_args(clap::Command::new("worker"));
    let mut known: Vec<String> = server
        .get_arguments()
        .chain(worker.get_arguments())
        .filter_map(|one| one.get_env().and_then(OsStr::to_str))
        .map(ToOwned::to_owned)
        .chain(OF_OTHERS.map(ToOwned::to_owned))
        .collect();
    known.sort();
    known.dedup();
    let mut named: Vec<&String> = lines.iter().map(|(name, ..)| name).collect();
    named.sort();
    assert_eq!(named, known.iter().collect::<Vec<_>>());

    let of_a_program = |name: &str| !OF_OTHERS.contains(&name);
    for (name, value, is_set) in lines.iter().filter(|(name, ..)| of_a_program(name)) {
        let id = server
            .get_arguments()
            .chain(worker.get_arguments())
            .find(|one| one.get_env() == Some(OsStr::new(name)))
            .unwrap()
            .get_id();
        let file = format!("{id} = {value:?}");
        let settings = read(&file);
        assert!(settings.is_ok(), "{name}: {settings:?}");
        if *is_set {
            assert_eq!(shown(&file), shown(""), "{name} is not the default");
        }
    }
}

#[test]
fn the_sample_of_the_file_can_be_used_as_it_is_and_with_what_it_shows() {
    let text = sample("orders.example.toml");
    assert_eq!(shown(&text), shown("bind_addr = \"localhost:8000\""));
    let lines = lines(&text, " = ");
    assert!(lines.len() > 20, "{lines:?}");
    for (name, value, _) in lines {
        let settings = read(&format!("{name} = {value}"));
        assert!(settings.is_ok(), "{name}: {settings:?}");
    }
}
