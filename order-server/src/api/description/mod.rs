//! The description of the API: what the framework derives from the operations, and what it
//! cannot say by itself.
//!
//! - Problems: each operation names those that it may answer, by status and code, with an
//!   example of each (`problems`).
//! - Parameters: bounds, and an example of each (`parameters`).
//! - Headers: each answer names its own (`headers`).
//! - Schemas: fields that may be `null`, characters that a text may not hold, the refusal of unknown
//!   fields (`schemas`).
//! - What several operations have in common moves into components (`share`).
//! - The rest, examples above all, is written in `overlay.json`, which is laid over the
//!   document (JSON merge patch, RFC 7396).
//!
//! Operations that come later are described by the same rules.

mod describe;
mod finish;
mod headers;
mod operation;
mod parameters;
mod problems;
mod schemas;
mod share;

pub(crate) use describe::describe;
