//! What keeps a volume for a successor of this process, and what its predecessor left.

use std::collections::HashMap;

use livemount_volume::{Answered, Inode, Opened, ParkedOpen, RequestNumber, State};

use super::sync;
use crate::store::{Contents, Requests, StoreError, Superseded, VolumeFile};

/// A volume's file, where it is kept, and what is known of the requests of a predecessor.
#[derive(Default)]
pub(super) struct Kept {
    pub(super) file: Option<VolumeFile>,
    /// Why it is not kept, though it should be.
    pub(super) failure: Option<StoreError>,
    /// What a predecessor did for requests that the kernel may ask again. A few thousand at most, and
    /// each number is asked for once.
    looked_up: HashMap<RequestNumber, Inode>,
    opened: HashMap<RequestNumber, Opened>,
    /// The requests that a predecessor had parked, until they are answered or asked for again.
    inherited: Vec<ParkedOpen>,
    /// Whether the kernel may still ask requests again: until the second record. Whatever it asks again comes
    /// first of all, and a journal of thousands of steps before that.
    first: bool,
}

/// The kernel sets this bit in the number of a request that it sends again (`FUSE_UNIQUE_RESEND`,
/// `include/uapi/linux/fuse.h`).
const RESENT: u64 = 1 << 63;

fn first_number(RequestNumber(number): RequestNumber) -> RequestNumber {
    RequestNumber(number & !RESENT)
}

impl Kept {
    /// What a predecessor left.
    pub(super) fn taken_over(
        file: VolumeFile,
        inherited: Vec<ParkedOpen>,
        answered: Answered,
    ) -> Self {
        let looked_up = answered.looked_up.into_iter();
        let opened = answered.opened.into_iter();
        Self {
            file: Some(file),
            failure: None,
            looked_up: looked_up
                .map(|(request, ino)| (first_number(request), ino))
                .collect(),
            opened: opened
                .map(|(request, opened)| (first_number(request), opened))
                .collect(),
            inherited,
            first: true,
        }
    }

    /// Whether a predecessor looked this up for this very request.
    pub(super) fn looked_up_already(&mut self, request: RequestNumber, ino: Inode) -> bool {
        !self.looked_up.is_empty() && self.looked_up.remove(&first_number(request)) == Some(ino)
    }

    /// What a predecessor opened for this very request.
    pub(super) fn opened_already(&mut self, request: RequestNumber) -> Option<Opened> {
        if self.opened.is_empty() {
            return None;
        }
        self.opened.remove(&first_number(request))
    }

    pub(super) fn contents(&self) -> Option<Contents> {
        self.file.as_ref().map(|file| file.contents().clone())
    }

    pub(super) fn inherited(&self) -> Vec<ParkedOpen> {
        self.inherited.clone()
    }

    pub(super) fn inherited_done(&mut self) {
        self.inherited.clear();
    }

    /// Writes the volume down anew; nothing where it is not kept. Where that fails it is kept no more: a
    /// successor would go on from an old state.
    pub(super) fn write(
        &mut self,
        state: &State,
        parked: impl Iterator<Item = ParkedOpen>,
    ) -> Result<Superseded, StoreError> {
        let Some(file) = &mut self.file else {
            return Ok(Superseded::default());
        };
        let answered = if std::mem::take(&mut self.first) {
            Answered {
                looked_up: self.looked_up.iter().map(|(a, b)| (*a, *b)).collect(),
                opened: self.opened.iter().map(|(a, b)| (*a, *b)).collect(),
            }
        } else {
            Answered::default()
        };
        let parked = self.inherited.iter().copied().chain(parked).collect();
        let written = file.write(state, Requests { parked, answered }, sync::monotonic());
        if written.is_err() {
            self.forget();
        }
        written
    }

    /// The volume is kept no more.
    pub(super) fn give_up(&mut self, why: StoreError) {
        self.forget();
        self.failure = Some(why);
    }

    fn forget(&mut self) {
        if let Some(file) = self.file.take() {
            file.invalidate();
        }
    }
}
