//! Pods, from their making to their end.

use std::fmt::Write as _;

use k8s_openapi::api::core::v1::{Event, Pod as Object};
use kube::api::{AttachParams, DeleteParams, ListParams, LogParams, PostParams};
use kube::{Api, Client};
use serde_json::Value;
use tokio::io::AsyncReadExt;

use crate::wait::until;

/// A pod that was made.
#[derive(Clone)]
pub struct Pod {
    client: Client,
    namespace: String,
    name: String,
    uid: String,
}

/// What a command in a container had to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// Its exit status.
    pub status: i32,
    /// What it wrote, as text.
    pub stdout: String,
    /// What it complained of.
    pub stderr: String,
}

impl Pod {
    /// Makes a pod of its manifest, in `default` unless that says otherwise. It is not waited for.
    pub async fn create(client: &Client, manifest: &Value) -> Pod {
        let namespace = manifest["metadata"]["namespace"].as_str();
        let namespace = namespace.unwrap_or("default").to_owned();
        let object: Object = serde_json::from_value(manifest.clone()).expect("a pod's manifest");
        let api: Api<Object> = Api::namespaced(client.clone(), &namespace);
        let made = api.create(&PostParams::default(), &object).await;
        let made = made.expect("the server takes the pod");
        Pod {
            client: client.clone(),
            namespace,
            name: made.metadata.name.unwrap_or_default(),
            uid: made.metadata.uid.unwrap_or_default(),
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its UID, by which its folder in `pods` of the kubelet's root is named.
    pub fn uid(&self) -> &str {
        &self.uid
    }

    /// As the server has it now, or nothing if it is gone or another one has its name.
    pub async fn get(&self) -> Option<Object> {
        let object = self.api().get_opt(&self.name).await;
        let object = object.expect("the server answers")?;
        (object.metadata.uid.as_ref() == Some(&self.uid)).then_some(object)
    }

    /// Waits until all its containers run and are ready.
    pub async fn ready(&self) -> &Pod {
        self.until("is ready", |pod| condition(pod, "Ready")).await;
        self
    }

    /// Waits until it has succeeded.
    ///
    /// # Panics
    /// If it fails instead.
    pub async fn succeeded(&self) {
        let phase = self.over().await;
        if phase != "Succeeded" {
            let why = self.story().await;
            panic!("pod {} {phase}: {why}", self.name);
        }
    }

    /// Waits until it has succeeded or failed, and returns which, as its phase.
    pub async fn over(&self) -> String {
        self.until("is over", |pod| {
            matches!(phase(pod), "Succeeded" | "Failed")
        })
        .await;
        let pod = self.get().await.expect("a pod that is over is still there");
        phase(&pod).to_owned()
    }

    /// Waits until what the server has of it is so.
    pub async fn until(&self, what: &str, so: impl Fn(&Object) -> bool) {
        until(&format!("pod {} {what}", self.name), async || {
            match self.get().await {
                Some(pod) if so(&pod) => Ok(()),
                _ => Err(self.story().await),
            }
        })
        .await;
    }

    /// Waits until an event of it holds this text, and returns its message.
    pub async fn event(&self, text: &str) -> String {
        until(
            &format!("pod {} has an event {text:?}", self.name),
            async || {
                let events = self.events().await;
                events
                    .iter()
                    .find(|event| event.contains(text))
                    .cloned()
                    .ok_or_else(|| events.join("\n"))
            },
        )
        .await
    }

    /// Its events, each as its reason and message.
    pub async fn events(&self) -> Vec<String> {
        let events: Api<Event> = Api::namespaced(self.client.clone(), &self.namespace);
        let of_it = ListParams::default().fields(&format!("involvedObject.uid={}", self.uid));
        let events = events.list(&of_it).await.expect("the server answers");
        let show = |event: Event| {
            let reason = event.reason.unwrap_or_default();
            let message = event.message.unwrap_or_default();
            format!("{reason}: {message}")
        };
        events.into_iter().map(show).collect()
    }

    /// Runs a command in its only or first container.
    pub async fn exec(&self, command: &[&str]) -> Output {
        self.exec_by(command, AttachParams::default()).await
    }

    /// Runs a command in one of its containers.
    pub async fn exec_in(&self, container: &str, command: &[&str]) -> Output {
        let params = AttachParams::default().container(container);
        self.exec_by(command, params).await
    }

    /// Runs a shell's command in its only or first container, and returns what it wrote.
    ///
    /// # Panics
    /// If it fails.
    pub async fn sh(&self, script: &str) -> String {
        let output = self.exec(&["sh", "-c", script]).await;
        assert_eq!(output.status, 0, "pod {}: {script}: {output:?}", self.name);
        output.stdout
    }

    async fn exec_by(&self, command: &[&str], params: AttachParams) -> Output {
        let process = self.api().exec(&self.name, command.to_vec(), &params).await;
        let mut process = process.unwrap_or_else(|error| panic!("{}: {error}", self.name));
        let status = process.take_status().expect("it is taken once");
        let mut stdout = process.stdout().expect("it was asked for");
        let mut stderr = process.stderr().expect("it was asked for");
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let (read_out, read_err, status) = tokio::join!(
            stdout.read_to_end(&mut out),
            stderr.read_to_end(&mut err),
            status
        );
        read_out.and(read_err).expect("the connection holds");
        let status = status.expect("the server tells how it ended");
        let code = match status.status.as_deref() {
            Some("Success") => 0,
            // The code is a cause of the failure, in words.
            _ => status
                .details
                .iter()
                .flat_map(|details| details.causes.iter().flatten())
                .find(|cause| cause.reason.as_deref() == Some("ExitCode"))
                .and_then(|cause| cause.message.as_ref()?.parse().ok())
                .unwrap_or_else(|| panic!("{}: {command:?}: {status:?}", self.name)),
        };
        Output {
            status: code,
            stdout: String::from_utf8_lossy(&out).into_owned(),
            stderr: String::from_utf8_lossy(&err).into_owned(),
        }
    }

    /// What a container has written so far, or the only one if none is named.
    pub async fn logs(&self, container: Option<&str>) -> String {
        let params = LogParams {
            container: container.map(str::to_owned),
            ..LogParams::default()
        };
        let logs = self.api().logs(&self.name, &params).await;
        logs.unwrap_or_else(|error| panic!("logs of {}: {error}", self.name))
    }

    /// Asks for its end, which comes when its containers have ended, for which they get this many
    /// seconds.
    pub async fn delete(&self, grace: u32) {
        let params = DeleteParams::default().grace_period(grace);
        let deleted = self.api().delete(&self.name, &params).await;
        deleted.unwrap_or_else(|error| panic!("deleting {}: {error}", self.name));
    }

    /// Waits until nothing is left of it: not on the server, and not in the kubelet's folder.
    pub async fn gone(&self) {
        let folder = std::path::Path::new(crate::machine::KUBELET)
            .join("pods")
            .join(&self.uid);
        until(&format!("pod {} is gone", self.name), async || {
            if self.get().await.is_some() {
                return Err(self.story().await);
            }
            if folder.exists() {
                return Err(format!("{} is left", folder.display()));
            }
            Ok(())
        })
        .await;
    }

    /// Ends it now, and waits until nothing is left of it.
    pub async fn end(&self) {
        self.delete(1).await;
        self.gone().await;
    }

    /// What became of it, in words.
    async fn story(&self) -> String {
        let Some(pod) = self.get().await else {
            return "it is gone".to_owned();
        };
        let mut story = format!("it is {}", phase(&pod));
        let status = pod.status.unwrap_or_default();
        let inits = status.init_container_statuses.into_iter().flatten();
        let containers = status.container_statuses.into_iter().flatten();
        for container in inits.chain(containers) {
            let _ = write!(story, "\n{}: {:?}", container.name, container.state);
        }
        for event in self.events().await {
            let _ = write!(story, "\n{event}");
        }
        story
    }

    fn api(&self) -> Api<Object> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }
}

fn phase(pod: &Object) -> &str {
    let status = pod.status.as_ref();
    status
        .and_then(|status| status.phase.as_deref())
        .unwrap_or("Unknown")
}

fn condition(pod: &Object, name: &str) -> bool {
    let status = pod.status.as_ref();
    status
        .and_then(|status| status.conditions.as_ref())
        .into_iter()
        .flatten()
        .any(|condition| condition.type_ == name && condition.status == "True")
}
