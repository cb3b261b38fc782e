//! Over real sockets: whose name is taken and whose is not, and the kubelet's side of a registration.

use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixListener as StdListener;
use std::sync::Arc;
use std::time::Duration;

use livemount_csi::registration::registration_client::RegistrationClient;
use livemount_csi::registration::registration_server::Registration as Service;
use livemount_csi::registration::{
    InfoRequest, PluginInfo, RegistrationStatus, RegistrationStatusResponse,
};
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Response, Status};

use super::super::registration::Registered;
use super::*;

/// Far longer than anything here takes.
const LONG: Duration = Duration::from_secs(60);

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a folder")
}

#[test]
fn a_socket_is_its_owners_alone_and_goes_with_him() {
    let folder = folder();
    let path = folder.path().join("csi.sock");
    let socket = Socket::bind(&path).expect("nothing is there");
    let mode = fs::metadata(&path)
        .expect("it is there")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    UnixStream::connect(&path).expect("it listens");
    drop(socket);
    let left = fs::read_dir(folder.path()).expect("a folder").count();
    assert_eq!(left, 0);
}

#[test]
fn what_a_dead_predecessor_left_is_replaced_and_nothing_else() {
    let folder = folder();
    let path = folder.path().join("csi.sock");
    // Its name stays where nobody removes it, and nobody listens.
    drop(StdListener::bind(&path).expect("nothing is there"));
    fs::write(folder.path().join(".csi.sock"), "").expect("one that died while it was made");
    let socket = Socket::bind(&path).expect("nobody answers");
    UnixStream::connect(&path).expect("it listens");

    let taken = Socket::bind(&path).expect_err("it answers");
    assert!(matches!(taken, ListenError::Taken(_)), "{taken}");
    UnixStream::connect(&path).expect("it still listens");
    drop(socket);

    fs::write(&path, "precious").expect("a file");
    let file = Socket::bind(&path).expect_err("no socket");
    assert!(matches!(file, ListenError::NotASocket(_)), "{file}");
    assert_eq!(fs::read(&path).expect("the file"), b"precious");

    let error = Socket::bind(&folder.path().join("none/csi.sock")).expect_err("no folder");
    assert!(matches!(error, ListenError::Os { .. }), "{error}");
}

#[test]
fn a_successors_name_is_left_to_him() {
    let folder = folder();
    let path = folder.path().join("csi.sock");
    let mut former = Socket::bind(&path).expect("nothing is there");
    // It does not answer any more, but has not ended yet.
    drop(former.listener.take());
    let latter = Socket::bind(&path).expect("nobody answers");
    drop(former);
    UnixStream::connect(&path).expect("the successor answers");
    drop(latter);
    assert!(!path.exists());
}

async fn call(path: &Path) -> RegistrationClient<Channel> {
    let endpoint = Endpoint::from_shared(format!("unix://{}", path.display())).expect("an address");
    RegistrationClient::new(endpoint.connect().await.expect("somebody listens"))
}

/// Both sockets served with the registration, and what is needed to play the kubelet.
struct Served {
    folder: tempfile::TempDir,
    registered: Registered,
    stop: CancellationToken,
    serving: tokio::task::JoinHandle<Result<(), ListenError>>,
}

impl Served {
    fn start() -> Self {
        let folder = folder();
        let csi = folder.path().join("csi.sock");
        let registered = Registered::default();
        let endpoint = "/on/the/host/csi.sock".into();
        let registration = Registration::new("csi.example.dev", endpoint, registered.clone());
        let routes = Routes::new(RegistrationServer::new(registration));
        let sockets =
            Sockets::bind(&csi, folder.path(), "csi.example.dev").expect("nothing is there");
        let stop = CancellationToken::new();
        let serving = tokio::spawn(serve_routes(sockets, routes.clone(), routes, stop.clone()));
        Self {
            folder,
            registered,
            stop,
            serving,
        }
    }

    fn registration(&self) -> PathBuf {
        self.folder
            .path()
            .join("livemount@csi.example.dev-reg.sock")
    }
}

#[tokio::test]
async fn the_kubelet_asks_and_says_what_came_of_it() {
    let served = Served::start();
    let mut kubelet = call(&served.registration()).await;
    let info = kubelet.get_info(InfoRequest {}).await.expect("an answer");
    let info = info.into_inner();
    assert_eq!(info.r#type, "CSIPlugin");
    assert_eq!(info.name, "csi.example.dev");
    assert_eq!(info.endpoint, "/on/the/host/csi.sock");
    assert_eq!(info.supported_versions, ["1.0.0"]);

    let ready = || served.registered.ready();
    assert!(
        ready()
            .expect_err("not told yet")
            .contains("not registered")
    );
    for (taken, error, told) in [
        (true, "", Ok(())),
        (
            false,
            "no such CSIDriver",
            Err("the kubelet did not register the plugin: no such CSIDriver".to_owned()),
        ),
        // It tries again by itself.
        (true, "", Ok(())),
    ] {
        let status = RegistrationStatus {
            plugin_registered: taken,
            error: error.into(),
        };
        kubelet
            .notify_registration_status(status)
            .await
            .expect("an answer");
        assert_eq!(ready(), told);
    }
}

#[tokio::test]
async fn an_end_is_the_registrations_first_and_leaves_no_name() {
    let served = Served::start();
    let (registration, csi) = (served.registration(), served.folder.path().join("csi.sock"));
    // A connection that does not end by itself holds nothing up for long.
    let mut kubelet = call(&csi).await;
    kubelet.get_info(InfoRequest {}).await.expect("an answer");
    assert!(registration.exists() && csi.exists());
    served.stop.cancel();
    let ended = timeout(LONG, served.serving).await.expect("it ends");
    ended.expect("no panic").expect("no error");
    assert!(!registration.exists() && !csi.exists());
    drop(kubelet);
}

#[tokio::test]
async fn a_call_under_way_may_end_while_the_name_is_gone_already() {
    let folder = folder();
    let csi = folder.path().join("csi.sock");
    let slow = Slow::default();
    let (entered, release) = (Arc::clone(&slow.entered), Arc::clone(&slow.release));
    let routes = Routes::new(RegistrationServer::new(slow));
    let sockets = Sockets::bind(&csi, folder.path(), "csi.example.dev").expect("nothing is there");
    let registration = folder.path().join("livemount@csi.example.dev-reg.sock");
    let stop = CancellationToken::new();
    let serving = tokio::spawn(serve_routes(sockets, routes.clone(), routes, stop.clone()));
    let mut client = call(&csi).await;
    let answer = tokio::spawn(async move { client.get_info(InfoRequest {}).await });
    timeout(LONG, entered.notified())
        .await
        .expect("the call is under way");
    stop.cancel();
    timeout(LONG, async {
        while registration.exists() {
            sleep(Duration::from_millis(1)).await;
        }
    })
    .await
    .expect("the registration's name goes");
    assert!(csi.exists(), "the CSI's name stays for what is under way");
    release.notify_one();
    let answer = answer.await.expect("no panic").expect("an answer");
    assert_eq!(answer.into_inner().name, "slow");
    timeout(LONG, serving)
        .await
        .expect("it ends")
        .expect("no panic")
        .expect("no error");
    assert!(!csi.exists());
}

/// Answers when it is released; says when it was asked.
#[derive(Default)]
struct Slow {
    entered: Arc<Notify>,
    release: Arc<Notify>,
}

#[tonic::async_trait]
impl Service for Slow {
    async fn get_info(&self, _: Request<InfoRequest>) -> Result<Response<PluginInfo>, Status> {
        self.entered.notify_one();
        self.release.notified().await;
        Ok(Response::new(PluginInfo {
            name: "slow".into(),
            ..PluginInfo::default()
        }))
    }

    async fn notify_registration_status(
        &self,
        _: Request<RegistrationStatus>,
    ) -> Result<Response<RegistrationStatusResponse>, Status> {
        Err(Status::unimplemented("nobody asks this"))
    }
}
