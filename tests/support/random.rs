//! A seeded generator for tests that strike at random moments. The seed is printed, and taken from
//! `LIVEMOUNT_TEST_SEED` where that is set, so that a failure can be run again.

use std::thread;
use std::time::{Duration, SystemTime};

/// A xorshift generator: small, and the same on every machine.
pub struct Random(u64);

impl Random {
    /// Takes its seed from the environment or the clock, and prints it.
    pub fn new(test: &str) -> Self {
        let seed = std::env::var("LIVEMOUNT_TEST_SEED").map_or_else(
            |_| {
                SystemTime::UNIX_EPOCH
                    .elapsed()
                    .map_or(1, |now| u64::from(now.subsec_nanos()) ^ now.as_secs())
            },
            |seed| seed.parse().expect("LIVEMOUNT_TEST_SEED is a number"),
        );
        println!("{test}: LIVEMOUNT_TEST_SEED={seed}");
        // A state of zero would stay zero.
        Self(seed | 1 << 63)
    }

    /// A number below `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }

    /// Lets a random time below `end` pass. A sleep is right here alone: any moment at all is what is
    /// wanted, and none that some condition would choose.
    pub fn moment(&mut self, end: Duration) {
        let micros = u64::try_from(end.as_micros()).expect("a short time");
        thread::sleep(Duration::from_micros(self.below(micros.max(1))));
    }
}
