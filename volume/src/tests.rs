//! The volume on plain data: no mount, no kernel, no thread, and a clock that the test sets.

mod fixture;
mod successor;

use std::time::{Duration, SystemTime};

use livemount_engine::diff::{Op, plan};
use livemount_engine::object::Bytes;

use super::*;
use fixture::{Fixture, path, snapshot};

#[test]
fn promise_1_a_path_keeps_its_number_through_change_and_return() {
    let fixture = Fixture::new(&[("a", "1"), ("d/b", "1")]);
    let (a, d) = (fixture.ino("a"), fixture.ino("d"));
    fixture.commit(&[("a", "2"), ("d/b", "2")]);
    assert_eq!((fixture.ino("a"), fixture.ino("d")), (a, d));
    fixture.commit(&[("x", "")]);
    assert_eq!(
        fixture.volume.lookup(fixture.files, "a"),
        Err(FsError::NoName)
    );
    fixture.commit(&[("a", "3")]);
    assert_eq!(fixture.ino("a"), a, "the same after a removal and a return");
    fixture.commit(&[("a/b", "a is a folder now")]);
    assert_ne!(fixture.ino("a"), a, "a type never changes under one number");
}

#[test]
fn a_folder_that_comes_back_while_it_is_held_is_another_one_of_its_number() {
    let fixture = Fixture::new(&[("d/b", "1")]);
    let dead = fixture.volume.lookup(fixture.files, "d").expect("d");
    fixture.commit(&[("x", "")]);
    assert_eq!(fixture.attr(dead.attr.ino).map(|attr| attr.nlink), Ok(0));
    fixture.commit(&[("d/b", "2")]);
    let back = fixture.volume.lookup(fixture.files, "d").expect("d");
    assert_eq!(back.attr.ino, dead.attr.ino);
    assert_ne!(
        back.generation, dead.generation,
        "the kernel has marked the held one dead"
    );
}

#[test]
fn a_ring_pins_nothing() {
    let fixture = Fixture::new(&[("a", "0")]);
    let a = fixture.ino("a");
    let handles: Vec<HandleNumber> = (1..=Pins::DEFAULT.versions)
        .map(|version| {
            let handle = fixture.opened(a);
            fixture.commit(&[("a", &version.to_string())]);
            handle
        })
        .collect();
    for round in 0..5 {
        let next = snapshot(&[("a", &format!("round {round}"))]);
        let (_, swapped) = fixture.swap(&next);
        // The ring's handle is open until after the next commit has begun.
        let opened = fixture.volume.open(a, true);
        assert!(matches!(opened, OpenAnswer::Now(Ok(_))), "armed");
        fixture.bring(&swapped.changes[0]).expect("armed");
        fixture.finish(&[]);
    }
    assert_eq!(fixture.read(a, handles[0], Reader::Handle), Ok("0".into()));
}

#[test]
fn promise_3_a_handle_reads_what_it_opened_and_the_page_cache_what_is_current() {
    let fixture = Fixture::new(&[("a", "old")]);
    let a = fixture.ino("a");
    let handle = fixture.opened(a);
    fixture.commit(&[("a", "new!")]);
    assert_eq!(fixture.read(a, handle, Reader::Handle), Ok("old".into()));
    assert_eq!(
        fixture.read(a, handle, Reader::PageCache),
        Ok("new!".into())
    );
    assert_eq!(
        fixture.read(a, fixture.opened(a), Reader::Handle),
        Ok("new!".into())
    );
    let other = Inode(fixture.ino("a").0 ^ 1);
    assert_eq!(
        fixture.read(other, handle, Reader::Handle),
        Err(FsError::Stale)
    );
}

#[test]
fn a_handles_number_names_its_version() {
    let fixture = Fixture::new(&[("a", "1")]);
    let a = fixture.ino("a");
    assert_eq!(fixture.opened(a).0 >> 32, 1);
    fixture.commit(&[("a", "2")]);
    assert_eq!(fixture.opened(a).0 >> 32, 2);
}

#[test]
fn the_oldest_pins_go_beyond_the_limit_and_read_estale() {
    let fixture = Fixture::new(&[("a", "0")]);
    let a = fixture.ino("a");
    let handles: Vec<HandleNumber> = (1..=Pins::DEFAULT.versions + 1)
        .map(|version| {
            let handle = fixture.opened(a);
            fixture.commit(&[("a", &version.to_string())]);
            handle
        })
        .collect();
    assert_eq!(
        fixture.read(a, handles[0], Reader::Handle),
        Err(FsError::Stale)
    );
    assert_eq!(fixture.read(a, handles[1], Reader::Handle), Ok("1".into()));
    assert_eq!(fixture.volume.ask(|state| state.dropped_pins()), 1);
    for handle in handles {
        fixture.volume.ask(|state| state.release(handle));
    }
}

#[test]
fn promise_3_a_volume_keeps_as_many_bytes_as_it_was_asked_to() {
    let pins = Pins {
        versions: 10,
        bytes: 3 * 516 - 1,
    };
    let fixture = Fixture::with_pins(&[("a", "0000")], pins);
    let a = fixture.ino("a");
    let handles: Vec<HandleNumber> = (1..=4)
        .map(|version: u32| {
            let handle = fixture.opened(a);
            fixture.commit(&[("a", &version.to_string().repeat(4))]);
            handle
        })
        .collect();
    // Four bytes and a name of 512 each: two fit, three do not.
    let read: Vec<_> = handles
        .iter()
        .map(|handle| fixture.read(a, *handle, Reader::Handle))
        .collect();
    assert_eq!(
        read,
        [
            Err(FsError::Stale),
            Err(FsError::Stale),
            Ok("2222".into()),
            Ok("3333".into())
        ]
    );
    assert_eq!(fixture.volume.ask(|state| state.dropped_pins()), 2);
}

#[test]
fn promise_4_a_handle_is_fresh_for_a_second() {
    use super::handles::{FRESH, Handles};
    let opened = Monotonic(Duration::from_secs(100));
    let mut handles = Handles::new(Pins::DEFAULT);
    handles.open(
        Inode(7),
        VersionNumber(1),
        Some(Bytes::from("unread")),
        opened,
    );
    let all = |_| true;
    let later = opened + FRESH;
    assert_eq!(handles.begin_drain(later, all), None, "a second old");
    let just = opened + Duration::from_nanos(999_999_999);
    assert_eq!(
        handles.begin_drain(just, |ino| ino != Inode(7)),
        None,
        "another's"
    );
    assert_eq!(handles.begin_drain(just, all), Some(later));
    assert_eq!(FRESH, Duration::from_secs(1));
}

#[test]
fn promise_5_names_change_only_inside_their_operation() {
    let fixture = Fixture::new(&[("a", "1"), ("gone", "")]);
    let next = snapshot(&[("a", "2"), ("dir/new", "1")]);
    let (_, swapped) = fixture.swap(&next);
    assert_eq!(fixture.names(), ["a", "gone"], "the swap moves no name");
    fixture
        .bring(&swapped.changes[0])
        .expect("the rename is live");
    assert_eq!(fixture.names(), ["a", "dir", "gone"]);
    let dir = fixture.ino("dir");
    assert!(
        fixture.volume.lookup(dir, "new").is_ok(),
        "complete at once"
    );
    for op in &swapped.changes[1..] {
        fixture.bring(op).expect("live in its turn");
    }
    assert_eq!(fixture.names(), ["a", "dir"]);
    fixture.finish(&[]);
}

#[test]
fn promise_9_nothing_unarmed_is_done() {
    let fixture = Fixture::new(&[("a", "1"), ("gone", "")]);
    let a = fixture.ino("a");
    let write = |ino| match fixture.volume.open(ino, true) {
        OpenAnswer::Now(opened) => opened,
        OpenAnswer::Parked(_) => panic!("answered at once"),
    };
    assert_eq!(write(a), Err(FsError::ReadOnly));
    assert_eq!(
        fixture.volume.ask(|state| state.ring(a)),
        Err(FsError::ReadOnly)
    );
    assert_eq!(
        fixture
            .volume
            .ask(|state| state.unlink(fixture.files, "gone")),
        Err(FsError::ReadOnly)
    );
    assert_eq!(
        fixture
            .volume
            .ask(|state| state.rmdir(fixture.files, "gone")),
        Err(FsError::ReadOnly)
    );
    assert_eq!(
        fixture
            .volume
            .ask(|state| state.rename((fixture.files, "a"), (fixture.files, "b"))),
        Err(FsError::ReadOnly)
    );
    let next = snapshot(&[("a", "2")]);
    let (_, swapped) = fixture.swap(&next);
    let [ring, unlink] = &swapped.changes[..] else {
        panic!("one ring and one unlink");
    };
    assert_eq!(
        fixture.bring(unlink),
        Err(FsError::ReadOnly),
        "not its turn"
    );
    assert!(write(a).is_ok());
    fixture.bring(ring).expect("its turn");
    assert_eq!(fixture.bring(ring), Err(FsError::ReadOnly), "once");
    assert_eq!(write(a), Err(FsError::ReadOnly));
}

#[test]
fn what_could_not_be_brought_is_planned_again() {
    let fixture = Fixture::new(&[("a", "1"), ("gone", "")]);
    let next = snapshot(&[("a", "1"), ("dir/new", "1")]);
    let (plan_1, swapped_1) = fixture.swap(&next);
    let failed = [Op::Rename(path("dir")), Op::Unlink(path("gone"))];
    assert_eq!(plan_1.ops, failed);
    for index in 0..failed.len() {
        fixture.volume.ask(|state| state.give_up(index));
    }
    fixture.finish(&swapped_1.changes);
    assert_eq!(fixture.names(), ["a", "gone"]);
    assert_eq!(plan(&fixture.shown(), &next).ops, failed);
    let (_, swapped) = fixture.swap(&next);
    for change in &*swapped.changes {
        fixture.bring(change).expect("armed again");
    }
    fixture.finish(&[]);
    assert_eq!(fixture.names(), ["a", "dir"]);
}

#[test]
fn a_dotdata_that_could_not_be_put_in_place_goes() {
    let fixture = Fixture::new(&[("a", "0")]);
    let inodes = |fixture: &Fixture| fixture.volume.ask(|state| state.usage()).0;
    let mut kept = Vec::new();
    for round in 1..=10 {
        let next = snapshot(&[("a", &round.to_string())]);
        let plan = plan(&fixture.shown(), &next);
        let now = fixture.volume.now().wall;
        let swapped = fixture.volume.swap_at(&next, &plan, Compat::Dotdata, now);
        let swapped = swapped.expect("fits");
        fixture
            .bring(&swapped.changes[0])
            .expect("the ring is live");
        // The kernel looks the prepared link up, and then its rename does not come.
        let stage = fixture.volume.lookup(ROOT, "stage").expect("stage/").attr;
        let link = fixture.volume.lookup(stage.ino, DOTDATA).expect("prepared");
        fixture.volume.ask(|state| state.give_up(1));
        fixture.finish(&[]);
        fixture.forget(link.attr.ino, 1);
        kept.push(inodes(&fixture));
    }
    assert_eq!(kept[9], kept[0], "inodes after each commit: {kept:?}");
}

#[test]
fn promise_8_mtime_moves_forward_when_the_clock_does_not() {
    let fixture = Fixture::new(&[("a", "1")]);
    let mtime = |fixture: &Fixture| fixture.attr(fixture.ino("a")).expect("a").mtime;
    let mut last = mtime(&fixture);
    for text in ["2", "1", "2"] {
        let next = snapshot(&[("a", text)]);
        let plan = plan(&fixture.shown(), &next);
        fixture
            .volume
            .swap_at(&next, &plan, Compat::None, SystemTime::UNIX_EPOCH)
            .expect("fits");
        fixture.finish(&[]);
        assert!(mtime(&fixture) > last);
        last = mtime(&fixture);
    }
}

#[test]
fn a_removed_name_answers_its_last_bytes_until_it_is_forgotten() {
    let fixture = Fixture::new(&[("a", "last"), ("b", "")]);
    let a = fixture.ino("a");
    let handle = fixture.opened(a);
    fixture.commit(&[("b", "")]);
    let attr = fixture.attr(a).expect("still known");
    assert_eq!((attr.nlink, attr.size), (0, 4));
    assert_eq!(
        fixture.read(a, handle, Reader::PageCache),
        Ok("last".into())
    );
    assert_eq!(fixture.read(a, handle, Reader::Handle), Ok("last".into()));
    fixture.forget(a, 1);
    assert_eq!(fixture.attr(a), Err(FsError::Stale), "never ENOENT");
}

#[test]
fn a_listing_that_goes_on_after_changes_shows_what_stays_once() {
    let names: Vec<String> = (0..50).map(|n| format!("n{n}")).collect();
    let files: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "")).collect();
    let fixture = Fixture::new(&files);
    let mut seen = Vec::new();
    let mut offset = 0;
    let mut take = |most: usize, offset: u64| {
        let mut last = offset;
        let mut left = most;
        let listed = fixture.volume.list(fixture.files, offset, |line| {
            if left == 0 {
                return true;
            }
            left -= 1;
            seen.push(line.name.to_owned());
            last = line.offset;
            false
        });
        listed.expect("a folder");
        last
    };
    offset = take(20, offset);
    // Every other name goes and a new one comes while the listing is half done.
    let stay: Vec<(&str, &str)> = files
        .iter()
        .step_by(2)
        .copied()
        .chain([("new", "")])
        .collect();
    fixture.commit(&stay);
    take(1000, offset);
    for (name, _) in stay.iter().filter(|(name, _)| *name != "new") {
        let times = seen.iter().filter(|seen| seen == name).count();
        assert_eq!(times, 1, "{name}");
    }
    assert_eq!(&seen[..2], [".", ".."]);
}

#[test]
fn a_parked_open_comes_out_once_with_what_is_current_then() {
    let fixture = Fixture::new(&[("a", "old"), ("b", "old")]);
    let (a, b) = (fixture.ino("a"), fixture.ino("b"));
    let next = snapshot(&[("a", "new"), ("b", "new")]);
    let plan = plan(&fixture.shown(), &next);
    let first = fixture.volume.begin(&next, &plan);
    let parked = |ino| match fixture.volume.open(ino, false) {
        OpenAnswer::Parked(ticket) => ticket,
        OpenAnswer::Now(_) => panic!("held back"),
    };
    let early = [parked(b), parked(a)];
    // A commit that was begun and never ended leaves its opens to the next one.
    let second = fixture.volume.begin(&next, &plan);
    assert!(second > first);
    let late = parked(a);
    let now = fixture.volume.now().wall;
    let swapped = fixture.volume.swap_at(&next, &plan, Compat::None, now);
    swapped.expect("fits");
    let until = second.expect("both change");
    let at = |monotonic| Now {
        monotonic,
        wall: now,
    };
    let just = Monotonic(until.0.saturating_sub(Duration::from_nanos(1)));
    let let_go = |now| fixture.volume.ask(|state| state.unpark_due(now));
    assert_eq!(let_go(at(just)), [], "not yet");
    let answers = let_go(at(until));
    let tickets: Vec<Ticket> = answers.iter().map(|(ticket, _)| *ticket).collect();
    assert_eq!(tickets, [early[0], early[1], late], "in their order");
    for (ino, (_, opened)) in [b, a, a].into_iter().zip(answers) {
        let handle = opened.expect("opens").number;
        assert_eq!(fixture.read(ino, handle, Reader::Handle), Ok("new".into()));
    }
    fixture.volume.unpark();
    assert!(fixture.volume.answered.borrow().is_empty(), "once");
}

#[test]
fn a_former_version_is_let_go_when_its_name_is_gone() {
    let fixture = Fixture::new(&[("a", "old")]);
    fixture.commit(&[("a", "new!")]);
    let retired = fixture.volume.now().monotonic;
    let later = Monotonic(retired.0 + Duration::from_secs(2));
    let holds_old = || {
        let (_, contents) = fixture.volume.ask(|state| state.record(later));
        contents.iter().any(|bytes| &**bytes == b"old")
    };
    let forget = |now| fixture.volume.ask(|state| state.forget_former(now)).len();
    assert_eq!(forget(retired), 0, "who has read ..data still gets there");
    assert!(holds_old());
    assert_eq!(forget(later), 1);
    assert!(!holds_old());
}
