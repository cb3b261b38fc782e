//! What must hold whatever bytes come in, at the three places where strangers' bytes do: manifests,
//! volume sources, and the messages between daemon and hand.
//!
//! Each function takes an input and panics where a rule is broken. The fuzz targets call them with
//! what libFuzzer makes up, `tests/repository/fuzz.rs` of the root crate with the corpus and with damaged
//! copies of it: the file is compiled into both. Time and memory are bounded by whoever calls.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::path::Path;
use std::time::Duration;

use livemount::source::manifest::{self, LocatedObject, ManifestError};
use livemount::volume_source::{self, Scope, VolumeSourceError, VolumeSourceType};
use livemount_engine::object::{Bytes, Kind, MAX_OBJECT_BYTES, Object, ObjectKey, check_key};
use livemount_engine::path::RelPath;
use livemount_engine::render::{Refusal, Rendered, render};
use livemount_engine::snapshot::HashKey;
use livemount_engine::spec::{Source, Spec};
use livemount_hand::protocol::{
    Call, Control, MAX_MESSAGE, Reply, Request, Spoken, decode, encode,
};
use livemount_keeper::message::{self, Request as Asked};
use livemount_volume::{Answered, Monotonic, Record, Replay, State};

const KEY: HashKey = HashKey([7; 16]);
const NAMESPACE: &str = "default";
const ORIGIN: &str = "origin";

/// A manifest is taken, object by object as the API would take it, or refused by an error that tells
/// no value.
pub fn manifest(bytes: &[u8]) {
    let read = || manifest::parse(Path::new(ORIGIN), bytes, NAMESPACE);
    let located = read();
    assert_eq!(located, read(), "the same text is read differently");
    match located {
        Ok(located) => taken(&located, last_line(bytes)),
        Err(error) => refused(&error, last_line(bytes)),
    }
}

fn taken(located: &[LocatedObject], last: usize) {
    let mut told = BTreeSet::new();
    for LocatedObject { object, line } in located {
        let key = &object.key;
        assert!((1..=last).contains(line), "line {line} of {last}");
        assert!(told.insert(key.clone()), "{key} is told twice");
        assert!(subdomain(&key.name), "{key:?}");
        assert!(label(&key.namespace), "{key:?}");
        for name in object.data().keys() {
            assert_eq!(check_key(name), Ok(()), "{name:?}");
        }
        let held: usize = object.data().values().map(|value| value.len()).sum();
        assert!(held <= MAX_OBJECT_BYTES, "{held} bytes");
        silent(&without_labels(object), "an object's Debug");
        shown_whole(object);
    }
}

/// uid and resourceVersion may be any text of the file, and are no secret.
fn without_labels(object: &Object) -> Object {
    let mut bare = object.clone();
    (bare.uid, bare.resource_version) = (None, None);
    bare
}

/// Every key is a file of that name with the value as its contents.
fn shown_whole(object: &Object) {
    let spec = Spec::of_object(object.key.clone());
    let rendered = twice(&spec, |_| Some(object)).expect("every key is a legal file name");
    let files: BTreeMap<&str, &[u8]> = rendered
        .snapshot
        .files()
        .map(|(path, file)| (path.as_str(), &file.bytes[..]))
        .collect();
    let data: BTreeMap<&str, &[u8]> = object
        .data()
        .iter()
        .map(|(key, value)| (key.as_str(), &value[..]))
        .collect();
    assert!(files == data, "{} is not shown as it is", object.key);
}

fn refused(error: &ManifestError, last: usize) {
    let flaw = &error.flaw;
    if let Some(line) = flaw.line {
        assert!((1..=last).contains(&line), "line {line} of {last}");
    }
    if let Some(object) = &flaw.object {
        assert!(subdomain(&object.name) && label(&object.namespace));
    }
    let of_config_map = flaw
        .object
        .as_ref()
        .is_some_and(|object| object.kind == Kind::ConfigMap);
    match &flaw.key {
        // It may have anything for a key, which is no secret; all else must be silent.
        Some(_) if of_config_map => {
            let mut silenced = error.clone();
            silenced.flaw.key = None;
            silent(&silenced, "an error");
            return;
        }
        Some(key) => {
            let legal = key.trim_end_matches('…');
            assert_eq!(check_key(legal), Ok(()), "a Secret's key is no key");
        }
        None => {}
    }
    silent(error, "an error");
    assert!(!foreign(&error.to_string()), "an error tells a value");
}

/// A volume source is taken, and renders or is refused by what its objects lack; or it is refused by
/// an error that tells nothing of it.
pub fn volume(bytes: &[u8]) {
    let file = Path::new(ORIGIN);
    let origin = manifest::ORIGIN;
    let scope = |pod| Scope {
        origin: &origin,
        namespace: NAMESPACE,
        pod,
    };
    both(bytes, || {
        volume_source::parse_volume(file, bytes, scope(None))
    });
    for kind in [
        VolumeSourceType::ConfigMap,
        VolumeSourceType::Secret,
        VolumeSourceType::Projected,
    ] {
        for pod in [None, Some("pod-0")] {
            both(bytes, || {
                volume_source::parse_volume_source(file, kind, bytes, scope(pod))
            });
        }
    }
}

fn both(bytes: &[u8], read: impl Fn() -> Result<Spec, VolumeSourceError>) {
    let spec = read();
    assert_eq!(spec, read(), "the same text is read differently");
    match spec {
        Ok(spec) => asked_for(&spec),
        Err(error) => {
            if let Some(line) = error.line {
                let last = last_line(bytes);
                assert!((1..=last).contains(&line), "line {line} of {last}");
            }
            silent(&error, "an error");
            assert!(!foreign(&error.to_string()), "an error tells a value");
        }
    }
}

fn asked_for(spec: &Spec) {
    assert!(spec.default_mode.bits() <= 0o777 && spec.fs_group.is_none());
    for Source { object, items, .. } in &spec.sources {
        assert!(subdomain(&object.name), "{object:?}");
        assert_eq!(object.namespace, NAMESPACE);
        for item in items {
            // A pod's is a field's name, which the engine looks up and no file carries.
            if object.kind != Kind::Pod {
                assert_eq!(check_key(&item.key), Ok(()), "{:?}", item.key);
            }
            assert_eq!(RelPath::new(item.path.as_str()).as_ref(), Ok(&item.path));
            assert!(item.mode.is_none_or(|mode| mode.bits() <= 0o777));
        }
    }
    if spec
        .sources
        .iter()
        .any(|source| source.object.kind == Kind::Pod)
    {
        return;
    }
    let objects = objects_of(spec);
    match twice(spec, |key| objects.get(key)) {
        Ok(rendered) => {
            for source in &spec.sources {
                for item in &source.items {
                    let file = rendered.snapshot.file(item.path.as_str());
                    assert!(file.is_some(), "{:?} is not there", item.path);
                }
            }
        }
        // Two optional sources may still be in each other's way.
        Err(Refusal::FileAndFolder { .. }) => {}
        Err(other) => panic!("all that it asks for is there: {other}"),
    }
    let optional = spec.sources.iter().all(|source| source.optional);
    match twice(spec, |_| None) {
        Ok(rendered) => {
            assert!(optional, "what it needs is not there");
            assert_eq!(rendered.snapshot.files().count(), 0);
        }
        Err(refusal) => {
            assert!(!optional && matches!(refusal, Refusal::Missing { .. }));
        }
    }
}

/// Every object that a spec reads, with every key that it names.
fn objects_of(spec: &Spec) -> BTreeMap<ObjectKey, Object> {
    let mut data: BTreeMap<&ObjectKey, BTreeMap<String, Bytes>> = BTreeMap::new();
    for source in &spec.sources {
        let keys = data.entry(&source.object).or_default();
        for item in &source.items {
            keys.insert(item.key.clone(), Bytes::from("v"));
        }
    }
    data.into_iter()
        .map(|(key, data)| {
            let object = Object::new(key.clone(), data).expect("its keys are legal");
            (key.clone(), object)
        })
        .collect()
}

/// Renders from nothing and on top of itself: the same comes out.
fn twice<'o>(
    spec: &Spec,
    lookup: impl Fn(&ObjectKey) -> Option<&'o Object>,
) -> Result<Rendered, Refusal> {
    let first = render(spec, &lookup, &KEY, None)?;
    let again = render(spec, &lookup, &KEY, Some(&first.snapshot))?;
    assert_eq!(first.snapshot.digest, again.snapshot.digest);
    assert_eq!(first.snapshot.entries, again.snapshot.entries);
    for (path, _) in first.snapshot.files() {
        assert_eq!(RelPath::new(path.as_str()).as_ref(), Ok(path));
    }
    Ok(first)
}

/// A message is read or refused, in both directions; one that is read can be written, is no longer
/// then, and is the same when it is read again.
pub fn protocol(bytes: &[u8]) {
    if let Ok(request) = decode::<Request>(bytes) {
        let written = encode(&request).expect("no longer than what was read");
        assert!(written.len() <= bytes.len().min(MAX_MESSAGE));
        assert_eq!(decode::<Request>(&written).as_ref(), Ok(&request));
        let longer = [&written[..], &[0]].concat();
        assert!(decode::<Request>(&longer).is_err(), "a byte is left over");
        assert!(!request.call.name().is_empty());
        if let Call::Control(Control::Hello(theirs)) = request.call {
            understood(theirs);
        }
    }
    if let Ok(reply) = decode::<Reply>(bytes) {
        let written = encode(&reply).expect("no longer than what was read");
        assert!(written.len() <= bytes.len().min(MAX_MESSAGE));
        assert_eq!(decode::<Reply>(&written).as_ref(), Ok(&reply));
        let longer = [&written[..], &[0]].concat();
        assert!(decode::<Reply>(&longer).is_err(), "a byte is left over");
        if let Err(error) = &reply.outcome {
            assert!(!error.to_string().is_empty());
        }
    }
}

/// What is agreed on is understood by both, and by whichever end it is asked of.
fn understood(theirs: Spoken) {
    let ours = Spoken::OURS;
    let common = ours.common(theirs);
    assert_eq!(common, theirs.common(ours));
    if let Some(common) = common {
        for end in [ours, theirs] {
            assert!((end.oldest..=end.version).contains(&common), "{theirs:?}");
        }
    }
}

/// A letter that no name, namespace, legal key or sentence of ours has, so that whoever shows one
/// has shown a value or an illegal key. The corpus puts such letters wherever a value can stand.
fn foreign(shown: &str) -> bool {
    shown
        .chars()
        .any(|letter| ('\u{400}'..='\u{4ff}').contains(&letter))
}

fn silent(what: &impl Debug, name: &str) {
    assert!(!foreign(&format!("{what:?}")), "{name} tells a value");
    assert!(!foreign(&format!("{what:#?}")), "{name} tells a value");
}

/// The number of the last line, by any way to end one.
fn last_line(bytes: &[u8]) -> usize {
    let ends = |end: &char| ['\n', '\r', '\u{85}', '\u{2028}', '\u{2029}'].contains(end);
    let text = String::from_utf8_lossy(bytes);
    text.chars().filter(ends).count() + 1
}

/// `IsDNS1123Subdomain` of apimachinery, written anew.
fn subdomain(name: &str) -> bool {
    name.len() <= 253 && name.split('.').all(|part| bare(part) && !part.is_empty())
}

/// `IsDNS1123Label` of apimachinery, written anew.
fn label(name: &str) -> bool {
    (1..=63).contains(&name.len()) && bare(name)
}

fn bare(part: &str) -> bool {
    part.bytes()
        .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-')
        && !part.starts_with('-')
        && !part.ends_with('-')
}

/// Lines are read or refused; what is read can be written, and is the same when it is read again. What they
/// ask for names exactly as many descriptors as came with them.
pub fn keeper(bytes: &[u8]) {
    let Ok(lines) = message::read(bytes) else {
        return;
    };
    let written = message::write(&lines);
    // The end of the last line may have been missing.
    assert!(written.len() <= bytes.len() + 1);
    assert_eq!(message::read(&written).as_ref(), Ok(&lines));
    for beside in [0, 1, 2, 3, message::MAX_DESCRIPTORS] {
        let Ok(asked) = message::requests(&lines, beside) else {
            continue;
        };
        let wanted = asked.iter().map(|request| match request {
            Asked::Store(names) => names.len(),
            Asked::Barrier(_) => 1,
            _ => 0,
        });
        assert_eq!(wanted.sum::<usize>(), beside, "{asked:?}");
        for name in asked.iter().flat_map(|request| match request {
            Asked::Store(names) | Asked::Remove(names) => &names[..],
            _ => &[],
        }) {
            let text = name.as_str();
            assert!((1..=255).contains(&text.len()) && !text.contains(':'));
            assert!(text.bytes().all(|byte| (0x20..0x7f).contains(&byte)));
        }
    }
}

/// A volume's record and its journal: how long the record is (4 bytes), the record, and steps, each behind its
/// length (2 bytes). What is read is a volume, or an error, and what it became can be written down and
/// read again.
pub fn record(bytes: &[u8]) {
    /// More than any record of the corpus speaks of.
    const MOST: u64 = 1 << 16;
    let now = Monotonic(Duration::from_secs(1000));
    let Some((length, rest)) = bytes.split_first_chunk::<4>() else {
        return;
    };
    let length = usize::try_from(u32::from_le_bytes(*length)).unwrap_or(usize::MAX);
    let Some((written, mut steps)) = rest.split_at_checked(length) else {
        return;
    };
    let Ok(record) = postcard::from_bytes::<Record>(written) else {
        return;
    };
    let lengths = record.lengths();
    if lengths
        .iter()
        .try_fold(0, |sum: u64, length| sum.checked_add(*length))
        > Some(MOST)
    {
        return;
    }
    let content = |length: &u64| Bytes::from(vec![b'x'; usize::try_from(*length).unwrap_or(0)]);
    let contents: Vec<Bytes> = lengths.iter().map(content).collect();
    let Ok(state) = State::from_record(record, &contents, now) else {
        return;
    };
    let mut replay = Replay::new(state, Vec::new(), Answered::default());
    while let Some((length, rest)) = steps.split_first_chunk::<2>() {
        let Some((step, rest)) = rest.split_at_checked(u16::from_le_bytes(*length).into()) else {
            break;
        };
        let Ok(step) = postcard::from_bytes(step) else {
            break;
        };
        if replay.step(&step).is_err() {
            return;
        }
        steps = rest;
    }
    let mut state = replay.done().state;
    state.take_over();
    let (again, contents) = state.record(now);
    State::from_record(again, &contents, now).expect("what was written can be read");
}
