//! How a program is measured: one update, five updates, a key added, a key removed, and how many
//! reactions each brought.
//!
//! After each of these a bell is rung, which brings out what may still be queued. The program hears
//! in order and says so: what it has not said by then, it was not told. What a bell brings is not
//! counted.

use std::path::Path;
use std::process::Command;
use std::sync::{Condvar, Mutex, PoisonError};

use super::driver::{Ask, Driver, Line, Reaction};
use super::idle;
use super::places::{ADDED, FILE, Kubelet, Live, Place};
use super::table;
use crate::support::scratch::Scratch;

/// How many programs run at once.
const AT_ONCE: usize = 3;

/// A program and what it is expected to hear.
pub struct Program {
    /// Its row in the table.
    pub row: &'static str,
    /// How it is started.
    pub command: fn(&Ask) -> Command,
    /// What makes a value the content of its file. It may tell the one or the other.
    pub render: fn(&str, &Path) -> String,
    /// What to wait for besides its own word.
    pub ready: fn(&Scratch),
    /// Whether it watches the file, not the folder.
    pub watches_file: bool,
    /// More options for `livemount mount`.
    pub options: &'static [&'static str],
    /// On a volume.
    pub folder: Way,
    /// On a single file of a volume.
    pub bind: Way,
    /// On the kubelet's layout.
    pub kubelet: Way,
    /// Whether the number of its reactions on the kubelet's layout does not depend on timing.
    pub steady: bool,
    /// Whether it loses what comes too close: then something else changes between two updates, and
    /// the kubelet takes its time.
    pub apart: bool,
}

/// What a program hears in a place.
#[derive(Clone, Copy)]
pub struct Way {
    /// Whether it reacts to an update of the file.
    updates: bool,
    /// Whether it reacts to other names.
    names: Names,
    bell: Bell,
}

#[derive(Clone, Copy, PartialEq)]
enum Names {
    /// Not at all.
    Unheard,
    /// By their name.
    Told,
    /// By their name, but not when they go.
    Added,
    /// As to any commit.
    Untold,
}

/// What proves that nothing more comes.
#[derive(Clone, Copy)]
pub enum Bell {
    /// A name in the folder that is there for nothing else.
    Named,
    /// Two more updates of the file, for programs that hear nothing else. The second proves that the
    /// first was reacted to once, and so that nothing before it was left over.
    Content,
    /// An event for the file's name, for programs that hear nothing else and do not hear the file.
    Poke,
    /// None: the program loses its watch at the first update.
    Deaf,
    /// None: the program hears nothing at all.
    Idle,
}

impl Way {
    /// It reacts to the file and to every other name.
    pub const fn all(bell: Bell) -> Self {
        Self {
            updates: true,
            names: Names::Told,
            bell,
        }
    }

    /// It reacts to the file and to every new name.
    pub const fn added(bell: Bell) -> Self {
        Self {
            updates: true,
            names: Names::Added,
            bell,
        }
    }

    /// It reacts to the file alone.
    pub const fn updates(bell: Bell) -> Self {
        Self {
            updates: true,
            names: Names::Unheard,
            bell,
        }
    }

    /// It reacts to every commit, whatever changed.
    pub const fn commits(bell: Bell) -> Self {
        Self {
            updates: true,
            names: Names::Untold,
            bell,
        }
    }

    /// It does not react.
    pub const fn none(bell: Bell) -> Self {
        Self {
            updates: false,
            names: Names::Unheard,
            bell,
        }
    }

    /// It hears nothing after the first update; whether it reacts to that one is told.
    pub const fn first(updates: bool) -> Self {
        Self {
            updates,
            names: Names::Unheard,
            bell: Bell::Deaf,
        }
    }

    /// One reaction to one change, where the program hears it at all.
    fn expected(self) -> Counts {
        let updates = usize::from(self.updates);
        let added = usize::from(self.names != Names::Unheard);
        let removed = usize::from(!matches!(self.names, Names::Unheard | Names::Added));
        Counts([updates, 5 * updates, added, removed])
    }
}

/// Reactions to one update, to five updates, to a key added and a key removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counts(pub [usize; 4]);

/// Measures a program everywhere, and writes or compares its row.
pub fn run(program: &Program) {
    let _turn = Turn::take();
    let private = tempfile::tempdir().expect("a temporary folder can be made");
    let zero = (program.render)("zero", private.path());

    let (version, folder) = {
        let mut place = Live::folder(program.options, &zero);
        Run::start(program, program.folder, &mut place, private.path()).live()
    };
    assert_eq!(folder, program.folder.expected(), "on a volume");
    let (_, bind) = {
        let mut place = Live::file(program.options, &zero);
        Run::start(program, program.bind, &mut place, private.path()).live()
    };
    assert_eq!(
        bind,
        program.bind.expected(),
        "on a single file of a volume"
    );
    let kubelet = {
        let mut place = Kubelet::new(&zero, program.apart);
        Run::start(program, program.kubelet, &mut place, private.path()).kubelet()
    };
    let kubelet = table::counts(kubelet, program.steady);
    let cells = [
        table::counts(folder, true),
        table::counts(bind, true),
        kubelet,
    ];
    table::set(program.row, &version, &cells);
}

/// One program in one place.
struct Run<'a> {
    program: &'a Program,
    way: Way,
    private: &'a Path,
    driver: Driver,
    place: &'a mut dyn Place,
    /// The first line that is not counted yet.
    at: usize,
    bells: usize,
    /// Whether each reaction has to be the one that was expected.
    strict: bool,
}

impl<'a> Run<'a> {
    fn start(program: &'a Program, way: Way, place: &'a mut dyn Place, private: &'a Path) -> Self {
        let driver = Driver::start(&*place, program.command, program.watches_file, private);
        (program.ready)(place.scratch());
        Self {
            program,
            way,
            private,
            driver,
            place,
            at: 0,
            bells: 0,
            strict: false,
        }
    }

    /// On a volume: every reaction is the expected one, and tells the new content.
    fn live(mut self) -> (String, Counts) {
        self.strict = true;
        let counts = self.phases();
        (self.driver.version.clone(), counts)
    }

    /// On the kubelet's layout: what there is is counted.
    fn kubelet(mut self) -> Counts {
        if !matches!(self.way.bell, Bell::Deaf | Bell::Idle) {
            return self.phases();
        }
        self.place
            .set(FILE, &(self.program.render)("one", self.private));
        if matches!(self.way.bell, Bell::Deaf) {
            idle::wait_until_deaf(self.place.scratch());
            if self.way.updates {
                self.driver
                    .wait(0, "a reaction to the end of the watch", is_reaction);
            }
        }
        for value in values() {
            self.place
                .set(FILE, &(self.program.render)(&value, self.private));
        }
        self.place.set(ADDED, "new");
        self.place.remove(ADDED);
        idle::wait_until_idle(self.place.scratch());
        let lines = self.driver.finish();
        let first = lines.iter().filter(|line| is_reaction(line)).count();
        Counts([first, 0, 0, 0])
    }

    fn phases(&mut self) -> Counts {
        let one = ["one".to_owned()];
        let one = self.phase("one update", &one, |run| run.update("one"));
        let five = self.phase("five updates", &values(), |run| {
            for value in values() {
                run.update(&value);
            }
        });
        let added = self.phase("a key added", &[], |run| {
            run.place.set(ADDED, "new");
            run.hear_name(Some("new"));
        });
        let removed = self.phase("a key removed", &[], |run| {
            run.place.remove(ADDED);
            run.hear_name(None);
        });
        Counts([one, five, added, removed])
    }

    /// Updates the file and waits for the reaction, where there is to be one.
    fn update(&mut self, value: &str) {
        if self.program.apart {
            self.bells += 1;
            self.place.bell(self.bells);
        }
        let content = (self.program.render)(value, self.private);
        self.place.set(FILE, &content);
        if self.way.updates {
            self.hear(value);
        }
        self.rest();
    }

    /// On the kubelet's layout, waits until the program has heard all of a change: what it resolves
    /// while the next one takes a folder away would be timing.
    fn rest(&self) {
        if !self.strict {
            idle::wait_until_idle(self.place.scratch());
        }
    }

    /// Waits for a reaction that tells this value, and comes back with its number.
    fn hear(&mut self, value: &str) -> usize {
        let content = (self.program.render)(value, self.private);
        self.driver.wait(
            self.at,
            &format!("a reaction to {value:.40}"),
            |line| matches!(line, Line::Reaction(reaction) if tells(reaction, value, &content)),
        )
    }

    /// Waits for the reaction to the key that comes and goes, where there is to be one.
    fn hear_name(&mut self, content: Option<&str>) {
        match self.way.names {
            Names::Unheard => {}
            Names::Added if content.is_none() => {}
            Names::Told | Names::Added => {
                let at = self.driver.wait(self.at, "a reaction to the key", |line| {
                    matches!(line, Line::Reaction(reaction) if reaction.names().any(|name| name == ADDED))
                });
                if self.strict {
                    let Line::Reaction(reaction) = &self.driver.lines()[at] else {
                        unreachable!("a reaction was waited for");
                    };
                    assert_eq!(reaction.name, ADDED);
                    assert_eq!(reaction.named.as_deref(), content);
                }
            }
            Names::Untold => {
                self.driver
                    .wait(self.at, "a reaction to the commit", is_reaction);
            }
        }
        self.rest();
    }

    /// Does something, rings the bell, and comes back with the number of reactions between.
    fn phase(&mut self, what: &str, values: &[String], act: impl FnOnce(&mut Self)) -> usize {
        let from = self.at;
        act(self);
        let (until, bells) = self.ring();
        let lines = self.driver.lines();
        let reactions: Vec<_> = lines[from..until]
            .iter()
            .filter_map(|line| match line {
                Line::Reaction(reaction) => Some(reaction),
                _ => None,
            })
            .collect();
        if self.strict && self.way.updates {
            // Names and bells aside, the program read each new content once, in order.
            for (value, reaction) in values.iter().zip(&reactions) {
                let content = (self.program.render)(value, self.private);
                assert!(tells(reaction, value, &content), "{what}: {reaction:.200?}");
                assert!(
                    ["", FILE, "..data"].contains(&reaction.name.as_str()),
                    "{what}: {reaction:.200?}"
                );
            }
        }
        reactions.len() - bells
    }

    /// Rings the bell. Comes back with the number of the last line before its own, and how many
    /// reactions to it are before that.
    fn ring(&mut self) -> (usize, usize) {
        self.bells += 1;
        let number = self.bells;
        match self.way.bell {
            Bell::Named => {
                let name = self.place.bell(number);
                let content = number.to_string();
                let at = self.driver.wait(self.at, "the bell", |line| match line {
                    Line::Reaction(reaction) => reaction.names().any(|told| told == name),
                    Line::Ignored(told) => *told == name,
                    Line::Other => false,
                });
                if let Line::Reaction(reaction) = &self.driver.lines()[at] {
                    if self.strict {
                        assert_eq!(reaction.name, name, "nothing comes with the bell");
                        assert_eq!(
                            reaction.named.as_ref(),
                            Some(&content),
                            "one reaction a bell"
                        );
                    } else if reaction.name != name {
                        // The program told several names at once: it counts.
                        self.at = at + 1;
                        return (at + 1, 0);
                    }
                }
                self.at = at + 1;
                (at, 0)
            }
            Bell::Content => {
                let [first, second] =
                    ["first", "second"].map(|half| format!("{half} bell {number}"));
                for bell in [&first, &second] {
                    self.update(bell);
                    self.hear(bell);
                }
                let at = self.hear(&second);
                self.at = at + 1;
                (at, 1)
            }
            Bell::Poke => {
                self.place.bell(number);
                self.place.poke();
                let at = self.driver.wait(self.at, "the bell", is_reaction);
                self.at = at + 1;
                (at, 0)
            }
            Bell::Deaf | Bell::Idle => unreachable!("it hears no bell"),
        }
    }
}

/// What the five updates make of the file: longer, shorter, over many pages.
fn values() -> [String; 5] {
    [
        "first of five".to_owned(),
        "two, which is longer ".repeat(400),
        "3".to_owned(),
        "four fills more than a page cache's page ".repeat(3_000),
        "the fifth".to_owned(),
    ]
}

fn tells(reaction: &Reaction, value: &str, content: &str) -> bool {
    let file = reaction.file.as_deref();
    file == Some(content) || file == Some(value)
}

fn is_reaction(line: &Line) -> bool {
    matches!(line, Line::Reaction(_))
}

/// The right to run, of which there are few.
struct Turn;

static RUNNING: (Mutex<usize>, Condvar) = (Mutex::new(0), Condvar::new());

impl Turn {
    fn take() -> Self {
        let running = RUNNING.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut running = RUNNING
            .1
            .wait_while(running, |running| *running >= AT_ONCE)
            .unwrap_or_else(PoisonError::into_inner);
        *running += 1;
        Self
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        *RUNNING.0.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
        RUNNING.1.notify_one();
    }
}
