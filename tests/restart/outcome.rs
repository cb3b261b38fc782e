//! What came of many deaths: what is told, and what is expected.

use std::time::Duration;

use crate::kills::Death;
use crate::load::{Failure, Report};
use crate::waits::{self, Waits};
use crate::writer::Heard;

/// What came of the deaths on one mount after the other.
#[derive(Default)]
pub struct Outcome {
    /// When whose deaths were.
    at: Vec<(Death, u64)>,
    versions: u64,
    longest: Duration,
    twice: u32,
    wrong: Vec<String>,
    /// One for each who used a mount.
    reports: Vec<Report>,
}

impl Outcome {
    pub fn add(&mut self, at: Vec<(Death, u64)>, heard: Heard, reports: Vec<Report>) {
        self.at.extend(at);
        self.versions += heard.version;
        self.longest = self.longest.max(heard.longest);
        self.twice += heard.twice;
        self.wrong.extend(heard.wrong);
        if self.reports.is_empty() {
            self.reports = reports;
        } else {
            for (all, report) in self.reports.iter_mut().zip(reports) {
                all.add(report);
            }
        }
    }

    /// Something was seen that is told better now than later.
    pub fn is_wrong(&self) -> bool {
        !self.wrong.is_empty() || self.reports.iter().any(|report| !report.bad.is_empty())
    }

    pub fn tell(&self) {
        let Self {
            at,
            versions,
            longest,
            twice,
            reports,
            ..
        } = self;
        println!(
            "{} deaths, {versions} versions heard, at most {longest:?} from a version to its last event, \
             {twice} events twice",
            at.len()
        );
        for report in reports {
            println!(
                "{:?}: {} rounds, {} failed, {} slow and of another size, {} wrong",
                report.role,
                report.rounds,
                report.failures.len(),
                report.slow,
                report.bad.len()
            );
        }
        let mut worse = Vec::new();
        for (name, deaths) in [
            (
                "one that hangs",
                &[Death::Stopped, Death::CaretakerStopped][..],
            ),
            (
                "a hand, alone or with another",
                &[Death::Hand, Death::KeeperAndHand, Death::DaemonAndHand],
            ),
            ("a keeper", &[Death::Keeper]),
            ("a daemon, the caretaker alone comes", &[Death::Caretaken]),
            ("a daemon, another comes at once", &[Death::Daemon]),
        ] {
            let those = at.iter().filter(|(death, _)| deaths.contains(death));
            let moments: Vec<u64> = those.map(|(_, at)| *at).collect();
            println!("{}", Waits::of(name, &moments, &worse, reports));
            worse.extend(moments);
        }
        let hangs = |death: &Death| matches!(death, Death::Stopped | Death::CaretakerStopped);
        println!(
            "the longest waits for none that hangs: {:#?}",
            waits::longest(at, hangs, reports)
        );
    }

    /// Nobody has seen anything wrong. Where the kernel does not send again, an fstat, a read or a readdir may
    /// have been told that it is stale: the one that was read and not yet written down when its reader died.
    /// One thread reads each connection, so that is one for each death at the most.
    pub fn expect_unnoticed(&self, resend: bool) {
        assert!(self.wrong.is_empty(), "{:#?}", self.wrong);
        for report in &self.reports {
            let bad = &report.bad[..report.bad.len().min(10)];
            assert!(bad.is_empty(), "{bad:#?}");
        }
        let failures = self.reports.iter().flat_map(|report| &report.failures);
        let failures: Vec<&Failure> = failures.collect();
        let most = if resend { 0 } else { self.at.len() };
        let stale = |failure: &&Failure| {
            failure.errno == libc::ESTALE && ["fstat", "read", "readdir"].contains(&&*failure.step)
        };
        assert!(
            failures.len() <= most && failures.iter().all(stale),
            "{failures:#?}"
        );
    }
}
