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

/// The models of an ensemble without those that are the same as another one: their predictions are too.
pub(super) struct Distinct<'a> {
    /// Each model once, in the order of the ensemble.
    pub models: Vec<&'a Member>,
    /// Index in `models` of each member's model.
    pub place_of: Vec<usize>,
}

impl<'a> Distinct<'a> {
    /// Finds the models of `members` that differ, and warns of each that is the same as one before it.
    pub fn of(members: &'a [Member]) -> Distinct<'a> {
        let mut distinct = Distinct { models: Vec::new(), place_of: Vec::new() };
        for member in members {
            let known = distinct.models.iter().position(|model| model.hash == member.hash);
            if let Some(known) = known {
                let (one, two) = (distinct.models[known].model.path.display(), member.model.path.display());
                tracing::warn!(
                    "{two} is the same model as {one}: it is predicted once, and counts as often as it is named"
                );
            }
            distinct.place_of.push(known.unwrap_or(distinct.models.len()));
            if known.is_none() {
                distinct.models.push(member);
            }
        }
        distinct
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
