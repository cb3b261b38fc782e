//! Which object of a manifest is meant.

use std::path::{Path, PathBuf};

use livemount_engine::object::{Kind, Object, ObjectKey};
use thiserror::Error;

/// Why it cannot be told which object to serve.
#[derive(Debug, PartialEq, Eq, Error)]
pub enum SelectError {
    /// The file holds neither a `ConfigMap` nor a Secret.
    #[error("{} holds no ConfigMap and no Secret", .0.display())]
    Nothing(PathBuf),
    /// The named object is not there.
    #[error("{} holds no {kind} {name:?}; it holds {}", .file.display(), choices(.held))]
    NotThere {
        /// The manifest.
        file: PathBuf,
        /// The kind that was asked for.
        kind: Kind,
        /// The name that was asked for.
        name: String,
        /// What is there.
        held: Vec<ObjectKey>,
    },
    /// Several objects, and none was named.
    #[error("{} holds {} objects; choose one of {}", .file.display(), .held.len(), choices(.held))]
    Several {
        /// The manifest.
        file: PathBuf,
        /// What is there.
        held: Vec<ObjectKey>,
    },
}

fn choices(held: &[ObjectKey]) -> String {
    let words: Vec<String> = held
        .iter()
        .map(|key| {
            let option = match key.kind {
                Kind::ConfigMap => "--configmap",
                Kind::Secret => "--secret",
            };
            format!("{option} {}", key.name)
        })
        .collect();
    words.join(", ")
}

/// The object that is meant.
pub(super) fn select(
    file: &Path,
    objects: &[Object],
    wanted: Option<&(Kind, String)>,
) -> Result<ObjectKey, SelectError> {
    let file = || file.to_owned();
    let held = || objects.iter().map(|object| object.key.clone()).collect();
    if objects.is_empty() {
        return Err(SelectError::Nothing(file()));
    }
    let Some((kind, name)) = wanted else {
        return match objects {
            [one] => Ok(one.key.clone()),
            _ => Err(SelectError::Several {
                file: file(),
                held: held(),
            }),
        };
    };
    let mut named = objects
        .iter()
        .filter(|object| object.key.kind == *kind && object.key.name == *name);
    match (named.next(), named.next()) {
        (Some(one), None) => Ok(one.key.clone()),
        // One name in two namespaces.
        (Some(_), Some(_)) => Err(SelectError::Several {
            file: file(),
            held: held(),
        }),
        (None, _) => Err(SelectError::NotThere {
            file: file(),
            kind: *kind,
            name: name.clone(),
            held: held(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn object(kind: Kind, name: &str) -> Object {
        let key = ObjectKey {
            kind,
            namespace: "default".into(),
            name: name.into(),
        };
        Object::new(key, BTreeMap::new()).expect("a legal object")
    }

    #[test]
    fn one_object_needs_no_name_and_several_do() {
        let file = Path::new("all.yaml");
        let one = [object(Kind::ConfigMap, "a")];
        assert_eq!(select(file, &one, None).map(|key| key.name), Ok("a".into()));
        let two = [object(Kind::ConfigMap, "a"), object(Kind::Secret, "b")];
        let error = select(file, &two, None).expect_err("ambiguous");
        assert_eq!(
            error.to_string(),
            "all.yaml holds 2 objects; choose one of --configmap a, --secret b"
        );
        let b = (Kind::Secret, "b".to_owned());
        assert_eq!(
            select(file, &two, Some(&b)).map(|key| key.name),
            Ok("b".into())
        );
        let a = (Kind::Secret, "a".to_owned());
        let error = select(file, &two, Some(&a)).expect_err("the ConfigMap is not meant");
        assert_eq!(
            error.to_string(),
            "all.yaml holds no Secret \"a\"; it holds --configmap a, --secret b"
        );
        assert_eq!(
            select(file, &[], None),
            Err(SelectError::Nothing(file.into()))
        );
    }
}
