//! Configurations and snapshots.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use kernels::Isa;
use parameter_server::coordinator::{SavedRun, Settings};
use parameter_server::update_rule;
use parameter_server::{Coordinator, Shard, ShardHost};
use parameters::{Initialiser, Layout, Tensor, checkpoint::Checkpoint};
use protocol::{
    AdoptRequest, BlockPush, Coordinator as _, DataDescription, JoinRequest, Life, Member, PROTOCOL_VERSION,
    PushForm, Roster, RosterEntry, RunId, ShardOrder, Shards, Values, Version, Wire,
};
use serde_json::{Value, json};

use crate::{Seed, seed};

pub fn configuration() -> Vec<Seed> {
    let text = |name: &str| toml::to_string(&settings::recipe(name).unwrap()).unwrap();
    let names = settings::recipe_names();
    let mut seeds: Vec<Seed> = names.map(|name| seed(name, text(name))).collect();
    let quick = text("quick");
    let with = |from: &str, to: &str| {
        let line = quick.lines().find(|line| line.starts_with(from)).expect("the recipe has the key");
        quick.replace(line, to)
    };
    seeds.extend([
        seed("infinite-rate", with("learning_rate", "learning_rate = inf")),
        seed("most-epochs", with("epochs", "epochs = 1000000.0")),
        seed("most-images", with("epochs", "epochs = nan\nimages = 9223372036854775807")),
        seed("nested-arrays", format!("recipe = {}", "[".repeat(5000))),
        seed("nested-tables", format!("[{}]", vec!["a"; 1000].join("."))),
        seed("duplicate-tables", "[run]\n".repeat(500)),
        seed("no-utf-8", *b"recipe = \"\xff\""),
        seed("nothing", ""),
    ]);
    seeds
}

const LIFE: Life = Life { run: RunId(7), count: 0, nonce: 5 };
const MEMBER: Member = Member { worker: 0, incarnation: 7, life: LIFE };

/// Two shards of a network of two tensors, after one push each, and the folder that they wrote a snapshot
/// into.
fn snapshot(home: &Path) -> (Layout, ShardHost) {
    let tensor = |name: &str, shape: &[usize]| Tensor {
        name: name.into(),
        shape: shape.into(),
        initialiser: Initialiser::Uniform { bound: 0.5 },
        rate_multiplier: 1.0,
        decay_multiplier: 1.0,
    };
    let layout = Layout::new(vec![tensor("fc/weights", &[4, 3]), tensor("fc/bias", &[4])]).unwrap();
    let rule = update_rule::of(&settings::recipe("quick").unwrap(), 1000);
    let shards = (0..2).map(|number| Shard::empty(number, 2, 1, Isa::scalar())).collect();
    let host = ShardHost::new(0, shards, home.into());
    host.live(LIFE);
    let Member { worker, incarnation, .. } = MEMBER;
    let members = vec![RosterEntry { worker, incarnation }];
    host.admit(&Roster { version: 1, next_worker: 1, members, ..Roster::default() });
    host.begin(&rule).unwrap();
    for shard in 0..2 {
        host.adopt(AdoptRequest { shard, member: MEMBER, layout: layout.clone() }).unwrap();
        for (block, count) in [(0, 12), (1, 4)] {
            let version = Version { generation: 1, counter: 0 };
            // Refused by the shard that has not the block.
            host.push(BlockPush {
                shard,
                member: MEMBER,
                step: 1,
                block,
                version,
                samples: 32,
                form: PushForm::Gradient,
                log: None,
                gradient: Values::encoded(Wire::Bits4, &mut vec![0.5; count]),
            });
        }
    }
    host.order(LIFE, ShardOrder::Snapshot { id: 1 }).unwrap();
    (layout, host)
}

pub fn shard() -> Vec<Seed> {
    let home = tempfile::tempdir().unwrap();
    snapshot(home.path());
    let path = home.path().join("1/shard-0.safetensors");
    let whole = Checkpoint::read(&path).unwrap();
    let changed = |key: &str, text: String| {
        let mut changed = whole.clone();
        changed.metadata.insert(key.into(), text);
        let path = home.path().join("changed");
        changed.write(&path).unwrap();
        fs::read(path).unwrap()
    };
    let layout = |text: &str| whole.metadata["layout"].replacen("[4,3]", text, 1);
    assert_ne!(layout("[]"), whole.metadata["layout"]);
    vec![
        seed("two-blocks", fs::read(&path).unwrap()),
        seed("one-of-one", changed("shards", "1".into())),
        seed("16-GiB", changed("layout", layout("[65536,65535]"))),
        seed("overflowing-shape", changed("layout", layout("[4294967296,4294967296]"))),
        seed(
            "many-tensors",
            changed("layout", {
                let tensors: Vec<Value> = serde_json::from_str(&whole.metadata["layout"]).unwrap();
                let named = |number: usize| {
                    let mut tensor = tensors[0].clone();
                    tensor["name"] = json!(number.to_string());
                    tensor
                };
                Value::from((0..200).map(named).collect::<Vec<_>>()).to_string()
            }),
        ),
        seed(
            "largest-counts",
            changed("blocks", {
                let counts = json!({"counter": u64::MAX, "samples": u64::MAX, "applied": {"7": u64::MAX}});
                json!({"0": counts, "1": counts}).to_string()
            }),
        ),
        seed("nested-blocks", changed("blocks", "[".repeat(5000))),
    ]
}

/// Makes the part of a snapshot that a coordinator keeps, of a run that has begun.
fn begun(layout: &Layout, host: ShardHost) -> SavedRun {
    let settings = Settings {
        configuration: settings::recipe("quick").unwrap(),
        processes: 1,
        shards: 2,
        address: "a:1".into(),
        lease_time: Duration::from_secs(30),
        life: LIFE,
    };
    let coordinator = Coordinator::new(settings, Arc::new(host), None);
    let classes = vec!["cat".into(), "dog".into()];
    let data =
        DataDescription { images: 1000, validation: 100, hash: layout.fingerprint().to_string(), classes };
    let request = JoinRequest { protocol: PROTOCOL_VERSION, name: "worker".into(), data };
    let member = coordinator.join(request).unwrap().member;
    coordinator.assign(member, 1).unwrap();
    coordinator.checkpoint().unwrap()
}

pub fn manifest() -> Vec<Seed> {
    let home = tempfile::tempdir().unwrap();
    let (layout, host) = snapshot(home.path());
    let shard = |number: u32| json!({"shard": number, "hash": "00".repeat(32), "here": false});
    let whole = json!({
        "format": "downpour snapshot 1",
        "id": 1,
        "layout": layout.fingerprint().to_hex(),
        "shards": [shard(0), shard(1)],
        "run": begun(&layout, host),
    });
    let changed = |changes: &[(&str, Value)]| {
        let mut changed = whole.clone();
        for (pointer, value) in changes {
            *changed.pointer_mut(pointer).expect("the manifest has the key") = value.clone();
        }
        serde_json::to_vec_pretty(&changed).unwrap()
    };
    let range = |start: u64, end: u64| json!({"epoch": 0, "start": start, "end": end});
    vec![
        seed("begun", changed(&[])),
        seed("finished", changed(&[("/run/finished", json!(true))])),
        seed("no-images", changed(&[("/run/data/images", json!(0))])),
        seed(
            "largest-counts",
            changed(&[("/run/progress/used", json!(u64::MAX)), ("/run/progress/skipped", json!(1))]),
        ),
        seed(
            "largest-ranges",
            changed(&[("/run/progress/to_do", json!([range(0, u64::MAX), range(0, u64::MAX)]))]),
        ),
        seed("backward-range", changed(&[("/run/progress/to_do", json!([range(9, 3)]))])),
        seed("largest-steps", changed(&[("/run/steps", json!(u64::MAX))])),
        seed("nested", "[".repeat(5000)),
    ]
}
