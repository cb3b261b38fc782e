//! Container images made of files of this machine, as no registry is in reach.

use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use ring::digest::{SHA256, digest};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::programs::system;

/// An image in the making: a file system of one layer, and what it runs.
#[derive(Debug)]
pub struct Image {
    name: String,
    layout: TempDir,
    config: Value,
}

impl Image {
    /// An image of this full name, such as `livemount.test/tool:1`, which has static busybox with
    /// all its applets in `/bin`, users `root` and `nobody`, and a `/tmp`.
    pub fn new(name: &str) -> Image {
        let layout = tempfile::tempdir_in(crate::folder().join("state")).expect("a folder");
        let image = Image {
            name: name.to_owned(),
            layout,
            config: json!({"Env": ["PATH=/usr/bin:/bin"], "WorkingDir": "/"}),
        };
        let image = image
            .file(&system("busybox"), "/bin/busybox")
            .content(
                "/etc/passwd",
                "root:x:0:0::/:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\n",
            )
            .content("/etc/group", "root:x:0:\nnogroup:x:65534:\n");
        let applets = run(Command::new(system("busybox")).arg("--list"));
        for applet in applets.lines().filter(|applet| *applet != "busybox") {
            symlink("busybox", image.root().join("bin").join(applet)).expect("a link");
        }
        let tmp = image.root().join("tmp");
        fs::create_dir(&tmp).expect("the image can be written to");
        fs::set_permissions(tmp, Permissions::from_mode(0o1777)).expect("it was just made");
        image
    }

    /// Adds a file of this machine, with its mode.
    #[must_use]
    pub fn file(self, from: &Path, to: &str) -> Image {
        let to = self.place(to);
        fs::copy(from, to).unwrap_or_else(|error| panic!("{}: {error}", from.display()));
        self
    }

    /// Adds a file of this content, readable by everybody.
    #[must_use]
    pub fn content(self, to: &str, content: &str) -> Image {
        fs::write(self.place(to), content).expect("the image can be written to");
        self
    }

    /// Adds a program of this machine with the shared libraries that it loads.
    #[must_use]
    pub fn program(mut self, from: &Path, to: &str) -> Image {
        for library in libraries(from) {
            // A library is found by the name it has here, whatever it is a link to.
            let to = library.to_string_lossy().into_owned();
            self = self.file(&library, &to);
        }
        self.file(from, to)
    }

    /// Adds a program of the system by its name, in `/usr/bin`.
    #[must_use]
    pub fn system(self, name: &str) -> Image {
        self.program(&system(name), &format!("/usr/bin/{name}"))
    }

    /// What a container of the image runs unless the pod says otherwise.
    #[must_use]
    pub fn entrypoint(mut self, command: &[&str]) -> Image {
        self.config["Entrypoint"] = json!(command);
        self
    }

    /// Writes an archive of an OCI layout, which is removed with the image.
    pub(crate) fn archive(&self) -> PathBuf {
        let at = |name: &str| self.layout.path().join(name);
        fs::create_dir_all(at("blobs/sha256")).expect("the layout can be written to");
        let layer = at("layer.tar");
        run(Command::new(system("tar"))
            .args(["--create", "--numeric-owner", "--owner=0", "--group=0"])
            .args(["--sort=name", "--mtime=@0", "--file"])
            .arg(&layer)
            .arg("--directory")
            .arg(self.root())
            .arg("."));
        let layer = self.blob(&fs::read(layer).expect("it was just written"));
        let config = json!({
            "architecture": architecture(),
            "os": "linux",
            "config": self.config,
            "rootfs": {"type": "layers", "diff_ids": [layer["digest"]]},
        });
        let mut config = self.blob(config.to_string().as_bytes());
        config["mediaType"] = json!("application/vnd.oci.image.config.v1+json");
        let mut layer = layer;
        layer["mediaType"] = json!("application/vnd.oci.image.layer.v1.tar");
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": config,
            "layers": [layer],
        });
        let mut manifest = self.blob(manifest.to_string().as_bytes());
        manifest["mediaType"] = json!("application/vnd.oci.image.manifest.v1+json");
        manifest["annotations"] = json!({"io.containerd.image.name": self.name});
        let index = json!({"schemaVersion": 2, "manifests": [manifest]});
        fs::write(at("index.json"), index.to_string()).expect("the layout can be written to");
        fs::write(at("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).expect("the same");
        let archive = at("image.tar");
        run(Command::new(system("tar"))
            .arg("--create")
            .arg("--file")
            .arg(&archive)
            .arg("--directory")
            .arg(self.layout.path())
            .args(["oci-layout", "index.json", "blobs"]));
        archive
    }

    fn root(&self) -> PathBuf {
        self.layout.path().join("root")
    }

    /// Where a file of the image is here, with its folder made.
    fn place(&self, path: &str) -> PathBuf {
        let place = self.root().join(path.trim_start_matches('/'));
        let folder = place.parent().expect("a file is in a folder");
        fs::create_dir_all(folder).expect("the image can be written to");
        place
    }

    /// Stores content under its digest, and returns what refers to it.
    fn blob(&self, content: &[u8]) -> Value {
        use std::fmt::Write as _;

        let hex = digest(&SHA256, content).as_ref().iter().fold(
            String::with_capacity(64),
            |mut hex, byte| {
                let _ = write!(hex, "{byte:02x}");
                hex
            },
        );
        let path = self.layout.path().join("blobs/sha256").join(&hex);
        fs::write(path, content).expect("the layout can be written to");
        json!({"digest": format!("sha256:{hex}"), "size": content.len()})
    }
}

/// The shared libraries of a program with the loader, as the loader itself finds them. None for a
/// static one.
fn libraries(program: &Path) -> BTreeSet<PathBuf> {
    let output = Command::new(system("ldd")).arg(program).output();
    let output = output.unwrap_or_else(|error| panic!("ldd: {error}"));
    String::from_utf8_lossy(&output.stdout)
        .split_whitespace()
        .filter(|word| word.starts_with('/'))
        .map(PathBuf::from)
        .collect()
}

fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn run(command: &mut Command) -> String {
    let output = command.output();
    let output = output.unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}
