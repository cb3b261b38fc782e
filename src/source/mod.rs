//! Sources: what watches the places that objects come from and says what it read there.
//!
//! Everything asynchronous about reading objects is here. A source knows nothing of volumes,
//! snapshots, FUSE or mounts; it hands over whole objects in the order in which it read them and
//! leaves it to the engine to find out whether anything changed.

pub mod kube;
pub mod manifest;
