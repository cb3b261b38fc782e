//! Manifests: `ConfigMap` and `Secret` objects written in YAML or JSON, in a file or a directory.
//!
//! Three layers, each of which knows those before it. What a file's bytes say: `parse`, `data`.
//! What is read and when: `stable_read` reads a file whole, `inotify_watches` and `path_walk` notice
//! changes, `manifest_file` is one file from one reading to the next, `merge` is what all files say
//! together. [`Manifests`] is the loop that brings them together: `open` its first look, `watch` each
//! later one.

mod data;
mod directory;
mod error;
mod fault;
mod inotify_support;
mod inotify_watches;
mod limit;
mod listing;
mod manifest_file;
mod manifests;
mod merge;
mod missing;
mod open;
mod parse;
mod path_walk;
mod read_options;
mod source;
mod stable_read;
mod sys;
mod watch;

#[cfg(test)]
mod directory_tests;
#[cfg(test)]
mod hostile_tests;
#[cfg(test)]
mod merge_tests;
#[cfg(test)]
mod open_tests;
#[cfg(test)]
mod parse_tests;
#[cfg(test)]
mod watch_tests;

use livemount_engine::object::Origin;

pub use error::{Location, ManifestError, ManifestFlaw, SourceError};
pub use fault::ManifestFault;
pub use limit::Limit;
pub use manifests::{Manifests, Reading};
pub use merge::Objects;
pub use parse::{LocatedObject, MAX_FILE_BYTES, parse};
pub use source::ManifestSource;

/// The origin of objects that stand in manifests.
pub const ORIGIN: Origin = Origin::named("manifest");
