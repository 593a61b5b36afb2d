//! Calls that are given up before their time is over.

use std::sync::Arc;

use super::shared::Shared;

/// A call that its caller may give up before its time is over: on a silent connection nothing else
/// would ever happen. So the connection is tried.
pub(super) struct Abandoned<'a> {
    shared: &'a Arc<Shared>,
    number: Option<u64>,
}

impl<'a> Abandoned<'a> {
    pub(super) const fn new(shared: &'a Arc<Shared>, number: u64) -> Self {
        Self {
            shared,
            number: Some(number),
        }
    }

    pub(super) fn disarm(mut self) {
        self.number = None;
    }
}

impl Drop for Abandoned<'_> {
    fn drop(&mut self) {
        if let Some(number) = self.number {
            self.shared.try_connection(number);
        }
    }
}
