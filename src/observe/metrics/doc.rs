//! The table as rows, and as the text of docs/METRICS.md.

use std::fmt::Write as _;

use prometheus_client::registry::Registry;

use super::table::Set;

/// What a metric is, in the words of OpenMetrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only rises, from 0 at the start of the process.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts observations by size.
    Histogram,
    /// Labels alone; always 1.
    Info,
}

impl Kind {
    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
            Self::Info => "info",
        }
    }

    /// What a query's name has behind the family's.
    fn suffix(self) -> &'static str {
        match self {
            Self::Counter => "_total",
            Self::Info => "_info",
            Self::Gauge | Self::Histogram => "",
        }
    }
}

/// One metric of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The title that it stands under.
    pub group: &'static str,
    /// Its name without unit and suffix.
    pub name: &'static str,
    /// Its unit, where it has one.
    pub unit: Option<String>,
    /// What it is.
    pub kind: Kind,
    /// Its labels with their values, as far as these are known from the start.
    pub labels: Vec<(&'static str, &'static [&'static str])>,
    /// What it counts, without a full stop.
    pub help: &'static str,
}

impl Row {
    /// The name in `# TYPE` lines.
    pub fn family(&self) -> String {
        match &self.unit {
            Some(unit) => format!("{}_{unit}", self.name),
            None => self.name.to_owned(),
        }
    }

    /// The name that a query uses.
    pub fn query(&self) -> String {
        format!("{}{}", self.family(), self.kind.suffix())
    }
}

/// Every metric, in the table's order.
pub fn rows() -> Vec<Row> {
    Set::register(&mut Registry::default()).1
}

/// The tables of docs/METRICS.md, one under each title.
pub fn table() -> String {
    let mut text = String::new();
    let mut group = "";
    for row in rows() {
        if row.group != group {
            group = row.group;
            // Writing to a String cannot fail.
            let _ = write!(
                text,
                "\n### {group}\n\n| metric | type | labels | what |\n|---|---|---|---|\n"
            );
        }
        let labels: Vec<String> = row.labels.iter().map(label).collect();
        let (name, kind, labels) = (row.query(), row.kind.word(), labels.join("; "));
        let _ = writeln!(text, "| `{name}` | {kind} | {labels} | {} |", row.help);
    }
    text
}

fn label((name, values): &(&'static str, &'static [&'static str])) -> String {
    match values {
        [] => format!("`{name}`"),
        values => format!("`{name}`: {}", values.join(", ")),
    }
}
