//! The hand's command line, read beside the process because the client writes it: nobody else does.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

/// What the hand is told on its command line. Nothing of it can be changed over the socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HandArgs {
    /// The folder in which it listens for daemons; a hand without one is a daemon's child.
    pub dir: Option<PathBuf>,
    /// Absolute paths. Targets are accepted strictly beneath these only.
    pub roots: Vec<PathBuf>,
    /// How long the daemon may be silent before it is given up.
    pub heartbeat: Duration,
    /// Clone mounts in the way that kernels before 6.15 need, also where it is not needed: for
    /// tests.
    pub clone_attached: bool,
    /// Leave at its target what is dead, and abort instead of taking away what nobody serves: a folder
    /// without anything would be taken for a volume without files, by whoever starts a container on it. A
    /// dead mount cannot be. The next daemon's first publish takes it away.
    pub leave_dead: bool,
    /// The SELinux context of every mount.
    pub selinux_context: Option<String>,
}

impl HandArgs {
    /// Reads what the client writes: `--root DIR` (any number), `--heartbeat MS`,
    /// `--selinux-context CONTEXT`, `--clone-attached`, `--leave-dead`; and `--dir DIR`, for tests. None where it is
    /// anything else.
    pub fn parse(args: impl IntoIterator<Item = OsString>) -> Option<Self> {
        let mut parsed = Self {
            dir: None,
            roots: Vec::new(),
            heartbeat: Duration::ZERO,
            clone_attached: false,
            leave_dead: false,
            selinux_context: None,
        };
        let mut args = args.into_iter();
        while let Some(arg) = args.next() {
            match arg.to_str()? {
                "--dir" => parsed.dir = Some(args.next()?.into()),
                "--root" => parsed.roots.push(args.next()?.into()),
                "--heartbeat" => {
                    parsed.heartbeat = Duration::from_millis(args.next()?.to_str()?.parse().ok()?);
                }
                "--selinux-context" => {
                    parsed.selinux_context = Some(args.next()?.into_string().ok()?);
                }
                "--clone-attached" => parsed.clone_attached = true,
                "--leave-dead" => parsed.leave_dead = true,
                _ => return None,
            }
        }
        let sound = !parsed.heartbeat.is_zero()
            && !parsed.roots.is_empty()
            && parsed.roots.iter().all(|root| root.is_absolute());
        sound.then_some(parsed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(args: &[&str]) -> Option<HandArgs> {
        HandArgs::parse(args.iter().map(OsString::from))
    }

    #[test]
    fn arguments() {
        let parsed =
            parse(&["--root", "/a", "--heartbeat", "250", "--root", "/b"]).expect("is sound");
        assert_eq!(parsed.roots, [PathBuf::from("/a"), "/b".into()]);
        assert_eq!(
            (parsed.heartbeat, parsed.clone_attached),
            (Duration::from_millis(250), false)
        );
        for unsound in [
            &["--root", "/a"][..],
            &["--heartbeat", "1"],
            &["--root", "a", "--heartbeat", "1"],
            &["--x"],
            &["--root"],
        ] {
            assert_eq!(parse(unsound), None, "{unsound:?}");
        }
    }
}
