//! The command `downpour classify`: prints the five most probable labels of each image, as text for people or
//! in a form for programs.

use std::io::{ErrorKind, IsTerminal, Write};
use std::path::PathBuf;

use anyhow::{Context, ensure};
use dataset::{centre_of_file, pictures_below};
use ndarray::{Array1, Array4, ArrayView1};
use serde_json::json;
use setup::{Threads, isa};

use crate::csv;
use crate::evaluate::combine::{Combine, GUESSES, add, most_probable};
use crate::labels;
use crate::loaded::LoadedModel;

/// Number of images from which on progress is shown on a terminal.
const MANY: usize = 50;

/// The form in which the most probable labels of images are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Lines for people: the image, and below it each label after its probability.
    Text,
    /// One JSON object a line for each image.
    Json,
    /// CSV: a head, and a line for each image with its labels and their probabilities.
    Csv,
}

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
    /// The form in which the labels are printed.
    pub form: Form,
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
    if options.form == Form::Csv && !printed(&csv::head(&["image"], labels.len().min(GUESSES)))? {
        return Ok(());
    }
    for (number, path) in images.iter().enumerate() {
        if progress && number % MANY == 0 {
            eprintln!("{number} of {} images", images.len());
        }
        let out = input.as_slice_mut().expect("a new array is contiguous");
        if let Err(error) = centre_of_file(path, &model.card.preprocessing, size, out) {
            eprintln!("cannot classify {error}");
            unreadable += 1;
            continue;
        }
        let logits = engine.logits(input.view());
        let mut probabilities = Array1::zeros(labels.len());
        add(logits.row(0), 1.0, Combine::Mean, probabilities.as_slice_mut().expect("a row is contiguous"));
        let best = most_probable(probabilities.view());
        let text = text(options.form, &path.display().to_string(), &labels, &best, probabilities.view());
        if !printed(&text)? {
            return Ok(());
        }
    }
    ensure!(
        unreadable == 0,
        "{unreadable} of {} images cannot be read; the lines above name them",
        images.len()
    );
    Ok(())
}

/// Returns what is printed of an image, given the numbers of its most probable labels.
fn text(
    form: Form,
    image: &str,
    labels: &[String],
    best: &[usize],
    probabilities: ArrayView1<f32>,
) -> String {
    let guesses = best.iter().map(|&class| (labels[class].as_str(), probabilities[class]));
    match form {
        Form::Text => {
            let lines = guesses.map(|(label, probability)| format!("{probability:9.4}  {label}\n"));
            lines.fold(format!("{image}\n"), |text, line| text + &line)
        }
        Form::Json => {
            let top: Vec<_> = best
                .iter()
                .zip(guesses)
                .map(|(class, (label, probability))| {
                    json!({"class": class, "label": label, "probability": probability})
                })
                .collect();
            json!({"image": image, "top": top}).to_string() + "\n"
        }
        Form::Csv => csv::of_image(&[image], guesses),
    }
}

/// Writes to standard output; returns false if whoever reads has seen enough, as `head` does.
fn printed(text: &str) -> anyhow::Result<bool> {
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
        result => result.context("print the labels").map(|()| true),
    }
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
