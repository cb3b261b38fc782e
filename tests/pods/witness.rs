//! A pod that reads and watches without a pause, and writes down whatever it should not see.

use livemount_cluster::{Pod, until};
use serde_json::json;

use super::scene::{Scene, name};

/// Reads the file by its name, by a single-file mount and the folder, in turns, until it is told to stop:
/// `cat` is by sendfile, from the page cache, and `read` asks the handle, as all do with the one that is open
/// from the start on.
///
/// What fails, or shows two versions at once, goes to /out/failed; each version that is seen to /out/seen;
/// the longest round, in hundredths of a second, to /out/longest.
const PROGRAM: &str = r#"
exec 3< /config/a
inotifywait -m -o /out/events --format '%e' \
  -e modify -e close_write -e attrib -e delete_self -e move_self -e unmount /config/a 2> /out/log &
until grep -q established /out/log; do sleep 0.05; done
rounds=0 longest=0 last=
judge() {
  set -- $1
  [ $# = 64 ] || echo "$# words: $*" >> /out/failed
  for word; do [ "$word" = "$1" ] || echo "torn: $*" >> /out/failed; done
  [ "$1" = "$last" ] || echo "$1" >> /out/seen
  last=$1
}
until [ -e /out/stop ]; do
  read begun rest < /proc/uptime
  sent=$(cat /config/a 2>> /out/failed) || echo "cat: status $?" >> /out/failed
  judge "$sent"
  { read -r value < /etc/a.conf; } 2>> /out/failed
  judge "$value"
  ls -l /config > /out/listed 2>> /out/failed || echo "ls: status $?" >> /out/failed
  read ended rest < /proc/uptime
  took=$((${ended%.*}${ended#*.} - ${begun%.*}${begun#*.}))
  [ $took -le $longest ] || { longest=$took; echo $longest > /out/longest; }
  rounds=$((rounds + 1))
  echo $rounds > /out/rounds
  sleep 0.03
done
read -r pinned <&3
echo "$pinned" > /out/pinned
touch /out/stopped
sleep 1000000
"#;

/// The pod, and what its volume has to show.
pub struct Witness {
    pub pod: Pod,
    map: String,
    version: u32,
}

impl Witness {
    /// Starts one, and waits until it reads.
    pub async fn start(scene: &Scene) -> Self {
        let map = name("map");
        scene.config_map(&map, data(0)).await;
        let mut manifest = scene.manifest(&json!({"configMap": map}));
        let app = &mut manifest["spec"]["containers"][0];
        app["command"] = json!(["sh", "-c", PROGRAM]);
        let mounts = app["volumeMounts"].as_array_mut().expect("a list");
        mounts.push(json!({"name": "config", "mountPath": "/etc/a.conf", "subPath": "a"}));
        let pod = Pod::create(&scene.client, &manifest).await;
        pod.ready().await;
        let version = 0;
        let witness = Self { pod, map, version };
        witness.sees().await;
        witness
    }

    /// Changes what it should see next.
    pub async fn change(&mut self, scene: &Scene) {
        self.version += 1;
        scene.config_map(&self.map, data(self.version)).await;
    }

    /// Waits until it has seen the newest version, and its watch has heard of it.
    pub async fn sees(&self) {
        let version = self.version;
        until(&format!("the reader sees version {version}"), async || {
            let seen = self.file("seen").await;
            let heard = self.file("events").await.matches("MODIFY").count();
            let newest = seen.lines().last() == Some(&format!("v{version}"));
            // One that reads between the swap and the event hears a moment later.
            if newest && heard == version as usize {
                return Ok(());
            }
            let failed = self.file("failed").await;
            Err(format!("{seen}heard {heard}\nfailed: {failed}"))
        })
        .await;
    }

    /// Waits until it has read a few times more from now on, whatever it sees.
    pub async fn reads_on(&self) {
        let from = self.rounds().await;
        until("the reader reads on", async || {
            let rounds = self.rounds().await;
            (rounds > from + 2)
                .then_some(())
                .ok_or(format!("{rounds} rounds, {from} before"))
        })
        .await;
    }

    async fn rounds(&self) -> u64 {
        // The file is empty for a moment at each writing.
        self.file("rounds").await.trim().parse().unwrap_or(0)
    }

    async fn file(&self, name: &str) -> String {
        let read = self.pod.exec(&["cat", &format!("/out/{name}")]).await;
        read.stdout
    }

    /// Ends it. Nothing failed, each version was seen once and heard of once, and the handle that was opened
    /// at the start still shows what it showed then.
    pub async fn end(self, after: &str) {
        self.pod.sh("touch /out/stop").await;
        until("the reader has stopped", async || {
            let stopped = self.pod.exec(&["test", "-e", "/out/stopped"]).await;
            (stopped.status == 0).then_some(()).ok_or(String::new())
        })
        .await;
        assert_eq!(self.file("failed").await, "", "{after}");
        let versions: Vec<String> = (0..=self.version).map(|v| format!("v{v}")).collect();
        let seen = self.file("seen").await;
        assert_eq!(seen.lines().collect::<Vec<_>>(), versions, "{after}");
        let events = self.file("events").await;
        let mut expected = Vec::new();
        for _ in 0..self.version {
            expected.extend(["MODIFY", "CLOSE_WRITE,CLOSE"]);
        }
        assert_eq!(events.lines().collect::<Vec<_>>(), expected, "{after}");
        assert_eq!(self.file("pinned").await.trim(), content(0), "{after}");
        let (rounds, longest) = (self.rounds().await, self.file("longest").await);
        let longest: u64 = longest.trim().parse().unwrap_or(0);
        eprintln!("  {after}: {rounds} rounds, the longest {longest}0 ms");
        self.pod.end().await;
    }
}

fn content(version: u32) -> String {
    vec![format!("v{version}"); 64].join(" ")
}

fn data(version: u32) -> serde_json::Value {
    json!({"a": content(version)})
}
