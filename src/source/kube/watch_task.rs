//! The task that follows one object: makes the requests, feeds `watch_state` with what comes, leaves in
//! the mailbox what is to be said.
//!
//! Decides nothing about versions. Keeps its lease on a connection for as long as it follows, across
//! failures too, and gives it back while an immutable object rests.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use http::header::RETRY_AFTER;
use kube::client::Body;
use livemount_engine::object::{Object, ObjectKey};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until, timeout_at};

use super::cluster::ApiServer;
use super::decode::{self, Status};
use super::error;
use super::error_text;
use super::json_lines::{self, JsonLines};
use super::pool::Lease;
use super::request::Ask;
use super::status::RestartReason;
use super::watch_state::{Emit, Next, Retry, Step, WatchEnd, WatchEvent, WatchState};
use crate::source::{Mailbox, Update, Want};

/// A watch that lived for this long after it had told everything did not fail at once.
const STEADY: Duration = Duration::from_secs(10);

pub(super) struct WatchTask {
    key: ObjectKey,
    server: Arc<ApiServer>,
    mailbox: Arc<Mailbox>,
    wants: Wants,
    state: WatchState<Object>,
    lease: Option<Lease>,
    /// Which answer the request under way is.
    number: u64,
}

/// What happens next.
enum TaskState {
    Asking(Ask, Duration),
    Resting,
    /// Nobody wants the object any more.
    Over,
}

/// What the caller wants now.
#[derive(Clone, Copy)]
enum WantChange {
    /// A fresh answer.
    Again,
    /// Nothing any more.
    Over,
}

impl WatchTask {
    pub fn new(
        key: ObjectKey,
        server: Arc<ApiServer>,
        mailbox: Arc<Mailbox>,
        want: watch::Receiver<Want>,
    ) -> Self {
        let state = WatchState::new(server.timing());
        let wants = Wants::new(key.clone(), mailbox.clone(), want, server.timing().linger);
        Self {
            key,
            server,
            mailbox,
            number: wants.number,
            wants,
            state,
            lease: None,
        }
    }

    pub async fn run(mut self) {
        let mut next = TaskState::Asking(self.state.ask(), Duration::ZERO);
        loop {
            next = match next {
                TaskState::Over => return,
                TaskState::Resting => self.rest().await,
                TaskState::Asking(ask, after) => match self.pause(after).await {
                    None => self.attempt(ask).await,
                    Some(next) => next,
                },
            };
        }
    }

    async fn rest(&mut self) -> TaskState {
        self.lease = None;
        match self.wants.next().await {
            WantChange::Over => TaskState::Over,
            WantChange::Again => self.again(),
        }
    }

    /// None when the time is up.
    async fn pause(&mut self, after: Duration) -> Option<TaskState> {
        tokio::select! {
            biased;
            change = self.wants.next() => Some(match change {
                WantChange::Over => TaskState::Over,
                WantChange::Again => self.again(),
            }),
            () = sleep(after) => None,
        }
    }

    /// Outside of a read: a fresh one, at once.
    fn again(&mut self) -> TaskState {
        self.state.again();
        self.server.counters.restart(RestartReason::Asked);
        TaskState::Asking(self.state.ask(), Duration::ZERO)
    }

    async fn attempt(&mut self, ask: Ask) -> TaskState {
        let ask = match ask {
            Ask::Read if !self.server.streams() => Ask::List,
            ask => ask,
        };
        if !matches!(ask, Ask::Watch(_)) {
            self.number = self.wants.number;
        }
        self.state.begin(&ask);
        let began = Instant::now();
        match self.listen(&ask, began).await {
            Ok(next) => next,
            Err(end) => self.ended(&ask, end, began).await,
        }
    }

    /// Makes the request and takes in what it brings, until something else is to be done.
    async fn listen(&mut self, ask: &Ask, began: Instant) -> Result<TaskState, WatchEnd> {
        let timing = self.server.timing().clone();
        let lasting = timing.renewal.mul_f64(1.0 + chance());
        let Some(request) = ask.request(&self.key, lasting) else {
            return Err(WatchEnd::Refused("no object can have that name".to_owned()));
        };
        let server = self.server.clone();
        let client = match ask {
            Ask::List => None,
            Ask::Read | Ask::Watch(_) => Some(self.lease().client().clone()),
        };
        let mut answer = Box::pin(async move {
            let answer = match client {
                None => server.apart(request).await,
                Some(client) => client.send(request).await,
            };
            let (head, body) = answer.map_err(|error| unreachable(&error))?.into_parts();
            if !head.status.is_success() {
                let wait = head.headers.get(RETRY_AFTER);
                let wait = wait.and_then(|it| it.to_str().ok()?.parse().ok());
                return Err(refusal(head.status, wait, body).await);
            }
            Ok(body)
        });
        let due = began + timing.answer;
        let body = loop {
            tokio::select! {
                biased;
                change = self.wants.next() => if let Some(next) = self.want_changed(change) {
                    return Ok(next);
                },
                body = timeout_at(due, &mut answer) => break body.map_err(|_| WatchEnd::Silent)??,
            }
        };
        if *ask == Ask::List {
            let line = timeout_at(due, json_lines::whole(body)).await;
            let line = line.map_err(|_| WatchEnd::Silent)??;
            let event = decode::list(&self.key, &line, self.server.allocatable().as_deref())?;
            let step = self.state.step(event);
            return Ok(self.apply(step).unwrap_or(TaskState::Resting));
        }
        let mut lines = JsonLines::new(body);
        let mut due = due;
        loop {
            if !self.state.is_syncing() {
                due = Instant::now() + timing.quiet;
            }
            tokio::select! {
                biased;
                change = self.wants.next() => if let Some(next) = self.want_changed(change) {
                    return Ok(next);
                },
                line = timeout_at(due, lines.next()) => {
                    let line = line.map_err(|_| WatchEnd::Silent)??;
                    let event: WatchEvent<Object> = decode::event(&self.key, &line, self.server.allocatable().as_deref())?;
                    let step = self.state.step(event);
                    if let Some(next) = self.apply(step) {
                        return Ok(next);
                    }
                }
            }
        }
    }

    /// A change of wants in the middle of a request. None: the request goes on.
    fn want_changed(&mut self, change: WantChange) -> Option<TaskState> {
        match change {
            WantChange::Over => Some(TaskState::Over),
            WantChange::Again if self.state.again() => {
                self.server.counters.restart(RestartReason::Asked);
                Some(TaskState::Asking(self.state.ask(), Duration::ZERO))
            }
            WantChange::Again => None,
        }
    }

    fn lease(&mut self) -> &Lease {
        let pool = self.server.connections().pool;
        let lease = self
            .lease
            .take()
            .filter(|lease| Arc::ptr_eq(lease.pool(), &pool));
        self.lease.insert(lease.unwrap_or_else(|| pool.lease()))
    }

    /// Says what is to be said. None: go on listening.
    fn apply(&mut self, step: Step<Object>) -> Option<TaskState> {
        if step.restored {
            self.server.counters.restored();
        }
        match step.emit {
            Some(Emit::Applied(object)) => self.emit(Update::Applied(object)),
            Some(Emit::Deleted) => self.emit(Update::Deleted(self.key.clone())),
            None => {}
        }
        if step.working {
            self.emit(Update::Working(self.key.clone()));
        }
        match step.next {
            Next::Listen => None,
            Next::Rest => Some(TaskState::Resting),
            Next::Ask(ask, reason) => {
                if let Some(reason) = reason {
                    self.server.counters.restart(reason);
                }
                Some(TaskState::Asking(ask, Duration::ZERO))
            }
        }
    }

    fn emit(&self, update: Update) {
        self.mailbox.say(self.number, &self.key, update);
    }

    async fn ended(&mut self, ask: &Ask, end: WatchEnd, began: Instant) -> TaskState {
        if let (WatchEnd::Unsupported(_), Ask::Read) = (&end, ask) {
            self.server.no_streams();
        }
        if let (WatchEnd::Unauthorized(_), Some(lease)) = (&end, &self.lease) {
            self.server.renew(lease.pool()).await;
        }
        let (took, steady) = if self.state.is_syncing() {
            (began.elapsed(), false)
        } else {
            (Duration::ZERO, began.elapsed() >= STEADY)
        };
        let Retry {
            ask,
            after,
            reason,
            failing,
        } = self.state.ended(end, took, steady, chance());
        self.server.counters.restart(reason);
        if let Some(why) = failing {
            self.server.counters.error(format!("{}: {why}", self.key));
            self.emit(Update::Failing {
                key: self.key.clone(),
                why,
            });
        }
        TaskState::Asking(ask, after)
    }
}

/// What the caller wants of this object, and for how long it lingers.
struct Wants {
    key: ObjectKey,
    mailbox: Arc<Mailbox>,
    want: watch::Receiver<Want>,
    linger: Duration,
    /// The answer that is owed, or was given.
    number: u64,
    /// When it has lingered enough.
    until: Option<Instant>,
}

impl Wants {
    fn new(
        key: ObjectKey,
        mailbox: Arc<Mailbox>,
        want: watch::Receiver<Want>,
        linger: Duration,
    ) -> Self {
        let number = want.borrow().number;
        Self {
            number,
            key,
            mailbox,
            want,
            linger,
            until: None,
        }
    }

    /// The next change of what is wanted. Nothing is lost when the future is dropped.
    async fn next(&mut self) -> WantChange {
        loop {
            let until = self.until;
            tokio::select! {
                changed = self.want.changed() => {
                    if changed.is_err() {
                        return WantChange::Over;
                    }
                    let want = *self.want.borrow_and_update();
                    self.until = (!want.wanted).then(|| Instant::now() + self.linger);
                    if want.wanted && want.number != self.number {
                        self.number = want.number;
                        return WantChange::Again;
                    }
                }
                () = sleep_until(until.unwrap_or_else(Instant::now)), if until.is_some() => {
                    if self.mailbox.forget(&self.key, self.want.borrow().number) {
                        return WantChange::Over;
                    }
                    self.until = None;
                }
            }
        }
    }
}

/// Between 0 and 1.
fn chance() -> f64 {
    // Without randomness all wait alike, which only costs the server.
    f64::from(getrandom::u32().unwrap_or(u32::MAX / 2)) / f64::from(u32::MAX)
}

fn unreachable(error: &kube::Error) -> WatchEnd {
    match error {
        kube::Error::Service(error) => WatchEnd::Unreachable(match error.downcast_ref() {
            Some(error) => error::auth(error),
            // What the layers of kube wrap around it says nothing to people.
            None => error_text::chain(&**error),
        }),
        kube::Error::HyperError(error) => WatchEnd::Cut(error_text::chain(error)),
        error => WatchEnd::Unreachable(error_text::chain(error)),
    }
}

/// An answer that is no success, in the words of its Status where it has one.
async fn refusal(code: StatusCode, wait: Option<u64>, body: Body) -> WatchEnd {
    let status = match json_lines::whole(body).await {
        Ok(line) => decode::status(&line.bytes),
        Err(_) => None,
    };
    let mut status = status.unwrap_or_default();
    status.code = code.as_u16();
    status.wait = wait.or(status.wait);
    if status.message.is_empty() {
        status.message = code.to_string();
    }
    status.end()
}

impl Status {
    /// The end that an answer of the server, or an ERROR event, means.
    pub(super) fn end(self) -> WatchEnd {
        let why = error_text::cut(&self.message);
        match self.code {
            400 | 422 => WatchEnd::Unsupported(why),
            401 => WatchEnd::Unauthorized(why),
            403 => WatchEnd::Forbidden(why),
            410 => WatchEnd::Expired,
            429 | 503 | 504 => WatchEnd::Busy(self.wait.map(Duration::from_secs), why),
            _ => WatchEnd::Refused(why),
        }
    }
}
