//! The walls, tried on small rooms: what is against the rules is found however it is written, and
//! what is not is let be.

use std::collections::BTreeSet;

use super::rooms::{Krate, judge, table};

/// Three rooms, one below the other, the lowest of them pure.
const TABLE: &str = "
| room | what it may name is a word of another table |

| room | does | may name |
|---|---|---|
| `src/top/` | all | `middle`, `tokio` |
| `src/middle/`, `src/beside.rs` | some | `low` |
| `src/low.rs` | little | pure |
";

const LOW: &str = "//! l\npub struct Low;";
const MIDDLE: &str = "//! m\npub use inner::Low as Deep;\npub mod inner;\nuse crate::low::Low;";
const TOP: &str = "//! t\nuse crate::middle::Deep2 as _;\nuse tokio::spawn;";

/// What is wrong where the files are these, and others as they are when all is right.
fn wrong(changed: &[(&str, &str)]) -> Vec<String> {
    let mut sources = super::tree::Sources::new();
    for (file, text) in [
        (
            "src/lib.rs",
            "//! r\npub mod beside;\npub mod low;\npub mod middle;\npub mod top;",
        ),
        ("src/beside.rs", "//! b\npub const B: u8 = 0;"),
        ("src/low.rs", LOW),
        ("src/middle/mod.rs", MIDDLE),
        ("src/middle/inner.rs", "//! i\npub use crate::low::Low;"),
        ("src/top/mod.rs", TOP),
    ]
    .iter()
    .chain(changed)
    {
        sources.insert((*file).to_owned(), (*text).to_owned());
    }
    let krate = Krate {
        root: "src/lib.rs",
        name: "house",
    };
    let others = BTreeSet::from(["fuser", "tokio"].map(str::to_owned));
    judge(&table(TABLE), &[krate], &others, &sources)
}

/// That a text in the lowest room is found to name this.
fn finds(text: &str, what: &str) {
    let text = format!("{LOW}\n{text}");
    let wrong = wrong(&[("src/low.rs", &text)]);
    assert_eq!(wrong.len(), 1, "{text}: {wrong:#?}");
    assert!(wrong[0].contains(what), "{text}: {wrong:#?}");
}

#[test]
fn what_is_right_is_let_be() {
    assert_eq!(wrong(&[]), [""; 0]);
    for text in [
        "// use crate::top::X;",
        "/// See [`crate::top::X`].\npub const TEXT: &str = \"crate::top::X\";",
        "use std::collections::BTreeMap as top;",
        "pub fn f(now: std::time::Instant) -> std::time::Duration { now - now }",
        "#[cfg(test)] mod tests { use crate::top::X; fn f() { std::time::Instant::now(); } }",
        "#[cfg(all(test, shuttle))] mod tests { use crate::top::X; }",
        "pub enum E { A } pub fn f() -> E { E::A }",
        "mod inner { pub struct X; } pub fn f() -> inner::X { self::inner::X }",
        "pub fn f() { let top = 1; println!(\"{top}\"); assert_eq!(top, 1, \"top::x\"); }",
    ] {
        let text = format!("{LOW}\n{text}");
        assert_eq!(wrong(&[("src/low.rs", &text)]), [""; 0], "{text}");
    }
}

#[test]
fn a_way_up_is_found_however_it_is_written() {
    for text in [
        "use crate::top::X;",
        "use crate::{top::X, low};",
        "use crate::{self as house, top as other};",
        "use crate as house; use house::top::X;",
        "use super::top::X;",
        "use self::super::top;",
        "pub use crate::top::X;",
        "pub use crate::top::*;",
        "pub fn f() { crate::top::x(); }",
        "pub fn f(_: &dyn Fn(super::top::X)) {}",
        "impl crate::top::X for Low {}",
        "pub fn f() { use crate::top; }",
        "mod inner { pub fn f() { super::super::top::x(); } }",
        "pub fn f() { println!(\"{}\", crate::top::X); }",
        "macro_rules! m { () => { [$crate::top::X] } }",
        "#[derive(crate::top::X)] pub struct Y;",
    ] {
        finds(text, "(low) names top");
    }
}

#[test]
fn a_re_export_hides_nobody() {
    // By a sign of the middle room, the top names the lowest, which it may not.
    for name in ["Deep", "inner::Low"] {
        let text = format!("{TOP}\nuse crate::middle::{name};");
        let wrong = wrong(&[("src/top/mod.rs", &text)]);
        assert_eq!(wrong.len(), 1, "{wrong:#?}");
        assert!(wrong[0].contains("(top) names low"), "{wrong:#?}");
    }
    // And by a glob.
    let wrong = wrong(&[
        ("src/beside.rs", "//! b\npub use crate::middle::*;"),
        (
            "src/top/mod.rs",
            &format!("{TOP}\nuse crate::beside::Deep;"),
        ),
    ]);
    assert_eq!(wrong.len(), 1, "{wrong:#?}");
    assert!(wrong[0].contains("(top) names low"), "{wrong:#?}");
}

#[test]
fn another_crate_is_found() {
    finds("use fuser::Session;", "(low) names fuser");
    finds("use ::fuser as f; ", "(low) names fuser");
    finds("#[fuser::main] pub fn f() {}", "(low) names fuser");
    finds(
        "pub fn f() { println!(\"{}\", fuser::X); }",
        "(low) names fuser",
    );
}

#[test]
fn a_clock_or_a_lock_in_a_pure_room_is_found() {
    finds("pub fn f() { std::time::Instant::now(); }", "Instant::now");
    finds(
        "use std::time::Instant as I; pub fn f() { I::now(); }",
        "Instant::now",
    );
    finds(
        "use std::time; pub fn f() { time::SystemTime::now(); }",
        "SystemTime::now",
    );
    finds("use std::{thread}; ", "std::thread");
    finds("pub struct X(std::sync::Mutex<u8>);", "std::sync::Mutex");
    finds(
        "pub fn f(at: std::time::Instant) { at.elapsed(); }",
        "calls elapsed",
    );
}

#[test]
fn the_table_and_the_tree_are_held_against_each_other() {
    let only = |changed: &[(&str, &str)], what: &str| {
        let wrong = wrong(changed);
        assert!(
            wrong.len() == 1 && wrong[0].contains(what),
            "{what}: {wrong:#?}"
        );
    };
    only(
        &[("src/top/nobody.rs", "//! n")],
        "src/top/nobody.rs is in no crate",
    );
    only(
        &[
            (
                "src/lib.rs",
                "//! r\npub mod beside;\npub mod low;\npub mod middle;\npub mod new;\npub mod top;",
            ),
            ("src/new.rs", "//! n"),
        ],
        "src/new.rs is in no room",
    );
    only(
        &[(
            "src/lib.rs",
            "//! r\npub mod beside;\npub mod low;\npub mod middle;\npub mod top;\nuse crate::top::X;",
        )],
        "src/lib.rs names something",
    );
    only(
        &[("src/top/mod.rs", "//! t\nuse crate::middle::Deep2;")],
        "lets top name tokio, and nobody does",
    );
    let rooms = table(&TABLE.replace("| pure |", "| `top`, pure |"));
    assert!(rooms[2].may.contains("top") && rooms[2].pure, "{rooms:?}");
}
