//! Programs that see the volume otherwise than one of this machine's own: those of a pod with a user
//! namespace, through a bind with mapped ids, and those of 32 bits. Apart from semantics.rs because of
//! what it takes to be such a program.

use std::fs::File;
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};

use livemount::publish::Settings;
use rustix::fs::CWD;
use rustix::mount::{MoveMountFlags, OpenTreeFlags, move_mount, open_tree};
use rustix::process::{Gid, Uid};
use rustix::thread::{
    LinkNameSpaceType, UnshareFlags, move_into_link_name_space, set_thread_gid, set_thread_groups,
    set_thread_uid, unshare_unsafe,
};

use crate::support::namespace::Namespace;
use crate::support::scratch::Scratch;
use crate::support::served::{Served, tree};
use crate::support::watch::{Watch, lines};

/// Where the ids of a pod begin on the machine, and how many it has (user_namespaces(7)).
const FIRST: u32 = 100_000;
const COUNT: u32 = 65_536;

/// A user namespace with mapped ids, held open by a process that waits for its standard input's end.
struct UserNamespace {
    holder: Child,
    _until: ChildStdin,
}

impl UserNamespace {
    fn new() -> Self {
        let mut command = Command::new("cat");
        command.stdin(Stdio::piped()).stdout(Stdio::null());
        // SAFETY: one system call between fork and exec, in a process with one thread; it allocates
        // nothing and takes no lock.
        unsafe {
            command.pre_exec(|| Ok(unshare_unsafe(UnshareFlags::NEWUSER)?));
        }
        let mut holder = command.spawn().expect("a user namespace can be made");
        for map in ["uid_map", "gid_map"] {
            let path = format!("/proc/{}/{map}", holder.id());
            std::fs::write(path, format!("0 {FIRST} {COUNT}")).expect("ids can be mapped");
        }
        let until = holder.stdin.take().expect("it is piped");
        Self {
            holder,
            _until: until,
        }
    }

    fn open(&self) -> File {
        File::open(format!("/proc/{}/ns/user", self.holder.id())).expect("it is there")
    }

    /// What a program prints that runs as its root, and whether it was content.
    fn run(&self, program: &str, arguments: &[&str]) -> (bool, String) {
        let inside = self.open();
        let mut command = Command::new(program);
        command.args(arguments);
        // SAFETY: system calls alone between fork and exec, on a descriptor that lives until then.
        unsafe {
            command.pre_exec(move || {
                let user = Some(LinkNameSpaceType::User);
                move_into_link_name_space(inside.as_fd(), user)?;
                // Only now is there such an id to become.
                set_thread_groups(&[])?;
                set_thread_gid(Gid::ROOT)?;
                Ok(set_thread_uid(Uid::ROOT)?)
            });
        }
        let ended = command.output().expect("it can be started");
        let text = String::from_utf8_lossy(&ended.stdout).trim().to_owned();
        (ended.status.success(), text)
    }
}

impl Drop for UserNamespace {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

/// Puts a clone of a bind over itself, with the ids of a user namespace, as container runtimes do for
/// pods with `hostUsers: false`.
fn map_ids(path: &Path, namespace: &File) {
    let clone = open_tree(
        CWD,
        path,
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC,
    )
    .expect("the bind can be cloned");
    let attributes = libc::mount_attr {
        attr_set: libc::MOUNT_ATTR_IDMAP,
        attr_clr: 0,
        propagation: 0,
        userns_fd: u64::try_from(namespace.as_raw_fd()).expect("a descriptor"),
    };
    // SAFETY: the kernel reads a NUL-terminated path and `size_of` bytes of `attributes`, and keeps
    // neither; both descriptors are open for the call.
    let done = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            clone.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH,
            &raw const attributes,
            size_of::<libc::mount_attr>(),
        )
    };
    let error = std::io::Error::last_os_error();
    assert_eq!(done, 0, "the ids of the bind can be mapped: {error}");
    move_mount(
        clone,
        "",
        CWD,
        path,
        MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH,
    )
    .expect("it can be put in place");
}

#[test]
fn promise_1_a_bind_with_mapped_ids_is_read_and_hears() {
    let scratch = Scratch::new();
    let mut served = Served::in_test(scratch.path());
    let volume = scratch.join("v");
    let mut files = tree(&[("a", "1")]);
    files.insert("root-only".into(), (b"hidden".to_vec(), 0o400));
    served.publish_with("v", &volume, &files, Settings::default(), Some(4242));
    let users = UserNamespace::new();
    let pod = Namespace::bind(&scratch, &volume);
    let (path, namespace) = (pod.path().to_owned(), users.open());
    let mut watch = pod.run(move || {
        map_ids(&path, &namespace);
        Watch::all(&path.join("a"))
    });

    // From outside the pod's ids are those of the machine; in it they are what the volume says.
    let (path, users) = (pod.path().to_owned(), users);
    let owner = |path: &Path| {
        let meta = std::fs::metadata(path).expect("stat");
        (meta.uid(), meta.gid())
    };
    assert_eq!(owner(&volume.join("a")), (0, 4242));
    let (inside, said) = pod.run(move || {
        let secret = path.join("root-only");
        let secret = secret.to_str().expect("text");
        let said = users.run("stat", &["-c", "%u %g %a", secret]);
        (owner(&path.join("a")), (said, users.run("cat", &[secret])))
    });
    assert_eq!(inside, (FIRST, FIRST + 4242));
    assert_eq!(said.0, (true, "0 4242 440".to_owned()));
    assert_eq!(said.1, (true, "hidden".to_owned()));

    watch.drain();
    files.insert("a".into(), (b"2".to_vec(), 0o644));
    served.commit("v", &files);
    assert_eq!(lines(&watch.drain()), ["OPEN", "MODIFY", "CLOSE_WRITE"]);
    let path = pod.path().join("a");
    let read = pod.run(move || std::fs::read_to_string(path));
    assert_eq!(read.expect("readable"), "2");
}

/// `stat` and `stat64` as programs of 32 bits call them: their numbers in the table of `int 0x80`.
#[cfg(target_arch = "x86_64")]
const STAT: (u32, u32) = (106, 195);

/// Makes a system call of the 32-bit table with a path and a buffer. Says what the kernel answered.
#[cfg(target_arch = "x86_64")]
fn call_as_32_bits(number: u32, path: &Path) -> i32 {
    use std::os::unix::ffi::OsStrExt as _;
    const PAGE: usize = 4096;
    let path = path.as_os_str().as_bytes();
    assert!(path.len() < PAGE, "the rest is for the terminating NUL");
    let answer: i32;
    // SAFETY: a fresh mapping of two zeroed pages below 4 GiB, the first for the path with its NUL,
    // the second for the answer, of which either structure takes less than a page. The call writes
    // there and to eax alone; the kernel may clear r8 to r11. LLVM keeps rbx for itself, so it is
    // saved, but not on the stack, whose red zone is not ours to write to.
    unsafe {
        let pages = libc::mmap(
            std::ptr::null_mut(),
            2 * PAGE,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_32BIT,
            -1,
            0,
        );
        assert_ne!(pages, libc::MAP_FAILED, "two pages below 4 GiB");
        let first = pages.cast::<u8>();
        first.copy_from_nonoverlapping(path.as_ptr(), path.len());
        std::arch::asm!(
            "xchg rbx, {path}",
            "int 0x80",
            "xchg rbx, {path}",
            path = inout(reg) first => _,
            inlateout("eax") number => answer,
            in("rcx") first.add(PAGE),
            out("r8") _, out("r9") _, out("r10") _, out("r11") _,
        );
        libc::munmap(pages, 2 * PAGE);
    }
    answer
}

#[test]
#[cfg(target_arch = "x86_64")]
fn promise_1_a_stat_of_32_bits_without_large_files_is_eoverflow() {
    let scratch = Scratch::new();
    let mut served = Served::in_test(scratch.path());
    let volume = scratch.join("v");
    served.publish("v", &volume, &tree(&[("a", "1")]));
    let path = volume.join("a");
    let ino = std::fs::metadata(&path).expect("stat").ino();
    assert!(ino > u64::from(u32::MAX), "{ino} is too small to tell");
    let (stat, stat64) = STAT;
    assert_eq!(call_as_32_bits(stat, &path), -libc::EOVERFLOW);
    assert_eq!(call_as_32_bits(stat64, &path), 0);
    // It is the number: a file with a small one is told.
    assert_eq!(call_as_32_bits(stat, Path::new("/proc/self")), 0);
}
