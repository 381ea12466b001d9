//! The result of an evaluation, and its text for the user.

use std::path::PathBuf;

use serde::Serialize;

use super::classes::{self, ClassScores};
use super::table::{self, Row};

/// The result of an evaluation of one or more models on a set of images: the scores of all models averaged
/// over the largest number of crops, and a table of errors by number of models and of crops.
#[derive(Clone, Debug, Serialize)]
pub struct EvaluationResult {
    /// Number of images that were scored.
    pub images: u64,
    /// Top-1 accuracy: fraction (0 to 1) of the images whose most probable class is the right one. Like
    /// `top5` and `loss` it belongs to the last row of the table, which averages all models over the largest
    /// number of crops.
    pub top1: f64,
    /// Top-5 accuracy: fraction (0 to 1) of the images whose five most probable classes include the right
    /// one.
    pub top5: f64,
    /// Mean cross-entropy per image, in nats, with all models averaged over the largest number of crops.
    pub loss: f64,
    /// The rows of the table of errors: first those of a single model by number of crops, then, if there are
    /// several models, those of all of them averaged. The single model is the one with the smallest top-1
    /// error at the smallest number of crops, as in the paper.
    pub rows: Vec<Row>,
    /// Scores of each model alone, for each number of crops; empty if there is only one model.
    pub members: Vec<MemberScores>,
    /// Scores of each class that has a scored image or was predicted for one, in the order of the labels. Like
    /// `top1` they belong to the last row of the table.
    pub classes: Vec<ClassScores>,
    /// Names of the data's class folders that match no label of the models. Their images are predicted but
    /// not scored.
    pub unscored: Vec<String>,
    /// Whether the scored images are those that training holds out for validation (a fifth) of a folder
    /// without a validation split; false if they are a validation split or all images.
    pub held_out: bool,
    /// Whether the scored images are ones for validation: a validation split, or the images held out. Their number is
    /// told with that word.
    #[serde(skip)]
    pub validation: bool,
    /// Note for the user on which images were scored, such as that the models were trained on some of them;
    /// `None` if nothing is to be said.
    pub note: Option<String>,
    /// Number of images that could not be read and are left out of the scores.
    pub unreadable: u64,
    /// Folder to which the predictions, the scores and the plots were written.
    pub output: PathBuf,
}

/// Scores of one model of an ensemble alone, with one number of crops of each image.
#[derive(Clone, Debug, Serialize)]
pub struct MemberScores {
    /// Path of the model file.
    pub model: PathBuf,
    /// Number of crops (parts of an image that are classified) from which each image's prediction is
    /// combined.
    pub crops: usize,
    /// Top-1 accuracy: fraction (0 to 1) of the images whose most probable class is the right one.
    pub top1: f64,
    /// Top-5 accuracy: fraction (0 to 1) of the images whose five most probable classes include the right
    /// one.
    pub top5: f64,
    /// Mean cross-entropy per image, in nats.
    pub loss: f64,
}

impl EvaluationResult {
    /// Returns the result as text for the user: the table of errors, notes on the images, and the scores of
    /// all models together.
    pub fn text(&self) -> String {
        let mut text = table::text(&self.rows);
        let mut fewest = self.members.iter().filter(|member| member.crops == self.rows[0].crops).peekable();
        if fewest.peek().is_some() {
            let errors: Vec<String> =
                fewest.map(|member| format!("{:.2}", 100.0 * (1.0 - member.top1))).collect();
            text += &format!(
                "top-1 errors of the models alone, {} crop(s): {} %; the best is the single model above\n",
                self.rows[0].crops,
                errors.join(", ")
            );
        }
        text += &format!("\n{}\n", classes::text(&self.classes));
        if let Some(note) = &self.note {
            text += &format!("{note}\n");
        }
        if !self.unscored.is_empty() {
            text += &format!("predicted but not scored, no label: {}\n", self.unscored.join(", "));
        }
        if self.unreadable > 0 {
            text += &format!("{} images could not be read\n", self.unreadable);
        }
        let output = self.output.display();
        text + &format!(
            "{}\nthe worst mistakes in {output}/mistakes.html, other files beside it",
            self.summary()
        )
    }

    /// Returns a line with the scores of all models together.
    pub(super) fn summary(&self) -> String {
        format!(
            "top-1 {:.2} %, top-5 {:.2} %, loss {:.4} on {} {}images",
            100.0 * self.top1,
            100.0 * self.top5,
            self.loss,
            self.images,
            if self.validation { "validation " } else { "" }
        )
    }
}
