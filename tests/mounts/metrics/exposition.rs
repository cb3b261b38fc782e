//! The text of /metrics, read as strictly as OpenMetrics 1.0 describes it: what is out of order,
//! unnamed or said twice fails here, as it may in a Prometheus.

use std::collections::{BTreeMap, BTreeSet};

/// One family as the text tells it.
#[derive(Debug, Default)]
pub struct Family {
    pub kind: String,
    pub unit: Option<String>,
    pub help: String,
    /// Name with labels, as it stands in the text, to its value.
    pub samples: BTreeMap<String, f64>,
}

/// Every family of a text.
#[derive(Debug, Default)]
pub struct Exposition(pub BTreeMap<String, Family>);

impl Exposition {
    /// Reads a text to its end.
    pub fn read(text: &str) -> Self {
        let mut families = BTreeMap::<String, Family>::new();
        let mut name = String::new();
        let body = text
            .strip_suffix("# EOF\n")
            .expect("the text ends with EOF and nothing after it");
        for line in body.lines() {
            assert!(!line.is_empty(), "an empty line");
            let words: Vec<&str> = line.splitn(4, ' ').collect();
            match words[..] {
                ["#", "HELP", of, help] => {
                    assert!(!families.contains_key(of), "{of} comes twice");
                    check_name(of);
                    let bad = |c: char| c == '\\' || c == '"' || c.is_control();
                    assert!(!help.contains(bad), "{help:?} needs escapes");
                    assert!(help.ends_with('.') && !help.ends_with(".."), "{help}");
                    of.clone_into(&mut name);
                    let help = help.to_owned();
                    families.insert(
                        name.clone(),
                        Family {
                            help,
                            ..Family::default()
                        },
                    );
                }
                ["#", "TYPE", of, kind] => {
                    assert_eq!(of, name);
                    let known = ["counter", "gauge", "histogram", "info"];
                    assert!(known.contains(&kind), "{of}: type {kind}");
                    families.get_mut(of).expect("told before").kind = kind.into();
                }
                ["#", "UNIT", of, unit] => {
                    assert_eq!(of, name);
                    assert!(of.ends_with(&format!("_{unit}")), "{of}: unit {unit}");
                    families.get_mut(of).expect("told before").unit = Some(unit.into());
                }
                _ => {
                    let (series, value) = line.rsplit_once(' ').expect("a sample");
                    let value: f64 = value.parse().expect("a number");
                    let family = families.get_mut(&name).expect("a family first");
                    check_sample(&name, &family.kind, series, value);
                    let former = family.samples.insert(series.to_owned(), value);
                    assert_eq!(former, None, "{series} comes twice");
                }
            }
        }
        for (name, family) in &families {
            assert!(!family.samples.is_empty(), "{name} has no sample");
            if family.kind == "histogram" {
                check_histogram(name, &family.samples);
            }
        }
        Self(families)
    }

    /// The value of a series, as it stands in the text.
    pub fn value(&self, series: &str) -> f64 {
        let all = self
            .0
            .values()
            .find_map(|family| family.samples.get(series));
        *all.unwrap_or_else(|| panic!("no {series} in {:#?}", self.names()))
    }

    /// Every series.
    pub fn names(&self) -> BTreeSet<&str> {
        self.0
            .values()
            .flat_map(|family| family.samples.keys().map(String::as_str))
            .collect()
    }

    /// What is another value now, and by how much; histograms by their counts and sums.
    pub fn moved(&self, before: &Self) -> BTreeMap<String, f64> {
        let all = self.0.values().flat_map(|family| &family.samples);
        all.filter(|(series, _)| !series.contains("_bucket{") && !series.starts_with("process_"))
            .map(|(series, now)| {
                let former = before.0.values();
                let former = former.filter_map(|family| family.samples.get(series));
                (series.clone(), now - former.copied().next().unwrap_or(0.0))
            })
            .filter(|(_, by)| by.abs() > 1e-9)
            .collect()
    }
}

fn check_name(name: &str) {
    let legal = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    assert!(name.chars().all(legal), "{name}");
    assert!(
        name.starts_with("livemount_") || name.starts_with("process_"),
        "{name}"
    );
}

/// The suffixes of OpenMetrics 1.0, section "Metric types".
fn check_sample(family: &str, kind: &str, series: &str, value: f64) {
    let (name, labels) = match series.split_once('{') {
        Some((name, labels)) => (name, labels.strip_suffix('}').expect("closed")),
        None => (series, ""),
    };
    let suffix = name
        .strip_prefix(family)
        .unwrap_or_else(|| panic!("{name} under {family}"));
    let suffixes: &[&str] = match kind {
        "counter" => &["_total"],
        "gauge" => &[""],
        "info" => &["_info"],
        "histogram" => &["_bucket", "_sum", "_count"],
        other => panic!("{family}: samples of type {other:?}"),
    };
    assert!(suffixes.contains(&suffix), "{name} is a {kind}");
    assert!(value.is_finite(), "{series}: {value}");
    assert!(kind == "gauge" || value >= 0.0, "{series}: {value}");
    assert!(kind != "info" || (value - 1.0).abs() < 1e-9, "{series}");
    for label in labels.split(',').filter(|label| !label.is_empty()) {
        let (name, value) = label.split_once('=').expect("name and value");
        let bare = name.chars().all(|c| c.is_ascii_lowercase() || c == '_');
        assert!(bare, "{series}");
        let value = value.strip_prefix('"').and_then(|v| v.strip_suffix('"'));
        assert!(value.is_some_and(|value| !value.is_empty()), "{series}");
    }
}

/// Buckets rise, and the last holds everything.
fn check_histogram(name: &str, samples: &BTreeMap<String, f64>) {
    // By all labels but `le`.
    let mut buckets = BTreeMap::<String, Vec<(f64, f64)>>::new();
    for (series, value) in samples {
        let Some(labels) = series.strip_prefix(&format!("{name}_bucket{{")) else {
            continue;
        };
        let labels = labels.trim_end_matches('}').split(',');
        let (le, rest): (Vec<&str>, Vec<&str>) = labels.partition(|label| label.starts_with("le="));
        let le = le[0].trim_start_matches("le=\"").trim_end_matches('"');
        let le = le.parse().unwrap_or(f64::INFINITY);
        buckets
            .entry(rest.join(","))
            .or_default()
            .push((le, *value));
    }
    assert!(!buckets.is_empty(), "{name} has no buckets");
    for (labels, mut buckets) in buckets {
        buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
        assert!(
            buckets.is_sorted_by(|a, b| a.0 < b.0 && a.1 <= b.1),
            "{name}"
        );
        let braced = if labels.is_empty() {
            String::new()
        } else {
            format!("{{{labels}}}")
        };
        let count = samples[&format!("{name}_count{braced}")];
        assert!(
            samples.contains_key(&format!("{name}_sum{braced}")),
            "{name}"
        );
        let last = buckets.last().expect("some");
        assert!(
            last.0.is_infinite() && (last.1 - count).abs() < 1e-9,
            "{name}"
        );
    }
}
