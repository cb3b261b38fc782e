//! Bytes as text, without what YAML does not let stand in it.

use super::fault::{YamlFault, YamlFlaw};

/// The text, unless it is longer than `most` bytes.
pub(super) fn decode(bytes: &[u8], most: usize) -> Result<&str, YamlFlaw> {
    let line_of = |at: usize| 1 + bytes[..at].split(|b| *b == b'\n').skip(1).count();
    if bytes.len() > most {
        return Err(YamlFlaw {
            line: None,
            fault: YamlFault::TooManyBytes(most),
        });
    }
    let text = str::from_utf8(bytes)
        .map_err(|error| YamlFlaw::at(line_of(error.valid_up_to()), YamlFault::NotUtf8))?;
    let control = |c: char| c.is_control() && !matches!(c, '\t' | '\n' | '\r' | '\u{85}');
    match text.find(control) {
        Some(at) => Err(YamlFlaw::at(line_of(at), YamlFault::Control)),
        None => Ok(text),
    }
}
