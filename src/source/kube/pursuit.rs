//! The task that follows one object: makes the requests, feeds `follow` with what comes, leaves on
//! the mailbox what is to be said.
//!
//! Decides nothing about versions. Keeps its place on a connection for as long as it follows, across
//! failures too, and gives it back while an immutable object rests.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use http::header::RETRY_AFTER;
use kube::client::Body;
use livemount_engine::object::{Object, ObjectKey};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until, timeout_at};

use super::cluster::Shared;
use super::error;
use super::feed::{self, Feed};
use super::follow::{End, Event, Follow, Pause, Say, Then, Told};
use super::lines::Place;
use super::request::Ask;
use super::sentence;
use super::status::Reason;
use super::wire::{self, Status};
use crate::source::{Mailbox, Update, Want};

/// A watch that lived for this long after it had told everything did not fail at once.
const STEADY: Duration = Duration::from_secs(10);

pub(super) struct Pursuit {
    key: ObjectKey,
    cluster: Arc<Shared>,
    mailbox: Arc<Mailbox>,
    orders: Orders,
    follow: Follow<Object>,
    place: Option<Place>,
    /// Which answer the request under way is.
    number: u64,
}

/// What happens next.
enum Next {
    Ask(Ask, Duration),
    Rest,
    /// Nobody wants the object any more.
    Over,
}

/// What the caller wants now.
#[derive(Clone, Copy)]
enum Order {
    /// A fresh answer.
    Again,
    /// Nothing any more.
    Over,
}

impl Pursuit {
    pub fn new(
        key: ObjectKey,
        cluster: Arc<Shared>,
        mailbox: Arc<Mailbox>,
        want: watch::Receiver<Want>,
    ) -> Self {
        let follow = Follow::new(cluster.pace());
        let orders = Orders::new(key.clone(), mailbox.clone(), want, cluster.pace().linger);
        Self {
            key,
            cluster,
            mailbox,
            number: orders.number,
            orders,
            follow,
            place: None,
        }
    }

    pub async fn run(mut self) {
        let mut next = Next::Ask(self.follow.ask(), Duration::ZERO);
        loop {
            next = match next {
                Next::Over => return,
                Next::Rest => self.rest().await,
                Next::Ask(ask, after) => match self.pause(after).await {
                    None => self.attempt(ask).await,
                    Some(next) => next,
                },
            };
        }
    }

    async fn rest(&mut self) -> Next {
        self.place = None;
        match self.orders.next().await {
            Order::Over => Next::Over,
            Order::Again => self.again(),
        }
    }

    /// None when the time is up.
    async fn pause(&mut self, after: Duration) -> Option<Next> {
        tokio::select! {
            biased;
            order = self.orders.next() => Some(match order {
                Order::Over => Next::Over,
                Order::Again => self.again(),
            }),
            () = sleep(after) => None,
        }
    }

    /// Outside of a read: a fresh one, at once.
    fn again(&mut self) -> Next {
        self.follow.again();
        self.cluster.tally.restart(Reason::Asked);
        Next::Ask(self.follow.ask(), Duration::ZERO)
    }

    async fn attempt(&mut self, ask: Ask) -> Next {
        let ask = match ask {
            Ask::Read if !self.cluster.streams() => Ask::List,
            ask => ask,
        };
        if !matches!(ask, Ask::Watch(_)) {
            self.number = self.orders.number;
        }
        self.follow.begin(&ask);
        let began = Instant::now();
        match self.listen(&ask, began).await {
            Ok(next) => next,
            Err(end) => self.ended(&ask, end, began).await,
        }
    }

    /// Makes the request and takes in what it brings, until something else is to be done.
    async fn listen(&mut self, ask: &Ask, began: Instant) -> Result<Next, End> {
        let pace = self.cluster.pace().clone();
        let lasting = pace.renewal.mul_f64(1.0 + chance());
        let Some(request) = ask.request(&self.key, lasting) else {
            return Err(End::Refused("no object can have that name".to_owned()));
        };
        let cluster = self.cluster.clone();
        let client = match ask {
            Ask::List => None,
            Ask::Read | Ask::Watch(_) => Some(self.place().client().clone()),
        };
        let mut answer = Box::pin(async move {
            let answer = match client {
                None => cluster.apart(request).await,
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
        let due = began + pace.answer;
        let body = loop {
            tokio::select! {
                biased;
                order = self.orders.next() => if let Some(next) = self.ordered(order) {
                    return Ok(next);
                },
                body = timeout_at(due, &mut answer) => break body.map_err(|_| End::Silent)??,
            }
        };
        if *ask == Ask::List {
            let line = timeout_at(due, feed::whole(body)).await;
            let line = line.map_err(|_| End::Silent)??;
            let event = wire::list(&self.key, &line, self.cluster.allocatable().as_deref())?;
            let told = self.follow.heard(event);
            return Ok(self.tell(told).unwrap_or(Next::Rest));
        }
        let mut feed = Feed::new(body);
        let mut due = due;
        loop {
            if !self.follow.is_telling() {
                due = Instant::now() + pace.quiet;
            }
            tokio::select! {
                biased;
                order = self.orders.next() => if let Some(next) = self.ordered(order) {
                    return Ok(next);
                },
                line = timeout_at(due, feed.next()) => {
                    let line = line.map_err(|_| End::Silent)??;
                    let event: Event<Object> = wire::event(&self.key, &line, self.cluster.allocatable().as_deref())?;
                    let told = self.follow.heard(event);
                    if let Some(next) = self.tell(told) {
                        return Ok(next);
                    }
                }
            }
        }
    }

    /// An order in the middle of a request. None: the request goes on.
    fn ordered(&mut self, order: Order) -> Option<Next> {
        match order {
            Order::Over => Some(Next::Over),
            Order::Again if self.follow.again() => {
                self.cluster.tally.restart(Reason::Asked);
                Some(Next::Ask(self.follow.ask(), Duration::ZERO))
            }
            Order::Again => None,
        }
    }

    fn place(&mut self) -> &Place {
        let lines = self.cluster.reach().lines;
        let place = self
            .place
            .take()
            .filter(|place| Arc::ptr_eq(place.lines(), &lines));
        self.place.insert(place.unwrap_or_else(|| lines.place()))
    }

    /// Says what is to be said. None: go on listening.
    fn tell(&mut self, told: Told<Object>) -> Option<Next> {
        if told.restored {
            self.cluster.tally.restored();
        }
        match told.say {
            Some(Say::Applied(object)) => self.say(Update::Applied(object)),
            Some(Say::Deleted) => self.say(Update::Deleted(self.key.clone())),
            None => {}
        }
        if told.working {
            self.say(Update::Working(self.key.clone()));
        }
        match told.then {
            Then::Listen => None,
            Then::Rest => Some(Next::Rest),
            Then::Ask(ask, reason) => {
                if let Some(reason) = reason {
                    self.cluster.tally.restart(reason);
                }
                Some(Next::Ask(ask, Duration::ZERO))
            }
        }
    }

    fn say(&self, said: Update) {
        self.mailbox.say(self.number, &self.key, said);
    }

    async fn ended(&mut self, ask: &Ask, end: End, began: Instant) -> Next {
        if let (End::Unsupported(_), Ask::Read) = (&end, ask) {
            self.cluster.no_streams();
        }
        if let (End::Unauthorized(_), Some(place)) = (&end, &self.place) {
            self.cluster.renew(place.lines()).await;
        }
        let (took, steady) = if self.follow.is_telling() {
            (began.elapsed(), false)
        } else {
            (Duration::ZERO, began.elapsed() >= STEADY)
        };
        let Pause {
            ask,
            after,
            reason,
            failing,
        } = self.follow.ended(end, took, steady, chance());
        self.cluster.tally.restart(reason);
        if let Some(why) = failing {
            self.cluster.tally.error(format!("{}: {why}", self.key));
            self.say(Update::Failing {
                key: self.key.clone(),
                why,
            });
        }
        Next::Ask(ask, after)
    }
}

/// What the caller wants of this object, and for how long it lingers.
struct Orders {
    key: ObjectKey,
    mailbox: Arc<Mailbox>,
    want: watch::Receiver<Want>,
    linger: Duration,
    /// The answer that is owed, or was given.
    number: u64,
    /// When it has lingered enough.
    until: Option<Instant>,
}

impl Orders {
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

    /// The next order. Nothing is lost when the future is dropped.
    async fn next(&mut self) -> Order {
        loop {
            let until = self.until;
            tokio::select! {
                changed = self.want.changed() => {
                    if changed.is_err() {
                        return Order::Over;
                    }
                    let want = *self.want.borrow_and_update();
                    self.until = (!want.wanted).then(|| Instant::now() + self.linger);
                    if want.wanted && want.number != self.number {
                        self.number = want.number;
                        return Order::Again;
                    }
                }
                () = sleep_until(until.unwrap_or_else(Instant::now)), if until.is_some() => {
                    if self.mailbox.forget(&self.key, self.want.borrow().number) {
                        return Order::Over;
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

fn unreachable(error: &kube::Error) -> End {
    match error {
        kube::Error::Service(error) => End::Unreachable(match error.downcast_ref() {
            Some(error) => error::auth(error),
            // What the layers of kube wrap around it says nothing to people.
            None => sentence::chain(&**error),
        }),
        kube::Error::HyperError(error) => End::Cut(sentence::chain(error)),
        error => End::Unreachable(sentence::chain(error)),
    }
}

/// An answer that is no success, in the words of its Status where it has one.
async fn refusal(code: StatusCode, wait: Option<u64>, body: Body) -> End {
    let status = match feed::whole(body).await {
        Ok(line) => wire::status(&line.bytes),
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
    pub(super) fn end(self) -> End {
        let why = sentence::cut(&self.message);
        match self.code {
            400 | 422 => End::Unsupported(why),
            401 => End::Unauthorized(why),
            403 => End::Forbidden(why),
            410 => End::Expired,
            429 | 503 | 504 => End::Busy(self.wait.map(Duration::from_secs), why),
            _ => End::Refused(why),
        }
    }
}
