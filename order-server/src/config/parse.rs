//! Reads settings from flags, the environment, files with secrets and `orders.toml`.

use std::{
    ffi::{OsStr, OsString},
    io,
    path::Path,
};

use clap::{CommandFactory, Parser, builder::Resettable, error::ErrorKind};

use super::settings::Settings;

/// The file with the settings that neither a flag nor the environment gives.
pub const FILE: &str = "orders.toml";
/// The setting that only workers have.
const OF_WORKERS: &str = "metrics_addr";

/// Reads the settings of this process. A wrong one ends the process with one clear line.
#[must_use]
pub fn parse<P: Parser>() -> P {
    let file = match std::fs::read_to_string(Path::new(FILE)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        Err(error) => refuse(&error.to_string()).exit(),
        Ok(text) => text,
    };
    secrets_in_files(|name| std::env::var_os(name))
        .and_then(|secrets| parse_with(std::env::args_os(), &file, secrets))
        .unwrap_or_else(|error| error.exit())
}

/// The secrets that are in files which the environment names, as container platforms mount them:
/// `DATABASE_URL_FILE` holds the path of a file with the `DATABASE_URL`.
pub(super) fn secrets_in_files(
    environment: impl Fn(&str) -> Option<OsString>,
) -> Result<Vec<(String, String)>, clap::Error> {
    let command = Settings::command();
    let mut secrets = Vec::new();
    for argument in command
        .get_arguments()
        .filter(|one| one.is_hide_env_values_set())
    {
        let Some(name) = argument.get_env().and_then(OsStr::to_str) else {
            continue;
        };
        let file_name = format!("{name}_FILE");
        let set = |name: &str| environment(name).filter(|text| !text.is_empty());
        let Some(path) = set(&file_name) else {
            continue;
        };
        let refuse = |reason: String| command.clone().error(ErrorKind::InvalidValue, reason);
        if set(name).is_some() {
            return Err(refuse(format!("{name} and {file_name} are both set")));
        }
        let text = std::fs::read_to_string(&path).map_err(|error| {
            refuse(format!(
                "{file_name}: cannot read {}: {error}",
                path.display()
            ))
        })?;
        let id = argument.get_id().to_string();
        secrets.push((id, text.trim_end_matches(['\r', '\n']).to_owned()));
    }
    Ok(secrets)
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
    parse_with(arguments, file, Vec::new())
}

/// As [`parse_from`], with values by name that win over those of the file.
pub(super) fn parse_with<P: Parser>(
    arguments: impl IntoIterator<Item = OsString>,
    file: &str,
    secrets: Vec<(String, String)>,
) -> Result<P, clap::Error> {
    let mut command = without_empty(P::command(), &|name| std::env::var_os(name));
    command = without_values(command);
    let table: toml::Table = file
        .parse()
        .map_err(|error: toml::de::Error| refuse(&describe(file, &error)))?;
    let ours = Settings::command();
    for (name, value) in table {
        if !is_known(&name, &ours) {
            return Err(refuse(&unknown(&name, &ours)));
        }
        let text = match value {
            toml::Value::String(text) => text,
            toml::Value::Integer(number) => number.to_string(),
            toml::Value::Boolean(flag) => flag.to_string(),
            other => return Err(refuse(&format!("`{name}` cannot be {}", other.type_str()))),
        };
        if !text.is_empty() {
            command = with_default(command, &name, &text);
        }
    }
    for (name, text) in secrets {
        command = with_default(command, &name, &text);
    }
    P::from_arg_matches(&command.try_get_matches_from(arguments)?)
}

/// Tells whether a name is one of our settings, of whichever program.
fn is_known(name: &str, ours: &clap::Command) -> bool {
    name == OF_WORKERS || ours.get_arguments().any(|one| one.get_id() == name)
}

/// What to say of a name that is no setting.
fn unknown(name: &str, ours: &clap::Command) -> String {
    let lower = name.to_lowercase();
    if is_known(&lower, ours) {
        format!("unknown setting `{name}`; in this file it is `{lower}`")
    } else {
        format!("unknown setting `{name}`")
    }
}

/// A command that takes an empty variable of the environment for one that is not set.
fn without_empty(
    command: clap::Command,
    environment: &impl Fn(&str) -> Option<OsString>,
) -> clap::Command {
    let mut command = command.mut_args(|argument| {
        let name = argument.get_env().and_then(OsStr::to_str);
        let is_empty = name
            .and_then(environment)
            .is_some_and(|text| text.is_empty());
        if is_empty {
            argument.env(Resettable::Reset)
        } else {
            argument
        }
    });
    for name in names_below(&command) {
        command = command.mut_subcommand(name, |below| without_empty(below, environment));
    }
    command
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

/// A command whose help shows no values of the environment, which may be secrets.
fn without_values(command: clap::Command) -> clap::Command {
    let mut command = command.mut_args(|argument| argument.hide_env_values(true));
    for name in names_below(&command) {
        command = command.mut_subcommand(name, without_values);
    }
    command
}

fn names_below(command: &clap::Command) -> Vec<String> {
    let below = command.get_subcommands();
    below.map(|command| command.get_name().to_owned()).collect()
}

/// Makes `text` the default of the setting `name` of a command and of all below it.
fn with_default(mut command: clap::Command, name: &str, text: &str) -> clap::Command {
    if command
        .get_arguments()
        .any(|argument| argument.get_id() == name)
    {
        command = command.mut_arg(name, |argument| {
            // A value from the file may be a secret: the help does not show it, nor that of a switch.
            let is_shown = !argument.get_action().takes_values();
            let argument = argument.default_value(text.to_owned());
            argument.hide_default_value(!is_shown)
        });
    }
    for subcommand in names_below(&command) {
        command = command.mut_subcommand(subcommand, |command| with_default(command, name, text));
    }
    command
}

fn refuse(reason: &str) -> clap::Error {
    Settings::command().error(ErrorKind::InvalidValue, format!("{FILE}: {reason}"))
}
