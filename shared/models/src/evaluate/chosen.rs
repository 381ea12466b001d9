//! The choice of the images of a data folder that are scored: by default those that no model was trained on,
//! as far as the model files say.

use std::path::Path;

use anyhow::bail;
use dataset::{Dataset, Rules, Split};
use formats::model_file::DATA;
use settings::RunConfiguration;
use setup::Data;

use super::members::Member;

/// The choice of images to score in a data folder that has no validation split, of which training holds out a
/// fifth for validation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Part {
    /// The images that training held out for validation, if a model file says that its model was trained on
    /// this folder; otherwise all images.
    #[default]
    Unseen,
    /// The fifth of the images that training on this folder holds out for validation, whether or not the
    /// models were trained on it.
    HeldOut,
    /// All images of the folder, also those that the models were trained on.
    All,
}

/// The images that are scored.
pub(super) struct Chosen {
    pub data: Dataset,
    /// Whether only those images are scored that training holds out for validation, a fifth of a folder
    /// without a validation split.
    pub held_out: bool,
    /// Note for the user on which images were chosen, such as that the models were trained on some of them;
    /// `None` if nothing is to be said.
    pub note: Option<String>,
}

impl Chosen {
    /// Opens `data` and chooses the images of it on which the models `members` are scored; `part` decides for
    /// a folder without a validation split.
    pub fn of(data: &Data, members: &[Member], part: Part) -> anyhow::Result<Chosen> {
        let size = members[0].model.input_size();
        let folder = match data {
            Data::Folder(folder) => folder,
            drawn => {
                let data = drawn.open(size, Rules::NEWEST)?;
                return Ok(Chosen { data, held_out: false, note: None });
            }
        };
        let own = trained_on(folder, members);
        let rules = match part {
            Part::HeldOut => rules_of_all(members)?,
            _ => own.as_ref().map_or(Rules::NEWEST, |(_, rules)| *rules),
        };
        match (part, own) {
            (Part::HeldOut, _) => {
                let data = Dataset::open(folder, rules)?;
                Ok(Chosen { held_out: data.held_out(), data, note: None })
            }
            (Part::Unseen, Some((data, _))) => {
                let rules = rules_of_all(members)?;
                let (aside, learnt) = (data.len(Split::Validation), data.len(Split::Train));
                let note = format!(
                    "{aside} of {} images were held out when the model was trained on this folder (rules {}): only those are \
                     scored; --all scores the others too",
                    aside + learnt,
                    rules.number()
                );
                tracing::info!("{note}");
                Ok(Chosen { data, held_out: true, note: Some(note) })
            }
            (_, own) => {
                let data = Dataset::open_validation(folder, rules)?;
                let note = seen(&data, members, own.as_ref().map(|(own, _)| own.len(Split::Train)));
                note.iter().for_each(|note| tracing::warn!("{note}"));
                Ok(Chosen { data, held_out: false, note })
            }
        }
    }
}

/// Opens the folder by the rules by which one of the models was trained on it with images held out; returns
/// the data and the rules, or `None` if no model was.
fn trained_on(folder: &Path, members: &[Member]) -> Option<(Dataset, Rules)> {
    members.iter().find_map(|member| {
        let hash = member.model.checkpoint.metadata.get(DATA)?;
        let rules = rules(member);
        let data = Dataset::open(folder, rules).ok()?;
        (data.held_out() && data.fingerprint().hash == *hash).then_some((data, rules))
    })
}

/// Returns a warning about the scores of these images if the models were or may have been trained on them.
fn seen(data: &Dataset, members: &[Member], learnt: Option<usize>) -> Option<String> {
    let images = data.len(Split::Validation);
    if let Some(learnt) = learnt {
        return Some(format!("{learnt} of these {images} images were trained on: their scores say little"));
    }
    let hash = |member: &Member| member.model.checkpoint.metadata.get(DATA).cloned();
    let hashes: Vec<String> = members.iter().filter_map(hash).collect();
    // A folder with splits of its own gives its validation images, whatever they are called.
    if !data.is_split() && hashes.iter().any(|hash| data.fingerprint().measures_what_was_learnt(hash)) {
        return Some(format!("all of these {images} images were trained on: their scores say little"));
    }
    let silent = members.iter().any(|member| {
        member.model.checkpoint.metadata.contains_key("configuration") && hash(member).is_none()
    });
    (silent && !data.is_split()).then(|| {
        format!(
            "a model does not say what it was trained on: if that was this folder, most of these {images} images were among \
             it, and --held-out keeps to those that were held out"
        )
    })
}

/// Returns the rules by which all models read their data; they must be the same, since other rules hold out
/// other images.
fn rules_of_all(members: &[Member]) -> anyhow::Result<Rules> {
    let first = rules(&members[0]);
    if let Some(other) = members.iter().find(|member| rules(member) != first) {
        bail!(
            "{} held out images by rules {}, {} by rules {}: no image was unseen by all; score them one by one, or give --all",
            members[0].model.path.display(),
            first.number(),
            other.model.path.display(),
            rules(other).number()
        );
    }
    Ok(first)
}

/// Returns the rules by which a model's run read its data, or the newest ones if the file does not come from
/// a run.
fn rules(member: &Member) -> Rules {
    let Some(text) = member.model.checkpoint.metadata.get("configuration") else { return Rules::NEWEST };
    let configuration: Result<RunConfiguration, _> = serde_json::from_str(text);
    let number = configuration.map_or(1, |configuration| configuration.run.data_rules());
    Rules::of(number).unwrap_or(Rules::NEWEST)
}
