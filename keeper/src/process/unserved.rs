//! Since when nobody holds, and how soon that is too long: a daemon that comes back at once should find no
//! caretaker, one that dies whenever it comes should not keep readers waiting.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// So many daemons that died within `SPAN` are not waited for any more.
const DEATHS: usize = 3;
const SPAN: Duration = Duration::from_secs(10);

pub(super) struct Unserved {
    since: Option<Instant>,
    deaths: VecDeque<Instant>,
}

impl Unserved {
    pub fn since(now: Instant) -> Self {
        Self {
            since: Some(now),
            deaths: VecDeque::new(),
        }
    }

    /// Somebody holds.
    pub fn over(&mut self) {
        self.since = None;
    }

    /// The holder has gone, by itself.
    pub fn again(&mut self, now: Instant, died: bool) {
        self.since = Some(now);
        if died {
            self.deaths.push_back(now);
            if self.deaths.len() > DEATHS {
                self.deaths.pop_front();
            }
        }
    }

    /// When it is too long; none while somebody holds.
    pub fn due(&self, alone: Duration) -> Option<Instant> {
        let since = self.since?;
        let keeps_dying = self.deaths.len() == DEATHS
            && self
                .deaths
                .front()
                .is_some_and(|first| since.duration_since(*first) <= SPAN);
        Some(if keeps_dying { since } else { since + alone })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_third_death_is_not_waited_for() {
        let alone = Duration::from_millis(200);
        let begun = Instant::now();
        let at = |seconds| begun + Duration::from_secs(seconds);
        let mut unserved = Unserved::since(begun);
        assert_eq!(unserved.due(alone), Some(begun + alone));
        unserved.over();
        assert_eq!(unserved.due(alone), None);
        for second in [1, 5] {
            unserved.again(at(second), true);
            assert_eq!(unserved.due(alone), Some(at(second) + alone));
        }
        // One that ended because another wanted to hold has not died.
        unserved.again(at(6), false);
        assert_eq!(unserved.due(alone), Some(at(6) + alone));
        unserved.again(at(10), true);
        assert_eq!(
            unserved.due(alone),
            Some(at(10)),
            "the third in nine seconds"
        );
        unserved.again(at(16), true);
        assert_eq!(
            unserved.due(alone),
            Some(at(16) + alone),
            "the third in eleven"
        );
    }
}
