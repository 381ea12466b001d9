//! The heads of GoogLeNet, of which the main classifier is found by its place: who fine-tunes a model in
//! Caffe gives the new classifier a new name, because a layer of the old name would start from the old
//! weights.

use std::collections::BTreeMap;

use super::{CLASSIFIER, Layer, LayerKind};

/// Number of values that GoogLeNet's average pool gives the main classifier for each image. The classifiers
/// of the auxiliary heads read as many.
const INPUTS: usize = 1024;

/// Names of the auxiliary classifiers in the published model.
const AUXILIARY: [&str; 2] = ["loss1/classifier", "loss2/classifier"];

/// The fully connected layers of a file that may be the main classifier, collected from its layers in their
/// order.
#[derive(Default)]
pub(super) struct Heads<'a> {
    /// By the name of what a layer puts out: whether the last layer with weights up to there is fully
    /// connected, as in the auxiliary heads alone.
    connected: BTreeMap<&'a [u8], bool>,
    /// Whether a layer has the main classifier's name.
    named: bool,
    /// The fully connected layers with 1024 inputs: their names, and whether these inputs come from another
    /// fully connected layer.
    candidates: Vec<(&'a str, bool)>,
}

impl<'a> Heads<'a> {
    /// Adds the next layer of the file. `inputs` is the number of inputs that its weights have, `None` for a
    /// layer without weights.
    pub fn add(&mut self, layer: &Layer<'a>, inputs: Option<usize>) {
        let behind = layer.bottom.and_then(|name| self.connected.get(name)).copied().unwrap_or(false);
        let connected = match inputs {
            None => behind,
            Some(inputs) => {
                let connected = layer.kind == Some(LayerKind::InnerProduct);
                if connected && inputs == INPUTS && !AUXILIARY.contains(&layer.name) {
                    self.candidates.push((layer.name, behind));
                }
                self.named |= layer.name == CLASSIFIER;
                connected
            }
        };
        self.connected.extend(layer.tops.iter().map(|&name| (name, connected)));
    }

    /// Returns the name of the main classifier if the file calls it otherwise than the published model does.
    /// It is the only fully connected layer with 1024 inputs, or the only one of them whose inputs come from
    /// no other fully connected layer.
    pub fn renamed(&self) -> Option<&'a str> {
        if self.named {
            return None;
        }
        if let [(only, _)] = self.candidates[..] {
            return Some(only);
        }
        let mut first = self.candidates.iter().filter(|(_, behind)| !behind);
        match (first.next(), first.next()) {
            (Some((only, _)), None) => Some(only),
            _ => None,
        }
    }
}
