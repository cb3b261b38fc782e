//! From the caller's arguments to messages: checks, and lists cut into batches so that no message is too
//! large.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::HandError;
use crate::protocol::HandOp;
use crate::volume_path::split;

/// Bytes of paths in one message, well below what a message holds.
const BATCH_BYTES: usize = 48 * 1024;
/// Items in one message, so that the results fit as well.
const BATCH_ITEMS: usize = 2048;
/// Bytes that an item needs beside its paths, more than enough.
const ITEM_BYTES: usize = 32;

/// A path as a message has it.
pub(super) fn bytes(path: &Path) -> Vec<u8> {
    path.as_os_str().as_bytes().to_vec()
}

/// What is left until a deadline.
pub(super) fn left(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(Instant::now())
}

/// All names of an operation.
pub(super) fn names(op: &HandOp) -> impl Iterator<Item = &str> {
    let (path, stage) = match op {
        HandOp::Rename { stage, path } => (path, Some(stage)),
        HandOp::Ring { path, .. }
        | HandOp::Touch { path, .. }
        | HandOp::Unlink { path }
        | HandOp::Rmdir { path } => (path, None),
    };
    std::iter::once(path).chain(stage).map(String::as_str)
}

/// A path that the hand would refuse is told here, before anything is done; the hand judges again.
pub(super) fn check<'a>(mut paths: impl Iterator<Item = &'a str>) -> Result<(), HandError> {
    if paths.all(|path| split(path).is_ok()) {
        Ok(())
    } else {
        Err(HandError::BadPath)
    }
}

/// Cuts a list into batches that fit into one message each.
pub(super) fn batches<T>(
    mut items: &[T],
    size: impl Fn(&T) -> usize,
) -> impl Iterator<Item = &[T]> {
    std::iter::from_fn(move || {
        let mut bytes = 0;
        let fits = |item: &&T| {
            bytes += size(item) + ITEM_BYTES;
            bytes <= BATCH_BYTES
        };
        let count = items.iter().take(BATCH_ITEMS).take_while(fits).count();
        // One that is too large by itself goes by itself, and is refused.
        let (batch, rest) = items.split_at(count.max(1).min(items.len()));
        items = rest;
        (!batch.is_empty()).then_some(batch)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{Request, VolumeNumber, Work, encode};

    #[test]
    fn batches_keep_all_in_order_and_fit() {
        let paths: Vec<String> = (0..10_000)
            .map(|number| format!("{number}-{}", "x".repeat(number % 300)))
            .collect();
        let mut together = Vec::new();
        for batch in batches(&paths, String::len) {
            let call = Work::Refresh {
                volume: VolumeNumber(u64::MAX),
                paths: batch.to_vec(),
            };
            encode(&Request {
                seq: u64::MAX,
                within_ms: u32::MAX,
                call: call.into(),
            })
            .expect("fits");
            together.extend_from_slice(batch);
        }
        assert_eq!(together, paths);
        assert_eq!(batches(&[] as &[String], String::len).count(), 0);
        assert_eq!(batches(&["x".repeat(BATCH_BYTES)], String::len).count(), 1);
    }
}
