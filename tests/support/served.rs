//! Many volumes in one daemon, through the library, for what a manifest cannot say: folders, modes,
//! changes of type, volumes side by side, times of single steps.
//!
//! The daemon must not touch a mount and a test must, so the daemon is another process: the test
//! binary starts itself again, asking for its ignored test `served` alone, and talks to it over a
//! socket that is the daemon's standard input.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::time::Duration;

use livemount::observe::{Fact, Facts};
use livemount::publish::{Compat, NewVolume, Published, Publisher, Settings};
use livemount_engine::object::{Bytes, Kind, Object, ObjectKey};
use livemount_engine::path::RelPath;
use livemount_engine::render::render;
use livemount_engine::snapshot::{HashKey, Snapshot};
use livemount_engine::spec::{Item, Mode, Source, Spec};
use livemount_hand::{ClientOptions, Hand, Reach, Unbind};
use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

use super::PATIENCE;
use super::kept::take_over;
use super::process::{MARKER, Process};

/// The same in every daemon, so that inode numbers are comparable between runs.
pub const KEY: HashKey = HashKey([9; 16]);

/// The folder of the keeper, where one holds the volumes.
const KEEPER: &str = "LIVEMOUNT_TEST_KEEPER";

/// A volume's files: path to contents and mode.
pub type Tree = BTreeMap<String, (Vec<u8>, u32)>;

/// A tree of texts with the default mode.
pub fn tree(files: &[(&str, &str)]) -> Tree {
    files
        .iter()
        .map(|(path, text)| ((*path).to_owned(), (text.as_bytes().to_vec(), 0o644)))
        .collect()
}

#[derive(Debug, Serialize, Deserialize)]
enum Ask {
    Publish {
        name: String,
        target: PathBuf,
        drain_ms: u64,
        dotdata: bool,
        fs_group: Option<u32>,
        tree: Tree,
    },
    Offer {
        name: String,
        tree: Tree,
    },
    Settle {
        name: String,
    },
    Unpublish {
        name: String,
    },
    Hand,
}

#[derive(Debug, Serialize, Deserialize)]
enum Answer {
    Done,
    /// The monotonic clock when the work began, in nanoseconds.
    Began(u64),
    Failed(String),
}

/// The monotonic clock, which all processes of a machine share, in nanoseconds.
pub fn monotonic() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    u64::try_from(now.tv_sec).expect("a time after boot") * 1_000_000_000
        + u64::try_from(now.tv_nsec).expect("a part of a second")
}

/// The daemon's process, and the way to talk to it.
pub struct Served {
    child: Child,
    socket: UnixStream,
    /// Its process.
    pub process: Process,
}

impl Served {
    /// Starts a daemon with these arguments in front (what makes this binary run [`main`]) that may
    /// mount below `root`.
    pub fn start(root: &Path, arguments: &[&str]) -> Self {
        let (child, socket) = again(root, arguments);
        let process = Process::child(child.id());
        let mut served = Self {
            child,
            socket,
            process,
        };
        served.ask(&Ask::Hand);
        served
    }

    /// Starts a daemon whose volumes a keeper holds, and waits for nothing. Without `resend` the kernel is
    /// taken for one that does not send requests again.
    pub fn begin_kept(root: &Path, arguments: &[&str], keeper: &Path, resend: bool) -> Self {
        let mut environment = vec![(KEEPER, keeper.as_os_str())];
        if !resend {
            environment.push(("LIVEMOUNT_WITHOUT", OsStr::new("RESEND")));
        }
        let (child, socket) = again_with(root, arguments, &environment);
        let process = Process::child(child.id());
        Self {
            child,
            socket,
            process,
        }
    }

    /// Waits until it has taken up what there was.
    pub fn wait_until_ready(&mut self) {
        self.ask(&Ask::Hand);
    }

    /// Starts a daemon from a test binary that has the ignored test `served`.
    pub fn in_test(root: &Path) -> Self {
        Self::start(root, &["served", "--exact", "--ignored", "--nocapture"])
    }

    fn ask(&mut self, ask: &Ask) -> Answer {
        write_frame(&mut self.socket, ask);
        let answer = read_frame(&mut self.socket).expect("the daemon answers");
        if let Answer::Failed(why) = answer {
            panic!("the daemon: {why}");
        }
        answer
    }

    /// Mounts a volume. Comes back with the time at which the daemon began.
    pub fn publish(&mut self, name: &str, target: &Path, tree: &Tree) -> u64 {
        self.publish_with(name, target, tree, Settings::default(), None)
    }

    /// Mounts a volume with settings.
    pub fn publish_with(
        &mut self,
        name: &str,
        target: &Path,
        tree: &Tree,
        settings: Settings,
        fs_group: Option<u32>,
    ) -> u64 {
        let drain_ms = u64::try_from(settings.drain.as_millis()).expect("a short time");
        self.began(&Ask::Publish {
            name: name.into(),
            target: target.into(),
            drain_ms,
            dotdata: settings.compat == Compat::Dotdata,
            fs_group,
            tree: tree.clone(),
        })
    }

    /// Gives a volume its next contents, without waiting. Comes back with the time of the offer.
    pub fn offer(&mut self, name: &str, tree: &Tree) -> u64 {
        self.began(&Ask::Offer {
            name: name.into(),
            tree: tree.clone(),
        })
    }

    /// Waits until all that was offered is committed.
    pub fn settle(&mut self, name: &str) {
        self.ask(&Ask::Settle { name: name.into() });
    }

    /// Gives a volume its next contents and waits until the last event of the commit.
    pub fn commit(&mut self, name: &str, tree: &Tree) {
        self.offer(name, tree);
        self.settle(name);
    }

    /// Takes a volume away.
    pub fn unpublish(&mut self, name: &str) {
        self.ask(&Ask::Unpublish { name: name.into() });
    }

    /// The hand's process.
    pub fn hand(&self) -> Process {
        let hands = self
            .process
            .children(|command| command.iter().any(|word| word == "hand"));
        hands[0]
    }

    fn began(&mut self, ask: &Ask) -> u64 {
        match self.ask(ask) {
            Answer::Began(at) => at,
            other => panic!("an unexpected answer: {other:?}"),
        }
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        // The hand takes the mounts away when its daemon is gone.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Starts this test binary again, with a socket as its standard input.
pub fn again(root: &Path, arguments: &[&str]) -> (Child, UnixStream) {
    again_with(root, arguments, &[])
}

fn again_with(
    root: &Path,
    arguments: &[&str],
    environment: &[(&str, &OsStr)],
) -> (Child, UnixStream) {
    let (socket, theirs) = UnixStream::pair().expect("a socket pair");
    socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let child = std::process::Command::new(std::env::current_exe().expect("this binary"))
        .args(arguments)
        .env(MARKER, root)
        .envs(environment.iter().copied())
        .stdin(Stdio::from(OwnedFd::from(theirs)))
        .stdout(Stdio::null())
        .spawn()
        .expect("this binary can be started again");
    (child, socket)
}

/// The other end of that socket.
pub fn stdin() -> UnixStream {
    let stdin = rustix::stdio::stdin().try_clone_to_owned();
    UnixStream::from(stdin.expect("a socket"))
}

/// Sends one message.
pub fn write_frame(socket: &mut UnixStream, message: &impl Serialize) {
    let bytes = postcard::to_stdvec(message).expect("plain data");
    let length = u32::try_from(bytes.len()).expect("a small message");
    socket
        .write_all(&length.to_le_bytes())
        .expect("the other end is there");
    socket.write_all(&bytes).expect("the other end is there");
}

/// Receives one message; none where the other end is gone.
pub fn read_frame<T: for<'de> Deserialize<'de>>(socket: &mut UnixStream) -> Option<T> {
    let mut length = [0; 4];
    socket.read_exact(&mut length).ok()?;
    let mut bytes = vec![0; u32::from_le_bytes(length) as usize];
    socket.read_exact(&mut bytes).ok()?;
    postcard::from_bytes(&bytes).ok()
}

/// The daemon. One object for each file, so that a volume may be larger than an object.
pub fn main() {
    let mut socket = stdin();
    let (facts, stream) = Facts::stream();
    std::thread::spawn(move || {
        for fact in stream {
            // What goes well is no news to a test.
            if !matches!(fact, Fact::Committed(_)) {
                eprintln!("the daemon: {fact:?}");
            }
        }
    });
    let (publisher, mut volumes) = match std::env::var_os(KEEPER) {
        Some(keeper) => take_over(Path::new(&keeper), &facts),
        None => (publisher(facts), Volumes::new()),
    };
    while let Some(ask) = read_frame(&mut socket) {
        let answer = answer(&publisher, &mut volumes, ask)
            .unwrap_or_else(|error| Answer::Failed(error.to_string()));
        write_frame(&mut socket, &answer);
    }
    // Without waiting for anything, like a daemon that is killed.
    std::process::exit(0);
}

/// A publisher whose volumes end with this process.
fn publisher(facts: Facts) -> Publisher {
    let root = PathBuf::from(std::env::var_os(MARKER).expect("the test's folder"));
    let hand = Hand::start(ClientOptions {
        reach: Reach::Child {
            program: env!("CARGO_BIN_EXE_livemount").into(),
            args: vec!["hand".into()],
            roots: vec![root],
            selinux_context: None,
        },
        heartbeat: Duration::from_secs(10),
    })
    .expect("the hand starts");
    Publisher::new(hand, KEY, facts, None).expect("a publisher")
}

/// By name: each with what it was offered last, and the group of its files.
pub type Volumes = BTreeMap<String, (Published, Arc<Snapshot>, Option<u32>)>;

fn answer(
    publisher: &Publisher,
    volumes: &mut Volumes,
    ask: Ask,
) -> Result<Answer, Box<dyn std::error::Error>> {
    match ask {
        Ask::Publish {
            name,
            target,
            drain_ms,
            dotdata,
            fs_group,
            tree,
        } => {
            let first = snapshot(&tree, fs_group, None)?;
            let settings = Settings {
                drain: Duration::from_millis(drain_ms),
                compat: if dotdata {
                    Compat::Dotdata
                } else {
                    Compat::None
                },
                ..Settings::default()
            };
            let began = monotonic();
            let new = NewVolume {
                name: &name,
                target: &target,
                over: false,
                first: Arc::clone(&first),
                settings,
                request: Vec::new(),
            };
            let published = publisher.publish(new, |_| {})?;
            volumes.insert(name, (published, first, fs_group));
            Ok(Answer::Began(began))
        }
        Ask::Offer { name, tree } => {
            let (published, last, fs_group) = volumes.get_mut(&name).ok_or("no such volume")?;
            *last = snapshot(&tree, *fs_group, Some(last))?;
            let began = monotonic();
            published.offer(Arc::clone(last));
            Ok(Answer::Began(began))
        }
        Ask::Settle { name } => {
            let (published, ..) = volumes.get(&name).ok_or("no such volume")?;
            if published.settle(PATIENCE) {
                Ok(Answer::Done)
            } else {
                Err("the commit does not end".into())
            }
        }
        Ask::Unpublish { name } => {
            let (published, ..) = volumes.remove(&name).ok_or("no such volume")?;
            published.unpublish(Unbind::Detach)?;
            Ok(Answer::Done)
        }
        Ask::Hand => Ok(Answer::Done),
    }
}

fn snapshot(
    tree: &Tree,
    fs_group: Option<u32>,
    former: Option<&Arc<Snapshot>>,
) -> Result<Arc<Snapshot>, Box<dyn std::error::Error>> {
    let mut objects = BTreeMap::new();
    let mut sources = Vec::new();
    for (number, (path, (bytes, mode))) in tree.iter().enumerate() {
        let object = ObjectKey {
            kind: Kind::ConfigMap,
            namespace: "default".into(),
            name: number.to_string(),
            origin: livemount_engine::object::Origin::named("test"),
        };
        let data = BTreeMap::from([("k".to_owned(), Bytes::from(bytes.clone()))]);
        objects.insert(object.clone(), Object::new(object.clone(), data)?);
        sources.push(Source {
            object,
            items: vec![Item {
                key: "k".into(),
                path: RelPath::new(path)?,
                mode: Some(Mode::new(*mode)?),
                divisor: None,
            }],
            optional: false,
        });
    }
    let spec = Spec {
        sources,
        default_mode: Mode::DEFAULT,
        fs_group,
        mountpoints: Vec::new(),
    };
    let rendered = render(&spec, |key| objects.get(key), &KEY, former.map(|s| &**s))?;
    Ok(Arc::new(rendered.snapshot))
}
