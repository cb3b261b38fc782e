//! A page of memory that nobody ever fills: who copies into it, the kernel included, waits until this
//! process ends. So a system call is stopped in its very middle, with all that it holds there.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::path::Path;
use std::thread;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous};

const SIZE: usize = 4096;

/// `linux/userfaultfd.h`.
const API: u64 = 0xAA;
const MODE_MISSING: u64 = 1;

#[repr(C)]
struct Hello {
    api: u64,
    features: u64,
    ioctls: u64,
}

#[repr(C)]
struct Register {
    start: u64,
    len: u64,
    mode: u64,
    ioctls: u64,
}

/// `_IOWR(0xAA, NUMBER, TYPE)`, `asm-generic/ioctl.h`.
const fn request<T>(number: u64) -> libc::Ioctl {
    ((3 << 30) | ((size_of::<T>() as u64) << 16) | (API << 8) | number) as libc::Ioctl
}

/// The page. It stays for as long as the process.
pub struct Page {
    faults: OwnedFd,
    start: usize,
}

/// A system call that fills memory.
#[derive(Clone, Copy)]
pub enum Call {
    /// The folder's lock is held, shared.
    Getdents,
    Read,
}

impl Page {
    fn new() -> Self {
        // SAFETY: the call takes flags alone; a descriptor that it gives is nobody else's.
        let faults = unsafe {
            let fd = libc::syscall(libc::SYS_userfaultfd, libc::O_CLOEXEC);
            assert!(fd >= 0, "userfaultfd: {}", io::Error::last_os_error());
            OwnedFd::from_raw_fd(i32::try_from(fd).expect("a descriptor"))
        };
        // SAFETY: a new mapping at a place of the kernel's choice.
        let start = unsafe {
            mmap_anonymous(
                std::ptr::null_mut(),
                SIZE,
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::PRIVATE,
            )
        };
        let start = start.expect("a page") as usize;
        let mut hello = Hello {
            api: API,
            features: 0,
            ioctls: 0,
        };
        let mut register = Register {
            start: start as u64,
            len: SIZE as u64,
            mode: MODE_MISSING,
            ioctls: 0,
        };
        // SAFETY: both requests take a pointer to a structure of their own, which lives through the call.
        let done = unsafe {
            libc::ioctl(faults.as_raw_fd(), request::<Hello>(0x3F), &raw mut hello) == 0
                && libc::ioctl(
                    faults.as_raw_fd(),
                    request::<Register>(0),
                    &raw mut register,
                ) == 0
        };
        assert!(done, "registering: {}", io::Error::last_os_error());
        Self { faults, start }
    }

    /// Makes a call on a path that stops for ever where it begins to tell its result.
    pub fn stop_in(call: Call, path: &Path) -> Self {
        let page = Self::new();
        let file = File::open(path).expect("opens");
        let start = page.start;
        thread::spawn(move || {
            let buffer = start as *mut libc::c_void;
            // SAFETY: the page is mapped, SIZE bytes, and used for nothing else.
            unsafe {
                match call {
                    Call::Getdents => {
                        libc::syscall(libc::SYS_getdents64, file.as_raw_fd(), buffer, SIZE);
                    }
                    Call::Read => {
                        libc::read(file.as_raw_fd(), buffer, SIZE);
                    }
                }
            }
            unreachable!("nobody fills the page");
        });
        let mut fds = [PollFd::new(&page.faults, PollFlags::IN)];
        poll(&mut fds, None).expect("the fault is told");
        page
    }
}
