//! nginx as a strict reader: it tells a length by fstat and then sends the file by sendfile, here
//! under continuous updates and reloads. Every response has to be whole, and no older than what the
//! configuration that answers was read with.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::{fs, thread};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::places::{FILE, Live, Place};
use super::{installed, table};
use crate::support::daemon;
use crate::support::manifest::replace;
use crate::support::{PATIENCE, wait_until};

const ROUNDS: u32 = 40;
const CLIENTS: usize = 2;
/// The key that nginx reads its configuration from.
const CONFIG: &str = "nginx.conf";
/// Far above what a loaded machine takes from a file's open to its last byte: how long a commit may
/// wait for readers is not what is tested here.
const OPTIONS: &[&str] = &["--drain", "10000"];

/// Runs nginx on a volume and on a single file of it, and writes or compares its row.
pub fn run() {
    installed::need("nginx", "-v");
    let version = Command::new("nginx").arg("-v").output();
    let version = version.expect("it has just been run").stderr;
    let version = String::from_utf8_lossy(&version);
    let version = version.trim().rsplit('/').next().unwrap_or_default();

    let mut volume = Live::folder(OPTIONS, &body(0));
    volume.set(CONFIG, "# not yet");
    serve(&mut volume, true);
    drop(volume);
    serve(&mut Live::file(OPTIONS, &body(0)), false);
    let whole = "every response whole";
    let cells = [whole, whole, "not measured"].map(str::to_owned);
    table::set("nginx, sendfile on", version, &cells);
}

/// Updates the file that nginx serves, and the configuration in the same place or beside it.
fn serve(place: &mut Live, config_in_volume: bool) {
    let private = tempfile::tempdir().expect("a temporary folder can be made");
    let private = private.path();
    let path = if config_in_volume {
        place.folder().join(CONFIG)
    } else {
        private.join(CONFIG)
    };
    let configure = |place: &mut Live, number| {
        let config = config(private, place.folder(), number);
        if config_in_volume {
            place.set(CONFIG, &config);
        } else {
            replace(&path, config.as_bytes());
        }
    };
    configure(place, 0);
    let nginx = Nginx::start(place, &path, private);
    slow_client(place, &nginx);
    let over = Over(AtomicBool::new(false));
    let seen: Vec<_> = (0..CLIENTS).map(|_| AtomicU32::new(0)).collect();
    thread::scope(|scope| {
        let end = &over;
        let nginx = &nginx;
        let clients: Vec<_> = seen
            .iter()
            .map(|seen| scope.spawn(move || client(nginx, seen, &end.0)))
            .collect();
        // The clients end with this scope, also where it panics.
        let _end = EndOf(end);
        for number in 3..=ROUNDS {
            place.set(FILE, &body(number));
            configure(place, number);
            nginx.reload();
            wait_until("the new configuration answers", PATIENCE, || {
                assert!(
                    !clients.iter().any(thread::ScopedJoinHandle::is_finished),
                    "a client failed"
                );
                seen.iter()
                    .all(|seen| seen.load(Ordering::Relaxed) >= number)
            });
        }
    });
}

/// A client that reads only when the file has become shorter. Sent by sendfile, what it has not read
/// yet is still the page cache's own pages, long after nginx has closed the file.
fn slow_client(place: &mut Live, nginx: &Nginx) {
    place.set(FILE, &body(1));
    let stream = nginx.request();
    wait_until("nginx has sent all", PATIENCE, || {
        let mut fds = [PollFd::new(&stream, PollFlags::RDHUP)];
        poll(&mut fds, Some(&Timespec::default())).is_ok_and(|ready| ready > 0)
    });
    assert!(body(2).len() < body(1).len());
    place.set(FILE, &body(2));
    assert_eq!(answer(stream), (0, 1));
}

struct Over(AtomicBool);

struct EndOf<'a>(&'a Over);

impl Drop for EndOf<'_> {
    fn drop(&mut self) {
        self.0.0.store(true, Ordering::Relaxed);
    }
}

/// Asks again and again, and tells the newest configuration that answered.
fn client(nginx: &Nginx, seen: &AtomicU32, over: &AtomicBool) {
    let mut last = 0;
    while !over.load(Ordering::Relaxed) {
        let (config, number) = answer(nginx.request());
        assert!(
            number >= config,
            "configuration {config} answered with body {number}"
        );
        assert!(number >= last, "body {number} after body {last}");
        last = number;
        seen.fetch_max(config, Ordering::Relaxed);
    }
}

/// A body that tells its number, its length and its checksum.
fn body(number: u32) -> String {
    // Small, one page, several pages; never more than a socket takes at once.
    let filler = format!("{number} ").repeat(1 + number as usize * 7_919 % 15_000);
    format!(
        "{number} {} {:08x}\n{filler}",
        filler.len(),
        checksum(&filler)
    )
}

/// Reads a body's number, and fails unless it is whole.
fn check(text: &str) -> u32 {
    let number = text
        .split(' ')
        .next()
        .and_then(|number| number.parse().ok());
    let number = number.unwrap_or_else(|| panic!("no body: {text:.100}"));
    let expected = body(number);
    if text != expected {
        let mut pairs = text.bytes().zip(expected.bytes());
        let at = pairs.position(|(told, expected)| told != expected);
        let at = at.unwrap_or(text.len().min(expected.len()));
        let rest = String::from_utf8_lossy(&text.as_bytes()[at..]);
        panic!(
            "body {number} of {} bytes has {}; from byte {at} on it is {rest:.60}",
            expected.len(),
            text.len()
        );
    }
    number
}

/// FNV-1a.
fn checksum(text: &str) -> u32 {
    text.bytes().fold(0x811c_9dc5, |sum, byte| {
        (sum ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    })
}

fn config(private: &Path, root: &Path, number: u32) -> String {
    let private = private.display();
    let root = root.display();
    format!(
        "daemon off;
user root;
worker_processes 1;
pid {private}/pid;
error_log {private}/error.log;
events {{}}
http {{
    access_log off;
    sendfile on;
    client_body_temp_path {private}/body;
    proxy_temp_path {private}/proxy;
    fastcgi_temp_path {private}/fastcgi;
    uwsgi_temp_path {private}/uwsgi;
    scgi_temp_path {private}/scgi;
    server {{
        listen unix:{private}/socket;
        root {root};
        add_header Config {number};
    }}
}}
"
    )
}

/// A running nginx. It and its workers end when this is dropped.
struct Nginx {
    child: std::process::Child,
    socket: PathBuf,
}

impl Nginx {
    fn start(place: &Live, config: &Path, private: &Path) -> Self {
        let mut command = daemon::command(place.scratch(), "nginx");
        command.arg("-e").arg(private.join("error.log"));
        command.arg("-c").arg(config);
        let child = place
            .spawn(command)
            .unwrap_or_else(|error| installed::missing("nginx", &error.to_string()));
        let socket = private.join("socket");
        let nginx = Self { child, socket };
        wait_until("nginx listens", PATIENCE, || {
            UnixStream::connect(&nginx.socket).is_ok()
        });
        // The master takes signals from when this is there.
        wait_until("nginx has a pid file", PATIENCE, || {
            fs::read_to_string(private.join("pid")).is_ok_and(|pid| !pid.is_empty())
        });
        nginx
    }

    fn reload(&self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::HUP).expect("nginx runs");
    }

    /// Sends a request and reads nothing yet.
    fn request(&self) -> UnixStream {
        let mut stream = UnixStream::connect(&self.socket).expect("nginx listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        write!(stream, "GET /{FILE} HTTP/1.0\r\n\r\n").expect("nginx reads");
        stream
    }
}

/// Reads a response. Comes back with the configuration's and the body's number.
fn answer(mut stream: UnixStream) -> (u32, u32) {
    let mut response = String::new();
    stream.read_to_string(&mut response).expect("nginx answers");
    let (head, body) = response.split_once("\r\n\r\n").unwrap_or_default();
    assert!(head.starts_with("HTTP/1.1 200 "), "{response:.300}");
    let header = |name: &str| -> u32 {
        let mut lines = head.lines().filter_map(|line| line.split_once(": "));
        let value = lines
            .find(|(told, _)| *told == name)
            .map(|(_, value)| value);
        value
            .and_then(|value| value.parse().ok())
            .unwrap_or_else(|| panic!("no {name}: {head}"))
    };
    assert_eq!(header("Content-Length") as usize, body.len(), "{body:.100}");
    (header("Config"), check(body))
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // The master takes its workers along.
        let pid = rustix::process::Pid::from_child(&self.child);
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        let _ = self.child.wait();
    }
}
