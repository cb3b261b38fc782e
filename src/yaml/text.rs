//! Bytes as text, without what YAML does not let stand in it.

use super::fault::{Fault, Flaw};

/// The text, unless it is longer than `most` bytes.
pub(super) fn of(bytes: &[u8], most: usize) -> Result<&str, Flaw> {
    let line_of = |at: usize| 1 + bytes[..at].split(|b| *b == b'\n').skip(1).count();
    if bytes.len() > most {
        return Err(Flaw {
            line: None,
            fault: Fault::TooManyBytes(most),
        });
    }
    let text = str::from_utf8(bytes)
        .map_err(|error| Flaw::at(line_of(error.valid_up_to()), Fault::NotUtf8))?;
    let control = |c: char| c.is_control() && !matches!(c, '\t' | '\n' | '\r' | '\u{85}');
    match text.find(control) {
        Some(at) => Err(Flaw::at(line_of(at), Fault::Control)),
        None => Ok(text),
    }
}
