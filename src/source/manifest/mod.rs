//! Manifests: `ConfigMap` and `Secret` objects written in YAML or JSON, in a file or a folder.
//!
//! Three layers, each of which knows those before it. What a file's bytes say: `parse`, `data`.
//! What is read and when: `settle` reads a file whole, `ears` and `trail` hear changes, `page` is one
//! file from one reading to the next, `shelf` is what all files say together. [`Manifests`] is the
//! loop that brings them together: `open` its first look, `watch` each later one.

mod absence;
mod around;
mod data;
mod deaf;
mod ears;
mod error;
mod fault;
mod folder;
mod limit;
mod manifests;
mod open;
mod page;
mod parse;
mod settle;
mod shelf;
mod sys;
mod trail;
mod watch;

#[cfg(test)]
mod folder_tests;
#[cfg(test)]
mod hostile_tests;
#[cfg(test)]
mod open_tests;
#[cfg(test)]
mod parse_tests;
#[cfg(test)]
mod shelf_tests;
#[cfg(test)]
mod watch_tests;

pub use error::{Flaw, ManifestError, Place, SourceError};
pub use fault::Fault;
pub use limit::Limit;
pub use manifests::{Manifests, Reading};
pub use parse::{MAX_FILE_BYTES, Placed, parse};
pub use shelf::Objects;
