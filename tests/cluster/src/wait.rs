//! Waiting for a condition, and what is said when it does not come.

use std::ops::AsyncFnMut;
use std::time::{Duration, Instant};

use crate::component;

/// How long is waited for what must come. Only ever used up by a failure.
pub const PATIENCE: Duration = Duration::from_secs(180);

/// Between two looks at a condition.
const PAUSE: Duration = Duration::from_millis(50);

/// Looks at a condition until it holds, and returns what it then has to say. While it does not
/// hold, it says why; the last reason is part of the panic when [`PATIENCE`] is used up.
pub async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Result<T, String>) -> T {
    let end = Instant::now() + PATIENCE;
    let mut last = "the first look never ended".to_owned();
    loop {
        let left = end.saturating_duration_since(Instant::now());
        // A look that hangs, as a request to a stopped server does, is given up with the wait.
        match tokio::time::timeout(left, look()).await {
            Ok(Ok(value)) => return value,
            Ok(Err(reason)) => last = reason,
            Err(_) => fail(what, &last),
        }
        if Instant::now() >= end {
            fail(what, &last);
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// The same where nothing can be awaited, such as the end of a process.
pub(crate) fn until_blocking<T>(what: &str, mut look: impl FnMut() -> Result<T, String>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        match look() {
            Ok(value) => return value,
            Err(_) if Instant::now() < end => std::thread::sleep(PAUSE / 10),
            Err(reason) => fail(what, &reason),
        }
    }
}

fn fail(what: &str, reason: &str) -> ! {
    panic!(
        "waited {PATIENCE:?} in vain until {what}\nlast: {reason}\n{}",
        component::tails()
    )
}
