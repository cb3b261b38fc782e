//! Writes Events to the API server, one after the other: makes one, or counts one up (`series`).

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use k8s_openapi::api::events::v1::Event;
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use serde_json::json;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tracing::{info, warn};

use super::limits::Bucket;
use super::pod_event::PodEvent;
use super::series::{Key, Reporter, Series, Written};
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

/// What waits to be written.
pub(super) struct Entry {
    pub(super) pod: PodRef,
    pub(super) event: PodEvent,
}

pub(super) struct Writer {
    client: kube::Client,
    reporter: Reporter,
    metrics: Arc<Metrics>,
    series: Series,
    /// Between attempts to write one.
    pauses: Backoff,
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
                node: node.to_owned(),
            },
            metrics,
            series: Series::default(),
            pauses: Backoff::new(PAUSE, PAUSE_MOST),
            failing: false,
        }
    }

    /// Tries again at once, for tests.
    #[cfg(test)]
    pub(super) fn without_pauses(mut self) -> Self {
        self.pauses = Backoff::new(Duration::ZERO, Duration::ZERO);
        self
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

    pub(super) async fn write(&mut self, entry: &Entry) {
        let key = Key::new(&entry.pod, &entry.event);
        let mut pauses = self.pauses.clone();
        for attempt in 1..=ATTEMPTS {
            let former = self.series.former(&key, Instant::now());
            let why = match timeout(WITHIN, self.ask(entry, former.as_ref())).await {
                Ok(Ok(written)) => return self.written(key, written),
                Ok(Err(error)) => match meaning(&error, former.is_some()) {
                    Answer::Gone => return,
                    Answer::Former => {
                        self.series.forget(&key);
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

    /// Counts the former Event up, or makes one.
    async fn ask(&self, entry: &Entry, former: Option<&Written>) -> kube::Result<Written> {
        let events = Api::<Event>::namespaced(self.client.clone(), &entry.pod.namespace);
        let now = Timestamp::now();
        if let Some(former) = former {
            let (written, series) = former.again(now);
            let patch = Patch::Merge(json!({ "series": series }));
            let how = PatchParams::default();
            events.patch(&written.name, &how, &patch).await?;
            Ok(written)
        } else {
            let event = self.reporter.event(&entry.pod, &entry.event, now);
            events.create(&PostParams::default(), &event).await?;
            Ok(Written::first(event))
        }
    }

    fn written(&mut self, key: Key, written: Written) {
        self.metrics.pod_event(EventResult::Written);
        self.series.remember(key, written, Instant::now());
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

/// The server's own sentence, where it is the server that said no; kube adds the whole answer to it.
fn in_words(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) if !status.message.is_empty() => status.message.clone(),
        error => error.to_string(),
    }
}

/// What to do after an error. `former` says that an Event was to be counted up.
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
