//! The livemounts of this mount namespace, from `/proc/self/mountinfo` (proc(5),
//! `fs/proc_namespace.c`, `show_mountinfo`).
//!
//! Reading it asks no filesystem anything. Detached mounts are not in it.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use crate::HandError;
use crate::target::Device;

/// The filesystem type of a volume, as the kernel writes it.
pub(crate) const KIND: &str = "fuse.livemount";

/// The kernel's number of a mount: `stx_mnt_id` of statx(2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct MountId(pub(crate) u64);

/// One mounted livemount.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct MountEntry {
    pub(crate) id: MountId,
    pub(crate) device: Device,
    pub(crate) point: PathBuf,
}

/// All of them.
pub(crate) fn read() -> Result<Vec<MountEntry>, HandError> {
    let text = std::fs::read("/proc/self/mountinfo").map_err(|error| HandError::Os {
        what: "read /proc/self/mountinfo".into(),
        errno: error.raw_os_error().unwrap_or(libc::EIO),
    })?;
    Ok(text
        .split(|byte| *byte == b'\n')
        .filter_map(parse)
        .collect())
}

/// One line; none if it is of another type.
fn parse(line: &[u8]) -> Option<MountEntry> {
    let mut words = line.split(|byte| *byte == b' ');
    let mut number = || std::str::from_utf8(words.next()?).ok();
    let id = MountId(number()?.parse().ok()?);
    let _parent = number()?;
    let (major, minor) = number()?.split_once(':')?;
    let device = (major.parse().ok()?, minor.parse().ok()?);
    let _root = words.next()?;
    let point = PathBuf::from(OsString::from_vec(unescape(words.next()?)));
    // Between here and the lone dash is a number of optional fields.
    words.find(|word| *word == b"-")?;
    (words.next()? == KIND.as_bytes()).then_some(MountEntry { id, device, point })
}

/// Space, tab, newline and backslash are written as three octal digits.
fn unescape(word: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(word.len());
    let mut rest = word;
    while let Some((first, tail)) = rest.split_first() {
        let digits = tail
            .get(..3)
            .filter(|_| *first == b'\\')
            .and_then(|digits| str::from_utf8(digits).ok());
        let octal = digits.and_then(|digits| u8::from_str_radix(digits, 8).ok());
        plain.push(octal.unwrap_or(*first));
        rest = if octal.is_some() { &tail[3..] } else { tail };
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_livemount_with_optional_fields_and_a_space() {
        let line = b"61 28 0:45 /files /pods/a\\040b ro,nosuid shared:7 master:1 - fuse.livemount livemount rw,user_id=0";
        assert_eq!(
            parse(line),
            Some(MountEntry {
                id: MountId(61),
                device: (0, 45),
                point: PathBuf::from("/pods/a b")
            })
        );
    }

    #[test]
    fn other_lines() {
        for line in [
            &b"22 27 0:21 / /proc rw,relatime - proc proc rw"[..],
            b"",
            b"x",
            b"1 2 3 4",
            b"61 28 0:45 / /x rw - fuse.sshfs a rw",
        ] {
            assert_eq!(parse(line), None);
        }
    }
}
