//! Volumes shared between threads: the one lock of each, who waits for it, and the replies that wait
//! for a commit.
//!
//! What a volume is stands in `livemount-volume`, which is pure; here is all that is concurrent of it.
//! The lock is never held across a system call, a notification or a message, so a FUSE thread never
//! waits for the publisher's work. Everything is written against `sync`, so that its tests run it
//! under shuttle as well, in every order that it can think of.

mod kept;
mod parker;
mod shared;
pub(crate) mod sync;

#[cfg(test)]
mod kept_tests;
#[cfg(test)]
mod shuttle_tests;
#[cfg(test)]
mod tests;
#[cfg(test)]
pub(crate) mod under_shuttle;

pub use parker::Parker;
pub use shared::SharedVolume;

#[cfg(test)]
pub(crate) use shuttle_tests::in_all_orders;
