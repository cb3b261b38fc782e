//! Manifests: `ConfigMap` and `Secret` objects written in a YAML or JSON file.
//!
//! Two halves that meet in [`ManifestFile`] alone. Pure: `scalar`, `tree`, `documents`, `fields`,
//! `data` and `parse` make objects or one error of bytes. Not pure: `trail`, `settle` and `watch`
//! say when to read, and know nothing of YAML. A folder of manifests is the same parts with more
//! than one file.

mod data;
mod documents;
mod error;
mod fault;
mod fields;
mod file;
mod name;
mod parse;
mod scalar;
mod settle;
mod syntax;
mod trail;
mod tree;
mod watch;

#[cfg(test)]
mod hostile_tests;
#[cfg(test)]
mod parse_tests;
#[cfg(test)]
mod watch_tests;

pub use documents::{MAX_DEPTH, MAX_VALUES};
pub use error::{Flaw, ManifestError, SourceError};
pub use fault::Fault;
pub use file::{ManifestFile, Reading};
pub use parse::{MAX_FILE_BYTES, parse};
pub use scalar::What;
