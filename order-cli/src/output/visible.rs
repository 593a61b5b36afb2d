//! Text that clients chose, as it may reach a terminal: what would move the cursor, change colours
//! or turn the direction of reading is written out.

use std::{borrow::Cow, fmt::Write};

use serde_json::Value;

/// Characters that a terminal obeys instead of showing them, and those that make a text look like
/// another one: controls (also those of C1, of which one begins an escape sequence), the ends of
/// lines, marks of direction, and tags. Joiners stay, as scripts and emoji need them.
const fn is_obeyed(c: char) -> bool {
    matches!(
        c,
        '\0'..='\x1f'
            | '\x7f'..='\u{9f}'
            | '\u{61c}'
            | '\u{200e}'
            | '\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2066}'..='\u{2069}'
            | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}'
    )
}

/// The text with such characters written out, as Rust writes them: `\n`, `\u{1b}`.
pub(crate) fn visible(text: &str) -> Cow<'_, str> {
    replaced(text, |out, c| out.extend(c.escape_default()))
}

/// A value as one line of JSON, with such characters written out as JSON does: the value is the
/// same. They stand in strings only.
pub(super) fn json(value: &Value) -> String {
    let text = value.to_string();
    let escape = |out: &mut String, c: char| {
        for unit in c.encode_utf16(&mut [0; 2]) {
            // Writing to a string does not fail.
            let _ = write!(out, "\\u{unit:04x}");
        }
    };
    replaced(&text, escape).into_owned()
}

fn replaced(text: &str, escape: impl Fn(&mut String, char)) -> Cow<'_, str> {
    if !text.contains(is_obeyed) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_obeyed(c) {
            escape(&mut out, c);
        } else {
            out.push(c);
        }
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const HOSTILE: &str = "a\x1b]0;title\x07\u{9b}31m\u{7f}\r\n\t\u{202e}gnp\u{2066}\u{200f}\u{61c}\u{2028}\u{e0041}b";

    #[test]
    fn nothing_that_a_terminal_obeys_is_left() {
        let shown = visible(HOSTILE);
        assert_eq!(
            shown,
            "a\\u{1b}]0;title\\u{7}\\u{9b}31m\\u{7f}\\r\\n\\t\\u{202e}gnp\\u{2066}\\u{200f}\
             \\u{61c}\\u{2028}\\u{e0041}b"
        );
        let plain = "Grüße, 👩‍🚀 और نمی‌خواهم \\ ' \"";
        assert!(matches!(visible(plain), Cow::Borrowed(text) if text == plain));
    }

    #[test]
    fn json_means_the_same() {
        let value = json!({"name": HOSTILE, "n": [1, null]});
        let line = json(&value);
        assert!(!line.contains(is_obeyed), "{line}");
        assert_eq!(serde_json::from_str::<Value>(&line).unwrap(), value);
    }
}
