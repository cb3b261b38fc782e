//! How a volume and its commits behave.

use std::time::Duration;

use livemount_volume::{Compat, Pins};
use serde::{Deserialize, Serialize};

/// How a volume and its commits behave.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// The most that a commit waits for fresh readers (promise 4).
    pub drain: Duration,
    /// What a commit does beyond its own events.
    pub compat: Compat,
    /// How many older versions open handles may keep (promise 3).
    pub pins: Pins,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            drain: Duration::from_millis(250),
            compat: Compat::None,
            pins: Pins::DEFAULT,
        }
    }
}
