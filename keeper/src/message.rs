//! What keeper and client say to each other: lines of `VARIABLE=value`, as `sd_notify(3)` has them.
//!
//! A variable, or a value of one, that is not known is passed over, so that either end may be newer than
//! the other. Descriptors travel beside a message, in the order of its `FDNAME=` lines.
//!
//! | from a client | what it asks |
//! |---|---|
//! | `FDSTORE=1`, `FDNAME=x` ... | to hold a descriptor for each name; one that is held under the name goes (systemd would hold both) |
//! | `FDSTOREREMOVE=1`, `FDNAME=x` ... | to let go of those |
//! | `BARRIER=1` with a descriptor | to close it when all that was sent before is done; with `SEQ=n` also to answer `DONE=n` |
//! | `READY=1`, `STOPPING=1`, `WATCHDOG=1`, `WATCHDOG_USEC=n` | as with systemd |
//! | `TAKE=1`, `ROLE=daemon` (or `caretaker`, `keeper`) | for everything, and to be the holder |
//! | `TAKEN=n` | nothing: a new keeper has got everything |
//! | `ASK=1` | for one line that tells how things are |
//!
//! | from the keeper | what it says |
//! |---|---|
//! | `FDNAME=x` ... with a descriptor for each | what is held, a part of it |
//! | `HOLDER=1`, `ROLE=`, `PID=`, `READY=1` with a pidfd | to a new keeper alone: who holds |
//! | `LOCK=1` with a descriptor | to a new keeper alone: the lock of the folder |
//! | `TAKEN=n` | that was all, n descriptors; with `SAME=1` nobody else held them since the client last did |
//! | `HANDOVER=1` | somebody else wants them: end, you have two seconds |
//! | `REFUSED=why` | what was asked is not done |
//! | `DONE=n`, `REPORT=line` | the answers to `SEQ=n` and `ASK=1` |

mod request;

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

pub use request::{Request, requests};

/// The most bytes in one message: a full load of the longest names has room.
pub const MAX_MESSAGE: usize = 68 << 10;
/// The most descriptors beside one message (`SCM_MAX_FD` of the kernel).
pub const MAX_DESCRIPTORS: usize = 253;
/// The most bytes in a name (`FDNAME_MAX` of systemd).
pub const MAX_NAME: usize = 255;

/// What a descriptor is held under: 1 to 255 printable ASCII characters without a colon, as systemd has it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Box<str>);

/// A name that is not one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("a name has 1 to 255 printable ASCII characters and no colon")]
pub struct BadName;

impl Name {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Name {
    type Err = BadName;

    fn from_str(text: &str) -> Result<Self, BadName> {
        let sound = (1..=MAX_NAME).contains(&text.len())
            && text
                .bytes()
                .all(|byte| (b' '..=b'~').contains(&byte) && byte != b':');
        sound.then(|| Self(text.into())).ok_or(BadName)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// As what a process wants to have the descriptors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It serves volumes, and brings them up to date.
    Daemon,
    /// It serves volumes as they are, until a daemon comes.
    Caretaker,
    /// It takes the keeper's place.
    Keeper,
}

impl Role {
    /// The word for it in messages and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Daemon => "daemon",
            Self::Caretaker => "caretaker",
            Self::Keeper => "keeper",
        }
    }
}

impl FromStr for Role {
    type Err = Malformed;

    fn from_str(word: &str) -> Result<Self, Malformed> {
        [Self::Daemon, Self::Caretaker, Self::Keeper]
            .into_iter()
            .find(|role| role.as_str() == word)
            .ok_or(Malformed)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// A message that says nothing that can be understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("malformed message")]
pub struct Malformed;

macro_rules! lines {
    ($($(#[$doc:meta])* $name:ident = $variable:literal $(($kind:ty))?,)*) => {
        /// One line of a message.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub enum Line {
            $($(#[$doc])* $name $(($kind))?,)*
        }

        impl Line {
            /// None for what is not known here.
            fn read(variable: &str, value: &str) -> Result<Option<Self>, Malformed> {
                Ok(match variable {
                    $($variable => lines!(@read $name value $($kind)?),)*
                    _ => None,
                })
            }
        }

        impl fmt::Display for Line {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self {
                    $(lines!(@pattern $name value $($kind)?) => {
                        lines!(@write formatter $variable value $($kind)?)
                    })*
                }
            }
        }
    };
    (@read $name:ident $value:ident) => { ($value == "1").then_some(Self::$name) };
    (@read $name:ident $value:ident $kind:ty) => {
        Some(Self::$name($value.parse().map_err(|_| Malformed)?))
    };
    (@pattern $name:ident $value:ident) => { Self::$name };
    (@pattern $name:ident $value:ident $kind:ty) => { Self::$name($value) };
    (@write $formatter:ident $variable:literal $value:ident) => {
        $formatter.write_str(concat!($variable, "=1"))
    };
    (@write $formatter:ident $variable:literal $value:ident $kind:ty) => {
        write!($formatter, concat!($variable, "={}"), $value)
    };
}

lines! {
    /// Hold the descriptors that come beside this.
    Store = "FDSTORE",
    /// Let go of what is named.
    Remove = "FDSTOREREMOVE",
    /// The name of the next descriptor.
    Name = "FDNAME"(Name),
    /// For systemd: `0` where a descriptor is held whatever poll(2) says of it.
    Poll = "FDPOLL"(u8),
    /// Close what comes beside this when all before is done.
    Barrier = "BARRIER",
    /// What the answer to a barrier repeats.
    Seq = "SEQ"(u64),
    /// All up to the barrier of this number is done.
    Done = "DONE"(u64),
    /// The sender has everything.
    Ready = "READY",
    /// The sender is about to end.
    Stopping = "STOPPING",
    /// The sender is well.
    Watchdog = "WATCHDOG",
    /// Microseconds without a sign of life after which the sender is to be killed; 0 for never.
    WatchdogUsec = "WATCHDOG_USEC"(u64),
    /// Give me everything.
    Take = "TAKE",
    /// As what it is asked for.
    Role = "ROLE"(Role),
    /// That was everything, so many descriptors.
    Taken = "TAKEN"(u64),
    /// The taker is who held last.
    Same = "SAME",
    /// Beside this comes the pidfd of who holds.
    Holder = "HOLDER",
    /// Beside this comes the lock of the keeper's folder.
    Lock = "LOCK",
    /// That one's number, as the keeper sees it.
    Pid = "PID"(u32),
    /// Somebody else is to have everything: end.
    HandOver = "HANDOVER",
    /// Not done, and why.
    Refused = "REFUSED"(String),
    /// How do things stand?
    Ask = "ASK",
    /// So they stand.
    Report = "REPORT"(String),
}

/// Reads a message.
///
/// # Errors
///
/// It is too long, or no text, or has a line that is no assignment, or a value that its variable cannot
/// have.
pub fn read(bytes: &[u8]) -> Result<Vec<Line>, Malformed> {
    if bytes.len() > MAX_MESSAGE || bytes.contains(&0) {
        return Err(Malformed);
    }
    let text = std::str::from_utf8(bytes).map_err(|_| Malformed)?;
    let mut lines = Vec::new();
    for line in text.split('\n').filter(|line| !line.is_empty()) {
        let (variable, value) = line.split_once('=').ok_or(Malformed)?;
        let sound = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
        if variable.is_empty() || !variable.bytes().all(sound) {
            return Err(Malformed);
        }
        lines.extend(Line::read(variable, value)?);
    }
    Ok(lines)
}

/// Writes a message. What is told in words has its ends of lines taken away.
pub fn write(lines: &[Line]) -> Vec<u8> {
    let mut text = String::new();
    for line in lines {
        let line = line.to_string();
        text.extend(line.chars().filter(|letter| !['\n', '\0'].contains(letter)));
        text.push('\n');
    }
    text.into_bytes()
}

#[cfg(test)]
mod tests;
