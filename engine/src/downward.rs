//! The downward API: what a file shows of the pod that mounts it.
//!
//! The object of a pod (`Object::of_pod`) tells each field in the kubelet's own words and each
//! resource as an exact number. Which fields there are, what they are called there and what an item
//! makes of them is decided here, as the API server and the kubelet decide it
//! (`validateDownwardAPIVolumeFile`, kubernetes `validation.go`; `CollectData`,
//! `volume/downwardapi/downwardapi.go`). Who reads a pod, or a volume's text, does it elsewhere.

mod quantity;
mod quote;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::object::{Bytes, Object};
use crate::spec::Item;
pub use quantity::{Quantity, QuantityError};
pub use quote::quoted;

/// The fields of a pod that stand for themselves (`validVolumeDownwardAPIFieldPathExpressions`).
const FIELDS: [&str; 5] = [NAME, NAMESPACE, UID, LABELS, ANNOTATIONS];
/// The pod's name.
pub const NAME: &str = "metadata.name";
/// The pod's namespace.
pub const NAMESPACE: &str = "metadata.namespace";
/// The pod's uid.
pub const UID: &str = "metadata.uid";
/// All of the pod's labels, as [`lines`] writes them.
pub const LABELS: &str = "metadata.labels";
/// All of the pod's annotations, as [`lines`] writes them.
pub const ANNOTATIONS: &str = "metadata.annotations";

/// Resources that every container has, be it as nothing.
pub const RESOURCES: [&str; 3] = ["cpu", "memory", "ephemeral-storage"];
/// What the names of huge pages' resources begin with; their size follows.
pub const HUGE_PAGES: &str = "hugepages-";

/// Whether a resource is asked for or allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// `requests`
    Requests,
    /// `limits`
    Limits,
}

impl Bound {
    fn prefix(self) -> &'static str {
        match self {
            Self::Requests => "requests.",
            Self::Limits => "limits.",
        }
    }
}

/// The key of one label or annotation in a pod's object; `of` is [`LABELS`] or [`ANNOTATIONS`].
pub fn entry_key(of: &str, name: &str) -> String {
    format!("{of}['{name}']")
}

/// The key of a container's resource in a pod's object.
pub fn resource_key(container: &str, bound: Bound, resource: &str) -> String {
    format!("{container}/{}{resource}", bound.prefix())
}

/// All labels or annotations in one file: sorted, a line each, its value quoted, no newline at the
/// end (`FormatMap`, kubernetes `fieldpath.go`).
pub fn lines(map: &BTreeMap<String, String>) -> String {
    let lines: Vec<_> = map
        .iter()
        .map(|(name, value)| format!("{name}={}", quoted(value)))
        .collect();
    lines.join("\n")
}

/// The key of what a `fieldRef` names with its `fieldPath`.
///
/// # Errors
///
/// It names no field of a pod that a volume may show, or a label or annotation by a name that none can have.
pub fn field(path: &str) -> Result<String, FieldError> {
    let legal = match subscripted(path) {
        // The API judges an annotation's name without regard to case.
        Some((ANNOTATIONS, name)) => is_qualified_name(&name.to_lowercase()),
        Some((LABELS, name)) => is_qualified_name(name),
        _ if FIELDS.contains(&path) => true,
        _ => return Err(FieldError::Unknown),
    };
    if legal {
        Ok(path.to_owned())
    } else {
        Err(FieldError::Name)
    }
}

/// A path and the name in its brackets (`SplitMaybeSubscriptedPath`, kubernetes `fieldpath.go`).
fn subscripted(path: &str) -> Option<(&str, &str)> {
    path.strip_suffix("']")?
        .split_once("['")
        .filter(|(path, _)| !path.is_empty())
}

/// Whether this may name a label (`IsQualifiedName`, apimachinery `validation.go`).
fn is_qualified_name(key: &str) -> bool {
    let (prefix, name) = match key.split_once('/') {
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, key),
    };
    let lower = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit();
    prefix.is_none_or(|prefix| {
        prefix.len() <= 253 && prefix.split('.').all(|part| spans(part, lower, b"-"))
    }) && name.len() <= 63
        && spans(name, |c| c.is_ascii_alphanumeric(), b"-_.")
}

/// Whether a text begins and ends with such letters and has these others between them alone.
fn spans(text: &str, letter: impl Fn(u8) -> bool, between: &[u8]) -> bool {
    let ends = text.as_bytes().first().zip(text.as_bytes().last());
    ends.is_some_and(|(first, last)| letter(*first) && letter(*last))
        && text.bytes().all(|c| letter(c) || between.contains(&c))
}

/// Why a `fieldPath` is none that a volume may show.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum FieldError {
    /// None of those that there are.
    #[error(
        "a volume shows metadata.name, metadata.namespace, metadata.uid, metadata.labels, \
         metadata.annotations, metadata.labels['NAME'] and metadata.annotations['NAME'] of its pod"
    )]
    Unknown,
    /// A name that no label or annotation can have.
    #[error("what stands in the brackets is not a legal name of a label or annotation")]
    Name,
}

/// What a `resourceFieldRef` names: the key, and what it is counted in. The API takes a divisor of 0
/// for none.
///
/// # Errors
///
/// There is no such resource, or its amount cannot be counted in that divisor.
pub fn resource(
    container: &str,
    resource: &str,
    divisor: Option<&str>,
) -> Result<(String, Divisor), ResourceError> {
    let both = [Bound::Requests, Bound::Limits];
    let (bound, name) = both
        .into_iter()
        .find_map(|bound| Some((bound, resource.strip_prefix(bound.prefix())?)))
        .filter(|(_, name)| RESOURCES.contains(name) || name.starts_with(HUGE_PAGES))
        .ok_or(ResourceError::Unknown)?;
    let refusal = match name {
        "cpu" => ResourceError::CpuDivisor,
        _ => ResourceError::BytesDivisor,
    };
    let divisor = match divisor.map(Quantity::parse).transpose() {
        Ok(None) => Divisor::ONE,
        Ok(Some(told)) if told.nanos() == 0 => Divisor::ONE,
        Ok(Some(told)) if told.is_one_unit() => Divisor(told.nanos()),
        _ => return Err(refusal),
    };
    let fits = match name {
        "cpu" => divisor.0 <= Divisor::ONE.0,
        _ => divisor.0 >= Divisor::ONE.0,
    };
    if !fits {
        return Err(refusal);
    }
    Ok((resource_key(container, bound, name), divisor))
}

/// Why a `resourceFieldRef` is none that a volume may show
/// (`validateContainerResourceFieldSelector`, `validateContainerResourceDivisor`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ResourceError {
    /// None of the resources that there are.
    #[error(
        "a volume shows requests and limits of cpu, memory, ephemeral-storage and hugepages-SIZE, \
         such as limits.cpu"
    )]
    Unknown,
    /// A divisor that the API does not take for CPU.
    #[error("a divisor of cpu is 1m or 1")]
    CpuDivisor,
    /// A divisor that the API does not take for bytes.
    #[error("a divisor of bytes is 1, 1k, 1M, 1G, 1T, 1P, 1E, 1Ki, 1Mi, 1Gi, 1Ti, 1Pi or 1Ei")]
    BytesDivisor,
}

/// What a resource is counted in: `1m`, `1`, `1k`, `1Mi` …, in billionths.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Divisor(i128);

impl Divisor {
    /// What the API takes where nothing is said.
    pub const ONE: Self = Self(1_000_000_000);

    /// How many of it hold the quantity, the last one perhaps not full
    /// (`ExtractContainerResourceValue`, kubernetes `api/v1/resource/helpers.go`). The kubelet
    /// divides broken numbers and is wrong from 2^53 on; this is right.
    fn count(self, quantity: Quantity) -> i128 {
        -(-quantity.nanos()).div_euclid(self.0)
    }
}

/// What an item shows of its pod, or nothing where the pod does not tell.
pub(crate) fn value(pod: &Object, item: &Item) -> Option<Bytes> {
    let told = pod.data().get(&item.key);
    let Some(divisor) = item.divisor else {
        // A label that is not there is an empty file.
        let absent = || subscripted(&item.key).map(|_| Bytes::from(""));
        return told.cloned().or_else(absent);
    };
    let quantity = match told {
        Some(told) => Quantity::parse(std::str::from_utf8(told).ok()?).ok()?,
        None => unasked_huge_pages(pod, &item.key)?,
    };
    Some(Bytes::from(divisor.count(quantity).to_string().as_str()))
}

/// None are asked for or allowed where a container says nothing of them; the node has no part in it
/// (`MergeContainerResourceLimits`).
fn unasked_huge_pages(pod: &Object, key: &str) -> Option<Quantity> {
    let (container, resource) = key.rsplit_once('/')?;
    let (_, name) = resource.split_once('.')?;
    let known = resource_key(container, Bound::Requests, "cpu");
    let is_known = pod.data().contains_key(&known);
    (is_known && name.starts_with(HUGE_PAGES)).then_some(Quantity::ZERO)
}

#[cfg(test)]
mod tests;
