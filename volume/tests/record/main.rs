//! A volume that is written down in the middle of its life and read back goes on as if nothing had
//! been: it answers every further question as the one that was not.

mod any;
mod life;
mod snapshots;

use livemount_engine::object::Bytes;
use livemount_volume::{Monotonic, Pins, Record, RecordError, State};
use proptest::prelude::*;
use std::time::{Duration, SystemTime};

use any::Life;
use life::Twins;
use snapshots::{KEY, snapshot};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn a_volume_that_was_read_back_answers_all_as_before(life in any::life()) {
        let Life { first, pins, dotdata, steps } = life;
        let mut twins = Twins::new(&first, pins, dotdata);
        for step in &steps {
            twins.step(step);
        }
        twins.ask_everything();
    }
}

fn written() -> (Record, Vec<Bytes>) {
    let first = snapshot(&[("a", 1), ("d/x", 2)]);
    let state = State::new(KEY, first, Pins::DEFAULT, SystemTime::UNIX_EPOCH);
    state.record(Monotonic(Duration::from_secs(7)))
}

#[test]
fn a_record_of_another_format_is_refused() {
    let (record, contents) = written();
    let mut bytes = postcard::to_stdvec(&record).expect("plain data");
    // It stands first, as it will in every format.
    bytes[0] = 2;
    let other: Record = postcard::from_bytes(&bytes).expect("of the same shape");
    let read = State::from_record(other, &contents, Monotonic(Duration::ZERO));
    assert_eq!(read.err(), Some(RecordError::Format(2)));
}

#[test]
fn a_record_is_read_with_its_own_contents_alone() {
    let (record, contents) = written();
    assert_eq!(contents.len(), 2);
    let now = Monotonic(Duration::ZERO);
    for others in [&contents[..1], &[contents[1].clone(), contents[0].clone()]] {
        let read = State::from_record(record.clone(), others, now);
        assert_eq!(read.err(), Some(RecordError::Contents));
    }
    assert!(State::from_record(record, &contents, now).is_ok());
}

#[test]
fn a_record_shows_no_key_and_no_contents() {
    let (record, _) = written();
    let told = format!("{record:?}");
    assert!(told.contains("Key(..)"), "{told}");
    assert!(!told.contains("65, 65"), "{told}");
}
