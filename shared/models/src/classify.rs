//! The command `downpour classify`: prints the five most probable labels of each image.

use std::io::{ErrorKind, IsTerminal, Write};
use std::path::PathBuf;

use anyhow::{Context, ensure};
use dataset::pictures_below;
use ndarray::{Array1, Array4};
use serde_json::json;
use setup::{Threads, isa};

use crate::evaluate::combine::{Combine, combined, most_probable};
use crate::labels;
use crate::loaded::LoadedModel;

/// Number of images from which on progress is shown on a terminal.
const MANY: usize = 50;

/// Options of [`classify`], which prints the most probable labels of images.
#[derive(Clone, Debug)]
pub struct ClassifyOptions {
    /// Path of the model file to classify with.
    pub model: PathBuf,
    /// Path of a text file of class labels, one per line in the order of the network's outputs, to use
    /// instead of those in the model file; `None` means those.
    pub labels: Option<PathBuf>,
    /// Paths of the image files to classify, and of folders of image files.
    pub images: Vec<PathBuf>,
    /// Whether to print, for each image, a line with one JSON object instead of text.
    pub json: bool,
    /// Number of threads that compute the network, and the CPUs on which they run.
    pub threads: Threads,
    /// Name of the CPU instruction set to compute with, such as "avx2"; `None` means the best of this
    /// machine.
    pub isa: Option<String>,
}

/// Prints the five most probable labels of every image with their probabilities, in the order of the images.
///
/// # Errors
/// If the model file is not a model, if the number of labels is not that of the classes, or if standard
/// output cannot be written. If images cannot be read, the error comes after all others have been printed.
pub fn classify(options: &ClassifyOptions) -> anyhow::Result<()> {
    let isa = isa(options.isa.as_deref())?;
    let model = LoadedModel::open(&options.model)?;
    let labels = match &options.labels {
        Some(path) => labels::read(path, model.card.classes.len())?,
        None => model.card.classes.clone(),
    };
    let pool = options.threads.pool()?;
    let mut engine = model.engine(1, isa, pool)?;
    let size = model.input_size();
    let mut input = Array4::zeros((1, 3, size, size));
    let mut unreadable = 0;
    let images = files(&options.images)?;
    let progress = images.len() >= MANY && std::io::stderr().is_terminal();
    for (number, path) in images.iter().enumerate() {
        if progress && number % MANY == 0 {
            eprintln!("{number} of {} images", images.len());
        }
        let out = input.as_slice_mut().expect("a new array is contiguous");
        if let Err(error) = model.card.preprocessing.centre_of_file(path, size, out) {
            eprintln!("cannot classify {error}");
            unreadable += 1;
            continue;
        }
        let logits = engine.logits(input.view());
        let mut probabilities = Array1::zeros(labels.len());
        combined(logits.view(), Combine::Mean, probabilities.as_slice_mut().expect("a row is contiguous"));
        let best = most_probable(probabilities.view());
        let text = if options.json {
            let top: Vec<_> = best
                .into_iter()
                .map(|class| json!({"class": class, "label": labels[class], "probability": probabilities[class]}))
                .collect();
            json!({"image": path.display().to_string(), "top": top}).to_string()
        } else {
            let lines =
                best.into_iter().map(|class| format!("\n{:9.4}  {}", probabilities[class], labels[class]));
            lines.fold(path.display().to_string(), |text, line| text + &line)
        };
        match writeln!(std::io::stdout(), "{text}") {
            // Whoever reads has seen enough, as `head` does.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => return Ok(()),
            result => result.context("print the labels")?,
        }
    }
    ensure!(
        unreadable == 0,
        "{unreadable} of {} images cannot be read; the lines above name them",
        images.len()
    );
    Ok(())
}

/// Returns the given files, with each folder replaced by the image files in it.
fn files(given: &[PathBuf]) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for path in given {
        if !path.is_dir() {
            files.push(path.clone());
            continue;
        }
        let pictures = pictures_below(path)?;
        ensure!(
            !pictures.is_empty(),
            "folder {} has no pictures: expected image files in it",
            path.display()
        );
        files.extend(pictures);
    }
    Ok(files)
}
