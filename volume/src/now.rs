//! What time it is, as the volume is told with each question: it looks at no clock.

use std::ops::Add;
use std::time::{Duration, SystemTime};

/// A moment on a clock that never goes back. Only the difference of two means anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Monotonic(pub Duration);

impl Monotonic {
    /// How much later this is than another moment; zero where it is not.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

impl Add<Duration> for Monotonic {
    type Output = Self;

    fn add(self, later: Duration) -> Self {
        Self(self.0.saturating_add(later))
    }
}

/// One moment on two clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// For how long something lasts.
    pub monotonic: Monotonic,
    /// For what a person is told.
    pub wall: SystemTime,
}
