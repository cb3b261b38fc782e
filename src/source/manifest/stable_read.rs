//! Reads a file whole and in one version, or says why not.
//!
//! Half a manifest can parse, so a file that somebody has open for writing is not read, and nobody
//! gets to open it for writing while it is read: both by a read lease (fcntl(2)), which the kernel
//! grants only on a file that nobody writes and which makes a new writer's open wait the moment
//! until the read is over. Where there are no leases (other users' files without `CAP_LEASE`,
//! network filesystems) size and times before and after must agree, which sees a writer at work but
//! not one who rests. Does not wait and does not look at the bytes.

use std::fs::{self, Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use super::parse::MAX_FILE_BYTES;
use super::sys::{Writers, keep_writers_out};

/// How often a file that changes under the read is read again.
const TRIES: usize = 8;

/// What reading brought.
#[derive(Debug)]
pub(super) enum StableRead {
    /// The bytes of one version; one more than the limit where the file is too large.
    Bytes(Vec<u8>),
    /// There is no such file.
    Missing,
    /// It has no bytes, as between a writer's truncating it and his writing.
    Empty,
    /// Somebody writes it. That he closes it can be heard.
    Busy,
    /// It is no regular file.
    NotAFile,
}

/// Reads the file. Unless `anyway`, it is not read while somebody has it open for writing.
pub(super) fn read(path: &Path, anyway: bool) -> io::Result<StableRead> {
    for _ in 0..TRIES {
        // A FIFO must not hold us up before it can be seen to be one.
        let opened = OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_NONBLOCK)
            .open(path);
        let mut file = match opened {
            Ok(file) => file,
            Err(error) if is_missing(&error) => return Ok(StableRead::Missing),
            Err(error) => return Err(error),
        };
        if !file.metadata()?.is_file() {
            return Ok(StableRead::NotAFile);
        }
        if keep_writers_out(&file) == Writers::Present && !anyway {
            return Ok(StableRead::Busy);
        }
        let before = file.metadata()?;
        let most = MAX_FILE_BYTES as u64 + 1;
        let mut bytes = Vec::new();
        (&mut file).take(most).read_to_end(&mut bytes)?;
        let after = file.metadata()?;
        let whole = bytes.len() as u64 == after.size().min(most);
        let there = fs::metadata(path).is_ok_and(|there| same_file(&there, &after));
        if whole && there && same_version(&before, &after) {
            return Ok(if bytes.is_empty() {
                StableRead::Empty
            } else {
                StableRead::Bytes(bytes)
            });
        }
    }
    Ok(StableRead::Busy)
}

/// Whether an error says that a file is not there: gone, or a directory of its path is no directory.
pub(super) fn is_missing(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}

fn same_file(a: &Metadata, b: &Metadata) -> bool {
    (a.dev(), a.ino()) == (b.dev(), b.ino())
}

fn same_version(a: &Metadata, b: &Metadata) -> bool {
    let stamp = |m: &Metadata| (m.size(), m.mtime(), m.mtime_nsec());
    stamp(a) == stamp(b)
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Write;

    use super::*;

    #[test]
    fn what_is_no_whole_file_is_told() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        let look = |path: &Path| read(path, false).expect("no error");
        assert!(matches!(look(&at("none")), StableRead::Missing));
        fs::write(at("empty"), "").expect("written");
        assert!(matches!(look(&at("empty")), StableRead::Empty));
        assert!(matches!(look(&at("empty/x")), StableRead::Missing));
        assert!(matches!(look(folder.path()), StableRead::NotAFile));
        assert!(matches!(look(Path::new("/dev/null")), StableRead::NotAFile));
        let fifo = std::process::Command::new("mkfifo")
            .arg(at("fifo"))
            .status();
        assert!(fifo.expect("mkfifo").success());
        assert!(matches!(look(&at("fifo")), StableRead::NotAFile));
        let large = File::create(at("large")).expect("made");
        large.set_len(MAX_FILE_BYTES as u64 * 4).expect("sized");
        drop(large);
        let StableRead::Bytes(bytes) = look(&at("large")) else {
            panic!("not read");
        };
        assert_eq!(bytes.len(), MAX_FILE_BYTES + 1);
    }

    #[test]
    fn a_file_that_somebody_writes_is_left_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a");
        let mut writer = File::create(&path).expect("made");
        writer.write_all(b"half").expect("written");
        assert!(matches!(read(&path, false), Ok(StableRead::Busy)));
        assert!(matches!(read(&path, true), Ok(StableRead::Bytes(_))));
        drop(writer);
        assert!(matches!(read(&path, false), Ok(StableRead::Bytes(_))));
    }

    #[test]
    fn a_writer_waits_for_the_read_and_harms_nobody() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a");
        fs::write(&path, "one").expect("written");
        let file = File::open(&path).expect("opened");
        assert!(keep_writers_out(&file) == Writers::Unseen);
        let writer = std::thread::spawn({
            let path = path.clone();
            move || fs::write(path, "two").expect("written")
        });
        // He cannot have written, however long he has been there.
        for _ in 0..1000 {
            assert_eq!(fs::read(&path).expect("read"), b"one");
        }
        drop(file);
        writer.join().expect("written");
        assert_eq!(fs::read(&path).expect("read"), b"two");
    }
}
