//! The machine as the processes inside see it: places that the cluster may write to, and a network
//! with nothing on it but the node.

use std::fs::{self, create_dir_all};
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_bind, mount_change};

use crate::cgroups;
use crate::programs::system;

/// The node's address. Services' addresses follow it, then pods'.
pub(crate) const NODE: &str = "10.95.0.1";
/// The network that services' addresses are from.
pub(crate) const SERVICES: &str = "10.96.0.0/16";
/// The address of the service `kubernetes`, which is the first of them.
pub(crate) const API: &str = "10.96.0.1";
/// The network that pods' addresses are from.
pub(crate) const PODS: &str = "10.97.0.0/16";
/// The node's name, which the API server has to find its address by.
pub(crate) const NAME: &str = "n1";
/// Where the kubelet keeps its pods, as it does by default.
pub(crate) const KUBELET: &str = "/var/lib/kubelet";

/// Settings of the whole machine that the kubelet wants, and would write. It finds them as it
/// wants them instead, and the machine's stay what they are.
const SYSCTLS: &[(&str, &str)] = &[
    ("vm/overcommit_memory", "1"),
    ("vm/panic_on_oom", "0"),
    ("kernel/panic", "10"),
    ("kernel/panic_on_oops", "1"),
    ("kernel/keys/root_maxkeys", "1000000"),
    ("kernel/keys/root_maxbytes", "25000000"),
];

/// Sets the machine up. The namespaces are this process's own, so nothing of it is seen outside.
pub(crate) fn set_up(folder: &Path) -> Result<(), String> {
    cgroups::create(folder)?;
    files(folder)?;
    network()?;
    // Pods of the node see what is mounted below their volumes, as `Bidirectional` says.
    mount_change(
        "/",
        MountPropagationFlags::SHARED | MountPropagationFlags::REC,
    )
    .map_err(|error| format!("shared mounts: {error}"))
}

fn files(folder: &Path) -> Result<(), String> {
    // The state goes with the mount namespace; only logs are worth the disk.
    let state = folder.join("state");
    tmpfs(&state)?;
    for lower in ["/var/lib", "/var/log"] {
        let at = |which: &str| state.join(format!("{}-{which}", lower.replace('/', "_")));
        let (upper, work) = (at("upper"), at("work"));
        for path in [&upper, &work] {
            create_dir_all(path).map_err(|error| format!("{}: {error}", path.display()))?;
        }
        let options = format!(
            "lowerdir={lower},upperdir={},workdir={}",
            upper.display(),
            work.display()
        );
        let options = std::ffi::CString::new(options).expect("a path has no zero byte");
        mount("overlay", lower, "overlay", MountFlags::empty(), &*options)
            .map_err(|error| format!("an overlay of {lower}: {error}"))?;
    }
    tmpfs(Path::new("/run"))?;
    tmpfs(Path::new(KUBELET))?;
    let hosts = format!("127.0.0.1 localhost\n{NODE} {NAME}\n");
    instead(&state.join("hosts"), &hosts, Path::new("/etc/hosts"))?;
    for (name, value) in SYSCTLS {
        let file = state.join(name.replace('/', "-"));
        instead(
            &file,
            &format!("{value}\n"),
            &Path::new("/proc/sys").join(name),
        )?;
    }
    Ok(())
}

fn tmpfs(at: &Path) -> Result<(), String> {
    create_dir_all(at).map_err(|error| format!("{}: {error}", at.display()))?;
    mount("cluster", at, "tmpfs", MountFlags::empty(), c"mode=755")
        .map_err(|error| format!("a tmpfs at {}: {error}", at.display()))
}

/// Puts a file of this content in another's place.
fn instead(file: &Path, content: &str, of: &Path) -> Result<(), String> {
    fs::write(file, content).map_err(|error| format!("{}: {error}", file.display()))?;
    mount_bind(file, of).map_err(|error| format!("{}: {error}", of.display()))
}

/// A pair of interfaces of which one carries the node's addresses; not every kernel has `dummy`.
/// The address of the service `kubernetes` is the node's too, so no kube-proxy is needed.
fn network() -> Result<(), String> {
    let commands = format!(
        "link set lo up\n\
         link add node0 type veth peer name node1\n\
         link set node0 up\n\
         link set node1 up\n\
         address add {NODE}/24 dev node0\n\
         address add {API}/32 dev node0\n\
         route add default dev node0\n"
    );
    let mut ip = Command::new(system("ip"))
        .args(["-batch", "-"])
        .stdin(Stdio::piped())
        .spawn()
        .map_err(|error| format!("ip: {error}"))?;
    let told = ip
        .stdin
        .take()
        .expect("its input was asked for")
        .write_all(commands.as_bytes());
    let status = ip.wait().map_err(|error| format!("ip: {error}"))?;
    if told.is_err() || !status.success() {
        return Err(format!("the network could not be set up: ip: {status}"));
    }
    Ok(())
}
