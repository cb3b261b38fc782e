//! YAML and JSON as kubectl and the API read them: trees, typed looks at their fields, legal names.
//!
//! Shared by all that people write for livemount: manifests and volume sources. Pure, and knows no
//! kind of object and no volume. What a hostile text could cost is bounded here while the tree
//! grows; whoever walks a tree bounds his own steps, since aliases share what they name.

mod documents;
mod fault;
pub(crate) mod fields;
pub(crate) mod name;
pub(crate) mod scalar;
mod syntax;
mod text;
mod tree;

pub use documents::{MAX_DEPTH, MAX_VALUES};
pub use fault::{YamlFault, YamlFlaw};
pub use scalar::ValueType;

pub(crate) use documents::Documents;
pub(crate) use tree::{Entry, Mapping, Node, Value};
