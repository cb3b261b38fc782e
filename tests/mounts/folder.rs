//! Folders of manifests and volumes in the words of a pod spec, as a user meets them: end to end,
//! from a file that is saved to a file that is read.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::fs::inotify::WatchFlags;
use rustix::process::Signal;

use crate::support::daemon::{Daemon, Launch};
use crate::support::scratch::Scratch;
use crate::support::watch::{Watch, lines};
use crate::support::{PATIENCE, wait_until};

/// A manifest: `kind name key=value ...`, one object to a line.
fn manifest(objects: &[&str]) -> String {
    let document = |line: &&str| {
        let mut words = line.split(' ');
        let (kind, name) = (words.next().expect("a kind"), words.next().expect("a name"));
        let field = if kind == "Secret" {
            "stringData"
        } else {
            "data"
        };
        let mut text =
            format!("apiVersion: v1\nkind: {kind}\nmetadata:\n  name: {name}\n{field}:\n");
        for word in words {
            let (key, value) = word.split_once('=').expect("key=value");
            let _ = writeln!(text, "  {key}: \"{value}\"");
        }
        text
    };
    let documents: Vec<String> = objects.iter().map(document).collect();
    documents.join("---\n")
}

/// A folder of manifests, a mountpoint and the folder that holds both.
struct Place {
    source: PathBuf,
    target: PathBuf,
    scratch: Scratch,
}

impl Place {
    fn new(files: &[(&str, &[&str])]) -> Self {
        let scratch = Scratch::new();
        let place = Self {
            source: scratch.join("manifests"),
            target: scratch.join("volume"),
            scratch,
        };
        fs::create_dir(&place.source).expect("the folder can be made");
        for (name, objects) in files {
            place.save(name, objects);
        }
        place
    }

    /// Puts a file in its place by a rename, as editors do.
    fn save(&self, name: &str, objects: &[&str]) {
        self.save_text(name, &manifest(objects));
    }

    fn save_text(&self, name: &str, text: &str) {
        let beside = self.source.join(".new");
        fs::write(&beside, text).expect("the manifest can be written");
        fs::rename(beside, self.source.join(name)).expect("the manifest can be renamed");
    }

    /// A file beside the folder.
    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.scratch.join(name);
        fs::write(&path, text).expect("the file can be written");
        path
    }

    fn launch(&self, options: &[&str]) -> Launch<'_> {
        let launch = Launch::mount(&self.scratch).args(options);
        launch.arg(&self.source).arg(&self.target)
    }

    /// The sentence of a start that fails, without this test's folder in it.
    fn refusal(&self, options: &[&str]) -> String {
        let ended = self.launch(options).run();
        assert!(!self.target.exists(), "the mountpoint was made and left");
        self.shown(ended.sentence(1))
    }

    fn shown(&self, line: &str) -> String {
        line.replace(&format!("{}/", self.scratch.path().display()), "")
    }

    fn read(&self, name: &str) -> String {
        let path = self.target.join(name);
        fs::read_to_string(path).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    fn wait_until_read(&self, name: &str, text: &str) {
        wait_until(&format!("{name} reads {text:?}"), PATIENCE, || {
            fs::read_to_string(self.target.join(name)).is_ok_and(|read| read == text)
        });
    }

    fn wait_until_gone(&self, name: &str) {
        wait_until(&format!("{name} is gone"), PATIENCE, || {
            !self.target.join(name).exists()
        });
    }

    /// Mode, owner and group of a name in the volume.
    fn stat(&self, name: &str) -> (u32, u32, u32) {
        let found = fs::symlink_metadata(self.target.join(name)).expect("it is there");
        (found.mode() & 0o7777, found.uid(), found.gid())
    }

    /// Waits for a line of the log that ends so.
    fn told(&self, daemon: &Daemon, after: usize, end: &str) -> String {
        daemon
            .stderr
            .wait_past(after, end, |line| self.shown(line).ends_with(end))
    }
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("the folder can be read");
    let mut names: Vec<String> = entries
        .map(|entry| entry.expect("it can be read").file_name())
        .map(|name| name.to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

#[test]
fn a_folder_is_served_and_every_way_of_saving_is_heard() {
    let place = Place::new(&[
        ("a.yaml", &["ConfigMap app a=1 b=1"]),
        ("b.yml", &["Secret db password=x", "Deployment web"]),
        (".hidden.yaml", &["ConfigMap app a=hidden"]),
        ("c.txt", &["ConfigMap app a=text"]),
    ]);
    let mut daemon = place.launch(&["--configmap", "app"]).start();
    assert_eq!(place.read("a"), "1");

    let mut watch = Watch::one(&place.target.join("a"), WatchFlags::ALL_EVENTS);
    place.save("a.yaml", &["ConfigMap app a=2 b=1"]);
    let heard = watch.next_until("the change is rung", |event| event.is("CLOSE_WRITE"));
    assert_eq!(lines(&heard), ["OPEN", "MODIFY", "CLOSE_WRITE"]);
    assert_eq!(place.read("a"), "2");

    // sed -i, in place, from file to file, in a List.
    let status = Command::new("sed")
        .args(["-i", "s/\"2\"/\"3\"/"])
        .arg(place.source.join("a.yaml"))
        .status();
    assert!(status.expect("sed runs").success());
    place.wait_until_read("a", "3");
    fs::write(
        place.source.join("a.yaml"),
        manifest(&["ConfigMap app a=4"]),
    )
    .expect("written");
    place.wait_until_read("a", "4");
    place.wait_until_gone("b");
    fs::rename(place.source.join("a.yaml"), place.source.join("z.yaml")).expect("renamed");
    let list = "{\"apiVersion\": \"v1\", \"kind\": \"List\", \"items\": [{\"apiVersion\": \"v1\", \
                \"kind\": \"ConfigMap\", \"metadata\": {\"name\": \"app\"}, \"data\": {\"a\": \"5\"}}]}";
    fs::remove_file(place.source.join("z.yaml")).expect("removed");
    place.save_text("list.json", list);
    place.wait_until_read("a", "5");
    assert_eq!(names(&place.target), ["a"]);
    daemon.stop();
    let log = daemon.stderr.finish();
    assert!(!log.iter().any(|line| line.contains("WARN")), "{log:#?}");
}

#[test]
fn a_folder_that_is_swapped_is_the_new_one() {
    let place = Place::new(&[]);
    fs::remove_dir(&place.source).expect("removed");
    for n in ["1", "2", "3"] {
        let version = place.scratch.join(&format!("v{n}"));
        fs::create_dir(&version).expect("made");
        let text = manifest(&[&format!("ConfigMap app num={n}")]);
        fs::write(version.join("app.yaml"), text).expect("written");
    }
    symlink("v1", &place.source).expect("linked");
    let _daemon = place.launch(&[]).start();
    assert_eq!(place.read("num"), "1");
    let beside = place.scratch.join("link");
    symlink("v2", &beside).expect("linked");
    fs::rename(&beside, &place.source).expect("swapped");
    place.wait_until_read("num", "2");
    fs::remove_file(&place.source).expect("removed");
    fs::rename(place.scratch.join("v3"), &place.source).expect("renamed");
    place.wait_until_read("num", "3");
}

#[test]
fn the_volume_of_a_pod_spec_is_served_as_it_says() {
    let place = Place::new(&[
        ("app.yaml", &["ConfigMap app app.conf=one other=two"]),
        ("db.yaml", &["Secret db user=me password=x"]),
    ]);
    let volume = place.write(
        "volume.yaml",
        "name: config\nprojected:\n  defaultMode: 0440\n  sources:\n  - configMap:\n      name: app\n      \
         items:\n      - {key: app.conf, path: conf/d/app.conf, mode: 0400}\n      - {key: app.conf, \
         path: copy}\n  - secret: {name: db}\n  - configMap: {name: extra, optional: true}\n",
    );
    let options = ["--volume", &volume.to_string_lossy()];
    let daemon = place.launch(&options).start();
    assert_eq!(names(&place.target), ["conf", "copy", "password", "user"]);
    assert_eq!(place.read("conf/d/app.conf"), "one");
    assert_eq!(place.stat("conf/d/app.conf"), (0o400, 0, 0));
    assert_eq!(place.stat("conf/d"), (0o755, 0, 0));
    assert_eq!(place.stat("copy"), (0o440, 0, 0));
    assert_eq!(place.stat("password"), (0o440, 0, 0));
    assert_eq!(place.stat(""), (0o777, 0, 0));

    // The optional one comes and goes; without the other one nothing changes.
    place.save("extra.yaml", &["ConfigMap extra more=1"]);
    place.wait_until_read("more", "1");
    fs::remove_file(place.source.join("db.yaml")).expect("removed");
    fs::remove_file(place.source.join("extra.yaml")).expect("removed");
    place.told(&daemon, 0, "Secret default/db does not exist volume=volume");
    place.save("app.yaml", &["ConfigMap app app.conf=three other=two"]);
    place.save_text("app2.yaml", "[");
    place.told(
        &daemon,
        0,
        "manifests/app2.yaml:1: not YAML: brackets do not match",
    );
    assert_eq!(
        (place.read("password"), place.read("copy")),
        ("x".into(), "one".into())
    );
    assert_eq!(place.read("more"), "1");
    place.save("db.yaml", &["Secret db user=you password=y"]);
    place.wait_until_read("user", "you");
    place.wait_until_read("copy", "three");
    place.wait_until_gone("more");
}

#[test]
fn a_group_owns_everything_as_with_a_pods_fs_group() {
    let place = Place::new(&[("app.yaml", &["ConfigMap app a=1 b=1"])]);
    let volume = place.write(
        "volume.json",
        "{\"configMap\": {\"name\": \"app\", \"items\": [{\"key\": \"a\", \"path\": \"d/a\", \
         \"mode\": 256}, {\"key\": \"b\", \"path\": \"b\"}]}}",
    );
    let options = ["--fs-group", "4321", "--volume", &volume.to_string_lossy()];
    let _daemon = place.launch(&options).start();
    assert_eq!(place.stat(""), (0o2777, 0, 4321));
    assert_eq!(place.stat("d"), (0o2755, 0, 4321));
    assert_eq!(place.stat("d/a"), (0o440, 0, 4321));
    assert_eq!(place.stat("b"), (0o644, 0, 4321));
}

#[test]
fn over_hides_what_the_mountpoint_holds() {
    let place = Place::new(&[("app.yaml", &["ConfigMap app a=1"])]);
    fs::create_dir(&place.target).expect("made");
    fs::write(place.target.join("own"), "kept").expect("written");
    let ended = place.launch(&[]).run();
    assert!(ended.sentence(1).contains("volume"), "{ended:#?}");

    // What is served from below it could not be read any more.
    let launch = Launch::mount(&place.scratch).args(&["--over"]);
    let ended = launch.arg(&place.source).arg(&place.source).run();
    assert_eq!(
        place.shown(ended.sentence(1)),
        "livemount: manifests would hide manifests, from which it is to be served"
    );

    let mut daemon = place.launch(&["--over"]).start();
    assert_eq!(names(&place.target), ["a"]);
    place.save("app.yaml", &["ConfigMap app a=2"]);
    place.wait_until_read("a", "2");
    daemon.stop();
    assert_eq!(names(&place.target), ["own"]);
    assert_eq!(place.read("own"), "kept");
}

#[test]
fn a_missing_object_is_waited_for() {
    let place = Place::new(&[("other.yaml", &["ConfigMap other a=1"])]);
    let daemon = place.launch(&["--configmap", "app"]).spawn();
    let line = " WARN waiting for ConfigMap default/app in manifests";
    place.told(&daemon, 0, line);
    // And again after a while.
    daemon
        .stderr
        .wait_nth(1, line, |told| place.shown(told).ends_with(line));
    assert!(!place.target.exists(), "nothing is mounted yet");
    place.save("app.yaml", &["ConfigMap app a=1"]);
    daemon.wait_until_ready();
    assert_eq!(place.read("a"), "1");
}

#[test]
fn what_a_volume_names_is_waited_for_in_one_file_too() {
    let place = Place::new(&[("all.yaml", &["ConfigMap app a=1"])]);
    let source = place.source.join("all.yaml");
    let volume = place.write(
        "volume.yaml",
        "projected:\n  sources:\n  - configMap: {name: app}\n  - secret: {name: db, items: [{key: \
         pass, path: a/b}]}\n",
    );
    let daemon = Launch::mount(&place.scratch)
        .arg("--volume")
        .arg(&volume)
        .arg(&source)
        .arg(&place.target)
        .spawn();
    let told = |after, end| place.told(&daemon, after, end);
    told(
        0,
        " WARN waiting for Secret default/db in manifests/all.yaml",
    );
    place.save("all.yaml", &["ConfigMap app a=1", "Secret db user=x"]);
    told(
        0,
        " WARN Secret default/db has no key \"pass\" in manifests/all.yaml",
    );
    place.save("all.yaml", &["ConfigMap app a=1", "Secret db pass=x"]);
    told(
        0,
        " WARN path \"a\" is a file and cannot hold \"a/b\" in manifests/all.yaml",
    );
    place.save("all.yaml", &["ConfigMap app c=1", "Secret db pass=x"]);
    daemon.wait_until_ready();
    assert_eq!(place.read("a/b"), "x");
    assert_eq!(place.read("c"), "1");
}

#[test]
fn a_wait_can_be_stopped() {
    for signal in [Signal::TERM, Signal::INT] {
        let place = Place::new(&[]);
        let mut daemon = place.launch(&["--secret", "db"]).spawn();
        place.told(
            &daemon,
            0,
            " WARN waiting for Secret default/db in manifests",
        );
        daemon.stop_by(signal);
        assert!(!place.target.exists());
    }
}

#[test]
fn an_object_told_twice_keeps_what_both_files_said_until_one_is_corrected() {
    let place = Place::new(&[
        ("a.yaml", &["ConfigMap app a=1"]),
        ("b.yaml", &["ConfigMap more b=1"]),
    ]);
    let volume = place.write(
        "volume.yaml",
        "projected: {sources: [{configMap: {name: app}}, {configMap: {name: more, optional: true}}]}",
    );
    let options = ["--volume", &volume.to_string_lossy()];
    let daemon = place.launch(&options).start();
    let twice = "WARN refused, the last good version stays: manifests/b.yaml:8: ConfigMap \
                 default/app: told twice, first at manifests/a.yaml:1";
    place.save("b.yaml", &["ConfigMap more b=2", "ConfigMap app a=2"]);
    place.told(&daemon, 0, twice);
    place.save("a.yaml", &["ConfigMap app a=3"]);
    // Another file goes on, which proves that what was saved before it has been read.
    place.save_text("c.yaml", "[");
    place.told(
        &daemon,
        0,
        "manifests/c.yaml:1: not YAML: brackets do not match",
    );
    assert_eq!((place.read("a"), place.read("b")), ("1".into(), "1".into()));
    // One is corrected, and both are heard.
    place.save("b.yaml", &["ConfigMap more b=4"]);
    place.wait_until_read("b", "4");
    place.wait_until_read("a", "3");
}

#[test]
fn a_broken_file_holds_up_no_other() {
    let place = Place::new(&[
        ("a.yaml", &["ConfigMap app a=1"]),
        ("b.yaml", &["ConfigMap more b=1"]),
    ]);
    let volume = place.write(
        "volume.yaml",
        "projected: {sources: [{configMap: {name: app}}, {configMap: {name: more}}]}",
    );
    let options = ["--volume", &*volume.to_string_lossy()];
    let mut daemon = place.launch(&options).start();
    place.save_text("a.yaml", "apiVersion: v1\nkind: ConfigMap\n");
    let broken = "manifests/a.yaml:1: a ConfigMap without metadata.name";
    place.told(&daemon, 0, broken);
    place.save("b.yaml", &["ConfigMap more b=2"]);
    place.wait_until_read("b", "2");
    assert_eq!(place.read("a"), "1");
    // SIGHUP tells it again.
    let before = daemon.stderr.all().len();
    daemon.signal(Signal::HUP);
    place.told(&daemon, before, "INFO SIGHUP: manifests is read again");
    place.told(&daemon, before, broken);
    place.save("a.yaml", &["ConfigMap app a=3"]);
    place.wait_until_read("a", "3");
    daemon.stop();
}

#[test]
fn a_restart_beside_a_broken_file_serves_what_is_named() {
    let place = Place::new(&[("a.yaml", &["ConfigMap app a=1"])]);
    place.save_text("b.yaml", "[");
    let broken = "livemount: manifests/b.yaml:1: not YAML: brackets do not match";
    // What is in it may be what is meant.
    assert_eq!(place.refusal(&[]), broken);
    let daemon = place.launch(&["--configmap", "app"]).start();
    place.told(&daemon, 0, &broken["livemount: ".len()..]);
    assert_eq!(place.read("a"), "1");
}

#[test]
fn sighup_reads_what_could_not_be_heard() {
    let place = Place::new(&[("app.yaml", &["ConfigMap app a=1"])]);
    let other = place.scratch.join("other");
    fs::create_dir(&other).expect("made");
    let text = manifest(&["ConfigMap app a=2"]);
    fs::write(other.join("app.yaml"), text).expect("written");
    let mut daemon = place.launch(&[]).start();
    // Nobody hears a mount.
    let mount = |program: &str, paths: &[&Path]| {
        let status = Command::new(program).args(paths).status();
        assert!(status.expect("it runs").success());
    };
    mount("mount", &[Path::new("--bind"), &other, &place.source]);
    daemon.signal(Signal::HUP);
    place.wait_until_read("a", "2");
    mount("umount", &[&place.source]);
    daemon.stop();
}

#[test]
fn a_folder_on_fuse_is_polled() {
    let lower = Place::new(&[]);
    let inner = |n: u32| {
        let inner = manifest(&[&format!("ConfigMap app num={n}")]);
        let quoted = serde_json::to_string(&inner).expect("a string is JSON");
        format!(
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: files}}\ndata: {{app.yaml: {quoted}}}\n"
        )
    };
    lower.save_text("files.yaml", &inner(1));
    let _lower = lower.launch(&[]).start();

    let upper = Place::new(&[]);
    let launch = Launch::mount(&upper.scratch).arg(&lower.target);
    let mut daemon = launch.arg(&upper.target).start();
    assert_eq!(upper.read("num"), "1");
    for n in 2..4 {
        lower.save_text("files.yaml", &inner(n));
        upper.wait_until_read("num", &n.to_string());
    }
    daemon.stop();
}

#[test]
fn a_namespace_is_chosen() {
    let place = Place::new(&[("app.yaml", &["ConfigMap app a=1"])]);
    place.save_text(
        "prod.yaml",
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: app, namespace: prod}\ndata: {a: \"2\"}\n",
    );
    for (options, read) in [(&[][..], "1"), (&["--namespace", "default"], "1")] {
        let mut daemon = place.launch(options).start();
        assert_eq!(place.read("a"), read);
        daemon.stop();
    }
    // Now the one that names none is in it as well.
    assert_eq!(
        place.refusal(&["--namespace", "prod"]),
        "livemount: manifests/prod.yaml:1: ConfigMap prod/app: told twice, first at \
         manifests/app.yaml:1"
    );
    fs::remove_file(place.source.join("app.yaml")).expect("removed");
    assert_eq!(
        place.refusal(&[]),
        "livemount: manifests holds nothing in namespace default; it holds ConfigMap prod/app: \
         choose with --namespace"
    );
    let volume = place.write("volume.yaml", "configMap: {name: app}");
    let options = ["--namespace", "prod", "--volume", &volume.to_string_lossy()];
    let _daemon = place.launch(&options).start();
    assert_eq!(place.read("a"), "2");
}

#[test]
fn what_is_wrong_at_the_start_is_one_sentence() {
    let place = Place::new(&[]);
    assert_eq!(
        place.refusal(&[]),
        "livemount: manifests holds no ConfigMap and no Secret"
    );
    place.save("a.yaml", &["ConfigMap app a=1", "Secret db p=1"]);
    assert_eq!(
        place.refusal(&[]),
        "livemount: manifests holds 2 objects; choose one of --configmap app, --secret db"
    );
    place.save("b.yaml", &["ConfigMap app a=2"]);
    assert_eq!(
        place.refusal(&["--secret", "db"]),
        "livemount: manifests/b.yaml:1: ConfigMap default/app: told twice, first at \
         manifests/a.yaml:1"
    );
    fs::remove_file(place.source.join("b.yaml")).expect("removed");
    for (text, sentence) in [
        (
            "configMap:\n  name: app\n  items:\n  - {key: a, path: ../a}\n",
            "volume.yaml:4: configMap.items[0].path: key \"a\": a path must not start with '..' or \
             have '..' as an element",
        ),
        (
            "secret: {secretName: db, defaultMode: \"0400\"}\n",
            "volume.yaml:1: secret.defaultMode must be a number, not a string",
        ),
        (
            "downwardAPI: {}\n",
            "volume.yaml:1: downwardAPI is served to pods only: its values are the pod's own",
        ),
    ] {
        let volume = place.write("volume.yaml", text);
        let refusal = place.refusal(&["--volume", &volume.to_string_lossy()]);
        assert_eq!(refusal, format!("livemount: {sentence}"));
    }
    let missing = place.scratch.join("missing.yaml");
    assert_eq!(
        place.refusal(&["--volume", &missing.to_string_lossy()]),
        "livemount: missing.yaml: cannot be read: No such file or directory (os error 2)"
    );
}

#[test]
fn usage_is_exit_status_2() {
    let place = Place::new(&[("app.yaml", &["ConfigMap app a=1"])]);
    for options in [
        &["--volume", "v", "--configmap", "app"][..],
        &["--volume", "v", "--secret", "app"],
        &["--namespace", "Prod"],
        &["--namespace", ""],
        &["--fs-group", "x"],
        &["--fs-group", "2147483648"],
    ] {
        assert_eq!(place.launch(options).run().code(), 2, "{options:?}");
    }
}

#[test]
fn a_limit_that_is_met_is_named() {
    let place = Place::new(&[("app.yaml", &["ConfigMap app a=1"])]);
    // A user namespace has limits of its own.
    let limited = |limit: &str| {
        let script = format!("echo 1 > /proc/sys/user/{limit} && exec \"$0\" \"$@\"");
        let wrapper = ["unshare", "--user", "--map-root-user", "sh", "-c", &script];
        let ended = place.launch(&[]).under(&wrapper).run();
        place.shown(ended.sentence(1))
    };
    assert_eq!(
        limited("max_inotify_watches"),
        "livemount: manifests: cannot be watched: No space left on device (os error 28); this user \
         has no inotify watches left: raise user.max_inotify_watches, now 1, with sysctl"
    );
    let ended = place.launch(&[]).under(&["prlimit", "--nofile=4"]).run();
    assert_eq!(
        place.shown(ended.sentence(1)),
        "livemount: manifests: cannot be read: Too many open files (os error 24); this process has \
         no descriptors left: raise the limit of open files, now 4, with ulimit -n or LimitNOFILE="
    );
}

#[test]
fn a_limit_that_is_met_later_is_named_and_survived() {
    let place = Place::new(&[("app.yaml", &["ConfigMap app a=1"])]);
    let daemon = place.launch(&[]).start();
    let limit = |limit: &str| {
        let mut prlimit = Command::new("prlimit");
        prlimit.args(["--pid", &daemon.process.pid.to_string()]);
        let status = prlimit.arg(format!("--nofile={limit}:")).status();
        assert!(status.expect("prlimit runs").success());
    };
    limit("3");
    place.save("app.yaml", &["ConfigMap app a=2"]);
    place.told(
        &daemon,
        0,
        "manifests: cannot be read: Too many open files (os error 24); this process has no \
         descriptors left: raise the limit of open files, now 3, with ulimit -n or LimitNOFILE=",
    );
    assert_eq!(place.read("a"), "1");
    limit("1024");
    place.wait_until_read("a", "2");
}
