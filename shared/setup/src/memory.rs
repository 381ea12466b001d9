//! The memory that training needs, computed before any of it is allocated and compared with what this machine
//! has free.

use std::fmt;

use kernels::{Isa, Pool};
use limits::{Bytes, memory};
use network::{Architecture, Engine, GoogLeNet, Precision};
use settings::RunConfiguration;

use crate::compute::{Threads, isa};

/// Number of minibatches that a loader prepares ahead of the one that is being computed with.
pub const MADE_AHEAD: usize = 2;
/// Number of copies of all parameters that a worker holds besides its engine: the gradient, its own velocity
/// with the parameters that it decays, and, while it evaluates, the average with two gradients that it
/// compares.
const COPIES: u64 = 6;
/// Number of copies of all parameters that the server holds in all its processes: values, velocity and
/// average.
const SERVED: u64 = 3;
/// Number of minibatches of images that a worker holds: those prepared ahead and the one that it computes
/// with.
const MINIBATCHES: u64 = MADE_AHEAD as u64 + 1;
/// Number of classes assumed for a run whose configuration does not give it: the smallest that is possible,
/// so that nothing is refused that could fit.
const LEAST_CLASSES: usize = 2;

/// An error: this machine has too little free memory for minibatches of the size that was asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct TooLarge {
    /// Name of what needs the memory, such as "training".
    what: String,
    batch: usize,
    needed: u64,
    available: u64,
    /// The largest batch that fits, or 1 if none does, and the bytes that it needs.
    instead: (usize, u64),
}

impl fmt::Display for TooLarge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let TooLarge { what, batch, needed, available, instead: (smaller, bytes) } = self;
        let [needed, bytes] = [needed, bytes].map(|bytes| Bytes(*bytes));
        write!(
            f,
            "{what} with a batch of {batch} needs {needed} of memory, this machine has {} free; ",
            Bytes(*available)
        )?;
        if bytes.0 <= *available {
            write!(f, "with a batch of {smaller} it needs {bytes}: choose --batch {smaller} or less, ")?;
            f.write_str("or a smaller --input-size or --width")
        } else {
            write!(f, "even a batch of 1 needs {bytes}: choose a smaller --input-size or --width")
        }
    }
}

/// Checks that this machine has enough free memory for `what`, such as "training", with minibatches of
/// `batch` images. `bytes` gives the bytes needed for any batch size. Where the system does not tell how much
/// memory is free, the check passes.
///
/// # Errors
/// If less memory is free than needed; the error names the largest batch that fits.
pub fn check(what: &str, batch: usize, bytes: impl Fn(usize) -> u64) -> Result<(), TooLarge> {
    match memory::available() {
        Some(available) => within(available, what, batch, bytes),
        None => Ok(()),
    }
}

fn within(available: u64, what: &str, batch: usize, bytes: impl Fn(usize) -> u64) -> Result<(), TooLarge> {
    let needed = bytes(batch);
    if needed <= available {
        return Ok(());
    }
    let (mut fits, mut too_many) = (0, batch);
    while too_many - fits > 1 {
        let middle = fits + (too_many - fits) / 2;
        if bytes(middle) <= available {
            fits = middle;
        } else {
            too_many = middle;
        }
    }
    let instead = fits.max(1);
    Err(TooLarge { what: what.into(), batch, needed, available, instead: (instead, bytes(instead)) })
}

/// Returns the number of bytes that one worker needs to train with minibatches of `batch` images: those of
/// its engine, which computes the network, of its copies of the parameters and of its prepared images.
pub fn worker_bytes(network: &GoogLeNet, batch: usize, precision: Precision, isa: Isa, pool: &Pool) -> u64 {
    let engine = Engine::training_bytes(network, batch, precision, isa, pool);
    let images = image_bytes(network, batch).saturating_mul(MINIBATCHES);
    engine.saturating_add(COPIES * parameter_bytes(network)).saturating_add(images)
}

/// Returns the number of bytes of one copy of all parameters of `network`, as f32.
pub fn parameter_bytes(network: &GoogLeNet) -> u64 {
    (network.layout().len() * size_of::<f32>()) as u64
}

/// Returns the number of bytes of a minibatch of `batch` input images of `network`: three channels of its
/// input size squared, as f32.
pub fn image_bytes(network: &GoogLeNet, batch: usize) -> u64 {
    let side = network.architecture().input_size;
    ((3 * side * side * size_of::<f32>()) as u64).saturating_mul(batch as u64)
}

/// Checks that this machine has enough free memory for a whole run: for `workers` workers with `threads`
/// compute threads each, and for the server. `isa_name` is the instruction set with which workers compute;
/// `None` means the best of the machine.
///
/// # Errors
/// If less memory is free than needed, if the network cannot be built, if `isa_name` is unknown or the
/// machine lacks that instruction set, or if the threads cannot be started.
pub fn check_run(
    configuration: &RunConfiguration,
    isa_name: Option<&str>,
    threads: usize,
    workers: usize,
) -> anyhow::Result<()> {
    let isa = isa(isa_name)?;
    let classes = configuration.network.classes.unwrap_or(LEAST_CLASSES);
    let network = GoogLeNet::new(&Architecture::of(&configuration.network, classes))?;
    let pool = Threads::from(threads).pool()?;
    let precision = configuration.run.precision;
    let bytes = |batch| {
        let worker = worker_bytes(&network, batch, precision, isa, &pool);
        worker.saturating_mul(workers as u64).saturating_add(SERVED * parameter_bytes(&network))
    };
    let what = if workers == 1 { "training".into() } else { format!("training with {workers} workers") };
    Ok(check(&what, configuration.run.batch, bytes)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    #[test]
    fn the_largest_batch_that_fits_is_named() {
        let bytes = |batch: usize| (2 + batch as u64) * GIB;
        within(10 * GIB, "training", 8, bytes).unwrap();
        let text = |batch| within(10 * GIB, "training", batch, bytes).unwrap_err().to_string();
        for batch in [9, 10, 4096] {
            let expected = format!(
                "training with a batch of {batch} needs {} of memory, this machine has 10 GiB free; with a batch of 8 it \
                 needs 10 GiB: choose --batch 8 or less, or a smaller --input-size or --width",
                Bytes(bytes(batch))
            );
            assert_eq!(text(batch), expected);
        }
        let text = within(2 * GIB, "a step", 16, bytes).unwrap_err().to_string();
        assert_eq!(
            text,
            "a step with a batch of 16 needs 18 GiB of memory, this machine has 2.0 GiB free; even a batch of 1 needs \
             3.0 GiB: choose a smaller --input-size or --width"
        );
    }

    /// The paper's network on 4096 images of 2048 x 2048 pixels.
    #[test]
    fn a_run_that_no_machine_has_memory_for_is_refused_as_a_flag() {
        let mut run = settings::recipe("paper").unwrap();
        (run.run.batch, run.network.input_size) = (4096, 2048);
        run.validate().unwrap();
        if memory::available().is_none() {
            return; // a system that is not asked
        }
        let error = check_run(&run, Some("scalar"), 1, 2).unwrap_err();
        assert_eq!(crate::exit_of(&error), process::Exit::Usage);
        let text = error.to_string();
        assert!(text.starts_with("training with 2 workers with a batch of 4096 needs "), "{text}");
        (run.run.batch, run.network.input_size, run.network.width) = (1, 128, 0.25);
        check_run(&run, None, 1, 1).unwrap();
    }

    #[test]
    fn a_worker_takes_its_engine_and_more_with_every_image() {
        let network = GoogLeNet::new(&Architecture {
            classes: 10,
            input_size: 96,
            width: 0.25,
            ..Architecture::paper()
        });
        let network = network.unwrap();
        let pool = Pool::new(1).unwrap();
        let bytes = |batch| worker_bytes(&network, batch, Precision::F32, Isa::scalar(), &pool);
        let engine = |batch| Engine::training_bytes(&network, batch, Precision::F32, Isa::scalar(), &pool);
        let beside = 6 * 4 * network.layout().len() as u64 + 3 * 8 * 3 * 96 * 96 * 4;
        assert_eq!(bytes(8), engine(8) + beside);
        assert!((1..32).all(|batch| bytes(batch) < bytes(batch + 1)));
        assert_eq!(bytes(usize::MAX), u64::MAX);
    }
}
