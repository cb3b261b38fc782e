//! What the publisher asks of a volume: the steps of a commit that change what it shows.
//!
//! One step after the other, by one asker for each volume. The steps that need the kernel lie between
//! these and are the publisher's. Nothing here waits: how long a drain lasts is told as a value.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use livemount_engine::diff::Plan;
use livemount_engine::path::RelPath;
use livemount_engine::snapshot::{Digest, Entry, Snapshot};
use serde::{Deserialize, Serialize};

use crate::armed::Change;
use crate::error::FsError;
use crate::now::Monotonic;
use crate::number::{Inode, VersionNumber};
use crate::park::{Drain, DrainReport, Park};
use crate::staging::node;
use crate::state::{Committing, State};
use crate::tree::Content;

/// How much longer than its drain a commit may hold opens back.
const PARK_BEYOND_DRAIN: Duration = Duration::from_secs(1);

/// What a commit does beyond its own events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Compat {
    /// Nothing.
    #[default]
    None,
    /// It ends with one MOVED_TO of `..data`, for programs that wait for nothing else.
    Dotdata,
}

/// What the swap leaves for the kernel to be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Swapped {
    /// The version that is current now.
    pub version: VersionNumber,
    /// The mtime of everything that changed.
    pub mtime: SystemTime,
    /// The inodes whose cached attributes are wrong now.
    pub changed: Vec<Inode>,
    /// Whether older versions were given up for the limit.
    pub dropped: bool,
    /// What is armed: the plan's changes, in its order, and what compatibility adds.
    pub changes: Arc<[Change]>,
}

impl State {
    /// What the volume shows when no commit is under way.
    pub fn shown(&self) -> Arc<Snapshot> {
        Arc::clone(&self.shown)
    }

    /// The current version.
    pub fn version(&self) -> VersionNumber {
        self.version
    }

    /// Takes over a snapshot that differs in nothing that can be seen in files, such as the
    /// resourceVersion.
    pub fn relabel(&mut self, next: Arc<Snapshot>) {
        self.history.relabelled(next.objects.clone());
        self.current = Arc::clone(&next);
        self.shown = next;
    }

    /// Begins a commit: new opens of the files that will change are held back from here on, and the
    /// handles that it has to wait for are known. Tells until when opens may be held back, where any
    /// are.
    pub fn begin(
        &mut self,
        next: &Snapshot,
        plan: &Plan,
        drain: Duration,
        now: Monotonic,
    ) -> Option<Monotonic> {
        let mut inos: HashSet<Inode> = plan
            .changed
            .iter()
            .filter_map(|path| self.tree.resolve(path).ok())
            .collect();
        inos.extend(self.revived(next, plan));
        let until = self.handles.begin_drain(now, |ino| inos.contains(&ino));
        let parked_until = (!inos.is_empty()).then(|| now + drain + PARK_BEYOND_DRAIN);
        if let Some(until) = parked_until {
            // A former commit that never came to its end may have left some: none is forgotten.
            let waiting = self.park.take().map(|park| park.waiting);
            self.park = Some(Park {
                inos,
                until,
                waiting: waiting.unwrap_or_default(),
            });
        }
        self.drain = Some(Drain { began: now, until });
        self.committing = Committing::Begun;
        parked_until
    }

    /// Until when the commit has to wait, for at most `bound` from its begin: until every fresh
    /// handle on a changed file has been read to its end, closed, or has had its time. Nothing where
    /// the drain is over.
    pub fn draining(&self, bound: Duration, now: Monotonic) -> Option<Monotonic> {
        let drain = self.drain?;
        let until = drain.until?.min(drain.began + bound);
        (self.handles.delaying() > 0 && now < until).then_some(until)
    }

    /// Ends the drain; who has not read by now has had his delay.
    pub fn end_drain(&mut self, now: Monotonic) -> DrainReport {
        let waited = |drain: Drain| drain.until.map(|_| now.since(drain.began));
        DrainReport {
            waited: self.drain.take().and_then(waited).unwrap_or_default(),
            unread: self.handles.end_drain(),
        }
    }

    /// Moves the mtime of the files that will be shorter, while they still show their old bytes. The
    /// kernel drops their page cache at that, without touching the pages. Dropped at the swap, a
    /// page behind the new end would be zeroed in place (`truncate_pagecache` in
    /// `fuse_change_attributes`, `fs/fuse/inode.c`), under whoever has sent it but not delivered it.
    pub fn touch_shrinking(
        &mut self,
        next: &Snapshot,
        plan: &Plan,
        now: SystemTime,
    ) -> Vec<(Inode, RelPath)> {
        let mtime = now.max(self.committed + Duration::from_nanos(1));
        let mut touched = Vec::new();
        for path in &plan.changed {
            let size = next.file(path.as_str()).map_or(0, |file| file.bytes.len());
            if let Ok(ino) = self.tree.resolve(path)
                && let Ok(node) = self.tree.get_mut(ino)
                && let Content::File(bytes) = &node.content
                && bytes.len() > size
            {
                node.mtime = mtime;
                touched.push((ino, path.clone()));
            }
        }
        if !touched.is_empty() {
            self.committed = mtime;
        }
        touched
    }

    /// Makes the next snapshot's bytes and attributes current for all existing names at once, stages
    /// the added ones, and arms the changes of names and the rings.
    ///
    /// # Errors
    ///
    /// The plan does not fit what the volume shows. What was staged is for [`State::abandon`].
    pub fn swap(
        &mut self,
        next: &Arc<Snapshot>,
        plan: &Plan,
        compat: Compat,
        now: crate::Now,
    ) -> Result<Swapped, FsError> {
        let mtime = now.wall.max(self.committed + Duration::from_nanos(1));
        let mut changed = self.revived(next, plan);
        let mut changes = self.stage(next, plan, mtime)?;
        if compat == Compat::Dotdata {
            changes.push(Change::Dotdata);
        }
        for path in &plan.changed {
            let ino = self.tree.resolve(path)?;
            let new = node(&next.entries[path], next, mtime);
            let old = self.tree.get_mut(ino)?;
            (old.content, old.mode, old.gid, old.mtime) = (new.content, new.mode, new.gid, mtime);
            changed.push(ino);
        }
        for path in &plan.remoded {
            let ino = self.tree.resolve(path)?;
            let new = node(&next.entries[path], next, mtime);
            let old = self.tree.get_mut(ino)?;
            (old.mode, old.gid) = (new.mode, new.gid);
            changed.push(ino);
        }
        if plan.root_remoded {
            let files = self.tree.files;
            let root = self.tree.get_mut(files)?;
            (root.mode, root.gid) = (next.root_mode, next.gid);
            changed.push(files);
        }
        let former = std::mem::replace(&mut self.current, Arc::clone(next));
        let (version, weight) = (self.version, weight(&former));
        self.retire_version_dir(former, now.monotonic);
        let dropped = self.handles.retire(version, weight);
        for version in &dropped {
            self.drop_version_dir(*version);
        }
        self.version = version.next();
        let (version, objects) = (self.version, next.objects.clone());
        let handles = &self.handles;
        let held = |version| handles.held(version) > 0;
        self.history.committed(version, objects, mtime, held);
        self.committed = mtime;
        let changes: Arc<[Change]> = changes.into();
        self.armed.arm(Arc::clone(&changes));
        self.committing = Committing::Swapped;
        Ok(Swapped {
            version,
            mtime,
            changed,
            changes,
            dropped: !dropped.is_empty(),
        })
    }

    /// What is armed, brought or not: what the last swap has told, until the commit ends.
    pub fn armed(&self) -> Arc<[Change]> {
        Arc::clone(&self.armed.changes)
    }

    /// How many of the armed changes were brought, by whomever, or given up.
    pub fn done(&self) -> usize {
        self.armed.done
    }

    /// Gives up a change, so that the next can be brought; nothing where somebody has brought it by
    /// now.
    pub fn give_up(&mut self, index: usize) {
        if self.armed.done == index {
            self.armed.advance();
        }
    }

    /// Gives up a commit that has made nothing current. What its swap has staged is taken back, and whom its
    /// drain waits for has not had his delay: the next commit waits for him.
    pub fn abandon(&mut self) {
        self.unstage();
        if self.drain.take().is_some() {
            self.handles.give_up_drain();
        }
        self.committing = Committing::No;
    }

    /// Ends the commit that the last swap made current. `failed` are its changes that could not be
    /// brought: they are not shown, so that the next commit tries them again. Tells how many handles
    /// are on older versions.
    pub fn finish(&mut self, failed: &[Change]) -> usize {
        self.armed.disarm();
        self.unstage();
        self.committing = Committing::No;
        let next = Arc::clone(&self.current);
        self.shown = if failed.is_empty() {
            next
        } else {
            Arc::new(without(&next, &self.shown, failed))
        };
        self.handles.older(self.version)
    }

    /// How many older versions are kept for those who hold them, and how many bytes these hold.
    pub fn pinned(&self) -> (u64, u64) {
        self.handles.pinned(self.version)
    }

    /// How many older versions were dropped because too many were kept.
    pub fn dropped_pins(&self) -> u64 {
        self.handles.dropped
    }
}

/// What keeping a version costs at the most, in bytes: its contents and its names.
pub(crate) fn weight(snapshot: &Snapshot) -> u64 {
    const NAME: u64 = 512;
    snapshot.bytes() + NAME * snapshot.entries.len() as u64
}

/// The next snapshot less what could not be brought: names that did not appear, and with the names
/// that did not go.
fn without(next: &Snapshot, former: &Snapshot, failed: &[Change]) -> Snapshot {
    let mut shown = next.clone();
    for change in failed {
        if let Change::Rename { path, .. } = change {
            shown
                .entries
                .retain(|name, _| name != path && !name.is_below(path));
        }
    }
    for change in failed {
        if let Change::Ring { path, .. } = change
            && let Some(Entry::File(file)) = shown.entries.get_mut(path)
        {
            // Its bytes are there, but nobody was told: changed until somebody is.
            file.digest = Digest(!file.digest.0);
        }
    }
    for change in failed {
        if let Change::Unlink { path, .. } | Change::Rmdir { path, .. } = change
            && let Some(entry) = former.entries.get(path)
        {
            shown.entries.insert(path.clone(), entry.clone());
        }
    }
    shown
}
