//! What a daemon says of itself, as data: JSON on the socket, words on a terminal.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use jiff::{Timestamp, Unit};
use livemount_engine::snapshot::Snapshot;
use livemount_volume::Served;
use serde::{Deserialize, Serialize};

use crate::pod;

/// One daemon.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Its process id.
    pub pid: u32,
    /// Its volumes.
    pub volumes: Vec<VolumeReport>,
}

impl Report {
    /// The same with those volumes alone that belong to a pod, `NAMESPACE/NAME`.
    #[must_use]
    pub fn of_pod(mut self, named: &str) -> Self {
        self.volumes
            .retain(|volume| pod::is_of_pod(&volume.name, named));
        self
    }
}

/// One volume.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VolumeReport {
    /// Its name.
    pub name: String,
    /// Where it is mounted.
    pub target: PathBuf,
    /// How many files it shows.
    pub files: usize,
    /// How many bytes these hold.
    pub bytes: u64,
    /// Why it does not show the newest that its objects say, where that is so.
    #[serde(rename = "trouble", skip_serializing_if = "Option::is_none")]
    pub condition: Option<String>,
    /// The version that an open gets now.
    pub current: Version,
    /// Older versions that somebody still holds, the newest first.
    pub older: Vec<Version>,
    /// Older versions that nobody holds any more, as far as they are remembered, the newest first.
    pub former: Vec<Version>,
    /// How many older versions were dropped because too many were held.
    pub dropped: u64,
}

/// One version of a volume. Times are RFC 3339 in UTC.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Version {
    /// Its number.
    pub version: u32,
    /// Its objects, such as `ConfigMap default/app`, with the resourceVersion behind an `@`.
    pub objects: Vec<String>,
    /// When the newest of them was received, where the source is one that is told of versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub received: Option<String>,
    /// When it became current.
    pub committed: String,
    /// When a file of it was first opened.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_open: Option<String>,
    /// When a file of it was last opened.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_open: Option<String>,
    /// How many handles and folders hold it.
    pub held: usize,
}

impl VolumeReport {
    /// A report of a volume that shows `shown` and has served `served`, the current version first.
    pub fn new(
        name: &str,
        target: &Path,
        shown: &Snapshot,
        served: &[Served],
        dropped: u64,
        condition: Option<String>,
    ) -> Self {
        // A volume always serves something.
        let (current, earlier) = served.split_first().map_or_else(
            || (Version::default(), Vec::new()),
            |(current, earlier)| (current.into(), earlier.iter().map(Version::from).collect()),
        );
        let (older, former) = earlier.into_iter().partition(|version| version.held > 0);
        Self {
            name: name.to_owned(),
            target: target.to_owned(),
            files: shown.files().count(),
            bytes: shown.bytes(),
            condition,
            current,
            older,
            former,
            dropped,
        }
    }
}

impl From<&Served> for Version {
    fn from(served: &Served) -> Self {
        Self {
            version: served.version.0,
            objects: served.objects.iter().map(ToString::to_string).collect(),
            received: (served.objects.iter())
                .filter_map(|object| object.received)
                .max()
                .map(time),
            committed: time(served.committed),
            first_open: served.first_open.map(time),
            last_open: served.last_open.map(time),
            held: served.held,
        }
    }
}

/// A time to the millisecond.
fn time(at: SystemTime) -> String {
    let rounded = Timestamp::try_from(at).and_then(|time| time.round(Unit::Millisecond));
    rounded.map_or_else(|_| "unknown".into(), |time| time.to_string())
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for volume in &self.volumes {
            writeln!(
                f,
                "{} at {} (pid {})",
                volume.name,
                volume.target.display(),
                self.pid
            )?;
            volume.fmt(f)?;
        }
        Ok(())
    }
}

impl fmt::Display for VolumeReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { files, bytes, .. } = self;
        writeln!(
            f,
            "  {}, {files} files, {bytes} bytes",
            self.current.objects.join(", ")
        )?;
        if let Some(condition) = &self.condition {
            writeln!(f, "  REFUSED, the last good version stays: {condition}")?;
        }
        writeln!(f, "  {}", self.current)?;
        for older in &self.older {
            writeln!(f, "  {older}; {} still hold it", older.held)?;
        }
        for former in self.former.iter().take(3) {
            writeln!(f, "  {former}")?;
        }
        if self.dropped > 0 {
            writeln!(
                f,
                "  {} older versions were dropped: too many were held",
                self.dropped
            )?;
        }
        Ok(())
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "version {}", self.version)?;
        if let Some(received) = &self.received {
            write!(f, " received {received},")?;
        }
        write!(f, " committed {}", self.committed)?;
        match (&self.first_open, &self.last_open) {
            (Some(first), Some(last)) => write!(f, ", first opened {first}, last opened {last}"),
            _ => f.write_str(", never opened"),
        }
    }
}
