//! The layers on which the kernels' tests are drawn are those of networks.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::Path;

use network::{Architecture, Computation, GoogLeNet, LayerShape, Operand, Variant};

/// Input size, width multiplier and classes of the networks whose layers are listed.
const NETWORKS: [(usize, f32, usize); 8] = [
    (64, 0.25, 5),
    (96, 0.25, 2),
    (112, 0.37, 101),
    (128, 0.5, 10),
    (161, 0.75, 37),
    (224, 1.0, 1000),
    (227, 1.3, 7),
    (320, 2.0, 1000),
];

#[test]
fn the_kernels_are_tested_on_the_layers_of_networks() {
    let mut lines = BTreeSet::new();
    for variant in [Variant::Table, Variant::Operations, Variant::Naive] {
        for (input_size, width, classes) in NETWORKS {
            let architecture = Architecture { variant, input_size, width, classes, ..Architecture::paper() };
            let architecture = match architecture.validate() {
                Ok(()) => architecture,
                Err(_) => Architecture { auxiliary_heads: false, ..architecture },
            };
            lines.extend(GoogLeNet::new(&architecture).unwrap().shapes().iter().filter_map(line));
        }
    }
    let made: String = lines.into_iter().flat_map(|line| [line, "\n".to_owned()]).collect();
    let listed = Path::new(env!("CARGO_MANIFEST_DIR")).join("../kernels/src/testing/layers.txt");
    if std::fs::read_to_string(&listed).ok().as_ref() != Some(&made) {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("layers.txt");
        std::fs::write(&path, made).unwrap();
        panic!("{} lists other layers than networks have now: cp {} there", listed.display(), path.display());
    }
}

/// The line of a layer; none of one that no kernel computes.
fn line(layer: &LayerShape) -> Option<String> {
    let mut line = match layer.computation {
        Computation::Convolution { kernel, stride, padding, .. } => {
            format!("convolution {kernel} {stride} {padding}")
        }
        Computation::MaxPool { kernel, stride, padding } => format!("max_pool {kernel} {stride} {padding}"),
        Computation::AveragePool { kernel, stride } => format!("average_pool {kernel} {stride}"),
        Computation::Lrn { .. } => "lrn".to_owned(),
        Computation::Dense { .. } => "dense".to_owned(),
        Computation::Flatten | Computation::Dropout => return None,
    };
    for operand in [&layer.input, &layer.output] {
        match operand {
            Operand::Image { side } => write!(line, " | image {side}").unwrap(),
            Operand::Map { segments, height, width } => {
                let segments: Vec<String> = segments.iter().map(usize::to_string).collect();
                write!(line, " | map {} {height} {width}", segments.join("+")).unwrap();
            }
            Operand::Row { width } => write!(line, " | row {width}").unwrap(),
        }
    }
    write!(line, " | {}", layer.multiply_adds).unwrap();
    Some(line)
}
