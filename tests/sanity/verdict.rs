//! What came of each of csi-sanity's checks, and which do not apply to a driver of inline volumes.

use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Checks of services that an inline driver does not have; csi-sanity is not asked for them.
const SERVICES: [(&str, &str); 2] = [
    (
        "[Controller Server]",
        "an inline volume is made by the kubelet with its pod, so there is no controller",
    ),
    (
        "[GroupController",
        "an inline volume is made by the kubelet with its pod, so there is no controller",
    ),
];

/// Checks of what a Node service may leave out. csi-sanity skips them by the plugin's capabilities.
const SKIPPED: [(&str, &str); 6] = [
    (
        "Node Service NodeStageVolume ",
        "no STAGE_UNSTAGE_VOLUME: the kubelet never stages an inline volume",
    ),
    (
        "Node Service NodeUnstageVolume ",
        "no STAGE_UNSTAGE_VOLUME: the kubelet never stages an inline volume",
    ),
    (
        "Node Service NodeExpandVolume ",
        "no EXPAND_VOLUME: a volume is as large as its objects",
    ),
    (
        "Node Service NodeGetVolumeHealth ",
        "no GET_VOLUME_HEALTH, which is alpha: events on the pod tell what is wrong",
    ),
    (
        "Node Service NodeGetStorageHealth ",
        "no GET_STORAGE_HEALTH, which is alpha: there is no storage behind a volume",
    ),
    (
        "Node Service NodePublishVolume with single node multi writer capability ",
        "no SINGLE_NODE_MULTI_WRITER: an inline volume has one target",
    ),
];

/// Whether a line is that of csi-sanity's summary.
pub fn is_summary(line: &str) -> bool {
    ["Ran ", "SUCCESS!", "FAIL!"]
        .iter()
        .any(|begin| line.starts_with(begin))
}

/// All checks by name, and whether one of the runs has passed them.
#[derive(Debug, Default)]
pub struct Verdict(BTreeMap<String, bool>);

impl Verdict {
    /// Takes the report of one run, in the format of JUnit.
    pub fn read(&mut self, report: &str) {
        for case in report.split("<testcase ").skip(1) {
            let attribute = |name: &str| {
                let (_, value) = case.split_once(&format!("{name}=\""))?;
                value.split_once('"').map(|(value, _)| value)
            };
            let (Some(name), Some(status)) = (attribute("name"), attribute("status")) else {
                continue;
            };
            // The rest are csi-sanity's own set-up.
            if let Some(name) = name.strip_prefix("[It] ") {
                *self.0.entry(name.to_owned()).or_default() |= status == "passed";
            }
        }
    }

    /// What is skipped and why, or what is wrong with that.
    pub fn judge(&self) -> Result<String, String> {
        let mut reasons: BTreeMap<&str, usize> = BTreeMap::new();
        let mut passed = 0;
        for (name, has_passed) in &self.0 {
            let service = SERVICES.iter().find(|(part, _)| name.contains(part));
            let skipped = SKIPPED.iter().find(|(begin, _)| name.starts_with(begin));
            match (service.or(skipped), has_passed) {
                (None, true) => passed += 1,
                (Some((_, reason)), false) => *reasons.entry(reason).or_default() += 1,
                (None, false) => return Err(format!("neither passed nor excused: {name}")),
                (Some(_), true) => return Err(format!("excused, but it passes: {name}")),
            }
        }
        for (part, reason) in SERVICES.iter().chain(&SKIPPED) {
            if !self.0.keys().any(|name| name.contains(part)) {
                return Err(format!(
                    "csi-sanity has no check any more of: {part} ({reason})"
                ));
            }
        }
        let skipped: usize = reasons.values().sum();
        let mut words = format!("csi-sanity: {passed} checks passed, {skipped} do not apply:");
        for (reason, count) in reasons {
            // A string takes all that is written to it.
            let _ = write!(words, "\n  {count:3}  {reason}");
        }
        Ok(words)
    }
}
