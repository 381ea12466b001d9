//! The models of an ensemble: their files, and the check that they have the same classes.

use std::path::Path;

use anyhow::{Context, ensure};

use crate::loaded::LoadedModel;

/// One model of an ensemble.
pub(super) struct Member {
    /// SHA-256 of the model file, in hexadecimal.
    pub hash: String,
    pub model: LoadedModel,
}

impl Member {
    pub fn open(path: &Path) -> anyhow::Result<Member> {
        let (model, digest) = LoadedModel::open_with_digest(path)?;
        Ok(Member { hash: digest.to_string(), model })
    }
}

/// Returns the classes of the models, which must be the same in the same order.
pub(super) fn common_classes(members: &[Member]) -> anyhow::Result<&[String]> {
    let (first, others) = members.split_first().context("expected at least one --model")?;
    for other in others {
        let (one, two) = (first.model.path.display(), other.model.path.display());
        ensure!(
            first.model.card.classes.len() == other.model.card.classes.len(),
            "the models of an ensemble must have the same classes: {one} has {}, {two} has {}",
            first.model.card.classes.len(),
            other.model.card.classes.len()
        );
        let difference = first
            .model
            .card
            .classes
            .iter()
            .zip(&other.model.card.classes)
            .enumerate()
            .find(|(_, (a, b))| a != b);
        if let Some((number, (a, b))) = difference {
            anyhow::bail!(
                "the models of an ensemble must have the same classes in the same order: class {number} is \"{a}\" in \
                 {one}, \"{b}\" in {two}"
            );
        }
    }
    Ok(&first.model.card.classes)
}
