//! Whether a holder still says that it is well. Beats are counted, not time: while this process was frozen
//! together with the holder none passed, and a machine that wakes from sleep is no alarm.

use std::time::{Duration, Instant};

/// Silence is counted in this many parts of what was agreed.
const BEATS: u32 = 4;
/// No less than a scheduler can keep.
const SHORTEST: Duration = Duration::from_millis(4);

#[derive(Debug)]
pub(super) struct Watchdog {
    beat: Duration,
    next: Instant,
    missed: u32,
}

impl Watchdog {
    /// One that bites after this long without a sign; none where that is zero.
    pub fn every(within: Duration, now: Instant) -> Option<Self> {
        if within.is_zero() {
            return None;
        }
        let beat = within.max(SHORTEST) / BEATS;
        Some(Self {
            beat,
            next: now + beat,
            missed: 0,
        })
    }

    /// A sign of life.
    pub fn sign(&mut self, now: Instant) {
        self.missed = 0;
        self.next = now + self.beat;
    }

    /// Counts a beat if it is time; whether too many were missed.
    pub fn is_over(&mut self, now: Instant) -> bool {
        if self.missed < BEATS && now >= self.next {
            self.missed += 1;
            self.next = now + self.beat;
        }
        self.missed >= BEATS
    }

    pub fn due(&self) -> Instant {
        self.next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beats_are_counted_and_not_time() {
        let begun = Instant::now();
        let second = Duration::from_secs(1);
        let mut dog = Watchdog::every(second, begun).expect("it is not zero");
        assert!(!dog.is_over(begun));
        // An hour passed, and none of it for us.
        let woken = begun + 3600 * second;
        assert!(!dog.is_over(woken) && !dog.is_over(woken));
        assert_eq!(dog.due(), woken + second / 4);
        assert!(!dog.is_over(woken + second / 4) && !dog.is_over(woken + second / 2));
        dog.sign(woken + second / 2);
        for beat in 3..6 {
            assert!(!dog.is_over(woken + beat * second / 4), "{beat}");
        }
        assert!(dog.is_over(woken + 6 * second / 4));
        assert!(Watchdog::every(Duration::ZERO, begun).is_none());
    }
}
