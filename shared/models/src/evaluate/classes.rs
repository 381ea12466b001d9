//! The scores of each class: how many of its images were found, and how many of those that were taken for it are
//! of it.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde::Serialize;

use crate::csv;

/// Number of classes that the text for the user shows.
const SHOWN: usize = 10;
/// Largest number of characters of a class that the text for the user shows.
const WIDTH: usize = 40;

/// The number of scored images of each label that were taken for each label, by (label, guess); pairs that did not
/// occur are absent.
pub(super) type Confusion = BTreeMap<(u32, u32), u32>;

/// The scores of one class.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ClassScores {
    /// The label of the class.
    pub class: String,
    /// Number of scored images of this class.
    pub images: u64,
    /// Number of scored images, of any class, whose most probable class is this one.
    pub predicted: u64,
    /// Number of scored images of this class whose most probable class is this one.
    pub right: u64,
    /// Fraction (0 to 1) of the images of this class that were predicted as it; `None` if it has none.
    pub recall: Option<f64>,
    /// Fraction (0 to 1) of the images that were predicted as this class that are of it; `None` if there are none.
    pub precision: Option<f64>,
}

impl ClassScores {
    fn new(class: &str, images: u64, predicted: u64, right: u64) -> ClassScores {
        let share = |of: u64| (of > 0).then(|| right as f64 / of as f64);
        ClassScores {
            class: class.to_owned(),
            images,
            predicted,
            right,
            recall: share(images),
            precision: share(predicted),
        }
    }

    /// Returns the harmonic mean of recall and precision, 0 to 1.
    fn strength(&self) -> f64 {
        2.0 * self.right as f64 / (self.images + self.predicted).max(1) as f64
    }
}

/// Returns the scores of the classes that have a scored image or were predicted for one, in the order of the
/// labels.
pub(super) fn scores(confusion: &Confusion, labels: &[String]) -> Vec<ClassScores> {
    let mut counts = BTreeMap::<u32, [u64; 3]>::new();
    for (&(label, guess), &images) in confusion {
        let images = u64::from(images);
        counts.entry(label).or_default()[0] += images;
        counts.entry(guess).or_default()[1] += images;
        if label == guess {
            counts.entry(label).or_default()[2] += images;
        }
    }
    let of = |(label, [images, predicted, right]): (u32, [u64; 3])| {
        ClassScores::new(&labels[label as usize], images, predicted, right)
    };
    counts.into_iter().map(of).collect()
}

/// Returns the classes with the weakest first: those with the smallest harmonic mean of recall and precision, and
/// among equals those with more images.
pub(super) fn weakest(classes: &[ClassScores]) -> Vec<&ClassScores> {
    let mut weakest: Vec<&ClassScores> = classes.iter().collect();
    weakest.sort_by(|a, b| a.strength().total_cmp(&b.strength()).then(b.images.cmp(&a.images)));
    weakest
}

/// Returns the scores of all classes as CSV.
pub(super) fn table(classes: &[ClassScores]) -> String {
    let share = |share: Option<f64>| share.map_or(String::new(), |share| format!("{share:.6}"));
    let mut text = csv::line(["class", "images", "predicted", "right", "recall", "precision"]);
    for class in classes {
        let [images, predicted, right] = [class.images, class.predicted, class.right].map(|n| n.to_string());
        let [recall, precision] = [class.recall, class.precision].map(share);
        text += &csv::line([&class.class, &images, &predicted, &right, &recall, &precision]);
    }
    text
}

/// Returns a share as text in per cent, or a dash if there is none.
pub(super) fn percent(share: Option<f64>) -> String {
    share.map_or("-".into(), |share| format!("{:.1} %", 100.0 * share))
}

/// Returns a table of the weakest classes as text for the user.
pub(super) fn text(classes: &[ClassScores]) -> String {
    let shown: Vec<(String, &ClassScores)> =
        weakest(classes).into_iter().take(SHOWN).map(|class| (shortened(&class.class), class)).collect();
    let width = shown.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0).max("class".len());
    let mut text = format!(
        "{:<width$}  {:>7}  {:>9}  {:>8}  {:>9}\n",
        "class", "images", "predicted", "recall", "precision"
    );
    for (name, class) in shown {
        let [recall, precision] = [class.recall, class.precision].map(percent);
        let (images, predicted) = (class.images, class.predicted);
        writeln!(text, "{name:<width$}  {images:>7}  {predicted:>9}  {recall:>8}  {precision:>9}")
            .expect("text takes what is written");
    }
    if classes.len() > SHOWN {
        text += &format!("these are the weakest; classes.csv has all {}\n", classes.len());
    }
    text
}

/// Shortens a label that is too long for a column.
fn shortened(label: &str) -> String {
    match label.chars().count() > WIDTH {
        true => label.chars().take(WIDTH - 1).chain(['…']).collect(),
        false => label.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(classes: usize) -> Vec<String> {
        (0..classes).map(|class| format!("class {class}")).collect()
    }

    #[test]
    fn recall_and_precision_of_known_counts() {
        // Of 10 images of class 0, 8 are found and 2 taken for class 3; of 4 of class 3, 1 is found.
        let confusion = Confusion::from([((0, 0), 8), ((0, 3), 2), ((3, 3), 1), ((3, 1), 3)]);
        let found = scores(&confusion, &labels(5));
        let expected = [
            ClassScores::new("class 0", 10, 8, 8),
            ClassScores::new("class 1", 0, 3, 0),
            ClassScores::new("class 3", 4, 3, 1),
        ];
        assert_eq!(found, expected);
        let shares: Vec<_> = found.iter().map(|class| (class.recall, class.precision)).collect();
        assert_eq!(shares, [(Some(0.8), Some(1.0)), (None, Some(0.0)), (Some(0.25), Some(1.0 / 3.0))]);
        let order: Vec<_> = weakest(&found).iter().map(|class| &class.class[6..]).collect();
        assert_eq!(order, ["1", "3", "0"]);
        let csv = "class,images,predicted,right,recall,precision\nclass 0,10,8,8,0.800000,1.000000\nclass \
                   1,0,3,0,,0.000000\nclass 3,4,3,1,0.250000,0.333333\n";
        assert_eq!(table(&found), csv);
        let lines = text(&found);
        let row: Vec<&str> =
            lines.lines().nth(1).unwrap().split("  ").filter(|cell| !cell.is_empty()).collect();
        assert_eq!(
            row.iter().map(|cell| cell.trim()).collect::<Vec<_>>(),
            ["class 1", "0", "3", "-", "0.0 %"]
        );
        assert_eq!(lines.lines().count(), 4);
    }

    #[test]
    fn of_many_classes_the_weakest_are_shown_and_all_are_written() {
        for classes in [5, 101, 1000] {
            let mut labels = labels(classes);
            labels[1] = "a long label, with words, ".repeat(9);
            let confusion = (0..classes as u32).map(|class| ((class, class / 2), 1 + class)).collect();
            let found = scores(&confusion, &labels);
            assert_eq!(found.len(), classes);
            let shown = text(&found);
            assert_eq!(shown.lines().count(), if classes > 10 { 12 } else { 6 });
            assert_eq!(shown.contains(&format!("classes.csv has all {classes}\n")), classes > 10);
            assert!(shown.lines().all(|line| line.chars().count() < 90), "{shown}");
            assert_eq!(table(&found).lines().count(), 1 + classes);
        }
    }
}
