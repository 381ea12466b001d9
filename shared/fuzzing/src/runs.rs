//! The readers of a run's configuration file and of its snapshots.

use std::sync::Arc;
use std::time::Duration;

use kernels::Isa;
use parameter_server::coordinator::Settings;
use parameter_server::{Coordinator, Shard, ShardHost, shard, snapshot};
use process::RunFlags;
use protocol::{Coordinator as _, JoinRequest, Kind, Life, PROTOCOL_VERSION};

use crate::folder;

/// Largest number of shards of a process that are tried.
const MOST_SHARDS: usize = 16;

/// Reads a configuration file in TOML.
pub(crate) fn configuration(bytes: &[u8]) {
    let home = folder(&[("run.toml", bytes)]);
    let flags = RunFlags { config: Some(home.path().join("run.toml")), ..RunFlags::default() };
    if let Ok(configuration) = flags.resolve("quick") {
        for images in [0, 1, 1_281_167, u64::MAX] {
            parameter_server::update_rule::of(&configuration, images);
        }
    }
}

/// Reads a snapshot's manifest and resumes a run from it, up to the first worker that joins.
pub(crate) fn manifest(bytes: &[u8]) {
    let home = folder(&[("1/manifest.json", bytes)]);
    if let Ok(contents) = snapshot::inspect::inspect(home.path()) {
        let _ = contents.to_string();
    }
    let Ok(Some(found)) = snapshot::newest(home.path()) else { return };
    // The leader goes on only with as many shards as it was told to have, and with a configuration that can
    // be used.
    let count = found.shards.len();
    if !(1..=MOST_SHARDS).contains(&count) || found.run.configuration.validate().is_err() {
        return;
    }
    let count = count as u32;
    let settings = Settings {
        configuration: found.run.configuration.clone(),
        processes: 1,
        shards: count,
        address: "127.0.0.1:1".into(),
        lease_time: Duration::from_secs(30),
        life: Life::default(),
    };
    let shards = (0..count).map(|number| Shard::empty(number, count, 1, Isa::scalar())).collect();
    let host = Arc::new(ShardHost::new(0, shards, home.path().into()));
    let data = found.run.data.clone();
    let coordinator = Coordinator::new(settings, host, Some((found.snapshot(), found.run)));
    let _ = coordinator.status();
    let request = JoinRequest { protocol: PROTOCOL_VERSION, name: "worker".into(), data };
    if let Ok(reply) = coordinator.join(request) {
        let _ = coordinator.assign(reply.member, 1);
    }
    let _ = coordinator.checkpoint();
    let _ = coordinator.tick();
}

/// Reads a shard's file and fetches from the shard that is restored from it.
pub(crate) fn shard(bytes: &[u8]) {
    let home = folder(&[("1/shard-0.safetensors", bytes)]);
    for total in [1, 2] {
        let Ok(saved) = shard::file::read(home.path(), 1, None, 0, total) else { continue };
        let mut shard = Shard::restored(0, total, 2, Isa::scalar(), saved);
        for kind in [
            Kind::Parameters,
            Kind::Velocity,
            Kind::Average { evaluation: 0 },
            Kind::Average { evaluation: 1 },
        ] {
            let _ = shard.fetch(0, kind);
        }
    }
}
