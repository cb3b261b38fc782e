//! Manifests that a test changes as people and tools do: by a rename over the file, or in place.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use rustix::fs::inotify::WatchFlags;

use super::watch::Watch;

/// One object in a manifest file.
pub struct Manifest {
    path: PathBuf,
    kind: &'static str,
    name: String,
    annotation: u32,
    data: BTreeMap<String, String>,
    binary: BTreeMap<String, Vec<u8>>,
}

impl Manifest {
    /// A `ConfigMap` without data, not yet written.
    pub fn config_map(path: &Path, name: &str) -> Self {
        Self::new(path, "ConfigMap", name)
    }

    /// A Secret without data, not yet written. Its data are written as `stringData`.
    pub fn secret(path: &Path, name: &str) -> Self {
        Self::new(path, "Secret", name)
    }

    fn new(path: &Path, kind: &'static str, name: &str) -> Self {
        Self {
            path: path.to_owned(),
            kind,
            name: name.to_owned(),
            annotation: 0,
            data: BTreeMap::new(),
            binary: BTreeMap::new(),
        }
    }

    /// The file's path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Sets a key to a text, in memory.
    pub fn set(&mut self, key: &str, value: &str) -> &mut Self {
        self.data.insert(key.to_owned(), value.to_owned());
        self
    }

    /// Sets a key to bytes, in memory.
    pub fn set_binary(&mut self, key: &str, value: &[u8]) -> &mut Self {
        self.binary.insert(key.to_owned(), value.to_owned());
        self
    }

    /// Takes a key away, in memory.
    pub fn remove(&mut self, key: &str) -> &mut Self {
        self.data.remove(key);
        self.binary.remove(key);
        self
    }

    /// Changes the object without changing a file of it: an annotation, in memory.
    pub fn touch(&mut self) -> &mut Self {
        self.annotation += 1;
        self
    }

    /// The manifest as YAML.
    pub fn render(&self) -> String {
        let (texts, binaries) = match self.kind {
            "Secret" => ("stringData", "data"),
            _ => ("data", "binaryData"),
        };
        let mut yaml = format!(
            "apiVersion: v1\nkind: {}\nmetadata:\n  name: {}\n  annotations:\n    revision: \"{}\"\n",
            self.kind, self.name, self.annotation
        );
        // A JSON string is a double-quoted scalar of YAML.
        let quoted = |text: &str| serde_json::to_string(text).expect("a string is JSON");
        if !self.data.is_empty() {
            let _ = writeln!(yaml, "{texts}:");
            for (key, value) in &self.data {
                let _ = writeln!(yaml, "  {}: {}", quoted(key), quoted(value));
            }
        }
        if !self.binary.is_empty() {
            let _ = writeln!(yaml, "{binaries}:");
            for (key, value) in &self.binary {
                let _ = writeln!(yaml, "  {}: {}", quoted(key), base64(value));
            }
        }
        yaml
    }

    /// Puts the manifest in place by a rename: nobody ever sees half of it.
    pub fn replace(&self) {
        replace(&self.path, self.render().as_bytes());
    }

    /// Writes the manifest over the file that is there, and closes it.
    pub fn write(&self) {
        fs::write(&self.path, self.render()).expect("the manifest can be written");
    }

    /// Like `replace`, and waits until somebody has read the new file to its end and closed it.
    pub fn replace_and_wait_until_read(&self) {
        let new = beside(&self.path);
        fs::write(&new, self.render()).expect("the manifest can be written");
        let mut watch = Watch::one(&new, WatchFlags::CLOSE_NOWRITE);
        fs::rename(&new, &self.path).expect("the manifest can be renamed");
        watch.next_until("the manifest has been read", |event| {
            event.is("CLOSE_NOWRITE")
        });
    }
}

/// Puts any bytes in a manifest's place by a rename.
pub fn replace(path: &Path, bytes: &[u8]) {
    let new = beside(path);
    fs::write(&new, bytes).expect("the manifest can be written");
    fs::rename(&new, path).expect("the manifest can be renamed");
}

fn beside(path: &Path) -> PathBuf {
    let mut name = path.file_name().expect("a file name").to_owned();
    name.push(".new");
    path.with_file_name(name)
}

/// Base64 with the standard alphabet and padding.
pub fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let byte = |at: usize| u32::from(chunk.get(at).copied().unwrap_or(0));
        let group = byte(0) << 16 | byte(1) << 8 | byte(2);
        for place in 0..4 {
            if place <= chunk.len() {
                let index = group >> (18 - 6 * place) & 63;
                text.push(char::from(ALPHABET[index as usize]));
            } else {
                text.push('=');
            }
        }
    }
    text
}
