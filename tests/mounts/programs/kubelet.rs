//! The kubelet's own volume, to compare with: its AtomicWriter step by step, with nothing that only
//! matters to who may read what.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

/// A folder that is written as the kubelet writes a ConfigMap volume.
pub struct AtomicWriter {
    folder: PathBuf,
    payload: BTreeMap<String, String>,
    written: BTreeMap<String, String>,
    generation: u32,
    before_cleanup: Box<dyn Fn()>,
}

impl AtomicWriter {
    /// A volume with these keys. What is called before the old folder goes is how long the kubelet
    /// takes until then.
    pub fn new(folder: &Path, keys: &[(&str, &str)], before_cleanup: Box<dyn Fn()>) -> Self {
        fs::create_dir(folder).expect("a folder can be made");
        let mut writer = Self {
            folder: folder.to_owned(),
            payload: BTreeMap::new(),
            written: BTreeMap::new(),
            generation: 0,
            before_cleanup,
        };
        for (key, value) in keys {
            writer.payload.insert((*key).into(), (*value).into());
        }
        writer.write();
        writer
    }

    /// The volume's folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Sets a key and writes the volume.
    pub fn set(&mut self, key: &str, value: &str) {
        self.payload.insert(key.into(), value.into());
        self.write();
    }

    /// Takes a key away and writes the volume.
    pub fn remove(&mut self, key: &str) {
        self.payload.remove(key);
        self.write();
    }

    fn write(&mut self) {
        if self.payload == self.written {
            return;
        }
        let data = self.folder.join("..data");
        let old = fs::read_link(&data).ok();
        // A new folder holds every file anew, changed or not.
        self.generation += 1;
        let new = format!("..2006_01_02_15_04_05.{:09}", self.generation);
        let full = self.folder.join(&new);
        fs::create_dir(&full).expect("a folder can be made");
        fs::set_permissions(&full, fs::Permissions::from_mode(0o755)).expect("its mode can be set");
        for (key, value) in &self.payload {
            let file = full.join(key);
            fs::write(&file, value).expect("a file can be written");
            let mode = fs::Permissions::from_mode(0o644);
            fs::set_permissions(&file, mode).expect("its mode can be set");
        }
        // The switch.
        let next = self.folder.join("..data_tmp");
        symlink(&new, &next).expect("a link can be made");
        fs::rename(&next, &data).expect("a link can be renamed");
        // Names that users see, and what is left of the former version.
        for key in self.payload.keys() {
            let name = self.folder.join(key);
            if fs::symlink_metadata(&name).is_err() {
                symlink(Path::new("..data").join(key), &name).expect("a link can be made");
            }
        }
        for key in self.written.keys() {
            if !self.payload.contains_key(key) {
                fs::remove_file(self.folder.join(key)).expect("a link can be removed");
            }
        }
        if let Some(old) = old {
            (self.before_cleanup)();
            fs::remove_dir_all(self.folder.join(old)).expect("the old folder can be removed");
        }
        self.written = self.payload.clone();
    }
}
