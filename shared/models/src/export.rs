//! The command `downpour export`: writes a model in a format that other programs read.

mod beside;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use formats::onnx::{Graph, INPUT, OUTPUT};
use network::Computation;
use parameters::checkpoint::Checkpoint;

use crate::labels;
use crate::loaded::LoadedModel;

/// The format in which a model is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// A graph of operators with the tensors inside, opset 17.
    Onnx,
    /// Named tensors with metadata: what `classify`, `evaluate` and `--init-from` read, too.
    Safetensors,
}

/// Options of [`export`], which converts a model file to another format.
#[derive(Clone, Debug)]
pub struct ExportOptions {
    /// Path of the model file to convert.
    pub model: PathBuf,
    /// Path of a text file of class labels, one per line in the order of the network's outputs, to use
    /// instead of those in the model file; `None` means those.
    pub labels: Option<PathBuf>,
    /// The format of the output file.
    pub format: Format,
    /// Path of the file to write.
    pub output: PathBuf,
}

/// Writes the model of `options.model`, without auxiliary heads, to `options.output`, either the whole file
/// or none. Its labels, its preprocessing and, if it comes from a training run, the run's configuration are
/// stored as metadata. Beside a safetensors file, `config.json` and `README.md` describe the model for other
/// programs and for people. Returns the paths of those of the two that are left as they are, because a file of
/// that name is not of an earlier export to the same file.
///
/// # Errors
/// If `options.model` is not a model file, if the number of labels is not that of the model's classes, or if
/// a file cannot be written.
pub fn export(options: &ExportOptions) -> anyhow::Result<Vec<PathBuf>> {
    let mut model = LoadedModel::open(&options.model)?;
    if let Some(path) = &options.labels {
        model.card.classes = labels::read(path, model.card.classes.len())?;
    }
    // What a run wrote there stays.
    let mut metadata = model.checkpoint.metadata.clone();
    metadata.extend(model.card.to_metadata()?);
    match options.format {
        Format::Safetensors => {
            let names = model.network().layout().tensors().iter().map(|tensor| &tensor.name);
            let tensor = |name: &String| (name.clone(), model.checkpoint.tensors[name].clone());
            let checkpoint = Checkpoint { tensors: names.map(tensor).collect(), metadata };
            checkpoint.write(&options.output)?;
            beside::write(&model, &checkpoint.metadata, &options.output)
        }
        Format::Onnx => write_onnx(&model, &metadata, &options.output).map(|()| Vec::new()),
    }
}

/// Writes the model as an ONNX graph, layer by layer.
fn write_onnx(model: &LoadedModel, metadata: &BTreeMap<String, String>, output: &Path) -> anyhow::Result<()> {
    let mut graph = Graph::new("googlenet", model.input_size());
    for tensor in model.network().layout().tensors() {
        graph.tensor(&tensor.name, model.checkpoint.tensors[&tensor.name].view());
    }
    // By layer: the name of its output; dropout puts out what it reads.
    let mut outputs: Vec<String> = Vec::new();
    let mut joined: BTreeMap<Vec<usize>, String> = BTreeMap::new();
    for layer in model.network().graph() {
        let name = &layer.name;
        let inputs: Vec<&str> = layer.inputs.iter().map(|&input| outputs[input].as_str()).collect();
        let input = match inputs[..] {
            [] => INPUT,
            [only] => only,
            // All readers of a module read one concatenation of its branches.
            _ => joined.entry(layer.inputs.clone()).or_insert_with(|| {
                let together = format!("{name}/input");
                graph.concat(&together, &inputs);
                together
            }),
        };
        let mut puts_out = name.clone();
        match layer.computation {
            Computation::Convolution { groups, relu, kernel, stride, padding } => {
                let convolved = if relu { format!("{name}/linear") } else { name.clone() };
                graph.convolution(name, input, &convolved, groups, [kernel, stride, padding]);
                if relu {
                    graph.relu(&convolved, name);
                }
            }
            Computation::MaxPool { kernel, stride, padding } => {
                graph.max_pool(name, input, kernel, stride, padding);
            }
            // The main path has no other than that of the whole map.
            Computation::AveragePool { .. } => graph.global_average(name, input),
            Computation::Lrn { size, alpha, beta, k } => graph.lrn(name, input, size, [alpha, beta, k]),
            Computation::Flatten => graph.flatten(name, input),
            Computation::Dense { relu: false } => graph.dense(name, input),
            Computation::Dense { relu: true } => {
                bail!("layer {name} is a hidden layer of an auxiliary head, which is not exported")
            }
            Computation::Dropout => puts_out = input.to_owned(),
        }
        outputs.push(puts_out);
    }
    let logits = outputs.last().expect("a network has layers");
    let classes = model.card.classes.len();
    graph.softmax(logits, classes);
    let (size, [red, green, blue]) = (model.input_size(), model.card.preprocessing.mean);
    let description = format!(
        "GoogLeNet for {classes} classes. Input {INPUT}: N x 3 x {size} x {size}, RGB, 0..255 minus ({red}, {green}, \
         {blue}). Output {OUTPUT}: N x {classes}, in the order of the metadata entry classes."
    );
    graph.write(output, &description, metadata).with_context(|| format!("write {}", output.display()))
}
