//! Mounts as mountinfo shows them, and the ways out of one that is stuck. Nothing here resolves a
//! path through a mount or stats it: that would wait for the very daemon that may be gone.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, openat};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, UnmountFlags, fsconfig_create, fsmount, fsopen,
    unmount,
};

/// The filesystem type of the product's mounts.
pub const FSTYPE: &str = "fuse.livemount";

/// One mount of this process's mount namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// The minor device number, by which fusectl names a connection.
    pub minor: u32,
    /// Where it is mounted.
    pub target: PathBuf,
    /// The mount's own options.
    pub options: String,
    /// Its filesystem type.
    pub fstype: String,
}

/// The mounts of this thread's mount namespace.
pub fn all() -> Vec<Mount> {
    fs::read_to_string("/proc/thread-self/mountinfo")
        .expect("mountinfo can be read")
        .lines()
        .filter_map(parse)
        .collect()
}

/// The mounts at or below a folder, whatever their type.
pub fn below(folder: &Path) -> Vec<Mount> {
    let mut mounts = all();
    mounts.retain(|mount| mount.target.starts_with(folder));
    mounts
}

/// The product's mount at exactly this path.
pub fn at(target: &Path) -> Option<Mount> {
    all()
        .into_iter()
        .rfind(|mount| mount.target == target && mount.fstype == FSTYPE)
}

/// Aborts a FUSE connection, so that everybody who waits for it goes on with an error.
///
/// The mount of fusectl is this call's own and has no path, so that the machine's stays as it is.
pub fn abort(minor: u32) -> std::io::Result<()> {
    let context = fsopen("fusectl", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_create(&context)?;
    let root = fsmount(
        &context,
        FsMountFlags::FSMOUNT_CLOEXEC,
        MountAttrFlags::empty(),
    )?;
    let file = openat(
        &root,
        format!("{minor}/abort"),
        OFlags::WRONLY | OFlags::CLOEXEC,
        Mode::empty(),
    )?;
    fs::File::from(file).write_all(b"1")
}

/// Takes a mount away at once, however busy it is.
pub fn detach(target: &Path) -> std::io::Result<()> {
    Ok(unmount(
        target,
        UnmountFlags::DETACH | UnmountFlags::NOFOLLOW,
    )?)
}

/// `ID PARENT MAJOR:MINOR ROOT TARGET OPTIONS [TAG...] - FSTYPE SOURCE SUPEROPTIONS`
fn parse(line: &str) -> Option<Mount> {
    let (mount, filesystem) = line.split_once(" - ")?;
    let mut fields = mount.split(' ');
    let (_, minor) = fields.nth(2)?.split_once(':')?;
    Some(Mount {
        minor: minor.parse().ok()?,
        target: unescape(fields.nth(1)?),
        options: fields.next()?.to_owned(),
        fstype: filesystem.split(' ').next()?.to_owned(),
    })
}

/// mountinfo writes blanks, tabs, line ends and backslashes as three octal digits.
fn unescape(text: &str) -> PathBuf {
    use std::os::unix::ffi::OsStringExt as _;

    let bytes = text.as_bytes();
    let mut plain = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let code = (bytes[at] == b'\\')
            .then(|| text.get(at + 1..at + 4))
            .flatten()
            .and_then(|digits| u8::from_str_radix(digits, 8).ok());
        plain.push(code.unwrap_or(bytes[at]));
        at += if code.is_some() { 4 } else { 1 };
    }
    std::ffi::OsString::from_vec(plain).into()
}
