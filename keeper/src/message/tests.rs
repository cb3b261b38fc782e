//! Messages as systemd documents them, as ours are, and as nobody should send them.

use super::*;

fn name(text: &str) -> Name {
    text.parse().expect("a name")
}

#[test]
fn names_are_as_systemd_has_them() {
    for sound in ["a", "v1.fuse 2", "~", &"x".repeat(255)] {
        assert_eq!(name(sound).as_str(), sound);
    }
    for unsound in ["", "a:b", "a\nb", "\u{e4}", "a\u{7f}", &"x".repeat(256)] {
        assert_eq!(unsound.parse::<Name>(), Err(BadName), "{unsound:?}");
    }
}

#[test]
fn what_systemd_documents_is_understood() {
    let asked =
        |text: &str, beside| read(text.as_bytes()).and_then(|lines| requests(&lines, beside));
    assert_eq!(
        asked("FDSTORE=1\nFDNAME=foobar", 1),
        Ok(vec![Request::Store(vec![name("foobar")])])
    );
    assert_eq!(
        asked("FDSTORE=1\nFDPOLL=0\n", 1),
        Ok(vec![Request::Store(vec![name("stored")])])
    );
    assert_eq!(
        asked("FDSTOREREMOVE=1\nFDNAME=foobar\n", 0),
        Ok(vec![Request::Remove(vec![name("foobar")])])
    );
    assert_eq!(asked("BARRIER=1", 1), Ok(vec![Request::Barrier(None)]));
    assert_eq!(
        asked(
            "READY=1\nSTATUS=Processing requests...\nMAINPID=4711\nWATCHDOG=1\nWATCHDOG_USEC=20000000",
            0
        ),
        Ok(vec![
            Request::Ready,
            Request::Watchdog,
            Request::WatchdogUsec(20_000_000)
        ])
    );
    assert_eq!(
        asked("STOPPING=1\nX_OURS=x=y\n\n", 0),
        Ok(vec![Request::Stopping])
    );
    assert_eq!(asked("WATCHDOG=trigger\nREADY=0", 0), Ok(vec![]));
}

#[test]
fn descriptors_are_what_the_lines_need() {
    let asked = |lines: &[Line], beside| requests(lines, beside);
    let (a, b) = (Line::Name(name("a")), Line::Name(name("b")));
    let two = [Line::Store, a.clone(), b];
    assert_eq!(
        asked(&two, 2),
        Ok(vec![Request::Store(vec![name("a"), name("b")])])
    );
    for (lines, beside) in [
        (&two[..], 1),
        (&two, 3),
        (&[Line::Store], 0),
        (&[Line::Store], 2),
        (&[Line::Remove], 0),
        (&[Line::Remove, a.clone()], 1),
        (&[Line::Remove, Line::Store, a], 1),
        (&[Line::Barrier], 0),
        (&[Line::Barrier], 2),
        (&[Line::Take], 0),
        (&[Line::Ready], 1),
    ] {
        assert_eq!(asked(lines, beside), Err(Malformed), "{lines:?} {beside}");
    }
    assert_eq!(
        asked(&[Line::Take, Line::Role(Role::Caretaker)], 0),
        Ok(vec![Request::Take(Role::Caretaker)])
    );
    assert_eq!(
        asked(&[Line::Seq(7), Line::Barrier, Line::Ready], 1),
        Ok(vec![Request::Ready, Request::Barrier(Some(7))]),
        "a barrier is behind all else"
    );
}

#[test]
fn garbage_is_none() {
    for garbage in [
        &b"garbage"[..],
        b"=1",
        b"lower=1",
        b"A\0=1",
        b"\xff=1",
        b"FDNAME=a:b",
        b"FDNAME=",
        b"TAKE=1\nROLE=king",
        b"WATCHDOG_USEC=-1",
        &vec![b'A'; MAX_MESSAGE + 1],
    ] {
        assert_eq!(read(garbage), Err(Malformed), "{}", garbage.escape_ascii());
    }
}

#[test]
fn what_is_written_is_read() {
    let lines = vec![
        Line::HandOver,
        Line::Refused("no: a\nb".to_owned()),
        Line::Taken(3),
        Line::Name(name("x=y")),
    ];
    let written = write(&lines);
    assert_eq!(
        written,
        b"HANDOVER=1\nREFUSED=no: ab\nTAKEN=3\nFDNAME=x=y\n"
    );
    assert_eq!(read(&written).map(|lines| write(&lines)), Ok(written));
}

#[test]
fn the_longest_load_has_room() {
    let names = (0..MAX_DESCRIPTORS).map(|number| Line::Name(name(&format!("{number:0255}"))));
    let lines: Vec<Line> = std::iter::once(Line::Store).chain(names).collect();
    assert!(write(&lines).len() <= MAX_MESSAGE);
}
