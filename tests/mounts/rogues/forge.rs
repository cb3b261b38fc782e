//! File handles that nobody gave: from those that the kernel gives, and from nothing.

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd as _, FromRawFd as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// `linux/exportfs.h`: what fuse makes of a nodeid and a generation, without and with its parent's.
const FILEID_INO64_GEN: i32 = 0x81;
const FILEID_INO64_GEN_PARENT: i32 = 0x82;
/// `linux/fcntl.h`
const AT_HANDLE_FID: i32 = 0x200;
const MOST: usize = 128;

#[repr(C)]
#[derive(Clone, Copy)]
struct Handle {
    bytes: u32,
    kind: i32,
    data: [u8; MOST],
}

impl Handle {
    /// A handle as fuse writes them: each nodeid in two halves, the high one first, its generation
    /// behind it (`fuse_encode_fh`, `fs/fuse/inode.c`).
    fn of(nodes: &[u64], generation: u32) -> Self {
        let mut data = [0; MOST];
        let words = nodes
            .iter()
            .flat_map(|node| [node >> 32, node & 0xFFFF_FFFF, generation.into()])
            .flat_map(|word| u32::try_from(word).expect("a half").to_ne_bytes());
        for (to, from) in data.iter_mut().zip(words) {
            *to = from;
        }
        Self {
            bytes: u32::try_from(nodes.len() * 12).expect("a small number"),
            kind: if nodes.len() == 1 {
                FILEID_INO64_GEN
            } else {
                FILEID_INO64_GEN_PARENT
            },
            data,
        }
    }

    /// The kernel's own for a path.
    fn given(path: &Path, flags: i32) -> Option<Self> {
        let mut handle = Self {
            bytes: u32::try_from(MOST).expect("a small number"),
            kind: 0,
            data: [0; MOST],
        };
        let mut mount = 0_i32;
        let path = CString::new(path.as_os_str().as_bytes()).expect("no zero in a path");
        // SAFETY: the handle says itself how long it is; both pointers live through the call.
        let done = unsafe {
            libc::syscall(
                libc::SYS_name_to_handle_at,
                libc::AT_FDCWD,
                path.as_ptr(),
                &raw mut handle,
                &raw mut mount,
                flags,
            )
        };
        (done == 0).then_some(handle)
    }

    fn open(mut self, mount: &File, flags: i32) -> Option<File> {
        // SAFETY: as above; a descriptor that it gives is nobody else's.
        unsafe {
            let fd = libc::syscall(
                libc::SYS_open_by_handle_at,
                mount.as_raw_fd(),
                &raw mut self,
                flags,
            );
            (fd >= 0).then(|| File::from_raw_fd(i32::try_from(fd).expect("a descriptor")))
        }
    }
}

/// Tries all of them once. Tells what was opened.
pub fn round(folder: &Path) -> io::Result<Vec<String>> {
    let mount = File::open(folder)?;
    let mut handles = Vec::new();
    let inos: Vec<u64> = ["", "a", "b", "d", "d/x"]
        .iter()
        .map(|name| Ok(folder.join(name).symlink_metadata()?.ino()))
        .collect::<io::Result<_>>()?;
    // 1 is the root of the connection, above what is mounted.
    for node in inos.iter().copied().chain([0, 1, 2, u64::MAX]) {
        for generation in [0, 1] {
            handles.push(Handle::of(&[node], generation));
            handles.push(Handle::of(&[node, 1], generation));
        }
    }
    for name in ["", "a", "d", "d/x"] {
        for flags in [0, AT_HANDLE_FID] {
            let Some(given) = Handle::given(&folder.join(name), flags) else {
                continue;
            };
            handles.push(given);
            for bit in 0..given.bytes as usize * 8 {
                let mut altered = given;
                altered.data[bit / 8] ^= 1 << (bit % 8);
                handles.push(altered);
            }
            for kind in 0..=255 {
                handles.push(Handle { kind, ..given });
            }
        }
    }
    let mut opened = Vec::new();
    for handle in handles {
        for flags in [libc::O_RDONLY, libc::O_PATH, libc::O_WRONLY] {
            if let Some(file) = handle.open(&mount, flags | libc::O_CLOEXEC | libc::O_NONBLOCK) {
                let ino = file.metadata()?.ino();
                let kind = handle.kind;
                opened.push(format!(
                    "type {kind:#x} opened inode {ino} by flags {flags:#o}"
                ));
            }
        }
    }
    Ok(opened)
}
