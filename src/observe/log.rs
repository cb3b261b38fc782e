//! Facts as lines of the log. A line holds names, numbers and times, as a fact does.

use std::time::Duration;

use livemount_engine::snapshot::ObjectVersion;
use tracing::{error, info, warn};

use super::Fact;

/// Writes a fact to the log.
pub fn log(fact: &Fact) {
    match fact {
        Fact::Committed(commit) => info!(
            volume = %commit.volume,
            version = commit.version,
            objects = versions(&commit.objects),
            changed = commit.changed,
            added = commit.added,
            removed = commit.removed,
            failed = commit.failed,
            drained_ms = millis(commit.drained),
            unread = commit.unread,
            took_ms = millis(commit.took),
            older_handles = commit.older_handles,
            "committed"
        ),
        Fact::Refused { volume, refusal } => {
            warn!(%volume, "refused, the last good version stays: {refusal}");
        }
        Fact::Recovered { volume } => info!(%volume, "recovered: the objects render again"),
        Fact::Unreadable { why, serving: true } => {
            warn!("refused, the last good version stays: {why}");
        }
        Fact::Unreadable {
            why,
            serving: false,
        } => warn!("refused: {why}"),
        Fact::FailedOperation { volume, what, why } => {
            warn!(%volume, "could not {what}, which is tried again: {why}");
        }
        Fact::NoThread { volume, why } => warn!(
            %volume,
            "no thread could be started for a commit, which waits for the next version: {why}"
        ),
        Fact::Stuck {
            volume,
            step,
            since,
        } => warn!(
            %volume,
            since_ms = millis(*since),
            "a commit waits in the kernel ({step}) for something that a program holds"
        ),
        Fact::HandDied => warn!("the hand died and was started again"),
        Fact::PinsDropped { volume, total } => warn!(
            %volume,
            total,
            "an older version was dropped for the limit; handles on it read ESTALE"
        ),
        Fact::Ended {
            volume,
            error: Some(error),
        } => error!(%volume, %error, "the FUSE connection broke"),
        Fact::Ended {
            volume,
            error: None,
        } => warn!(%volume, "the FUSE connection was ended from outside"),
    }
}

fn versions(objects: &[ObjectVersion]) -> String {
    let words: Vec<String> = objects.iter().map(ToString::to_string).collect();
    words.join(", ")
}

/// Milliseconds to three places, as a number that both log formats show alike.
fn millis(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e3
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::Arc;

    use parking_lot::Mutex;

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn line(fact: &Fact) -> String {
        let lines = Lines::default();
        let writer = lines.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_writer(move || writer.clone())
            .with_ansi(false)
            .with_target(false)
            .without_time()
            .finish();
        tracing::subscriber::with_default(subscriber, || log(fact));
        let bytes = lines.0.lock().clone();
        String::from_utf8(bytes).expect("a line is text")
    }

    #[test]
    fn nothing_is_said_to_stay_before_there_is_anything() {
        let unreadable = |serving| Fact::Unreadable {
            why: "a.yaml:1: not YAML".into(),
            serving,
        };
        assert_eq!(
            line(&unreadable(true)),
            " WARN refused, the last good version stays: a.yaml:1: not YAML\n"
        );
        assert_eq!(
            line(&unreadable(false)),
            " WARN refused: a.yaml:1: not YAML\n"
        );
    }

    #[test]
    fn a_thread_that_cannot_be_started_is_no_refusal() {
        let volume = "config".into();
        let why = "Resource temporarily unavailable".into();
        let line = line(&Fact::NoThread { volume, why });
        assert!(!line.contains("refused"), "{line}");
        assert!(line.ends_with("unavailable volume=config\n"), "{line}");
    }
}
