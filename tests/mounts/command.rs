//! The command line as a user meets it: help, usage, refusals at start, edits while it runs, logs,
//! and every way to stop. Bad manifests have a file of their own, refusals.rs.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::{Duration, Instant};

use jiff::{Timestamp, Unit};
use rustix::fs::inotify::WatchFlags;
use rustix::mount::{UnmountFlags, mount_bind, unmount};
use rustix::process::Signal;
use serde_json::Value;

use crate::support::daemon::{self, Launch};
use crate::support::manifest::{self, Manifest};
use crate::support::scratch::Scratch;
use crate::support::volume::Volume;
use crate::support::watch::{Watch, lines};
use crate::support::{PATIENCE, mounts, wait_until};

/// Whether a log line says that a commit is done.
fn committed(line: &str) -> bool {
    line.contains("committed")
}

/// Whether a log line says that a version was refused.
fn refused(line: &str) -> bool {
    line.contains("refused")
}

/// Waits until a file of a volume says this.
fn wait_until_read(volume: &Volume, name: &str, content: &str) {
    wait_until(&format!("{name} reads {content:?}"), PATIENCE, || {
        volume.read(name) == content
    });
}

/// A manifest with one `ConfigMap`, written.
fn written(scratch: &Scratch) -> Manifest {
    let mut manifest = Manifest::config_map(&scratch.join("manifest.yaml"), "app");
    manifest.set("a", "1").write();
    manifest
}

#[test]
fn help_can_be_read_by_a_person() {
    let scratch = Scratch::new();
    let short = Launch::bare(&scratch).args(&["--help"]).run();
    let mount = Launch::mount(&scratch).args(&["--help"]).run();
    let hand = Launch::bare(&scratch).args(&["hand", "--help"]).run();

    assert_eq!(short.code(), 0);
    assert!(
        short
            .stdout
            .iter()
            .any(|line| line.trim_start().starts_with("mount "))
    );
    assert_eq!(mount.code(), 0);
    assert!(mount.stderr.is_empty());
    let text = mount.stdout.join("\n");
    for word in [
        "SOURCE",
        "MOUNTPOINT",
        "--configmap <NAME>",
        "--secret <NAME>",
        "--drain <MS>",
        "--pinned-versions <N>",
        "--pinned-bytes <SIZE>",
        "--log-format",
        "--log <FILTER>",
    ] {
        assert!(text.contains(word), "{word} is not in:\n{text}");
    }
    // What is for the tests alone.
    assert!(!text.contains("heartbeat"));
    assert_eq!(hand.code(), 0);
    let text = hand.stdout.join("\n");
    assert!(!text.contains("clone-attached"));
    for word in ["--dir <DIR>", "--root <DIR>", "--heartbeat <MS>"] {
        assert!(text.contains(word), "{word} is not in:\n{text}");
    }
    let all = [&short, &mount, &hand].map(|told| &told.stdout);
    for line in all.into_iter().flatten() {
        assert!(line.chars().count() <= 100, "too long: {line}");
    }
}

#[test]
fn version_is_told() {
    let scratch = Scratch::new();
    let told = Launch::bare(&scratch).args(&["--version"]).run();

    assert_eq!(told.code(), 0);
    assert_eq!(
        told.stdout,
        [format!("livemount {}", env!("CARGO_PKG_VERSION"))]
    );
}

#[test]
fn wrong_usage_is_exit_status_2() {
    let scratch = Scratch::new();
    for arguments in [
        &[][..],
        &["mount"],
        &["mount", "source"],
        &["mount", "source", "mountpoint", "one-too-many"],
        &["mount", "--nonsense", "source", "mountpoint"],
        &["mount", "--drain", "soon", "source", "mountpoint"],
        &["mount", "--drain", "-1", "source", "mountpoint"],
        &["mount", "--pinned-versions", "0", "source", "mountpoint"],
        &["mount", "--pinned-bytes", "many", "source", "mountpoint"],
        &["mount", "--log-format", "xml", "source", "mountpoint"],
        &[
            "mount",
            "--configmap",
            "a",
            "--secret",
            "b",
            "source",
            "mountpoint",
        ],
        &["frobnicate"],
    ] {
        let ended = Launch::bare(&scratch).args(arguments).run();

        assert_eq!(ended.code(), 2, "{arguments:?}: {ended:#?}");
        assert!(!ended.stderr.is_empty(), "{arguments:?}");
    }
}

#[test]
fn what_goes_wrong_at_start_is_exit_status_1_and_one_sentence() {
    let scratch = Scratch::new();
    let source = written(&scratch);
    let full = scratch.join("full");
    fs::create_dir_all(full.join("something")).expect("a folder can be made");
    let file = scratch.join("file");
    fs::write(&file, "").expect("a file can be written");
    let missing = scratch.join("missing.yaml");
    let target = scratch.join("target");

    for (source, mountpoint, named) in [
        (&*missing, &*target, &*missing),
        (source.path(), &full, &full),
        (source.path(), &file, &file),
    ] {
        let ended = Launch::mount(&scratch).arg(source).arg(mountpoint).run();

        let sentence = ended.sentence(1);
        assert!(sentence.contains(&*named.to_string_lossy()), "{sentence}");
        assert!(!target.exists(), "the mountpoint was made and left");
    }
}

#[test]
fn a_machine_without_dev_fuse_is_told() {
    let scratch = Scratch::new();
    let source = written(&scratch);
    let script = "mount -t tmpfs none /dev && exec \"$0\" \"$@\"";

    let ended = Launch::mount(&scratch)
        .under(&[
            "unshare",
            "--mount",
            "--propagation",
            "private",
            "sh",
            "-c",
            script,
        ])
        .arg(source.path())
        .arg(scratch.join("target"))
        .run();

    assert!(ended.sentence(1).contains("/dev/fuse"), "{ended:#?}");
    assert!(!scratch.join("target").exists());
}

#[test]
fn a_user_who_may_not_mount_is_told() {
    let scratch = Scratch::new();
    let source = written(&scratch);

    let ended = Launch::mount(&scratch)
        .under(&["setpriv", "--bounding-set", "-all"])
        .arg(source.path())
        .arg(scratch.join("target"))
        .run();

    let sentence = ended.sentence(1).to_lowercase();
    assert!(
        sentence.contains("mount") && (sentence.contains("permi") || sentence.contains("root")),
        "{sentence}"
    );
    assert!(!scratch.join("target").exists());
}

/// Two `ConfigMap`s and a Secret, in one file.
const SEVERAL: &str = "\
apiVersion: v1
kind: ConfigMap
metadata: {name: front}
data: {a: from front}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: back}
data: {a: from back}
---
apiVersion: v1
kind: Secret
metadata: {name: keys}
stringData: {a: from keys}
";

#[test]
fn several_objects_without_a_choice_are_listed() {
    let scratch = Scratch::new();
    let source = scratch.join("several.yaml");
    fs::write(&source, SEVERAL).expect("the manifest can be written");
    let run = |options: &[&str]| {
        Launch::mount(&scratch)
            .args(options)
            .arg(&source)
            .arg(scratch.join("target"))
            .run()
    };

    let ended = run(&[]);
    for word in ["front", "back", "keys", "--configmap", "--secret"] {
        assert!(ended.sentence(1).contains(word), "{word}: {ended:#?}");
    }
    let ended = run(&["--configmap", "nowhere"]);
    for word in ["nowhere", "front", "back"] {
        assert!(ended.sentence(1).contains(word), "{word}: {ended:#?}");
    }
    // A Secret of that name is not a ConfigMap of that name.
    run(&["--configmap", "keys"]).sentence(1);
    run(&["--secret", "front"]).sentence(1);
}

#[test]
fn a_choice_serves_that_object() {
    for (options, content) in [
        (&["--configmap", "front"], "from front"),
        (&["--configmap", "back"], "from back"),
        (&["--secret", "keys"], "from keys"),
    ] {
        let scratch = Scratch::new();
        let source = scratch.join("several.yaml");
        fs::write(&source, SEVERAL).expect("the manifest can be written");
        let target = scratch.join("target");

        let mut daemon = daemon::mount(&scratch, options, &source, &target);

        let read = fs::read_to_string(target.join("a")).expect("it can be read");
        assert_eq!(read, content);
        daemon.stop();
    }
}

#[test]
fn a_change_of_another_object_in_the_file_commits_nothing() {
    let scratch = Scratch::new();
    let source = scratch.join("several.yaml");
    fs::write(&source, SEVERAL).expect("the manifest can be written");
    let target = scratch.join("target");
    let _daemon = daemon::mount(&scratch, &["--configmap", "front"], &source, &target);
    let mut watch = Watch::all(&target);

    let changed = SEVERAL.replace("from back", "changed");
    manifest::replace(&source, changed.as_bytes());
    manifest::replace(&source, changed.replace("from front", "end").as_bytes());

    watch.next_until("the end is heard", |event| event.is("CLOSE_WRITE"));
    assert_eq!(watch.drain(), []);
    let read = fs::read_to_string(target.join("a")).expect("it can be read");
    assert_eq!(read, "end");
}

#[test]
fn promise_3_the_pin_limit_is_a_setting() {
    // Five bytes and two names of 512: two versions fit in 3,072 bytes, three do not.
    for asked in [
        &["--pinned-versions", "2"][..],
        &["--pinned-bytes", "3Ki"],
        &["--pinned-bytes", "1Gi", "--pinned-versions=2"],
    ] {
        pins_of_two(Volume::with(asked, &[("a", "0000")]));
    }
}

#[test]
fn a_pin_limit_of_the_environment_counts_and_a_wrong_one_is_told() {
    let scratch = Scratch::new();
    for (variable, value) in [
        ("LIVEMOUNT_PINNED_VERSIONS", "0"),
        ("LIVEMOUNT_PINNED_VERSIONS", "many"),
        ("LIVEMOUNT_PINNED_BYTES", "1 mile"),
    ] {
        let set = format!("{variable}={value}");
        let ended = Launch::mount(&scratch)
            .args(&["source", "mountpoint"])
            .under(&["env", &set])
            .run();

        assert_eq!(ended.code(), 2, "{ended:#?}");
        let told = ended.stderr.join("\n");
        assert!(told.contains(value), "{told}");
    }
    let mut manifest = written(&scratch);
    let target = scratch.join("target");
    let daemon = Launch::mount(&scratch)
        .arg(manifest.path())
        .arg(&target)
        .under(&["env", "LIVEMOUNT_PINNED_VERSIONS=1"])
        .start();
    let mut held = Vec::new();
    for (commits, next) in ["2", "3"].iter().enumerate() {
        held.push(File::open(target.join("a")).expect("opens"));
        manifest.set("a", next).replace();
        daemon
            .stderr
            .wait_nth(commits, "the commit is told", committed);
    }
    daemon.wait_for_line("the drop is told", |line| line.contains("ESTALE"));
    let read = |mut file: &File| {
        let mut text = String::new();
        file.read_to_string(&mut text).map(|_| text)
    };
    let oldest = read(&held[0]).expect_err("it is over the limit");
    assert_eq!(oldest.raw_os_error(), Some(libc::ESTALE));
    assert_eq!(read(&held[1]).expect("within the limit"), "2");
}

/// Holds four versions of a volume that keeps two: the oldest two are gone, the others are there.
fn pins_of_two(mut volume: Volume) {
    let held: Vec<File> = (1..=4)
        .map(|version: u32| {
            let held = File::open(volume.join("a")).expect("opens");
            let text = version.to_string().repeat(4);
            volume.change(&[("a", &text)]);
            wait_until_read(&volume, "a", &text);
            held
        })
        .collect();
    let read: Vec<Result<String, i32>> = held
        .iter()
        .map(|mut file| {
            let mut text = String::new();
            file.read_to_string(&mut text)
                .map(|_| text)
                .map_err(|error| error.raw_os_error().expect("the kernel's"))
        })
        .collect();
    let stale = Err(libc::ESTALE);
    let live = |text: &str| Ok(text.to_owned());
    assert_eq!(
        read,
        [stale.clone(), stale, live("2222"), live("3333")],
        "of {}",
        volume.path().display()
    );
    drop(held);
    volume.daemon.stop();
}

#[test]
fn extended_attributes_tell_the_objects_version_and_a_digest_of_this_process_alone() {
    let scratch = Scratch::new();
    let source = scratch.join("app.yaml");
    let text = "{apiVersion: v1, kind: ConfigMap, metadata: {name: app, uid: 0b1e-7, \
                resourceVersion: '4711'}, data: {a: '1', b: '1'}}\n";
    fs::write(&source, text).expect("the manifest can be written");
    let digests = ["one", "two"].map(|name| {
        let target = scratch.join(name);
        let _daemon = daemon::mount(&scratch, &[], &source, &target);
        let get = |file: &str, attribute: &str| {
            let name = format!("user.livemount.{attribute}");
            let mut value = vec![0; 256];
            let size = rustix::fs::getxattr(target.join(file), name, &mut value[..])
                .unwrap_or_else(|error| panic!("{attribute}: {error}"));
            value.truncate(size);
            String::from_utf8(value).expect("text")
        };
        for file in ["a", ""] {
            assert_eq!(get(file, "object"), "ConfigMap default/app");
            assert_eq!(get(file, "uid"), "0b1e-7");
            assert_eq!(get(file, "resourceVersion"), "4711");
        }
        assert_eq!(get("a", "digest"), get("b", "digest"));
        get("a", "digest")
    });
    assert_ne!(digests[0], digests[1], "the key is new for each process");
}

/// Something mounted over a file in the hand's own namespace: the kernel refuses to unlink that.
struct Cover(PathBuf);

impl Drop for Cover {
    fn drop(&mut self) {
        let _ = unmount(&self.0, UnmountFlags::DETACH);
    }
}

#[test]
fn promise_5_what_the_kernel_refuses_is_told_and_tried_again_less_and_less_often() {
    let mut volume = Volume::of(&[("a", "1"), ("t", "1")]);
    mount_bind("/etc/passwd", volume.join("t")).expect("a file can be bound over another");
    let cover = Cover(volume.join("t"));

    volume.manifest.remove("t").replace();

    let told: Vec<Timestamp> = (0..3)
        .map(|number| {
            let line = volume.daemon.stderr.wait_nth(number, "it is told", |line| {
                line.contains("could not unlink t, which is tried again")
            });
            let time = line.split(' ').next().expect("a line begins with its time");
            time.parse().expect("RFC 3339")
        })
        .collect();
    for (pair, pause) in told.windows(2).zip([1.0, 2.0]) {
        let waited = (pair[1] - pair[0]).total(Unit::Second).expect("a time");
        assert!(waited >= pause, "{waited} s");
    }
    drop(cover);
    wait_until("the name is gone", PATIENCE, || !volume.join("t").exists());
}

#[test]
fn json_is_a_manifest_too() {
    let scratch = Scratch::new();
    let source = scratch.join("app.json");
    let json = serde_json::json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "app"},
        "data": {"text": "a \"quoted\" text\n"},
        "binaryData": {"binary": manifest::base64(&[0, 255, 10, 13])},
    });
    fs::write(&source, json.to_string()).expect("the manifest can be written");
    let target = scratch.join("target");

    let _daemon = daemon::mount(&scratch, &[], &source, &target);

    let read = |name| fs::read(target.join(name)).expect("it can be read");
    assert_eq!(read("text"), b"a \"quoted\" text\n");
    assert_eq!(read("binary"), [0, 255, 10, 13]);
}

#[test]
fn the_example_is_served_and_sed_changes_it() {
    let scratch = Scratch::new();
    let source = scratch.join("app.yaml");
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/app.yaml");
    fs::copy(example, &source).expect("the example can be copied");
    let target = scratch.join("app");
    let daemon = daemon::mount(&scratch, &[], &source, &target);
    let file = target.join("app.properties");
    let before = fs::read_to_string(&file).expect("the example has it");

    // What it serves and where, in one line.
    let target_text = target.to_string_lossy().into_owned();
    daemon.wait_for_line("it says what and where", |line| {
        line.contains("app") && line.contains(&target_text)
    });

    let mut held = File::open(&file).expect("it can be opened");
    let mut watch = Watch::one(&file, WatchFlags::CLOSE_WRITE);
    let sed = Command::new("sed")
        .args(["-i", "s/greeting=Hello/greeting=Good day/"])
        .arg(&source)
        .status();
    assert!(
        sed.as_ref().is_ok_and(ExitStatus::success),
        "sed is missing: install it by tests/run ({sed:?})"
    );
    watch.next_until("the file is rung", |_| true);

    // Who has the file open keeps what it opened, and the next open reads the new version.
    let mut kept = String::new();
    held.read_to_string(&mut kept).expect("it can be read");
    assert_eq!(kept, before);
    let after = fs::read_to_string(&file).expect("it can be read");
    assert_eq!(after, before.replace("greeting=Hello", "greeting=Good day"));
    assert_ne!(after, before);
}

#[test]
fn a_manifest_written_in_place_is_read_when_its_writer_closes_it() {
    let mut volume = Volume::of(&[("a", "1")]);
    let mut watch = Watch::one(&volume.join("a"), WatchFlags::CLOSE_WRITE);
    let text = volume.manifest.set("a", "2").render();
    let mut source = Watch::one(
        volume.manifest.path(),
        WatchFlags::OPEN | WatchFlags::CLOSE_WRITE,
    );

    // Piece by piece to the disk, which gives whoever would read at a mere MODIFY its time.
    let mut file = File::create(volume.manifest.path()).expect("it can be opened");
    for piece in text.as_bytes().chunks(10) {
        file.write_all(piece).expect("it can be written");
        file.sync_all().expect("it can be synced");
    }
    drop(file);

    let seen = source.next_until("it is closed", |event| event.is("CLOSE_WRITE"));
    assert_eq!(
        lines(&seen),
        ["OPEN", "CLOSE_WRITE"],
        "only its writer opened it"
    );
    watch.next_until("the change is rung", |_| true);
    assert_eq!(volume.read("a"), "2");
    volume.settle();
    assert_eq!(volume.daemon.stderr.count(refused), 0);
}

#[test]
fn a_version_that_is_refused_later_changes_nothing_and_is_told_once() {
    let mut volume = Volume::of(&[("a", "1")]);
    let mut watch = Watch::all(volume.path());
    let source = volume.manifest.path().to_string_lossy().into_owned();

    fs::write(volume.manifest.path(), "kind: ConfigMap\n  broken: [\n").expect("it can be written");

    let line = volume.daemon.wait_for_line("the refusal is told", refused);
    assert!(line.contains(&source), "{line}");
    assert!(line.contains("line 2") || line.contains(":2"), "{line}");
    assert_eq!(volume.read("a"), "1");

    watch.drain();
    volume.change(&[("a", "2")]);
    watch.next_until("the corrected version is rung", |event| {
        event.is("CLOSE_WRITE") && event.name == "a"
    });
    assert_eq!(volume.read("a"), "2");
    volume.settle();
    assert_eq!(volume.daemon.stderr.count(refused), 1);
}

#[test]
fn a_manifest_that_vanishes_leaves_the_last_good_version() {
    let mut volume = Volume::of(&[("a", "1")]);
    let source = volume.manifest.path().to_string_lossy().into_owned();

    fs::remove_file(volume.manifest.path()).expect("it can be removed");

    let line = volume.daemon.wait_for_line("it is told", |line| {
        line.contains(&source) && (refused(line) || line.contains("gone"))
    });
    assert!(line.contains("WARN") || line.contains("ERROR"), "{line}");
    assert_eq!(volume.read("a"), "1");
    volume.change(&[("a", "2")]);
    wait_until_read(&volume, "a", "2");
}

#[test]
fn promise_10_an_immutable_object_stays_as_it_was_shown() {
    let scratch = Scratch::new();
    let mut manifest = written(&scratch);
    let fixed = |manifest: &Manifest| {
        let text = manifest.render() + "immutable: true\n";
        manifest::replace(manifest.path(), text.as_bytes());
    };
    fixed(&manifest);
    let target = scratch.join("target");
    let daemon = daemon::mount(&scratch, &[], manifest.path(), &target);
    let read = || fs::read_to_string(target.join("a")).expect("it can be read");

    manifest.set("a", "2");
    fixed(&manifest);
    let line = daemon.wait_for_line("it is told", |line| {
        line.contains("is immutable and was changed or made anew")
    });
    assert!(
        line.contains("WARN") && line.contains("ConfigMap default/app"),
        "{line}"
    );
    assert_eq!(read(), "1");

    // What is told is told once, whatever else comes.
    manifest.set("a", "3");
    fixed(&manifest);
    fs::write(manifest.path(), "kind: [\n").expect("it can be written");
    daemon.wait_for_line("all was read", refused);
    assert_eq!(read(), "1");
    let warned = |line: &str| line.contains("is immutable");
    assert_eq!(daemon.stderr.count(warned), 1);
}

#[test]
fn an_object_that_vanishes_from_the_manifest_leaves_the_last_good_version() {
    let mut volume = Volume::of(&[("a", "1")]);

    let other = volume.manifest.render().replace("name: app", "name: other");
    manifest::replace(volume.manifest.path(), other.as_bytes());
    volume
        .daemon
        .wait_for_line("it is told", |line| line.contains("WARN"));

    assert_eq!(volume.read("a"), "1");
    volume.change(&[("a", "2")]);
    wait_until_read(&volume, "a", "2");
}

#[test]
fn a_commit_is_one_line_with_its_numbers() {
    let mut volume = Volume::with(
        &["--log-format", "json"],
        &[("a", "1"), ("b", "1"), ("c", "1")],
    );
    let held = File::open(volume.join("a")).expect("it can be opened");
    let start = volume.daemon.stderr.all().len();

    volume.manifest.remove("c").set("d", "1").set("e", "1");
    volume.change(&[("a", "2"), ("b", "2")]);

    let line = volume
        .daemon
        .stderr
        .wait_past(start, "the commit is told", committed);
    let line: Value = serde_json::from_str(&line).expect("the line is JSON");
    assert_eq!(field(&line, "changed"), 2);
    assert_eq!(field(&line, "added"), 2);
    assert_eq!(field(&line, "removed"), 1);
    assert_eq!(field(&line, "older_handles"), 1);
    assert!(field(&line, "version").as_u64() > Some(0));
    assert!(field(&line, "volume").is_string());
    assert!(field(&line, "drained_ms").is_number());
    let took = field(&line, "took_ms").as_f64().expect("a number");
    assert!(took > 0.0);
    drop(held);

    volume.change(&[("a", "3")]);
    let next = volume
        .daemon
        .stderr
        .wait_past(start, "the next is told", |line| {
            committed(line) && line.contains("\"removed\":0")
        });
    let next: Value = serde_json::from_str(&next).expect("the line is JSON");
    assert_eq!(field(&next, "older_handles"), 0);
    assert!(field(&next, "version").as_u64() > field(&line, "version").as_u64());
}

#[test]
fn json_logs_are_json_and_text_logs_are_plain() {
    for (format, json) in [("json", true), ("text", false)] {
        let mut volume = Volume::with(&["--log-format", format], &[("a", "1")]);
        volume.change(&[("a", "2")]);
        volume.daemon.wait_for_line("the commit is told", committed);
        fs::write(volume.manifest.path(), "[").expect("it can be written");
        volume.daemon.wait_for_line("the refusal is told", refused);
        volume.daemon.stop();

        for line in volume.daemon.stderr.finish() {
            let parsed = serde_json::from_str::<Value>(&line);
            assert_eq!(parsed.is_ok_and(|line| line.is_object()), json, "{line}");
            assert!(!line.contains('\x1b'), "colours in {line:?}");
        }
    }
}

#[test]
fn a_filter_silences_the_log() {
    let mut volume = Volume::with(&["--log", "warn"], &[("a", "1")]);
    volume.change(&[("a", "2")]);
    volume.settle();
    volume.daemon.stop();

    let lines = volume.daemon.stderr.finish();
    assert!(
        !lines.iter().any(|line| line.contains("INFO")),
        "{lines:#?}"
    );
}

#[test]
fn the_signals_that_ask_it_to_end_unmount_and_are_exit_status_0() {
    for signal in [Signal::TERM, Signal::INT] {
        let scratch = Scratch::new();
        let source = written(&scratch);
        let made = scratch.join("made");
        let found = scratch.join("found");
        fs::create_dir(&found).expect("a folder can be made");

        for target in [&made, &found] {
            let mut daemon = daemon::mount(&scratch, &[], source.path(), target);
            assert!(mounts::at(target).is_some());
            daemon.stop_by(signal);
            assert_eq!(mounts::at(target), None);
        }
        assert!(!made.exists(), "what was made is taken away");
        assert!(found.is_dir(), "what was found is left");
        scratch.expect_nothing_left(PATIENCE);
    }
}

#[test]
fn a_mountpoint_with_blanks_and_letters_is_one_like_others() {
    let scratch = Scratch::new();
    let source = written(&scratch);
    let target = scratch.join("my volume\\ é, \"quoted\"");

    let mut daemon = daemon::mount(&scratch, &[], source.path(), &target);

    assert!(mounts::at(&target).is_some());
    let read = fs::read_to_string(target.join("a")).expect("it can be read");
    assert_eq!(read, "1");
    daemon.stop();
    assert!(!target.exists());
}

#[test]
fn a_mountpoint_in_use_is_an_error_and_the_first_stays() {
    let volume = Volume::of(&[("a", "1")]);

    let ended = Launch::mount(&volume.scratch)
        .arg(volume.manifest.path())
        .arg(volume.path())
        .run();

    let sentence = ended.sentence(1);
    assert!(
        sentence.contains(&*volume.path().to_string_lossy()),
        "{sentence}"
    );
    assert_eq!(volume.read("a"), "1");
}

#[test]
fn a_busy_mount_is_told_and_waited_for() {
    let mut volume = Volume::of(&[("a", "1")]);
    let held = File::open(volume.join("a")).expect("it can be opened");

    volume.daemon.signal(Signal::TERM);
    volume
        .daemon
        .wait_for_line("it says that it waits", |line| line.contains("in use"));
    drop(held);

    let status = volume.daemon.wait_for_end(PATIENCE);
    assert!(status.success(), "{status}");
    let lines = volume.daemon.stderr.finish();
    assert!(
        !lines.iter().any(|line| line.contains("detached")),
        "{lines:#?}"
    );
    assert!(!volume.path().exists());
}

#[test]
fn a_mount_that_stays_busy_is_detached() {
    let mut volume = Volume::of(&[("a", "1")]);
    let mut held = File::open(volume.join("a")).expect("it can be opened");

    let asked = Instant::now();
    volume.daemon.stop();

    // A timer may be late, never early.
    assert!(
        asked.elapsed() >= Duration::from_secs(4),
        "{:?}",
        asked.elapsed()
    );
    assert_eq!(mounts::at(volume.path()), None);
    volume.scratch.expect_nothing_left(PATIENCE);
    assert!(held.read_to_string(&mut String::new()).is_err());
}

#[test]
fn a_dead_mount_of_ours_is_replaced() {
    let scratch = Scratch::new();
    let source = written(&scratch);
    let target = scratch.join("volume");
    let mut daemon = daemon::mount(&scratch, &[], source.path(), &target);
    let hand = daemon.hand();

    // Without its hand a daemon cannot take its mount along.
    hand.signal(Signal::STOP);
    wait_until("the hand is stopped", PATIENCE, || {
        hand.state() == Some('T')
    });
    daemon.kill();
    hand.signal(Signal::KILL);
    wait_until("the hand is gone", PATIENCE, || !hand.alive());
    assert!(
        mounts::at(&target).is_some(),
        "this test needs a dead mount"
    );

    let mut daemon = daemon::mount(&scratch, &[], source.path(), &target);
    let read = fs::read_to_string(target.join("a")).expect("it can be read");
    assert_eq!(read, "1");
    daemon.stop();
    scratch.expect_nothing_left(PATIENCE);
}

/// A field of a JSON log line, wherever the format puts it.
fn field(line: &Value, name: &str) -> Value {
    let value = line.get(name).or_else(|| line.get("fields")?.get(name));
    value
        .unwrap_or_else(|| panic!("no {name} in {line}"))
        .clone()
}
