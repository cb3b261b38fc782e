//! Where the programs of the cluster are: what `build` makes of Go modules, and what the system has.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What a control plane alone needs.
pub const CONTROL_PLANE: &[&str] = &["etcd", "kube-apiserver"];

/// What a cluster with a node needs.
pub const CLUSTER: &[&str] = &[
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "kubelet",
];

/// The check of a CSI driver against the specification.
pub const SANITY: &[&str] = &["csi-sanity"];

/// Tells the processes inside what was built outside, where there is a network to build with.
pub(crate) const BUILT: &str = "LIVEMOUNT_CLUSTER_PROGRAMS";

/// The built program of that name.
///
/// # Panics
/// If it was not among those that [`crate::enter`] was to have.
pub fn program(name: &str) -> PathBuf {
    let folder = env::var_os(BUILT).expect("`enter` has built the programs");
    let path = Path::new(&folder).join(name);
    assert!(path.exists(), "`enter` was not told to build {name}");
    path
}

/// A program of the system, which tests/run installs.
pub(crate) fn system(name: &str) -> PathBuf {
    env::var_os("PATH")
        .iter()
        .flat_map(env::split_paths)
        .chain(["/usr/sbin".into(), "/sbin".into(), "/usr/lib/cni".into()])
        .map(|folder| folder.join(name))
        .find(|path| path.exists())
        .unwrap_or_else(|| panic!("{name} is missing; `tests/run --prepare` installs it"))
}

/// Builds what is not built yet, with progress on the terminal, and returns the folder of all.
pub(crate) fn build(programs: &[&str]) -> Result<PathBuf, String> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("build");
    let output = Command::new(&script)
        .args(programs)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| format!("{}: {error}", script.display()))?;
    if !output.status.success() {
        return Err(format!("{} failed", script.display()));
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim_end().into())
}
