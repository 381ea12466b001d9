//! The fit of a worker's exchange to its link: the formats in which gradients and parameters travel.
//!
//! A format of few bits costs some accuracy, and a link that is too slow for the format costs most of the
//! time: the worker waits for it in every step. The worker therefore takes the mildest formats whose bytes
//! its link carries in a part of a step. It measures the link by what it does anyway: whole parameters are
//! fetched when it joins and when it evaluates, and from a step that had to wait for its exchange it sees how
//! many bytes the link carried in that time. Up and down are two links, as many homes have them.

use std::time::Duration;

use protocol::{Wire, encoded_size};
use serde::Serialize;
use settings::Run;

/// Largest time of a transfer as a share of the time that a step computes. Gradients leave during backward,
/// the last two thirds of a step, so that little of it is waited for: by that, nine tenths of the speed are kept.
const SHARE: f64 = 0.8;
/// Largest time of a transfer in a milder format than the present one, as a share of a step's computing: smaller,
/// so that a worker does not go back and forth.
const SHARE_OF_MILDER: f64 = 0.65;
/// Least wait after computing, as a share of it, that shows that the link is the limit.
const WAITS: f64 = 0.15;
/// Part of an exchange's time that the rates must explain; where they do not, nobody knows which way is slow.
const EXPLAINED: f64 = 0.5;
/// Number of steps in a row after which other formats are taken.
const STEPS: u32 = 5;
/// Part of the newest step in the mean time of computing.
const NEWEST: f64 = 0.2;
/// Least size of the parameters, in bytes of 32-bit floats, from which formats are fitted. Less than that takes
/// about as long as an empty message.
const LEAST: usize = 2 << 20;
/// Rates in bytes per second from which on a worker begins with whole parameters, and with the first of the
/// lean formats, before it knows how long a step takes.
const WHOLE_FROM: f64 = 60e6;
const FIRST_FROM: f64 = 6e6;

/// The formats from the mildest to the leanest.
const LADDER: [Wire; 6] =
    [Wire::F32, Wire::Bf16, Wire::Bits8, Wire::Bits4, Wire::TopPercent, Wire::TopPermille];

/// The formats in which a worker's gradients and its parameters travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Formats {
    /// Format of the gradients that the worker pushes.
    pub gradients: Wire,
    /// Format of the parameters that it receives.
    pub parameters: Wire,
}

/// Rates of a link in bytes per second.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rates {
    /// Rate from the worker to the server.
    pub up: f64,
    /// Rate from the server to the worker.
    pub down: f64,
}

impl Rates {
    /// Rates of a link within a machine, which is no limit.
    pub const UNLIMITED: Rates = Rates { up: f64::INFINITY, down: f64::INFINITY };
}

/// The times of a step, and the bytes of its exchange.
#[derive(Clone, Copy, Debug)]
pub struct Stepped {
    /// Time of computing.
    pub computed: Duration,
    /// Time from the first block's leaving to the last reply.
    pub exchanged: Duration,
    /// Time that the worker waited for the exchange after it had computed.
    pub waited: Duration,
    /// Bytes of the encoded gradients.
    pub out: u64,
    /// Bytes of the encoded parameters.
    pub into: u64,
}

/// The link of one worker during a membership: what was measured of it, and the formats that fit it.
pub struct Link {
    /// Freedom of the worker to choose the format of gradients, which the run's settings leave to it or not.
    gradients_free: bool,
    /// Freedom of the worker to choose the format of parameters.
    parameters_free: bool,
    /// Number of the network's parameters.
    values: usize,
    formats: Formats,
    /// Rates; infinite before anything was measured.
    rates: Rates,
    /// Mean seconds of computing of a step; 0 before the first.
    step: f64,
    /// Number of steps in a row for which other formats were better.
    better: u32,
    /// Origin of the present formats: true if they were taken before a step was measured.
    guessed: bool,
}

impl Formats {
    /// Returns the formats that a run's settings give, and the mildest ones that a link with these `rates`
    /// carries, for `values` parameters and steps of `step` seconds, where they give none. The parameters of a
    /// small network, of less than 2 MiB, travel as 32-bit floats on any link.
    pub fn fitting(run: &Run, values: usize, step: f64, rates: Rates) -> Formats {
        let small = values * size_of::<f32>() < LEAST;
        let rates = if small { Rates::UNLIMITED } else { rates };
        Formats {
            gradients: run.gradient_wire().unwrap_or_else(|| mildest(values, SHARE * step, rates.up)),
            parameters: run.wire.unwrap_or_else(|| mildest(values, SHARE * step, rates.down)),
        }
    }
}

impl Link {
    /// Creates the link of a worker in a run with the settings `run`, of a network with `values` parameters.
    /// The worker begins with the settings' formats, and, where they give none, with 32-bit floats, which it
    /// keeps on a link that is `near`: within its own machine.
    pub fn new(run: &Run, values: usize, near: bool) -> Link {
        let fits = !near && values * size_of::<f32>() >= LEAST;
        Link {
            gradients_free: fits && run.gradient_wire().is_none(),
            parameters_free: fits && run.wire.is_none(),
            values,
            formats: Formats::fitting(run, values, 0.0, Rates::UNLIMITED),
            rates: Rates::UNLIMITED,
            step: 0.0,
            better: 0,
            guessed: true,
        }
    }

    /// Returns the present formats.
    pub fn formats(&self) -> Formats {
        self.formats
    }

    /// Returns the rates as far as they are known.
    pub fn rates(&self) -> Rates {
        self.rates
    }

    /// Returns the mean seconds of computing of a step; 0 before the first.
    pub fn step(&self) -> f64 {
        self.step
    }

    /// Returns whether the settings leave a format to the worker.
    pub fn is_free(&self) -> bool {
        self.gradients_free || self.parameters_free
    }

    /// Returns the mildest format in which a whole gradient reaches the server in `seconds`.
    pub fn mildest_in(&self, seconds: f64) -> Wire {
        mildest(self.values, seconds, self.rates.up)
    }

    /// Takes formats for the first steps, from the time that the first `bytes` of parameters took.
    pub fn begin(&mut self, bytes: usize, took: Duration) {
        self.fetched(bytes, took);
        let first = match self.rates.down {
            WHOLE_FROM.. => Wire::F32,
            FIRST_FROM.. => Wire::Bits4,
            _ => Wire::TopPercent,
        };
        let kept = self.formats;
        self.formats = Formats {
            gradients: if self.gradients_free { first } else { kept.gradients },
            parameters: if self.parameters_free { first } else { kept.parameters },
        };
    }

    /// Records that whole parameters of `bytes` bytes were fetched in this time. How fast the way up is now,
    /// nobody knows: it counts as no slower until a step shows otherwise.
    pub fn fetched(&mut self, bytes: usize, took: Duration) {
        let rate = bytes as f64 / took.as_secs_f64().max(1e-6);
        self.rates = Rates { up: rate, down: rate };
    }

    /// Records that parameters of `bytes` bytes were fetched in this time since the formats changed.
    pub fn fetched_again(&mut self, bytes: usize, took: Duration) {
        self.rates.down = bytes as f64 / took.as_secs_f64().max(1e-6);
    }

    /// Records a step; returns other formats if they have been better for some steps in a row. They are the
    /// present ones from then on.
    pub fn stepped(&mut self, stepped: Stepped) -> Option<Formats> {
        let computed = stepped.computed.as_secs_f64();
        self.step = match self.step {
            0.0 => computed,
            mean => mean + NEWEST * (computed - mean),
        };
        if stepped.waited.as_secs_f64() > WAITS * computed {
            self.was_waited_for(stepped);
        } else {
            self.was_not_waited_for(stepped);
        }
        let wanted = Formats {
            gradients: self.wanted(self.gradients_free, self.formats.gradients, self.rates.up),
            parameters: self.wanted(self.parameters_free, self.formats.parameters, self.rates.down),
        };
        if wanted == self.formats {
            self.better = 0;
            return None;
        }
        self.better += 1;
        if self.better < STEPS {
            return None;
        }
        (self.better, self.guessed, self.formats) = (0, false, wanted);
        Some(wanted)
    }

    /// Corrects the rate of the direction that the step must have waited for: the one that by the present rates
    /// takes longer. Rates that explain less than half of the time are both corrected; the way down is measured
    /// again when its format changes.
    fn was_waited_for(&mut self, Stepped { exchanged, out, into, .. }: Stepped) {
        let seconds = exchanged.as_secs_f64().max(1e-6);
        let (out, into) = (out as f64, into as f64);
        let (up, down) = (out / self.rates.up, into / self.rates.down);
        if up.max(down) < EXPLAINED * seconds {
            self.rates = Rates { up: out / seconds, down: into / seconds };
        } else if up >= down {
            self.rates.up = out / seconds;
        } else {
            self.rates.down = into / seconds;
        }
    }

    /// Raises rates by which the present formats would not fit, as they do: a moment in which nothing came is no
    /// reason to change.
    fn was_not_waited_for(&mut self, Stepped { out, into, .. }: Stepped) {
        let seconds = (SHARE * self.step).max(1e-6);
        self.rates.up = self.rates.up.max(out as f64 / seconds);
        self.rates.down = self.rates.down.max(into as f64 / seconds);
    }

    /// Returns the format that one direction should have, whose rate this is.
    fn wanted(&self, free: bool, present: Wire, rate: f64) -> Wire {
        if !free {
            return present;
        }
        let fits = mildest(self.values, SHARE * self.step, rate);
        let share_of_milder = if self.guessed { SHARE } else { SHARE_OF_MILDER };
        let milder = mildest(self.values, share_of_milder * self.step, rate);
        // A leaner one at once, a milder one, but in place of a guess, only if it fits with room to spare.
        match (place(fits) > place(present), place(milder) < place(present)) {
            (true, _) => fits,
            (_, true) => milder,
            _ => present,
        }
    }
}

/// Returns the mildest format in which `values` values take at most `seconds` at this rate, or the leanest.
fn mildest(values: usize, seconds: f64, rate: f64) -> Wire {
    let fits = |wire: &&Wire| encoded_size(**wire, values) as f64 <= seconds * rate || rate.is_infinite();
    *LADDER.iter().find(fits).unwrap_or(&LADDER[LADDER.len() - 1])
}

/// Returns how lean a format is.
fn place(wire: Wire) -> Option<usize> {
    LADDER.iter().position(|known| *known == wire)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The parameters of GoogLeNet with both auxiliary classifiers.
    const VALUES: usize = 13_378_280;

    fn run() -> Run {
        settings::recipe("paper").unwrap().run
    }

    /// A link that carries so many bytes per second, and a worker whose steps compute for so many seconds.
    struct World {
        rates: Rates,
        link: Link,
        computed: f64,
    }

    impl World {
        fn new(up: f64, down: f64) -> World {
            let mut link = Link::new(&run(), VALUES, false);
            let seconds = |bytes: usize| Duration::from_secs_f64(bytes as f64 / down);
            link.begin(1 << 20, seconds(1 << 20));
            link.fetched(4 * VALUES, seconds(4 * VALUES));
            World { rates: Rates { up, down }, link, computed: 0.6 }
        }

        /// Makes steps; returns the times at which formats changed, and the last step's share of waiting.
        fn steps(&mut self, steps: usize) -> (Vec<(usize, Formats)>, f64) {
            let (mut changes, mut waiting) = (Vec::new(), 0.0);
            for step in 0..steps {
                let Formats { gradients, parameters } = self.link.formats();
                let (out, into) = (encoded_size(gradients, VALUES), encoded_size(parameters, VALUES));
                let transfer = f64::max(out as f64 / self.rates.up, into as f64 / self.rates.down);
                let (computed, backward) = (self.computed, self.computed * 2.0 / 3.0);
                let exchanged = transfer.max(backward);
                let waited = exchanged - backward;
                waiting = waited / (computed + waited);
                let seconds = Duration::from_secs_f64;
                let stepped = Stepped {
                    computed: seconds(computed),
                    exchanged: seconds(exchanged),
                    waited: seconds(waited),
                    out: out as u64,
                    into: into as u64,
                };
                if let Some(formats) = self.link.stepped(stepped) {
                    if formats.parameters != parameters {
                        let took = Duration::from_secs_f64(4.0 * VALUES as f64 / self.rates.down);
                        self.link.fetched_again(4 * VALUES, took);
                    }
                    changes.push((step, formats));
                }
            }
            (changes, waiting)
        }
    }

    #[test]
    fn a_fast_link_carries_all_bits() {
        let mut world = World::new(1.1e9, 1.1e9);
        assert_eq!(world.steps(100), (vec![], 0.0));
        assert_eq!(world.link.formats(), Formats { gradients: Wire::F32, parameters: Wire::F32 });
    }

    #[test]
    fn a_slower_link_gets_the_mildest_formats_that_it_carries_and_keeps_them() {
        for (rate, expected) in
            [(100e6, Wire::Bf16), (50e6, Wire::Bits8), (15.6e6, Wire::Bits4), (1.5e6, Wire::TopPercent)]
        {
            let mut world = World::new(rate, rate);
            let (changes, _) = world.steps(200);
            assert!(changes.len() <= 1, "{rate}: {changes:?}");
            assert_eq!(world.link.formats(), Formats { gradients: expected, parameters: expected }, "{rate}");
        }
    }

    /// At so few bytes a second the guess is the largest values alone; of slow steps the link carries more.
    #[test]
    fn what_fits_takes_the_place_of_a_guess() {
        let mut world = World { computed: 2.85, ..World::new(3.38e6, 3.38e6) };
        let fits = Formats { gradients: Wire::Bits4, parameters: Wire::Bits4 };
        assert_ne!(world.link.formats(), fits);
        let (changes, _) = world.steps(200);
        assert_eq!(changes.iter().map(|(_, formats)| *formats).collect::<Vec<_>>(), [fits]);
    }

    #[test]
    fn the_way_up_is_found_to_be_slower_than_the_way_down() {
        let mut world = World::new(2.5e6, 250e6);
        let (changes, _) = world.steps(200);
        assert_eq!(world.link.formats(), Formats { gradients: Wire::TopPercent, parameters: Wire::F32 });
        assert!(changes.len() <= 3, "{changes:?}");
        assert!((world.link.rates().up / 2.5e6 - 1.0).abs() < 0.1, "{:?}", world.link.rates());
    }

    #[test]
    fn a_link_that_changes_is_followed() {
        let mut world = World::new(1.1e9, 1.1e9);
        world.steps(10);
        world.rates = Rates { up: 15.6e6, down: 15.6e6 };
        world.steps(40);
        assert_eq!(world.link.formats(), Formats { gradients: Wire::Bits4, parameters: Wire::Bits4 });
        // An evaluation fetches the parameters.
        world.rates = Rates { up: 1.1e9, down: 1.1e9 };
        world.link.fetched(4 * VALUES, Duration::from_millis(50));
        world.steps(10);
        assert_eq!(world.link.formats(), Formats { gradients: Wire::F32, parameters: Wire::F32 });
    }

    #[test]
    fn a_moment_in_which_nothing_comes_changes_nothing() {
        let mut world = World::new(1.1e9, 1.1e9);
        for _ in 0..10 {
            world.rates = Rates { up: 1e6, down: 1e6 };
            assert_eq!(world.steps(2).0, []);
            world.rates = Rates { up: 1.1e9, down: 1.1e9 };
            assert_eq!(world.steps(10).0, []);
        }
    }

    #[test]
    fn what_the_settings_give_stays_and_so_does_what_is_near_or_small() {
        let slow = Duration::from_secs(100);
        let fixed = Run { wire: Some(Wire::Bits8), ..run() };
        for (run, values, near) in [(fixed, VALUES, false), (run(), VALUES, true), (run(), 1000, false)] {
            let mut link = Link::new(&run, values, near);
            let formats = link.formats();
            link.begin(1 << 20, slow);
            let computed = Duration::from_millis(10);
            for _ in 0..20 {
                let stepped =
                    Stepped { computed, exchanged: slow, waited: slow, out: 1 << 26, into: 1 << 26 };
                assert_eq!(link.stepped(stepped), None);
            }
            assert_eq!(link.formats(), formats);
        }
        let slow = Rates { up: 1.0, down: 1.0 };
        assert_eq!(Formats::fitting(&run(), 1000, 1.0, slow).gradients, Wire::F32, "too small to be fitted");
    }
}
