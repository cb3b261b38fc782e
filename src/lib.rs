//! livemount serves Kubernetes ConfigMaps and Secrets as ordinary files that change in place: an
//! inotify watch gets a real MODIFY, and every open sees one consistent version.
//!
//! One way down: a source tells objects, the engine (a crate of its own, pure) renders snapshots,
//! `publish` commits them to a volume (a crate as well, pure; `served` shares it between threads), `fs`
//! answers the kernel from it. The hand (a crate and a process of its own) alone touches mounts.
//! docs/ARCHITECTURE.md is the map.

pub mod abort;
pub mod backoff;
pub mod caretake;
pub mod cli;
pub mod daemon;
pub mod fs;
pub mod kept;
pub mod mount;
pub mod node;
pub mod observe;
pub mod pod;
pub mod publish;
pub mod report;
pub mod served;
pub mod source;
pub mod status;
pub mod store;
pub mod volume_source;
pub mod volumes;
pub mod yaml;
