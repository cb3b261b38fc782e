//! How long to wait before something is tried again: twice as long each time, up to a bound.
//!
//! Plain data without a clock, a sleep or chance: whoever waits waits, and whoever must not meet others
//! at the same moment adds his own jitter.

use std::time::Duration;

/// The pauses between attempts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backoff {
    first: Duration,
    most: Duration,
    last: Option<Duration>,
}

impl Backoff {
    /// The first pause and the longest one.
    pub const fn new(first: Duration, most: Duration) -> Self {
        Self {
            first,
            most,
            last: None,
        }
    }

    /// How long to wait now. Each pause is given once.
    pub fn next_pause(&mut self) -> Duration {
        let pause = match self.last {
            None => self.first,
            Some(last) => last.saturating_mul(2),
        };
        let pause = pause.min(self.most);
        self.last = Some(pause);
        pause
    }

    /// It went well: the next pause is the first one.
    pub fn reset(&mut self) {
        self.last = None;
    }

    /// Whether no pause was given since the beginning, or since it last went well.
    pub fn is_unused(&self) -> bool {
        self.last.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(backoff: &mut Backoff, count: usize) -> Vec<u64> {
        let pauses = std::iter::repeat_with(|| backoff.next_pause().as_secs());
        pauses.take(count).collect()
    }

    #[test]
    fn pauses_double_up_to_the_most_and_stay_there() {
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(60));
        assert_eq!(taken(&mut backoff, 9), [1, 2, 4, 8, 16, 32, 60, 60, 60]);
    }

    #[test]
    fn no_pause_is_longer_than_the_most_however_often_it_is_asked() {
        for (first, most) in [(3, 100), (100, 3), (1, u64::MAX)] {
            let (first, most) = (Duration::from_secs(first), Duration::from_secs(most));
            let mut backoff = Backoff::new(first, most);
            let mut before = Duration::ZERO;
            for _ in 0..10_000 {
                let pause = backoff.next_pause();
                assert!(
                    before <= pause && pause <= most,
                    "{pause:?} after {before:?}"
                );
                before = pause;
            }
            assert_eq!(before, most);
        }
    }

    #[test]
    fn after_success_it_begins_anew() {
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(8));
        assert!(backoff.is_unused());
        assert_eq!(taken(&mut backoff, 3), [1, 2, 4]);
        assert!(!backoff.is_unused());
        backoff.reset();
        assert!(backoff.is_unused());
        assert_eq!(taken(&mut backoff, 2), [1, 2]);
    }
}
