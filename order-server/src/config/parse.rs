//! Reads settings from flags, the environment and `orders.toml`.

use std::{ffi::OsString, io, path::Path};

use clap::{CommandFactory, Parser, error::ErrorKind};

use super::settings::Settings;

/// The file with the settings that neither a flag nor the environment gives.
pub const FILE: &str = "orders.toml";

/// Reads the settings of this process. A wrong one ends the process with one clear line.
#[must_use]
pub fn parse<P: Parser>() -> P {
    let file = match std::fs::read_to_string(Path::new(FILE)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        Err(error) => refuse(&error.to_string()).exit(),
        Ok(text) => text,
    };
    parse_from(std::env::args_os(), &file).unwrap_or_else(|error| error.exit())
}

/// Reads settings from `arguments`, the environment and the text of `orders.toml`.
///
/// The file's values become the defaults, so that flags and environment win over them and
/// each is checked like any other. One file serves all programs: a program ignores the settings
/// that only another one has.
///
/// # Errors
/// [`clap::Error`], which names the setting; also for `--help`.
pub fn parse_from<P: Parser>(
    arguments: impl IntoIterator<Item = OsString>,
    file: &str,
) -> Result<P, clap::Error> {
    let mut command = P::command();
    let table: toml::Table = file
        .parse()
        .map_err(|error: toml::de::Error| refuse(&describe(file, &error)))?;
    let ours = Settings::command();
    for (name, value) in table {
        if !ours
            .get_arguments()
            .any(|argument| argument.get_id() == &name)
        {
            return Err(refuse(&format!("unknown setting `{name}`")));
        }
        let text = match value {
            toml::Value::String(text) => text,
            toml::Value::Integer(number) => number.to_string(),
            toml::Value::Boolean(flag) => flag.to_string(),
            other => return Err(refuse(&format!("`{name}` cannot be {}", other.type_str()))),
        };
        command = with_default(command, &name, &text);
    }
    P::from_arg_matches(&command.try_get_matches_from(arguments)?)
}

/// The error with the name of its setting, but not its value, which may be a secret.
fn describe(file: &str, error: &toml::de::Error) -> String {
    let line = error.span().and_then(|span| {
        let before = file.get(..span.start)?;
        let from = before.rfind('\n').map_or(0, |end| end + 1);
        file.get(from..)?.lines().next()
    });
    let setting = line.and_then(|line| line.split_once('='));
    match setting {
        Some((name, _)) => format!("`{}`: {}", name.trim(), error.message()),
        None => error.message().to_owned(),
    }
}

/// Makes `text` the default of the setting `name` of a command and of all below it.
fn with_default(mut command: clap::Command, name: &str, text: &str) -> clap::Command {
    if command
        .get_arguments()
        .any(|argument| argument.get_id() == name)
    {
        command = command.mut_arg(name, |argument| argument.default_value(text.to_owned()));
    }
    let below: Vec<String> = command
        .get_subcommands()
        .map(|command| command.get_name().to_owned())
        .collect();
    for subcommand in below {
        command = command.mut_subcommand(subcommand, |command| with_default(command, name, text));
    }
    command
}

fn refuse(reason: &str) -> clap::Error {
    Settings::command().error(ErrorKind::InvalidValue, format!("{FILE}: {reason}"))
}
