//! Which object of a source is meant.

use std::path::{Path, PathBuf};

use livemount_engine::object::{Kind, ObjectKey};
use thiserror::Error;

use crate::source::manifest::ORIGIN;

/// Why it cannot be told which object to serve.
#[derive(Debug, PartialEq, Eq, Error)]
pub enum SelectError {
    /// The source holds neither a `ConfigMap` nor a Secret.
    #[error("{} holds no ConfigMap and no Secret", .0.display())]
    Nothing(PathBuf),
    /// A cluster is not searched for the one that could be meant.
    #[error("a cluster holds many objects; choose with --configmap, --secret or --volume")]
    Unnamed,
    /// No cluster has such a namespace.
    #[error("kube:{namespace}: not a legal name: {why}")]
    Namespace {
        /// What was asked for.
        namespace: String,
        /// Why not.
        why: String,
    },
    /// All that the source holds is in other namespaces.
    #[error(
        "{} holds nothing in namespace {namespace}; it holds {}: choose with --namespace",
        .source_path.display(),
        listed(.held)
    )]
    Elsewhere {
        /// The source.
        source_path: PathBuf,
        /// The namespace that was asked for.
        namespace: String,
        /// What is there.
        held: Vec<ObjectKey>,
    },
    /// The named object is not there.
    #[error("{} holds no {wanted}; it holds {}", .source_path.display(), choices(.held))]
    NotThere {
        /// The source.
        source_path: PathBuf,
        /// What was asked for.
        wanted: Box<ObjectKey>,
        /// What is there.
        held: Vec<ObjectKey>,
    },
    /// Several objects, and none was named.
    #[error(
        "{} holds {} objects; choose one of {}",
        .source_path.display(),
        .held.len(),
        choices(.held)
    )]
    Several {
        /// The source.
        source_path: PathBuf,
        /// What is there.
        held: Vec<ObjectKey>,
    },
}

/// How many objects are listed.
const MOST: usize = 20;

fn choices(held: &[ObjectKey]) -> String {
    list(held, |key| {
        let option = match key.kind {
            Kind::ConfigMap | Kind::Pod => "--configmap",
            Kind::Secret => "--secret",
        };
        format!("{option} {}", key.name)
    })
}

fn listed(held: &[ObjectKey]) -> String {
    list(held, ToString::to_string)
}

fn list(held: &[ObjectKey], word: impl Fn(&ObjectKey) -> String) -> String {
    let mut words: Vec<String> = held.iter().take(MOST).map(word).collect();
    if held.len() > MOST {
        words.push(format!("and {} more", held.len() - MOST));
    }
    words.join(", ")
}

/// The object that is meant.
pub(super) fn select<'k>(
    path: &Path,
    keys: impl Iterator<Item = &'k ObjectKey>,
    namespace: &str,
    wanted: Option<&(Kind, String)>,
) -> Result<ObjectKey, SelectError> {
    let source_path = path.to_owned();
    let (held, elsewhere): (Vec<ObjectKey>, Vec<ObjectKey>) =
        keys.cloned().partition(|key| key.namespace == namespace);
    if held.is_empty() && elsewhere.is_empty() {
        return Err(SelectError::Nothing(source_path));
    }
    if held.is_empty() {
        return Err(SelectError::Elsewhere {
            source_path,
            namespace: namespace.to_owned(),
            held: elsewhere,
        });
    }
    match wanted {
        None => match &held[..] {
            [one] => Ok(one.clone()),
            _ => Err(SelectError::Several { source_path, held }),
        },
        Some((kind, name)) => {
            let wanted = ObjectKey {
                kind: *kind,
                namespace: namespace.to_owned(),
                name: name.clone(),
                origin: ORIGIN,
            };
            if held.contains(&wanted) {
                Ok(wanted)
            } else {
                Err(SelectError::NotThere {
                    source_path,
                    wanted: Box::new(wanted),
                    held,
                })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(kind: Kind, namespace: &str, name: &str) -> ObjectKey {
        ObjectKey {
            kind,
            namespace: namespace.into(),
            name: name.into(),
            origin: ORIGIN,
        }
    }

    #[test]
    fn one_object_needs_no_name_and_several_do() {
        let a = key(Kind::ConfigMap, "default", "a");
        let b = key(Kind::Secret, "default", "b");
        let elsewhere = key(Kind::Secret, "prod", "c");
        let choose = |held: &[&ObjectKey], wanted: Option<(Kind, &str)>| {
            let wanted = wanted.map(|(kind, name)| (kind, name.to_owned()));
            let path = Path::new("all.yaml");
            select(path, held.iter().copied(), "default", wanted.as_ref())
                .map(|key| key.to_string())
                .map_err(|error| error.to_string())
        };
        let ok = |words: &str| Ok(words.to_owned());
        let no = |words: &str| Err(words.to_owned());
        for (held, wanted, chosen) in [
            (&[&a][..], None, ok("ConfigMap default/a")),
            (&[&a, &elsewhere], None, ok("ConfigMap default/a")),
            (&[&a, &b], Some((Kind::Secret, "b")), ok("Secret default/b")),
            (
                &[&a, &b],
                None,
                no("all.yaml holds 2 objects; choose one of --configmap a, --secret b"),
            ),
            (
                &[&a, &b],
                Some((Kind::Secret, "a")),
                no("all.yaml holds no Secret default/a; it holds --configmap a, --secret b"),
            ),
            (&[], None, no("all.yaml holds no ConfigMap and no Secret")),
            (
                &[&elsewhere],
                Some((Kind::Secret, "c")),
                no(
                    "all.yaml holds nothing in namespace default; it holds Secret prod/c: choose \
                     with --namespace",
                ),
            ),
        ] {
            assert_eq!(choose(held, wanted), chosen);
        }
        let many: Vec<ObjectKey> = (0..30)
            .map(|n| key(Kind::Secret, "default", &n.to_string()))
            .collect();
        let error = choose(&many.iter().collect::<Vec<_>>(), None).expect_err("ambiguous");
        assert!(error.ends_with("--secret 19, and 10 more"), "{error}");
    }
}
