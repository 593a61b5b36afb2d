//! What went wrong, as one line for people: each thing once.

use std::{error::Error as StdError, io};

/// What the drivers say before what they were told.
const PREFIXES: [&str; 3] = [
    "error returned from database: ",
    "error communicating with database: ",
    "encountered unexpected or invalid data: ",
];
/// What errors of the library say that have a cause, and what is said of them when they come first.
const WRAPPERS: [(&str, &str); 3] = [
    ("backend is unavailable", "the database does not answer"),
    ("backend failed", "the database refused"),
    ("queue is unavailable", "redis does not answer"),
];

/// An error and its causes in one line. A cause that is repeated is said once.
#[must_use]
pub fn one_line(error: &anyhow::Error) -> String {
    join(error.chain())
}

/// The causes of an error of the library in one line.
pub(super) fn cause(error: &order_core::Error) -> String {
    match error.source() {
        Some(source) => join(anyhow::Chain::new(source)),
        None => error.to_string(),
    }
}

fn join<'a>(chain: impl Iterator<Item = &'a (dyn StdError + 'static)>) -> String {
    let mut parts: Vec<String> = Vec::new();
    for error in chain {
        let mut part = plain(error);
        if let Some((_, instead)) = WRAPPERS.iter().find(|(text, _)| *text == part) {
            if !parts.is_empty() {
                continue;
            }
            (*instead).clone_into(&mut part);
        }
        if !parts.last().is_some_and(|last| last.ends_with(&part)) {
            parts.push(part);
        }
    }
    parts.join(": ")
}

/// The message without the numbers and prefixes that tell people nothing.
fn plain(error: &(dyn StdError + 'static)) -> String {
    let text = error.to_string();
    let mut rest = text.as_str();
    for prefix in PREFIXES {
        rest = rest.strip_prefix(prefix).unwrap_or(rest);
    }
    // SQLite begins with its code, and an error of the system ends with its number.
    if let Some((_, message)) = rest
        .strip_prefix("(code: ")
        .and_then(|it| it.split_once(") "))
    {
        rest = message;
    }
    if let Some((message, _)) = rest.split_once(" (os error ") {
        rest = message;
    }
    if rest.starts_with("pool timed out") {
        rest = "all connections were busy for too long";
    }
    lower_case(rest, error.is::<io::Error>() || rest.len() < text.len())
}

/// The system begins its messages with a capital letter.
fn lower_case(text: &str, is_foreign: bool) -> String {
    let mut letters = text.chars();
    match letters.next() {
        Some(first) if is_foreign && letters.clone().next().is_some_and(char::is_lowercase) => {
            first.to_lowercase().chain(letters).collect()
        }
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use anyhow::{Context, anyhow};
    use order_core::Error;

    use super::*;

    #[test]
    fn what_went_wrong_is_said_once() {
        let source = Arc::new(io::Error::from_raw_os_error(111));
        let error = || Error::Unavailable {
            source: source.clone(),
        };
        let alone = one_line(&error().into());
        assert_eq!(alone, "the database does not answer: connection refused");
        let below = Err::<(), _>(error()).context("cannot sell");
        assert_eq!(
            one_line(&below.unwrap_err()),
            "cannot sell: connection refused"
        );
        let twice = anyhow!("(code: 14) unable to open it");
        let twice = twice.context("error returned from database: (code: 14) unable to open it");
        assert_eq!(one_line(&twice), "unable to open it");
        assert_eq!(one_line(&anyhow!("JSON is wrong")), "JSON is wrong");
    }
}
