//! What the trials share: a control plane for those that leave it in peace, objects on it, and an
//! ear that keeps all that a source says.

use std::collections::BTreeMap;
use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::LazyLock;
use std::time::Duration;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Secret};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::{Api, Client};
use libtest_mimic::Trial;
use livemount::source::kube::{Cluster, KubeSource, ORIGIN, Options, SourceStatus, Timing};
use livemount::source::{Mailbox, Sources, Update, Updates};
use livemount_cluster::{ADMIN, ControlPlane, PATIENCE, until};
use livemount_engine::object::{Kind, Object, ObjectKey};
use tokio::runtime::Runtime;
use tokio::sync::OnceCell;
use tokio::time::{Instant, sleep, timeout};

static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| Runtime::new().expect("a runtime can be made"));

/// A trial from an async function.
pub fn trial<F>(name: &str, run: fn() -> F) -> Trial
where
    F: Future<Output = ()> + 'static,
{
    Trial::test(name, move || {
        RUNTIME.block_on(run());
        Ok(())
    })
}

/// The control plane of those who do not disturb it.
pub async fn plane() -> &'static ControlPlane {
    static PLANE: OnceCell<ControlPlane> = OnceCell::const_new();
    PLANE.get_or_init(ControlPlane::start).await
}

/// What would take minutes takes seconds.
pub fn timing() -> Timing {
    Timing {
        connect: Duration::from_secs(5),
        ping: Duration::from_secs(2),
        pong: Duration::from_secs(3),
        // So that pings alone notice a silent server.
        quiet: Duration::from_secs(3600),
        first: Duration::from_millis(50),
        most: Duration::from_secs(1),
        patience: Duration::from_millis(500),
        credentials: Duration::from_millis(200),
        ..Timing::default()
    }
}

pub fn options(kubeconfig: PathBuf) -> Options {
    Options {
        kubeconfig: Some(kubeconfig),
        timing: timing(),
        ..Options::default()
    }
}

/// A source, and an ear at it.
pub struct Scene {
    pub source: Arc<KubeSource>,
    /// Ends the source when it goes.
    _sources: Sources,
    pub ear: Ear,
    pub cluster: Cluster,
}

impl Scene {
    pub async fn with(options: Options) -> Scene {
        let cluster = Cluster::connect(&options).await.expect("a cluster");
        let mailbox = Mailbox::new();
        let source = Arc::new(cluster.source(Arc::clone(&mailbox)));
        let (sources, heard) = Sources::new(mailbox, [Arc::clone(&source) as _]);
        let ear = Ear {
            heard,
            said: Vec::new(),
        };
        Scene {
            source,
            _sources: sources,
            ear,
            cluster,
        }
    }

    pub async fn of(plane: &ControlPlane) -> Scene {
        Scene::with(options(plane.api.kubeconfig(ADMIN))).await
    }

    /// Waits until the source's numbers are so.
    pub async fn settles(&self, what: &str, is: impl Fn(&SourceStatus) -> bool) {
        until(what, async || {
            let status = self.source.status();
            if is(&status) {
                Ok(())
            } else {
                Err(format!("{status:?}"))
            }
        })
        .await;
    }

    /// How often a watch was opened anew for this reason.
    pub fn restarts(&self, reason: &str) -> u64 {
        let status = self.source.status();
        let of = status.restarts.iter().find(|it| it.0.name() == reason);
        of.expect("a reason").1
    }
}

/// Hears a source and keeps all that it said.
pub struct Ear {
    heard: Updates,
    pub said: Vec<Update>,
}

impl Ear {
    /// Listens until what was said so far satisfies.
    pub async fn until<T>(
        &mut self,
        what: &str,
        mut look: impl FnMut(&[Update]) -> Option<T>,
    ) -> T {
        let listening = async {
            loop {
                if let Some(seen) = look(&self.said) {
                    return seen;
                }
                let said = self.heard.next().await.expect("the source lives");
                self.said.push(said);
            }
        };
        let Ok(seen) = timeout(PATIENCE, listening).await else {
            panic!("waited in vain until {what}; heard {:?}", self.tail());
        };
        seen
    }

    /// Listens until an object's last state has this value of `k`; None: it is deleted.
    pub async fn value(&mut self, key: &ObjectKey, value: Option<&str>) {
        let what = format!("{key} says {value:?}");
        self.until(&what, |said| {
            let state = state(said, key)?;
            let now = state.map(|object| object.data().get("k").map(|it| &**it));
            (now == value.map(|it| Some(it.as_bytes()))).then_some(())
        })
        .await;
    }

    /// Listens until something new is said of an object's state.
    pub async fn next_state(&mut self, key: &ObjectKey) -> Option<Object> {
        let from = self.said.len();
        let what = format!("something is said of {key}");
        self.until(&what, |said| Some(state(&said[from..], key)?.cloned()))
            .await
    }

    /// Listens until it is said why nothing can be learned.
    pub async fn failing(&mut self, key: &ObjectKey) -> String {
        let from = self.said.len();
        self.until("it is failing", |said| {
            said[from..].iter().rev().find_map(|it| match it {
                Update::Failing { key: of, why } if of == key => Some(why.clone()),
                _ => None,
            })
        })
        .await
    }

    /// Listens until it is said that the last failure is over.
    pub async fn working(&mut self, key: &ObjectKey) {
        self.until("it works again", |said| {
            let of = |it: &&Update| match it {
                Update::Failing { key: of, .. } | Update::Working(of) => of == key,
                _ => false,
            };
            let last = said.iter().rev().find(of)?;
            matches!(last, Update::Working(_)).then_some(())
        })
        .await;
    }

    /// Hears the next thing.
    pub async fn one(&mut self) {
        let said = self.heard.next().await.expect("the source lives");
        self.said.push(said);
    }

    /// The object as it was last said to be.
    pub fn now(&self, key: &ObjectKey) -> Object {
        state(&self.said, key)
            .flatten()
            .expect("it is there")
            .clone()
    }

    /// The versions that were said of an object, in order.
    pub fn versions(&self, key: &ObjectKey) -> Vec<u64> {
        self.said
            .iter()
            .filter_map(|said| match said {
                Update::Applied(object) if object.key == *key => object.resource_version.as_ref(),
                _ => None,
            })
            .map(|version| version.parse().expect("a version is a number"))
            .collect()
    }

    /// Promise 7.
    pub fn never_back(&self, key: &ObjectKey) {
        let versions = self.versions(key);
        assert!(versions.is_sorted(), "back in time: {versions:?}");
    }

    fn tail(&self) -> &[Update] {
        &self.said[self.said.len().saturating_sub(10)..]
    }
}

/// The last state that was said of an object, if one was said; None within it: it is deleted.
#[allow(clippy::option_option)]
pub fn state<'a>(said: &'a [Update], key: &ObjectKey) -> Option<Option<&'a Object>> {
    said.iter().rev().find_map(|it| match it {
        Update::Applied(object) if object.key == *key => Some(Some(object)),
        Update::Deleted(of) if of == key => Some(None),
        _ => None,
    })
}

/// A namespace of a trial's own.
#[derive(Clone)]
pub struct Room {
    pub client: Client,
    pub namespace: String,
}

impl Room {
    pub async fn new(client: Client, namespace: &str) -> Room {
        let object = Namespace {
            metadata: meta(namespace),
            ..Namespace::default()
        };
        let namespaces = Api::all(client.clone());
        let made = namespaces.create(&PostParams::default(), &object).await;
        made.expect("a namespace");
        Room {
            client,
            namespace: namespace.to_owned(),
        }
    }

    pub fn key(&self, name: &str) -> ObjectKey {
        key(Kind::ConfigMap, &self.namespace, name)
    }

    pub fn maps(&self) -> Api<ConfigMap> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    pub fn secrets(&self) -> Api<Secret> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// Makes a ConfigMap, or changes it. Where the server has just come back, the client's own
    /// connection may still be the former one.
    pub async fn put(&self, name: &str, value: &str) -> u64 {
        let object = config_map(name, value);
        let (maps, params) = (self.maps(), PatchParams::apply("trial").force());
        let patch = Patch::Apply(&object);
        let end = Instant::now() + PATIENCE;
        let put = loop {
            match maps.patch(name, &params, &patch).await {
                Ok(put) => break put,
                Err(kube::Error::Api(status)) => panic!("{name}: {status:?}"),
                Err(error) if Instant::now() > end => panic!("{name}: {error}"),
                Err(_) => sleep(Duration::from_millis(50)).await,
            }
        };
        let version = put.metadata.resource_version;
        version.and_then(|it| it.parse().ok()).expect("a version")
    }

    pub async fn remove(&self, name: &str) {
        let removed = self.maps().delete(name, &DeleteParams::default()).await;
        removed.expect("it is removed");
    }

    pub async fn put_secret(&self, name: &str, value: &[u8]) {
        let object = Secret {
            metadata: meta(name),
            data: Some(BTreeMap::from([(
                "k".to_owned(),
                ByteString(value.to_vec()),
            )])),
            ..Secret::default()
        };
        let params = PatchParams::apply("trial").force();
        let put = self
            .secrets()
            .patch(name, &params, &Patch::Apply(&object))
            .await;
        put.expect("it is put");
    }
}

pub fn config_map(name: &str, value: &str) -> ConfigMap {
    ConfigMap {
        metadata: meta(name),
        data: Some(BTreeMap::from([("k".to_owned(), value.to_owned())])),
        ..ConfigMap::default()
    }
}

pub fn key(kind: Kind, namespace: &str, name: &str) -> ObjectKey {
    ObjectKey {
        kind,
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        origin: ORIGIN,
    }
}

fn meta(name: &str) -> ObjectMeta {
    ObjectMeta {
        name: Some(name.to_owned()),
        ..ObjectMeta::default()
    }
}
