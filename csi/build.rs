//! Generates the messages and services from `proto/`. protox reads the files, so no protoc has to be
//! installed.

use std::env;
use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=proto");
    let wanted = |feature: &str| env::var_os(format!("CARGO_FEATURE_{feature}")).is_some();
    let mut files = vec!["csi.proto", "pluginregistration.proto"];
    if wanted("CONTROLLER") {
        files.push("controller.proto");
    }
    let descriptors = protox::compile(files, ["proto"])?;
    tonic_prost_build::configure()
        .build_client(wanted("CLIENT"))
        .build_transport(false)
        // One order for everybody who walks them.
        .btree_map(".")
        // Its Debug would show what it must not: src/lib.rs has one that does not.
        .skip_debug(["csi.v1.NodePublishVolumeRequest"])
        .compile_fds(descriptors)?;
    Ok(())
}
