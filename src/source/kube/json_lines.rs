//! A watch's body as lines of JSON, each with the time at which its last byte came.

use std::future::poll_fn;
use std::pin::Pin;
use std::time::SystemTime;

use hyper::body::Body as _;
use kube::client::Body;

use super::error_text;
use super::watch_state::WatchEnd;

/// The longest line, in bytes: an object of 1.5 MB, the most that etcd takes, with each byte escaped
/// as `\u0000`, and some more.
pub(super) const MOST: usize = 10 << 20;

/// What a buffer may keep between events, in bytes.
const KEEP: usize = 4 << 10;

/// The lines of one watch.
pub(super) struct JsonLines {
    body: Body,
    buffer: Vec<u8>,
    /// How much of the buffer is known to hold no end of a line.
    searched: usize,
    came: SystemTime,
}

/// One line and when it was complete.
pub(super) struct JsonLine {
    pub bytes: Vec<u8>,
    pub received: SystemTime,
}

impl JsonLines {
    pub fn new(body: Body) -> Self {
        Self {
            body,
            buffer: Vec::new(),
            searched: 0,
            came: SystemTime::now(),
        }
    }

    /// The next line; its end where there is none. Nothing is lost when the future is dropped.
    pub async fn next(&mut self) -> Result<JsonLine, WatchEnd> {
        loop {
            if let Some(bytes) = self.line() {
                return Ok(JsonLine {
                    bytes,
                    received: self.came,
                });
            }
            if self.buffer.len() > MOST {
                return Err(WatchEnd::Garbled(
                    "an event is longer than any object".to_owned(),
                ));
            }
            let frame = poll_fn(|cx| Pin::new(&mut self.body).poll_frame(cx)).await;
            match frame {
                // Half a line is an event that will be told again.
                None if !self.buffer.is_empty() => {
                    return Err(WatchEnd::Cut("cut in a line".to_owned()));
                }
                None => return Err(WatchEnd::Closed),
                Some(Err(error)) => return Err(WatchEnd::Cut(error_text::chain(&error))),
                Some(Ok(frame)) => {
                    if let Some(bytes) = frame.data_ref() {
                        self.came = SystemTime::now();
                        self.buffer.extend_from_slice(bytes);
                    }
                }
            }
        }
    }

    fn line(&mut self) -> Option<Vec<u8>> {
        let rest = &self.buffer[self.searched..];
        let Some(at) = rest.iter().position(|c| *c == b'\n') else {
            self.searched = self.buffer.len();
            return None;
        };
        let rest = self.buffer.split_off(self.searched + at + 1);
        self.searched = 0;
        let mut line = std::mem::replace(&mut self.buffer, rest);
        line.pop();
        if self.buffer.is_empty() && self.buffer.capacity() > KEEP {
            self.buffer = Vec::new();
        }
        Some(line)
    }
}

/// A whole body, no longer than a line may be.
pub(super) async fn whole(mut body: Body) -> Result<JsonLine, WatchEnd> {
    let mut bytes = Vec::new();
    while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        let frame = frame.map_err(|error| WatchEnd::Cut(error_text::chain(&error)))?;
        bytes.extend_from_slice(frame.data_ref().map_or(&[], |data| &data[..]));
        if bytes.len() > MOST {
            return Err(WatchEnd::Garbled(
                "an answer is longer than any object".to_owned(),
            ));
        }
    }
    Ok(JsonLine {
        bytes,
        received: SystemTime::now(),
    })
}
