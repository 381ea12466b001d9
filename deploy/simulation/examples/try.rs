//! A throw-away: tries one method in virtual time.
use settings::MomentumPlace;
use simulation::*;
use std::collections::HashMap;
use std::sync::Arc;
fn main() {
    let mut map = HashMap::new();
    let mut it = std::env::args().skip(1);
    while let Some(k) = it.next() {
        map.insert(k.trim_start_matches("--").to_string(), it.next().unwrap());
    }
    let f = |k: &str, d: f64| map.get(k).map_or(d, |v: &String| v.parse().unwrap());
    let n = f("n", 1.0) as usize;
    let images = f("images", 40000.0) as u64;
    let rate = f("rate", 0.006);
    let seed = f("seed", 11.0) as u64;
    let arch = network::Architecture {
        classes: 10,
        input_size: 64,
        width: 0.25,
        auxiliary_heads: false,
        initialisation: network::Initialisation::Bvlc,
        variant: network::Variant::Table,
    };
    let plan = protocol::UpdateRule {
        seed,
        learning_rate: rate,
        stair_factor: 0.96,
        stair_samples: 160_000,
        ramp_samples: f("ramp", 2000.0) as u64,
        momentum: f("m", 0.9),
        weight_decay: 2e-4,
        average_decay: f("avg", 0.995),
        total_samples: images,
        init_sha256: None,
        init_except: vec![],
    };
    let mut cluster = Cluster::of(n);
    if map.contains_key("lose") {
        cluster.between_losses = Some(f("lose", 0.0));
        cluster.away = 5.0;
    }
    let run = Run {
        cluster,
        method: match map.get("method").map(|s| s.as_str()) {
            Some("sync") => Method::Synchronous,
            Some("shard") => Method::Asynchronous(MomentumPlace::Shard),
            _ => Method::Asynchronous(MomentumPlace::Worker),
        },
        network: Arc::new(network::GoogLeNet::new(&arch).unwrap()),
        dropout: None,
        dataset: Arc::new(dataset::Dataset::drawn(20_000, 1000, 64)),
        sampling: dataset::Sampling {
            area: [0.7, 1.0],
            interpolation: vec![dataset::Interpolation::Bilinear],
            ..dataset::Sampling::default()
        },
        seed,
        plan,
        clip: map.get("clip").map(|v| v.parse().unwrap()),
        batch: f("batch", 16.0) as usize,
        evaluate_every: f("every", 2000.0) as u64,
        until: map.get("until").map(|v| v.parse().unwrap()),
        threads: f("threads", 1.0) as usize,
    };
    let report = simulate(&run, |e| {
        if map.contains_key("v") {
            eprintln!("{} {:.3} {:.3} {:.1}", e.images, e.top1, e.training_loss, e.staleness)
        }
    })
    .unwrap();
    let at = |t: f64| report.first_at(t).map_or(0, |e| e.images);
    let curve: Vec<String> =
        report.evaluations.iter().map(|e| format!("{}:{:.3}", e.images / 1000, e.top1)).collect();
    println!(
        "n={n} rate={rate} seed={seed} {:?} | to60={} to90={} to95={} refused={} stale={} sec={:.0} | {}",
        map,
        at(0.6),
        at(0.9),
        at(0.95),
        report.refused,
        report.staleness_max,
        report.real_seconds,
        curve.join(" ")
    );
}
