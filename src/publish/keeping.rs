//! Volumes that a successor of this process can go on with: what is stored of each, and finding it again.
//!
//! Of each volume the keeper holds three descriptors: its connection, its mount, and the file in which its
//! state is written down (`src/store/`); and one more for the contents of all. They are stored when a
//! volume is published and removed when it is unpublished; a commit stores nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use livemount_engine::snapshot::HashKey;
use livemount_hand::VolumeNumber;
use livemount_keeper::{Keeper, KeeperError, Stored};
use livemount_volume::Replayed;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tracing::{error, warn};

use super::settings::Settings;
use crate::store::{Contents, StoreError, VolumeFile};

/// The name of the contents' file among what is stored.
const CONTENTS: &str = "contents";
/// For how long storing is waited for: the keeper does nothing else.
const WITHIN: Duration = Duration::from_secs(5);

/// What is stored of a volume beside its state.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct About {
    pub(super) number: VolumeNumber,
    pub(super) name: String,
    pub(super) target: PathBuf,
    /// The target's folder was made for it.
    pub(super) created: bool,
    /// The target shows it: whoever asked for it may have been answered.
    pub(super) bound: bool,
    pub(super) settings: Settings,
    /// The key of its hashes, by which the kernel knows its inodes.
    pub(super) key: [u8; 16],
    /// What the kernel can do, as the connection's INIT said.
    pub(super) capabilities: u64,
    /// What whoever asked for the volume needs to go on with it.
    pub(super) request: Vec<u8>,
}

impl About {
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        // Plain data: only memory could be missing.
        postcard::to_stdvec(self).unwrap_or_default()
    }
}

/// Where volumes are kept. Clones are the same.
#[derive(Clone)]
pub struct Keeping {
    keeper: Keeper,
    contents: Contents,
    /// The volumes that the keeper holds, or is to hold: with the last the contents go as well, so that a
    /// keeper of nothing knows that it is one.
    held: Arc<Mutex<BTreeSet<VolumeNumber>>>,
}

/// A volume that a predecessor has left.
pub struct Left {
    pub(super) about: About,
    pub(super) device: OwnedFd,
    pub(super) mount: OwnedFd,
    /// Its state, or why that cannot be read.
    pub(super) volume: Result<(Replayed, VolumeFile), StoreError>,
}

impl Left {
    /// What whoever asked for it gave along.
    pub fn request(&self) -> &[u8] {
        &self.about.request
    }

    /// Its name in logs.
    pub fn name(&self) -> &str {
        &self.about.name
    }

    /// Where it is.
    pub fn target(&self) -> &Path {
        &self.about.target
    }

    /// The key of its hashes.
    pub fn key(&self) -> HashKey {
        HashKey(self.about.key)
    }

    /// Whether its state can be read.
    pub fn is_readable(&self) -> bool {
        self.volume.is_ok()
    }
}

/// The three of a volume, as far as they are there.
#[derive(Default)]
struct Parts {
    device: Option<OwnedFd>,
    mount: Option<OwnedFd>,
    file: Option<OwnedFd>,
}

fn names(number: VolumeNumber) -> [String; 3] {
    ["device", "mount", "file"].map(|part| format!("volume-{number}-{part}"))
}

impl Keeping {
    /// Takes over what a predecessor has left: `each` gets one volume after the other, as soon as it is read,
    /// so that its users need not wait for all. What can never be used is told and let go.
    ///
    /// # Errors
    ///
    /// The machine gives no memory or no descriptors, the keeper cannot be told, or the first error of `each`.
    /// What is left is as it was: another process may have more luck.
    pub fn begin<E: From<KeepError>>(
        keeper: Keeper,
        stored: Vec<Stored>,
        mut each: impl FnMut(Left) -> Result<(), E>,
    ) -> Result<Self, E> {
        let mut parts: BTreeMap<String, Parts> = BTreeMap::new();
        let mut contents = None;
        for Stored { name, descriptor } in stored {
            if name == CONTENTS {
                contents = Some(descriptor);
                continue;
            }
            let Some((volume, part)) = name.rsplit_once('-') else {
                warn!(name, "what is stored under this name is not ours");
                continue;
            };
            let entry = parts.entry(volume.to_owned()).or_default();
            match part {
                "device" => entry.device = Some(descriptor),
                "mount" => entry.mount = Some(descriptor),
                "file" => entry.file = Some(descriptor),
                _ => warn!(name, "what is stored under this name is not ours"),
            }
        }
        let contents = match contents.map(Contents::open) {
            Some(Ok(contents)) => contents,
            Some(Err(error)) if error.is_the_machines() => {
                return Err(KeepError::from(error).into());
            }
            other => {
                if let Some(Err(error)) = other {
                    error!(%error, "the stored contents cannot be used");
                }
                Contents::new().map_err(KeepError::from)?
            }
        };
        let mut held = BTreeSet::new();
        let mut readable = true;
        let mut useless = Vec::new();
        for (volume, parts) in parts {
            let found = match parts {
                Parts {
                    device: Some(device),
                    mount: Some(mount),
                    file: Some(file),
                } => Self::read(device, mount, file, &contents).map_err(KeepError::from)?,
                // Its publish came to no end, and nobody was answered.
                _ => None,
            };
            match found {
                Some(found) => {
                    held.insert(found.about.number);
                    readable &= found.is_readable();
                    each(found)?;
                }
                None => useless
                    .extend(["device", "mount", "file"].map(|part| format!("{volume}-{part}"))),
            }
        }
        let keeping = Self {
            keeper,
            contents,
            held: Arc::new(Mutex::new(held)),
        };
        keeping.settle(readable, &useless)?;
        Ok(keeping)
    }

    /// All volumes have been read: what none of them speaks of goes.
    fn settle(&self, readable: bool, useless: &[String]) -> Result<(), KeepError> {
        if readable {
            self.contents.settle()?;
        } else {
            self.contents.settle_beside_unread()?;
        }
        self.keeper.remove(useless)?;
        if self.held.lock().is_empty() {
            self.keeper.remove(&[CONTENTS])?;
        }
        Ok(())
    }

    fn read(
        device: OwnedFd,
        mount: OwnedFd,
        file: OwnedFd,
        contents: &Contents,
    ) -> Result<Option<Left>, StoreError> {
        let found = match VolumeFile::open(file, contents) {
            Ok(found) => found,
            Err(error) if error.is_the_machines() => return Err(error),
            Err(error) => {
                error!(%error, "a stored volume cannot be used");
                return Ok(None);
            }
        };
        let about: About = match postcard::from_bytes(&found.about) {
            Ok(about) => about,
            Err(error) => {
                error!(%error, "a stored volume cannot be used");
                return Ok(None);
            }
        };
        let volume = match found.volume {
            Err(error) if error.is_the_machines() => return Err(error),
            volume => volume,
        };
        if let Err(error) = &volume {
            error!(
                volume = about.name,
                %error,
                "what is stored of the volume cannot be read: it is rendered anew, and handles that were open read ESTALE"
            );
        }
        // One that is not bound was promised to nobody.
        Ok(about.bound.then_some(Left {
            about,
            device,
            mount,
            volume,
        }))
    }

    /// A file for a new volume.
    pub(super) fn file(&self, about: &About) -> Result<VolumeFile, StoreError> {
        VolumeFile::new(&self.contents, about.to_bytes())
    }

    /// Stores a volume. When this returns the keeper has it, unless it is away: then it has it as soon as it is
    /// back.
    pub(super) fn store(
        &self,
        number: VolumeNumber,
        device: impl AsFd,
        mount: impl AsFd,
        file: impl AsFd,
    ) -> Result<(), KeeperError> {
        let [device_name, mount_name, file_name] = names(number);
        let mut held = self.held.lock();
        if held.is_empty() {
            self.keeper.store(CONTENTS, self.contents.descriptor())?;
        }
        held.insert(number);
        self.keeper.store_all(&[
            (&device_name, device.as_fd()),
            (&mount_name, mount.as_fd()),
            (&file_name, file.as_fd()),
        ])?;
        drop(held);
        match self.keeper.barrier(WITHIN) {
            Err(error @ (KeeperError::Gone | KeeperError::Slow(_))) => {
                warn!(%error, "a volume is published that the keeper does not hold yet");
                Ok(())
            }
            stored => stored,
        }
    }

    /// Stores another file of a volume, in the place of the one before.
    pub(super) fn store_file(
        &self,
        number: VolumeNumber,
        file: impl AsFd,
    ) -> Result<(), KeeperError> {
        let [_, _, name] = names(number);
        self.keeper.store(&name, file.as_fd())
    }

    /// Stores another mount of a volume, in the place of the one before.
    pub(super) fn store_mount(&self, number: VolumeNumber, mount: impl AsFd) {
        let [_, name, _] = names(number);
        if let Err(error) = self.keeper.store(&name, mount.as_fd()) {
            warn!(%error, "the keeper could not be given a volume's new mount");
        }
    }

    /// A volume is not to be kept any more. That the keeper does not hear it is no error: what it then keeps
    /// is let go by the next daemon.
    pub(super) fn remove(&self, number: VolumeNumber) {
        let mut held = self.held.lock();
        let mut names = names(number).to_vec();
        if held.remove(&number) && held.is_empty() {
            names.push(CONTENTS.to_owned());
        }
        if let Err(error) = self.keeper.remove(&names) {
            warn!(%error, "the keeper could not be told that a volume is gone");
        }
    }

    /// Whether no volume is kept, so that nothing is lost where nobody keeps it.
    pub fn is_empty(&self) -> bool {
        self.held.lock().is_empty()
    }

    /// Who holds the descriptors.
    pub fn keeper(&self) -> &Keeper {
        &self.keeper
    }
}

impl About {
    pub(super) fn new(
        number: VolumeNumber,
        name: &str,
        target: &Path,
        settings: &Settings,
        key: HashKey,
        request: Vec<u8>,
    ) -> Self {
        Self {
            number,
            name: name.to_owned(),
            target: target.to_owned(),
            created: false,
            bound: false,
            settings: *settings,
            key: key.0,
            capabilities: 0,
            request,
        }
    }
}

/// Why volumes cannot be kept.
#[derive(Debug, thiserror::Error)]
pub enum KeepError {
    /// The machine gives no memory for it.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The keeper cannot be told.
    #[error(transparent)]
    Keeper(#[from] KeeperError),
}
