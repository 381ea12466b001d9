//! The conclusion of an evaluation: the table of errors, and the files of the result.

use anyhow::{Context, ensure};
use dataset::Crops;
use formats::tensorboard;
use setup::{Data, Outcome, Tally};

use super::count::Counted;
use super::gallery::{Gallery, Shown};
use super::members::Member;
use super::predict::Evaluator;
use super::result::{EvaluationResult, MemberScores};
use super::table::Row;
use super::{classes, mistakes, pictures};

impl Evaluator<'_> {
    /// Builds the table and writes the files of the result.
    pub fn conclude(
        &self,
        members: &[Member],
        counted: Vec<(Crops, Counted)>,
    ) -> anyhow::Result<EvaluationResult> {
        let (fewest, most) = (&counted[0].1, &counted[counted.len() - 1].1);
        let models = members.len();
        let images = fewest.outcomes[models].len();
        ensure!(
            images > 0,
            "none of the images of the model's classes can be read; the log names the reasons"
        );
        let wrong = |outcomes: &Vec<Outcome>| outcomes.iter().filter(|outcome| !outcome.first()).count();
        let best =
            (0..models).min_by_key(|&model| wrong(&fewest.outcomes[model])).expect("at least one model");
        let base = &fewest.outcomes[best];
        let mut rows = Vec::new();
        let columns = if models > 1 { vec![(1, best), (models, models)] } else { vec![(1, 0)] };
        for (number, column) in columns {
            for (crops, counted) in &counted {
                let base = (!rows.is_empty()).then_some(&base[..]);
                rows.push(Row::new(number, *crops, &counted.outcomes[column], base));
            }
        }
        let mut alone = Vec::new();
        for (crops, counted) in counted.iter().filter(|_| models > 1) {
            for (member, outcomes) in members.iter().zip(&counted.outcomes) {
                let scores = tally(outcomes).scores();
                alone.push(MemberScores {
                    model: member.model.path.clone(),
                    crops: crops.count(),
                    top1: scores.top1,
                    top5: scores.top5,
                    loss: scores.loss,
                });
            }
        }
        let output = &self.options.output;
        let classes = classes::scores(&most.confusion, &self.labels);
        pictures::write(&output.join("errors.svg"), pictures::errors(&rows))?;
        if self.labels.len() <= pictures::MOST_CLASSES {
            let drawn = pictures::confusion(&self.labels, &most.confusion);
            pictures::write(&output.join("confusion.svg"), drawn)?;
        }
        let unscored = self.data.classes().iter().zip(&self.label_of_class);
        let unscored =
            unscored.filter(|(_, label)| label.is_none()).map(|(class, _)| class.clone()).collect();
        let scores = tally(&most.outcomes[models]).scores();
        let result = EvaluationResult {
            images: images as u64,
            top1: scores.top1,
            top5: scores.top5,
            loss: scores.loss,
            rows,
            members: alone,
            classes,
            unscored,
            held_out: self.held_out,
            validation: self.held_out || self.data.is_split() || self.is_drawn(),
            note: self.note.clone(),
            unreadable: most.unreadable,
            output: output.clone(),
        };
        let shown = mistakes::shown(&most.mistakes, &self.data, &self.labels);
        if let Some(folder) = &self.options.tensorboard {
            let time = process::time_of_day();
            tensorboard::write(folder, time, mistakes::event(time, &shown))
                .with_context(|| format!("write an event file into {}", folder.display()))?;
        }
        let summary = serde_json::to_string_pretty(&result).context("write the table")?;
        for (name, text) in [
            ("predictions.csv", &most.listing),
            ("classes.csv", &classes::table(&result.classes)),
            ("mistakes.html", &self.page(members, &result, most, shown)),
            ("evaluation.json", &summary),
        ] {
            let path = output.join(name);
            files::write(&path, text.as_bytes()).with_context(|| format!("write {}", path.display()))?;
        }
        Ok(result)
    }

    /// Returns whether the images are those of the synthetic set, of which the validation images are scored.
    fn is_drawn(&self) -> bool {
        matches!(self.options.data, Data::Synthetic { .. })
    }

    /// Returns the page of the worst mistakes.
    fn page(
        &self,
        members: &[Member],
        result: &EvaluationResult,
        counted: &Counted,
        shown: Vec<Shown>,
    ) -> String {
        let models: Vec<String> =
            members.iter().map(|member| member.model.path.display().to_string()).collect();
        let mut about = vec![models.join(", "), result.summary()];
        about.extend(self.note.clone());
        let gallery = Gallery {
            about,
            mistakes: counted.mistakes.len(),
            shown,
            pairs: mistakes::pairs(&counted.confusion, &self.labels),
            classes: &result.classes,
        };
        gallery.page()
    }
}

fn tally(outcomes: &[Outcome]) -> Tally {
    let mut tally = Tally::default();
    outcomes.iter().for_each(|outcome| tally.count(outcome));
    tally
}
