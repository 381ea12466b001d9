//! The pace that a plan has by formula, beside that of the simulator's events, with a very small network.

use std::sync::Arc;

use dataset::Dataset;
use kernels::{Isa, Pool};
use network::{Architecture, GoogLeNet};
use parameter_server::update_rule;
use protocol::UpdateRule;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use settings::random::Random;
use settings::{Optimisation, Sampling, Wire};
use simulation::fleet::Fleet;
use simulation::pace::{Paces, bytes, paces};
use simulation::plan::{Plan, PlannedRun};
use simulation::{Cluster, Link, Machine, Method, Report, Run, simulate};
use worker::link::Formats;

/// Number of images in a minibatch of the simulator's small network.
const BATCH: usize = 2;
/// Largest deviation of a plan's images a second from the simulator's, as a part of these.
const NEAR: f64 = 0.1;

fn small() -> GoogLeNet {
    let architecture = Architecture {
        classes: 10,
        input_size: 32,
        width: 0.05,
        auxiliary_heads: false,
        ..Architecture::paper()
    };
    GoogLeNet::new(&architecture).unwrap()
}

/// Simulates `steps` steps of each machine.
fn simulated(cluster: &Cluster, steps: usize) -> Report {
    let mut configuration = settings::recipe("quick").unwrap();
    let images = (steps * BATCH * cluster.machines.len()) as u64;
    configuration.run.images = Some(images);
    let run = Run {
        cluster: cluster.clone(),
        method: Method::Asynchronous,
        network: Arc::new(small()),
        dropout: None,
        dataset: Arc::new(Dataset::synthetic(96, 4, 32)),
        sampling: Sampling::default(),
        seed: 3,
        warm_start: None,
        // So small a rate that nothing diverges, whatever the staleness.
        rule: UpdateRule { learning_rate: 1e-4, batch: None, ..update_rule::of(&configuration, 96) },
        optimisation: Optimisation { average_decay: 0.0, ..configuration.optimisation },
        batch: BATCH,
        evaluate_every: images,
        until: None,
        isa: Isa::detect(),
        pool: Arc::new(Pool::new(1).unwrap()),
    };
    simulate(&run, |_| {}).unwrap()
}

/// Puts the plan of a cluster beside the simulator's run; returns the plan.
fn compare(cluster: &Cluster, steps: usize, what: &str) -> Paces {
    let (plan, found) = (paces(cluster, small().layout(), BATCH), simulated(cluster, steps));
    let (planned, speed) = (plan.images_per_second(), found.images as f64 / found.seconds);
    let staleness = found.evaluations.last().unwrap().staleness;
    println!(
        "{what}: {planned:.3} images/s by formula, {speed:.3} simulated ({:+.1} %); receives {:.2} {:.2}, sends {:.2} \
         {:.2}, staleness {:.1} {staleness:.1}",
        100.0 * (planned / speed - 1.0),
        plan.receiving,
        found.receiving,
        plan.sending,
        found.sending,
        plan.staleness,
    );
    assert!((planned / speed - 1.0).abs() < NEAR, "{what}: {planned} images/s by formula, {speed} simulated");
    for (planned, found) in [(plan.receiving, found.receiving), (plan.sending, found.sending)] {
        assert!(
            (planned - found).abs() < NEAR,
            "{what}: the server's link, {planned} by formula, {found} simulated"
        );
    }
    assert!(
        (plan.staleness - staleness).abs() < NEAR * staleness.max(plan.staleness) + 1.0,
        "{what}: staleness {} by formula, {staleness} simulated",
        plan.staleness
    );
    plan
}

/// Returns the plan's cluster of a fleet that trains the paper's network, with the links scaled to the bytes of the
/// small one.
fn scaled(text: &str) -> (Cluster, Paces) {
    let fleet: Fleet = toml::from_str(text).unwrap();
    fleet.check().unwrap();
    let network = GoogLeNet::new(&Architecture::paper()).unwrap();
    let run = settings::recipe("paper").unwrap().run;
    let speeds: Vec<f64> = fleet.machines.iter().map(|group| group.images_per_second.unwrap()).collect();
    let planned = PlannedRun {
        fleet: &fleet,
        speeds: &speeds,
        run: &run,
        layout: network.layout(),
        images: 1,
        noise_scale: None,
    };
    let cluster = planned.cluster();
    let large = paces(&cluster, network.layout(), BATCH);
    // Formats of few values have more bytes a value in a small network's small blocks.
    let lean = cluster.machines.iter().find(|machine| !machine.at_server).unwrap_or(&cluster.machines[0]);
    let part = |wire: Wire| bytes(small().layout(), wire) / bytes(network.layout(), wire);
    let (up, down) = (part(lean.formats.gradients), part(lean.formats.parameters));
    let scale = |rate: Option<f64>, part: f64| rate.map(|rate| rate * part);
    let machine = |machine: &Machine| Machine {
        link: Link { up: scale(machine.link.up, up), down: scale(machine.link.down, down) },
        ..*machine
    };
    let machines = cluster.machines.iter().map(machine).collect();
    let server = Link { up: scale(cluster.server.up, down), down: scale(cluster.server.down, up) };
    (Cluster { machines, server, ..cluster }, large)
}

#[test]
fn the_guides_fleets_are_planned_as_the_simulator_has_them() {
    for (name, text) in [
        ("one machine", include_str!("../../guide/fleets/one-machine.toml")),
        ("eight old machines", include_str!("../../guide/fleets/eight-old-machines.toml")),
        ("thirty spot machines", include_str!("../../guide/fleets/thirty-spot-machines.toml")),
        ("a laptop and three friends", include_str!("../../guide/fleets/laptop-and-friends.toml")),
        ("a shard on each machine", include_str!("../../guide/fleets/a-shard-on-each.toml")),
    ] {
        let (mut cluster, large) = scaled(text);
        let small = compare(&cluster, 40, name);
        let (small, large) = (small.images_per_second(), large.images_per_second());
        assert!(
            (small / large - 1.0).abs() < 0.02,
            "{name}: the small network has {small}, the paper's {large}"
        );
        // Losses come once in thousands of steps. As often as each thirtieth, they are met here too.
        for machine in cluster.machines.iter_mut().filter(|machine| machine.between_losses.is_some()) {
            machine.away *= 30.0 * machine.step / machine.between_losses.unwrap();
            machine.between_losses = Some(30.0 * machine.step);
        }
        if cluster.machines.iter().any(|machine| machine.between_losses.is_some()) {
            compare(&cluster, 60, &format!("{name}, often taken away"));
        }
    }
}

/// Links of a rack and of a city, each with enough workers that no format of whole values could use them.
#[test]
fn many_workers_make_almost_as_much_as_each_alone() {
    let rack = include_str!("../../guide/fleets/a-shard-on-each.toml");
    let city = "[server]\nlink_mbit = 1000\n[[machines]]\nname = \"far\"\ncount = 32\nimages_per_second = 136\n\
                link_mbit = 100\nround_trip_ms = 20";
    for (text, least) in [(rack, 0.95), (city, 0.8)] {
        let (cluster, large) = scaled(text);
        let alone: f64 = cluster.machines.iter().map(|machine| BATCH as f64 / machine.step).sum();
        let found = simulated(&cluster, 40);
        let (planned, part) =
            (large.images_per_second() / alone, found.images as f64 / found.seconds / alone);
        println!(
            "{} machines make {planned:.3} by formula, {part:.3} simulated, of what each makes alone",
            cluster.machines.len()
        );
        assert!(planned >= least && part >= least, "expected {least}, found {planned} and {part}");
    }
}

/// Fleets of machines of up to ten times each other's speed, whose links carry an exchange in a thirtieth of a step to
/// three steps, behind servers' links that carry a tenth of what all could send to twenty times that.
#[test]
fn fleets_at_random_are_planned_as_the_simulator_has_them() {
    // Those whose bytes do not depend on the values.
    let wires = [Wire::F32, Wire::Bf16, Wire::Bits8, Wire::Bits4];
    let network = small();
    for seed in 0..24 {
        let mut random = Random::seed_from_u64(seed);
        let groups: Vec<Machine> = (0..random.random_range(1..=3))
            .map(|_| {
                let mut power = |least: f64, most: f64| 10f64.powf(random.random_range(least..most));
                let step = power(-0.5, 0.5);
                let (up, down) = (power(-0.5, 1.5), power(-0.5, 1.5));
                let wires = [(); 2].map(|()| *wires.choose(&mut random).unwrap());
                let formats = Formats { gradients: wires[0], parameters: wires[1] };
                let rate = |wire, part: f64| Some(part * bytes(network.layout(), wire) / step);
                Machine {
                    link: Link { up: rate(formats.gradients, up), down: rate(formats.parameters, down) },
                    round_trip: step * *[0.0, 0.02, 0.2].choose(&mut random).unwrap(),
                    formats,
                    ..Machine::of(step)
                }
            })
            .collect();
        let count = *[1, 2, 3, 4, 6, 8, 12, 20].choose(&mut random).unwrap();
        let mut machines: Vec<Machine> = groups.iter().copied().cycle().take(count).collect();
        machines[0].at_server = random.random_bool(0.2);
        let all = |wire: fn(&Machine) -> Wire| {
            let rate = |machine: &Machine| bytes(network.layout(), wire(machine)) / machine.step;
            machines.iter().map(rate).sum::<f64>()
        };
        let mut part = |all: f64| Some(all * 10f64.powf(random.random_range(-1.0..1.3)));
        let server = Link {
            down: part(all(|machine| machine.formats.gradients)),
            up: part(all(|machine| machine.formats.parameters)),
        };
        let what = format!("seed {seed}, {count} machines of {} kinds", groups.len());
        let mut cluster = Cluster { machines, server, jitter: 0.1 };
        if random.random_bool(0.6) {
            compare(&cluster, 60, &what);
            continue;
        }
        let paces = paces(&cluster, network.layout(), BATCH).machines;
        for (machine, pace) in
            cluster.machines.iter_mut().zip(paces).filter(|(machine, _)| !machine.at_server)
        {
            let lives = pace.cycle * random.random_range(20.0..40.0);
            (machine.between_losses, machine.away) = (Some(lives), lives * random.random_range(0.0..0.25));
        }
        // As many steps as some twenty lives have.
        compare(&cluster, 60.max(600 / count), &format!("{what}, taken away"));
    }
}

/// Fleets of whose machines all have a shard, or some, over links that carry an exchange in a tenth of a step to twice
/// its length.
#[test]
fn shards_beside_the_workers_are_planned_as_the_simulator_has_them() {
    let network = small();
    for seed in 0..12 {
        let mut random = Random::seed_from_u64(seed);
        let wire = *[Wire::F32, Wire::Bf16, Wire::Bits8, Wire::Bits4].choose(&mut random).unwrap();
        let exchange = 10f64.powf(random.random_range(-1.0..0.3));
        let rate = bytes(network.layout(), wire) / exchange;
        let machine = Machine {
            link: Link { up: Some(rate), down: Some(rate) },
            round_trip: *[0.0, 0.02].choose(&mut random).unwrap(),
            formats: Formats { gradients: wire, parameters: wire },
            ..Machine::of(1.0)
        };
        let count = *[2, 3, 4, 8, 16].choose(&mut random).unwrap();
        let beside = if random.random_bool(0.6) { count } else { random.random_range(1..=count) };
        let machines = (0..count).map(|number| Machine { at_server: number < beside, ..machine }).collect();
        let all = Some(beside as f64 * rate);
        let cluster = Cluster { machines, server: Link { up: all, down: all }, jitter: 0.1 };
        compare(
            &cluster,
            60,
            &format!("{beside} of {count} machines with shards, {exchange:.2} s of {wire}"),
        );
    }
}

/// A fleet of alike machines of a hundred images a second, in a run whose formats are left to the workers or not.
fn plan(count: u32, server: f64, link: f64, wire: Option<Wire>, noise_scale: Option<f64>) -> Plan {
    let mut fleet = Fleet::of_this_machine();
    let machines = &mut fleet.machines[0];
    (machines.count, machines.at_server, machines.link_mbit) = (count, false, Some(link));
    fleet.server.link_mbit = Some(server);
    let network = GoogLeNet::new(&Architecture::paper()).unwrap();
    let run = settings::Run { wire, ..settings::recipe("paper").unwrap().run };
    let layout = network.layout();
    PlannedRun { fleet: &fleet, speeds: &[100.0], run: &run, layout, images: 1_000_000, noise_scale }.plan()
}

#[test]
fn what_is_clearly_better_is_advised() {
    for (plan, expected) in [
        (plan(4, 10_000.0, 10_000.0, None, Some(4000.0)), None),
        (
            plan(4, 1000.0, 10_000.0, Some(Wire::F32), Some(40.0)),
            Some("8 server processes, each on a machine"),
        ),
        (
            plan(4, 1000.0, 100.0, Some(Wire::F32), None),
            Some("with minibatches of 64, which are exchanged half"),
        ),
        (
            plan(64, 10_000.0, 1000.0, None, Some(100.0)),
            Some("images and minibatches of 32 each of the last"),
        ),
    ] {
        let found = plan.advice.join("\n");
        assert!(expected.map_or(found.is_empty(), |text| found.contains(text)), "{expected:?}: {found}");
    }
}

#[test]
fn machines_that_are_never_there_for_a_step_never_end() {
    let mut fleet = Fleet::of_this_machine();
    let machines = &mut fleet.machines[0];
    (machines.at_server, machines.preemptions_per_hour, machines.link_mbit) = (false, 60.0, Some(0.001));
    let network = GoogLeNet::new(&Architecture::paper()).unwrap();
    let run = settings::Run { wire: Some(Wire::F32), ..settings::recipe("paper").unwrap().run };
    let layout = network.layout();
    let plan =
        PlannedRun { fleet: &fleet, speeds: &[100.0], run: &run, layout, images: 1000, noise_scale: None }
            .plan();
    assert_eq!((plan.images_per_second, plan.seconds), (0.0, f64::INFINITY));
    assert!(plan.staleness.is_finite(), "{plan:?}");
}

#[test]
fn machines_with_a_shard_each_share_their_links_with_it() {
    let plan = |at_server| {
        let mut fleet = Fleet::of_this_machine();
        let machines = &mut fleet.machines[0];
        (machines.count, machines.at_server, machines.link_mbit) = (8, at_server, Some(1000.0));
        (fleet.server.link_mbit, fleet.server.processes) = (Some(1000.0), if at_server { 1 } else { 8 });
        fleet.check().unwrap();
        let network = GoogLeNet::new(&Architecture::paper()).unwrap();
        let run = settings::Run { wire: Some(Wire::F32), ..settings::recipe("paper").unwrap().run };
        let layout = network.layout();
        PlannedRun { fleet: &fleet, speeds: &[136.0], run: &run, layout, images: 1000, noise_scale: None }
            .plan()
    };
    let (beside, apart) = (plan(true), plan(false));
    let part = beside.bytes_up_per_hour
        / beside.images_per_second
        / (apart.bytes_up_per_hour / apart.images_per_second);
    assert!((part - 7.0 / 8.0).abs() < 1e-9, "an eighth stays on the machine: {part}");
    assert!(beside.images_per_second < 0.7 * apart.images_per_second, "{beside:?}");
    assert!(beside.images_per_second > 0.5 * apart.images_per_second, "{beside:?}");
}
