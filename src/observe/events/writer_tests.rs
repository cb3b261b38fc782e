//! What is asked of an API server, one in memory: which Event is made, and which is counted up.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;

use http::header::CONTENT_TYPE;
use http::{Method, Request, Response};
use kube::Client;
use kube::client::Body;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tower::service_fn;

use super::pod_event::PodEvent;
use super::writer::{Entry, Writer};
use crate::observe::Metrics;
use crate::pod::PodRef;

/// One request that was made.
#[derive(Clone, Debug)]
struct Asked {
    method: Method,
    path: String,
    content_type: String,
    body: Value,
}

/// A server that answers these codes, then 200.
#[derive(Clone, Default)]
struct Server {
    asked: Arc<Mutex<Vec<Asked>>>,
    codes: Arc<Mutex<VecDeque<u16>>>,
}

impl Server {
    fn answering(codes: impl IntoIterator<Item = u16>) -> Self {
        let server = Self::default();
        server.codes.lock().extend(codes);
        server
    }

    fn writer(&self) -> Writer {
        let server = self.clone();
        let service = service_fn(move |request: Request<Body>| {
            let server = server.clone();
            async move { Ok::<_, Infallible>(server.answer(request).await) }
        });
        let client = Client::new(service, "default");
        Writer::new(client, "livemount.io", "node-1", Arc::new(Metrics::new())).without_pauses()
    }

    async fn answer(&self, request: Request<Body>) -> Response<Body> {
        let (head, body) = request.into_parts();
        let body = body.collect_bytes().await.expect("a body");
        let body: Value = serde_json::from_slice(&body).expect("JSON");
        let asked = Asked {
            path: head.uri.path().to_owned(),
            content_type: head.headers[CONTENT_TYPE]
                .to_str()
                .expect("text")
                .to_owned(),
            method: head.method,
            body: body.clone(),
        };
        self.asked.lock().push(asked);
        let code = self.codes.lock().pop_front().unwrap_or(200);
        let answer = if code == 200 {
            json!({"metadata": {}, "eventTime": null}).to_string()
        } else {
            json!({"kind": "Status", "status": "Failure", "code": code, "message": "no"})
                .to_string()
        };
        let answer = Response::builder()
            .status(code)
            .body(answer.into_bytes().into());
        answer.expect("an answer")
    }

    /// What was asked since the last time.
    fn asked(&self) -> Vec<Asked> {
        std::mem::take(&mut self.asked.lock())
    }
}

fn entry(volume: &str) -> Entry {
    Entry {
        pod: PodRef {
            namespace: "team".into(),
            name: "web-0".into(),
            uid: "u-1".into(),
        },
        event: PodEvent::Missing {
            volume: volume.into(),
            why: "ConfigMap team/app does not exist".into(),
        },
    }
}

const EVENTS: &str = "/apis/events.k8s.io/v1/namespaces/team/events";

#[tokio::test]
async fn an_event_is_made_with_all_that_the_api_asks_for() {
    let server = Server::default();
    server.writer().write(&entry("config")).await;
    let [asked] = server.asked().try_into().expect("one request");
    assert_eq!((asked.method, &*asked.path), (Method::POST, EVENTS));
    assert_eq!(asked.content_type, "application/json");
    let mut body = asked.body;
    let time = body["eventTime"].take();
    assert!(time.as_str().is_some_and(|it| it.ends_with('Z')), "{time}");
    let name = body["metadata"]["name"].take();
    let nanoseconds = name.as_str().and_then(|it| it.strip_prefix("web-0."));
    let nanoseconds = nanoseconds.and_then(|it| i128::from_str_radix(it, 16).ok());
    assert!(nanoseconds.is_some_and(|it| it > 0), "{name}");
    let expected = json!({
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {"name": null, "namespace": "team"},
        "eventTime": null,
        "type": "Warning",
        "reason": "ObjectMissing",
        "action": "Publish",
        "note": "volume \"config\" waits: ConfigMap team/app does not exist",
        "regarding": {
            "apiVersion": "v1", "kind": "Pod",
            "namespace": "team", "name": "web-0", "uid": "u-1",
        },
        "reportingController": "livemount.io",
        "reportingInstance": "node-1",
    });
    assert_eq!(body, expected);
}

#[tokio::test]
async fn the_same_sentence_is_counted_up_and_another_is_an_event_of_its_own() {
    let server = Server::default();
    let mut writer = server.writer();
    for _ in 0..3 {
        writer.write(&entry("config")).await;
    }
    writer.write(&entry("other")).await;
    let [first, second, third, other] = server.asked().try_into().expect("four requests");
    let name = first.body["metadata"]["name"].as_str().expect("a name");
    for (asked, count) in [(second, 2), (third, 3)] {
        let path = format!("{EVENTS}/{name}");
        assert_eq!((asked.method, asked.path), (Method::PATCH, path));
        assert_eq!(asked.content_type, "application/merge-patch+json");
        let series = &asked.body["series"];
        let only: Vec<_> = asked.body.as_object().expect("fields").keys().collect();
        assert_eq!(only, ["series"], "the rest stays as it is");
        assert_eq!(series["count"], count);
        assert!(series["lastObservedTime"].is_string(), "{series}");
    }
    assert_eq!((other.method, &*other.path), (Method::POST, EVENTS));
    assert_ne!(other.body["metadata"]["name"], name);
}

#[tokio::test]
async fn an_event_that_is_gone_is_made_anew() {
    let server = Server::answering([200, 404]);
    let mut writer = server.writer();
    for _ in 0..3 {
        writer.write(&entry("config")).await;
    }
    let asked = server.asked();
    let methods: Vec<_> = asked.iter().map(|it| it.method.as_str()).collect();
    assert_eq!(methods, ["POST", "PATCH", "POST", "PATCH"]);
    let name = asked[2].body["metadata"]["name"].as_str().expect("a name");
    assert_eq!(asked[3].path, format!("{EVENTS}/{name}"));
    assert_eq!(asked[3].body["series"]["count"], 2);
}

#[tokio::test]
async fn what_could_not_be_written_is_tried_again_and_not_counted() {
    let server = Server::answering([503, 200, 503]);
    let mut writer = server.writer();
    writer.write(&entry("config")).await;
    writer.write(&entry("config")).await;
    let asked = server.asked();
    let methods: Vec<_> = asked.iter().map(|it| it.method.as_str()).collect();
    assert_eq!(methods, ["POST", "POST", "PATCH", "PATCH"]);
    for patch in &asked[2..] {
        assert_eq!(patch.body["series"]["count"], 2);
    }
    // What will never be taken is not tried again.
    let server = Server::answering([422]);
    server.writer().write(&entry("config")).await;
    assert_eq!(server.asked().len(), 1);
}
