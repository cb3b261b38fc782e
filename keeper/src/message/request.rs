//! What the lines of a message ask for, with what came beside it.

use super::{Line, Malformed, Name, Role};

/// What systemd calls a descriptor that was given no name.
const NAMELESS: &str = "stored";

/// What a client asks of a keeper. A message may ask for several things.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Hold the descriptors beside the message, one for each name.
    Store(Vec<Name>),
    /// Let go of these.
    Remove(Vec<Name>),
    /// Close the one descriptor beside the message, and answer if there is a number.
    Barrier(Option<u64>),
    /// Everything, as this.
    Take(Role),
    /// A new keeper has got so many.
    Taken(u64),
    /// It has everything.
    Ready,
    /// It is about to end.
    Stopping,
    /// It is well.
    Watchdog,
    /// It will say so this often, in microseconds.
    WatchdogUsec(u64),
    /// How do things stand?
    Ask,
}

/// What the lines of a message ask for, with so many descriptors beside it.
///
/// # Errors
///
/// The descriptors are not what the lines need.
pub fn requests(lines: &[Line], beside: usize) -> Result<Vec<Request>, Malformed> {
    let has = |line: &Line| lines.contains(line);
    let (store, remove) = (has(&Line::Store), has(&Line::Remove));
    let barrier = has(&Line::Barrier);
    let mut names = Vec::new();
    let (mut role, mut seq) = (None, None);
    for line in lines {
        match line {
            Line::Name(name) => names.push(name.clone()),
            Line::Role(asked) => role = Some(*asked),
            Line::Seq(number) => seq = Some(*number),
            _ => {}
        }
    }
    if store && names.is_empty() && beside == 1 {
        names.push(NAMELESS.parse().map_err(|_| Malformed)?);
    }
    let wanted = match (store, remove, barrier) {
        (true, false, false) if !names.is_empty() => names.len(),
        (false, true, false) if !names.is_empty() => 0,
        (false, false, true) => 1,
        (false, false, false) => 0,
        _ => return Err(Malformed),
    };
    if beside != wanted {
        return Err(Malformed);
    }
    let mut asked = Vec::new();
    if store {
        asked.push(Request::Store(names));
    } else if remove {
        asked.push(Request::Remove(names));
    }
    for line in lines {
        asked.push(match line {
            Line::Ready => Request::Ready,
            Line::Stopping => Request::Stopping,
            Line::Watchdog => Request::Watchdog,
            Line::WatchdogUsec(every) => Request::WatchdogUsec(*every),
            Line::Take => Request::Take(role.ok_or(Malformed)?),
            Line::Taken(number) => Request::Taken(*number),
            Line::Ask => Request::Ask,
            _ => continue,
        });
    }
    if barrier {
        asked.push(Request::Barrier(seq));
    }
    Ok(asked)
}
