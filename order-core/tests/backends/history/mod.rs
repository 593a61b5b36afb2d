//! Orders that are at their end leave for files, and what is personal is emptied, on both databases.

mod archive;
mod erase;
mod interrupted;
mod shop;
