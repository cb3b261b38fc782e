//! How a metric is registered, so that what is said of it is said once: the registry gets it, and a
//! row for docs/METRICS.md is kept.

use std::ops::Deref;
use std::sync::atomic::AtomicU64;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::metrics::{MetricType, TypedMetric};
use prometheus_client::registry::{Metric, Registry, Unit};

use super::doc::{Kind, Row};

/// Upper bounds of every histogram, in seconds. A ring takes a fraction of a millisecond, a drain is
/// bounded at 250 ms, a publish call may wait for two minutes.
pub(super) const BUCKETS: [f64; 16] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
    120.0,
];

/// A label. Its value is a text of the program itself, never a name that somebody else chose.
pub(super) type Label = (&'static str, &'static str);

/// What can stand in the table.
pub(super) trait New: Metric + TypedMetric + Clone {
    fn new() -> Self;
}

impl New for Counter {
    fn new() -> Self {
        Self::default()
    }
}

impl New for Counter<f64, AtomicU64> {
    fn new() -> Self {
        Self::default()
    }
}

impl New for Gauge {
    fn new() -> Self {
        Self::default()
    }
}

impl New for Gauge<f64, AtomicU64> {
    fn new() -> Self {
        Self::default()
    }
}

impl New for Histogram {
    fn new() -> Self {
        Self::new(BUCKETS)
    }
}

/// Metrics of one name, told apart by one label.
#[derive(Clone)]
pub(super) struct By<M> {
    label: &'static str,
    family: Family<[Label; 1], M, fn() -> M>,
}

impl<M: New> By<M> {
    /// The one with this value.
    pub(super) fn one(&self, value: &'static str) -> impl Deref<Target = M> + '_ {
        self.family.get_or_create(&[(self.label, value)])
    }
}

/// The same by two labels.
#[derive(Clone)]
pub(super) struct By2<M> {
    labels: [&'static str; 2],
    family: Family<[Label; 2], M, fn() -> M>,
}

impl<M: New> By2<M> {
    /// The one with these values.
    pub(super) fn one(&self, values: [&'static str; 2]) -> impl Deref<Target = M> + '_ {
        let [first, second] = self.labels;
        self.family
            .get_or_create(&[(first, values[0]), (second, values[1])])
    }
}

/// Registers metrics, and keeps a row of each for the table.
pub(super) struct MetricRegistry<'r> {
    registry: &'r mut Registry,
    group: &'static str,
    rows: Vec<Row>,
}

impl<'r> MetricRegistry<'r> {
    pub(super) fn new(registry: &'r mut Registry) -> Self {
        Self {
            registry,
            group: "",
            rows: Vec::new(),
        }
    }

    /// What was registered, in order.
    pub(super) fn into_rows(self) -> Vec<Row> {
        self.rows
    }

    /// What follows belongs under this title.
    pub(super) fn group(&mut self, title: &'static str) -> &mut Self {
        self.group = title;
        self
    }

    /// A metric without labels.
    pub(super) fn one<M: New>(
        &mut self,
        name: &'static str,
        unit: Option<Unit>,
        help: &'static str,
    ) -> M {
        let metric = M::new();
        self.add(name, unit, Vec::new(), help, metric.clone());
        metric
    }

    /// Metrics by one label. Those whose values are known are there from the start, at nothing, so that
    /// their first rise can be seen.
    pub(super) fn by<M: New>(
        &mut self,
        name: &'static str,
        unit: Option<Unit>,
        (label, values): (&'static str, &'static [&'static str]),
        help: &'static str,
    ) -> By<M> {
        let family = Family::new_with_constructor(M::new as fn() -> M);
        let by = By { label, family };
        for value in values {
            drop(by.one(value));
        }
        self.add(name, unit, vec![(label, values)], help, by.family.clone());
        by
    }

    /// Metrics by two labels.
    pub(super) fn by2<M: New>(
        &mut self,
        name: &'static str,
        unit: Option<Unit>,
        labels: [&'static str; 2],
        help: &'static str,
    ) -> By2<M> {
        let family = Family::new_with_constructor(M::new as fn() -> M);
        let unknown = labels.iter().map(|label| (*label, &[][..])).collect();
        self.add(name, unit, unknown, help, family.clone());
        By2 { labels, family }
    }

    /// What is known from the start and told as a label.
    pub(super) fn info(&mut self, name: &'static str, label: [Label; 1], help: &'static str) {
        let unknown = label.map(|(label, _)| (label, &[][..])).to_vec();
        self.add(name, None, unknown, help, Info::new(label));
    }

    fn add<M: Metric>(
        &mut self,
        name: &'static str,
        unit: Option<Unit>,
        labels: Vec<(&'static str, &'static [&'static str])>,
        help: &'static str,
        metric: M,
    ) {
        self.rows.push(Row {
            group: self.group,
            name,
            unit: unit.as_ref().map(|unit| unit.as_str().to_owned()),
            kind: metric.metric_type().into(),
            labels,
            help,
        });
        match unit {
            Some(unit) => self.registry.register_with_unit(name, help, unit, metric),
            None => self.registry.register(name, help, metric),
        }
    }
}

impl From<MetricType> for Kind {
    fn from(of: MetricType) -> Self {
        match of {
            MetricType::Counter => Self::Counter,
            MetricType::Histogram => Self::Histogram,
            MetricType::Info => Self::Info,
            MetricType::Gauge | MetricType::Unknown => Self::Gauge,
        }
    }
}
