//! The daemon of [`super::served`] where a keeper holds its volumes: it goes on with what another has left.

use std::path::Path;

use livemount::observe::Facts;
use livemount::publish::{KeepError, Keeping, Publisher};
use livemount_hand::{ClientOptions, Hand, Reach};
use livemount_keeper::{Keeper, KeeperEvent, Role};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::PATIENCE;
use super::served::{KEY, Volumes};

/// Serves what the keeper of a folder holds, and publishes with it from then on.
pub fn take_over(folder: &Path, facts: &Facts) -> (Publisher, Volumes) {
    all_descriptors();
    let taken = Keeper::take(folder, Role::Daemon, PATIENCE);
    let (keeper, stored) = taken.expect("the keeper grants");
    // All are served before anything else.
    let mut continued = Vec::new();
    let keeping = Keeping::begin(keeper.clone(), stored, |left| {
        continued.push(left.serve(facts).expect("it goes on"));
        Ok::<_, KeepError>(())
    });
    let keeping = keeping.expect("it can be kept");
    let hand = Hand::start(ClientOptions {
        reach: Reach::Socket(folder.join("hand.sock")),
        heartbeat: std::time::Duration::from_secs(10),
    });
    let hand = hand.expect("a hand is there");
    let publisher = Publisher::new(hand, KEY, facts.clone(), Some(keeping)).expect("a publisher");
    let taken_up = continued.into_iter().map(|volume| {
        let (name, shown) = (volume.name().to_owned(), volume.shown());
        (name, (publisher.take_up(volume, drop), shown, None))
    });
    let volumes = taken_up.collect();
    keeper.ready();
    std::thread::spawn(move || {
        for event in keeper.events() {
            if event == KeeperEvent::HandOver {
                std::process::exit(0);
            }
        }
    });
    (publisher, volumes)
}

/// The usual soft limit is for programs that use select(2).
fn all_descriptors() {
    let limit = getrlimit(Resource::Nofile);
    let all = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    setrlimit(Resource::Nofile, all).expect("the limit can be raised");
}
