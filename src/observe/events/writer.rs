//! Writes Events to the API server, one after the other, through kube's Recorder.
//!
//! The Recorder makes one Event with a count of what has the same pod, reason and action, and keeps the
//! note of the first: told of two volumes, it would say the first one's sentence twice. So each sentence
//! has a Recorder of its own here, for as long as the Recorder itself remembers.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::ObjectReference;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tracing::{info, warn};

use super::limits::Bucket;
use super::pod_event::PodEvent;
use crate::backoff::Backoff;
use crate::observe::Metrics;
use crate::observe::metrics::EventResult;
use crate::pod::PodRef;

/// How often a write is tried, and how long to wait before it is tried again, twice as long each time.
const ATTEMPTS: u32 = 4;
const PAUSE: Duration = Duration::from_secs(1);
const PAUSE_MOST: Duration = Duration::from_secs(4);
/// How long one attempt may take.
const WITHIN: Duration = Duration::from_secs(10);
/// How long a Recorder remembers what it wrote (`CACHE_TTL`, kube's `runtime::events`).
const REMEMBERED: Duration = Duration::from_secs(360);
/// How many sentences are remembered; each costs a few hundred bytes.
const SENTENCES: usize = 1024;

/// What waits to be written.
pub(super) struct Entry {
    pub(super) pod: PodRef,
    pub(super) event: PodEvent,
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct Key {
    uid: String,
    reason: &'static str,
    sentence: String,
}

pub(super) struct Writer {
    client: kube::Client,
    reporter: Reporter,
    metrics: Arc<Metrics>,
    recorders: HashMap<Key, (Recorder, Instant)>,
    /// The last one could not be written, which was told.
    failing: bool,
}

/// What an answer means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    /// The namespace is gone or going, and the pod with it.
    Gone,
    /// The Event that was to be counted up is not there any more.
    Former,
    /// Nothing will change by asking again.
    Never,
    /// It may be another time.
    Later,
}

impl Writer {
    pub(super) fn new(
        client: kube::Client,
        reporter: &str,
        node: &str,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self {
            client,
            reporter: Reporter {
                controller: reporter.to_owned(),
                instance: Some(node.to_owned()),
            },
            metrics,
            recorders: HashMap::new(),
            failing: false,
        }
    }

    /// Writes until nobody tells any more.
    pub(super) async fn run(mut self, mut entries: mpsc::Receiver<Entry>) {
        let mut all = Bucket::of_all(Instant::now());
        while let Some(entry) = entries.recv().await {
            while let Err(wait) = all.take(Instant::now()) {
                sleep(wait).await;
            }
            self.write(&entry).await;
        }
    }

    async fn write(&mut self, entry: &Entry) {
        let heading = entry.event.heading();
        let key = Key {
            uid: entry.pod.uid.clone(),
            reason: heading.reason,
            sentence: entry.event.sentence(),
        };
        let event = Event {
            type_: if heading.warning {
                EventType::Warning
            } else {
                EventType::Normal
            },
            reason: heading.reason.into(),
            note: Some(key.sentence.clone()),
            action: heading.action.into(),
            secondary: None,
        };
        let about = reference(&entry.pod);
        let mut pauses = Backoff::new(PAUSE, PAUSE_MOST);
        for attempt in 1..=ATTEMPTS {
            let (recorder, former) = self.recorder(&key);
            let why = match timeout(WITHIN, recorder.publish(&event, &about)).await {
                Ok(Ok(())) => return self.written(key, recorder),
                Ok(Err(error)) => match meaning(&error, former) {
                    Answer::Gone => return,
                    Answer::Former => {
                        self.recorders.remove(&key);
                        continue;
                    }
                    Answer::Never => return self.failed(&in_words(&error)),
                    Answer::Later => in_words(&error),
                },
                Err(_) => format!("no answer within {} s", WITHIN.as_secs()),
            };
            if attempt == ATTEMPTS {
                return self.failed(&why);
            }
            sleep(pauses.next_pause()).await;
        }
    }

    /// The Recorder of a sentence, and whether it has written it before.
    fn recorder(&mut self, key: &Key) -> (Recorder, bool) {
        let now = Instant::now();
        let remembered = |at: &Instant| now.saturating_duration_since(*at) < REMEMBERED;
        self.recorders.retain(|_, (_, at)| remembered(at));
        if let Some((recorder, _)) = self.recorders.get(key) {
            return (recorder.clone(), true);
        }
        (
            Recorder::new(self.client.clone(), self.reporter.clone()),
            false,
        )
    }

    fn written(&mut self, key: Key, recorder: Recorder) {
        self.metrics.pod_event(EventResult::Written);
        if self.recorders.len() >= SENTENCES {
            self.recorders.clear();
        }
        self.recorders.insert(key, (recorder, Instant::now()));
        if self.failing {
            self.failing = false;
            info!("Events can be written again");
        }
    }

    fn failed(&mut self, why: &str) {
        self.metrics.pod_event(EventResult::Failed);
        if !self.failing {
            self.failing = true;
            warn!("Events on pods cannot be written, which is told once: {why}");
        }
    }
}

/// The pod as `kubectl describe pod` looks for it.
fn reference(pod: &PodRef) -> ObjectReference {
    ObjectReference {
        api_version: Some("v1".into()),
        kind: Some("Pod".into()),
        name: Some(pod.name.clone()),
        namespace: Some(pod.namespace.clone()),
        uid: Some(pod.uid.clone()),
        ..ObjectReference::default()
    }
}

/// The server's own sentence, where it is the server that said no; kube adds the whole answer to it.
fn in_words(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) if !status.message.is_empty() => status.message.clone(),
        error => error.to_string(),
    }
}

/// What to do after an error. `former` says that the Recorder meant to count an Event up.
fn meaning(error: &kube::Error, former: bool) -> Answer {
    let kube::Error::Api(status) = error else {
        return Answer::Later;
    };
    let terminating = status
        .details
        .iter()
        .flat_map(|details| &details.causes)
        // NamespaceTerminatingCause, `api/core/v1/types.go`.
        .any(|cause| cause.reason == "NamespaceTerminating");
    match status.code {
        404 if former => Answer::Former,
        404 => Answer::Gone,
        403 if terminating => Answer::Gone,
        // A role may come a moment after the pod that needs it (401, 403).
        401 | 403 | 408 | 409 | 429 => Answer::Later,
        400..=499 => Answer::Never,
        _ => Answer::Later,
    }
}

#[cfg(test)]
mod tests {
    use kube::core::Status;

    use super::*;

    fn api(code: u16, cause: &str) -> kube::Error {
        let status = serde_json::json!({
            "status": "Failure",
            "code": code,
            "message": "no",
            "reason": "Forbidden",
            "details": {"causes": [{"reason": cause}]},
        });
        let status: Status = serde_json::from_value(status).expect("a status");
        kube::Error::Api(Box::new(status))
    }

    #[test]
    fn an_answer_says_whether_to_ask_again() {
        for (code, cause, former, answer) in [
            (404, "", false, Answer::Gone),
            (404, "", true, Answer::Former),
            (403, "NamespaceTerminating", false, Answer::Gone),
            (403, "", false, Answer::Later),
            (422, "", false, Answer::Never),
            (413, "", true, Answer::Never),
            (429, "", false, Answer::Later),
            (500, "", false, Answer::Later),
            (503, "", true, Answer::Later),
        ] {
            assert_eq!(meaning(&api(code, cause), former), answer, "{code} {cause}");
        }
    }

    #[test]
    fn a_refusal_is_told_in_the_servers_words_alone() {
        assert_eq!(in_words(&api(403, "")), "no");
    }
}
