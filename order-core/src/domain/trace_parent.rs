//! The span in which a trace goes on.

use std::{fmt, str::FromStr};

use super::ValidationError;

/// The span that what follows belongs to: the `traceparent` of W3C Trace Context
/// (<https://www.w3.org/TR/trace-context/>, version 00).
///
/// An order keeps that of the request that placed it, so that what is done for it later, by
/// whichever process, is seen in the same trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TraceParent {
    /// The trace.
    pub trace_id: u128,
    /// The span in it.
    pub span_id: u64,
    /// The flags: 1, when it is sampled.
    pub flags: u8,
}

impl fmt::Display for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            trace_id,
            span_id,
            flags,
        } = self;
        write!(f, "00-{trace_id:032x}-{span_id:016x}-{flags:02x}")
    }
}

impl FromStr for TraceParent {
    type Err = ValidationError;

    fn from_str(text: &str) -> Result<Self, ValidationError> {
        let invalid = || ValidationError::new("traceparent", "is not one of W3C Trace Context");
        let is_hex = |part: &str| part.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        let parts: Vec<&str> = text.split('-').collect();
        let [version, trace_id, span_id, flags] = parts[..] else {
            return Err(invalid());
        };
        let lengths = [version, trace_id, span_id, flags].map(str::len);
        if version != "00" || lengths != [2, 32, 16, 2] || !parts.into_iter().all(is_hex) {
            return Err(invalid());
        }
        let parent = Self {
            trace_id: u128::from_str_radix(trace_id, 16).map_err(|_| invalid())?,
            span_id: u64::from_str_radix(span_id, 16).map_err(|_| invalid())?,
            flags: u8::from_str_radix(flags, 16).map_err(|_| invalid())?,
        };
        if parent.trace_id == 0 || parent.span_id == 0 {
            return Err(invalid());
        }
        Ok(parent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_read_as_it_is_written() {
        let text = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let parent: TraceParent = text.parse().unwrap();
        assert_eq!((parent.span_id, parent.flags), (0x00f0_67aa_0ba9_02b7, 1));
        assert_eq!(parent.to_string(), text);
    }

    #[test]
    fn what_is_none_is_refused() {
        for text in [
            "",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-+bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
        ] {
            let refused = text.parse::<TraceParent>();
            assert!(matches!(refused, Err(ValidationError { .. })), "{text}");
        }
    }
}
