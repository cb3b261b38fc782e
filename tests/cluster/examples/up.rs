//! A cluster for a human: starts one, says how to come inside, and waits for Ctrl-C.

use std::process::ExitCode;

use livemount_cluster::{ADMIN, CLUSTER, ControlPlane, Image, Node, enter, folder, way_in};

fn main() -> ExitCode {
    enter(CLUSTER, || {
        tokio::runtime::Runtime::new()
            .expect("a runtime")
            .block_on(async {
                let plane = ControlPlane::start().await;
                let node = Node::start(&plane).await;
                node.load(&Image::new("livemount.test/tool:1").system("inotifywait"));
                let kubeconfig = plane.api.kubeconfig(ADMIN);
                println!(
                    "Node {} is ready. It has the image livemount.test/tool:1.",
                    node.name()
                );
                println!(
                    "Logs are in {}. From another terminal:\n",
                    folder().join("logs").display()
                );
                println!("  export KUBECONFIG={}", kubeconfig.display());
                println!("  {} kubectl get pods -A\n", way_in());
                println!("Ctrl-C ends it.");
                std::future::pending().await
            })
    })
}
