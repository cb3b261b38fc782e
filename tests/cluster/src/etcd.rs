//! etcd, and what an operator does to it: compaction, a snapshot, and going back to one.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::component::Component;
use crate::programs::program;
use crate::wait::until;

/// One etcd, without TLS, for nothing but the run's own API servers reaches it.
#[derive(Debug)]
pub struct Etcd {
    process: Component,
    data: PathBuf,
    port: u16,
}

/// What etcd held at one moment.
#[derive(Debug)]
pub struct Snapshot {
    data: tempfile::TempDir,
    /// The revision at that moment, which is the newest resourceVersion.
    pub revision: u64,
}

impl Etcd {
    pub(crate) async fn start(name: String, state: &Path, ports: [u16; 2]) -> Etcd {
        let data = state.join("etcd");
        let [port, peer] = ports;
        let mut process = Component::new(name, program("etcd"));
        process.args([
            // What a crash of the machine would lose is gone with the run anyway.
            "--unsafe-no-fsync=true".to_owned(),
            format!("--data-dir={}", data.display()),
            format!("--listen-client-urls=http://127.0.0.1:{port}"),
            format!("--advertise-client-urls=http://127.0.0.1:{port}"),
            format!("--listen-peer-urls=http://127.0.0.1:{peer}"),
            format!("--initial-advertise-peer-urls=http://127.0.0.1:{peer}"),
            format!("--initial-cluster=default=http://127.0.0.1:{peer}"),
            // The API server compacts by itself, every five minutes.
            "--auto-compaction-retention=0".to_owned(),
        ]);
        let mut etcd = Etcd {
            process,
            data,
            port,
        };
        etcd.run().await;
        etcd
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The process, to pause it or to kill it.
    pub fn process(&mut self) -> &mut Component {
        &mut self.process
    }

    /// Starts it, if it does not run, and waits until it answers.
    pub async fn run(&mut self) {
        if !self.process.is_running() {
            self.process.start();
        }
        until("etcd answers", async || {
            self.process.check();
            ask(self.port, "maintenance/status", &json!({})).await
        })
        .await;
    }

    /// The newest revision, which API servers call resourceVersion.
    pub async fn revision(&self) -> u64 {
        let status = ask(self.port, "maintenance/status", &json!({}))
            .await
            .expect("etcd answers");
        status["header"]["revision"]
            .as_str()
            .and_then(|revision| revision.parse().ok())
            .expect("a status has a revision")
    }

    /// Forgets all revisions but the newest, which it returns. An API server remembers some itself,
    /// and answers a list at an older one with 410 only after [`crate::ApiServer::restart`].
    pub async fn compact(&self) -> u64 {
        let revision = self.revision().await;
        let request = json!({"revision": revision.to_string(), "physical": true});
        ask(self.port, "kv/compaction", &request)
            .await
            .expect("etcd compacts");
        revision
    }

    /// Keeps what it holds now. etcd stands still meanwhile, and its clients notice nothing but that.
    pub async fn snapshot(&self) -> Snapshot {
        let revision = self.revision().await;
        let data = tempfile::tempdir_in(crate::folder().join("state")).expect("a folder");
        // A stopped etcd's files are what a crash would leave, which it is made to recover from.
        self.process.pause();
        copy(&self.data, &data.path().join("etcd"));
        self.process.resume();
        Snapshot { data, revision }
    }

    /// Goes back to a snapshot, so that revisions are older than clients have seen. API servers
    /// have to be restarted, as [`crate::ControlPlane::restore`] does.
    pub(crate) async fn restore(&mut self, snapshot: &Snapshot) {
        self.process.kill();
        std::fs::remove_dir_all(&self.data).expect("etcd's files can be removed");
        copy(&snapshot.data.path().join("etcd"), &self.data);
        self.run().await;
    }
}

fn copy(from: &Path, to: &Path) {
    let status = Command::new("cp").arg("-a").arg(from).arg(to).status();
    assert!(
        status.is_ok_and(|status| status.success()),
        "{} cannot be copied",
        from.display()
    );
}

/// One call of etcd's JSON gateway.
async fn ask(port: u16, method: &str, request: &Value) -> Result<Value, String> {
    let exchange = async {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
        let body = request.to_string();
        let head = format!(
            "POST /v3/{method} HTTP/1.0\r\nHost: etcd\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all((head + &body).as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        Ok(answer)
    };
    let answer = exchange
        .await
        .map_err(|error: std::io::Error| format!("{method}: {error}"))?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    if head.split(' ').nth(1) == Some("200") {
        serde_json::from_str(body).map_err(|error| format!("{method}: {error}: {body}"))
    } else {
        Err(format!("{method}: {answer}"))
    }
}
