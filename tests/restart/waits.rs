//! For how long readers waited, in whose death.

use std::fmt;

use hdrhistogram::Histogram;

use crate::load::Report;

/// Waits of readers in deaths of one kind.
pub struct Waits {
    name: &'static str,
    /// In microseconds. A reader that did not notice has waited for no time.
    times: Histogram<u64>,
    deaths: usize,
}

/// Whether a wait went through a death, or began right after it.
fn through((began, ended): &(u64, u64), at: u64) -> bool {
    const SOON: u64 = 50_000_000;
    *began < at + SOON && at < *ended
}

impl Waits {
    /// The waits of those who were at it at one of these moments, by the monotonic clock. A wait that went
    /// through one of the `worse` ones as well is told there.
    pub fn of(name: &'static str, moments: &[u64], worse: &[u64], reports: &[Report]) -> Self {
        let mut times = Histogram::new(3).expect("three digits");
        for report in reports.iter().filter(|report| report.role.is_short()) {
            let all = || report.waits.iter();
            let told_there = |wait: &&(u64, u64)| worse.iter().any(|at| through(wait, *at));
            for at in moments {
                let waits = all().filter(|wait| through(wait, *at) && !told_there(wait));
                let longest = waits.map(|(began, ended)| ended - began).max().unwrap_or(0);
                times.record(longest / 1000).expect("a time");
            }
        }
        Self {
            name,
            times,
            deaths: moments.len(),
        }
    }
}

impl fmt::Display for Waits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        #[allow(clippy::cast_precision_loss)] // Of minutes.
        let millis = |micros: u64| micros as f64 / 1e3;
        let at = |quantile| millis(self.times.value_at_quantile(quantile));
        write!(
            f,
            "{}: {} deaths, readers waited p50 {:.1} ms, p99 {:.1} ms, at most {:.1} ms",
            self.name,
            self.deaths,
            at(0.5),
            at(0.99),
            millis(self.times.max())
        )
    }
}

/// The longest waits that went through none of some deaths, each with what died meanwhile.
pub fn longest<D: fmt::Debug>(
    at: &[(D, u64)],
    without: impl Fn(&D) -> bool,
    reports: &[Report],
) -> Vec<String> {
    let short = reports.iter().filter(|report| report.role.is_short());
    let mut waits: Vec<_> = short
        .flat_map(|report| report.waits.iter().map(|wait| (report.role, *wait)))
        .collect();
    waits.retain(|(_, wait)| {
        !at.iter()
            .any(|(who, at)| without(who) && through(wait, *at))
    });
    waits.sort_by_key(|(_, (began, ended))| std::cmp::Reverse(ended - began));
    let told = waits.into_iter().take(5).map(|(role, (began, ended))| {
        #[allow(clippy::cast_precision_loss)] // Of minutes.
        let millis = |from: u64, to: u64| (to as f64 - from as f64) / 1e6;
        let near = at
            .iter()
            .filter(|(_, at)| began < at + 500_000_000 && *at < ended);
        let near: Vec<String> = near
            .map(|(who, at)| format!("{who:?} at {:.0}", millis(began, *at)))
            .collect();
        format!(
            "{role:?} {:.1} ms from {began}: {}",
            millis(began, ended),
            near.join(", ")
        )
    });
    told.collect()
}
