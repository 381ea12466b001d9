//! The choice of the worst mistakes of an evaluation, and of the classes that are confused most often.

use std::cmp::Reverse;

use dataset::{Dataset, Split, Thumbnail};
use formats::tensorboard::{Event, Picture};

use super::classes::{Confusion, percent};
use super::gallery::Shown;

/// Largest number of mistakes whose pictures are shown.
const MOST_SHOWN: usize = 60;
/// Longest side of a picture that is shown, in pixels.
const SIDE: u32 = 192;
/// Largest number of pairs of classes that are listed.
const MOST_PAIRS: usize = 50;

/// An image whose most probable class is not its own.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Mistake {
    /// Index of the image in the validation split.
    pub image: usize,
    /// The right label.
    pub label: u32,
    /// The most probable label.
    pub guess: u32,
    /// Probability of the guess, and of the right label.
    pub probabilities: [f32; 2],
}

/// Returns the worst mistakes: those with the most probable guess, and among equals those whose right label is the
/// least probable.
fn worst(mistakes: &[Mistake]) -> Vec<Mistake> {
    let mut worst = mistakes.to_vec();
    worst.sort_by(|a, b| {
        let ([guess_a, right_a], [guess_b, right_b]) = (a.probabilities, b.probabilities);
        guess_b.total_cmp(&guess_a).then(right_a.total_cmp(&right_b))
    });
    worst.truncate(MOST_SHOWN);
    worst
}

/// Reads the pictures of the worst mistakes; one that cannot be read any more is shown as its reason.
pub(super) fn shown(mistakes: &[Mistake], data: &Dataset, labels: &[String]) -> Vec<Shown> {
    let of = |mistake: Mistake| Shown {
        name: data.name(Split::Validation, mistake.image),
        guess: labels[mistake.guess as usize].clone(),
        label: labels[mistake.label as usize].clone(),
        probabilities: mistake.probabilities,
        picture: data.thumbnail(Split::Validation, mistake.image, SIDE).map_err(|error| error.to_string()),
    };
    worst(mistakes).into_iter().map(of).collect()
}

/// Returns the pictures of mistakes as an event of TensorBoard at `time`, in seconds since 1970; those that cannot be
/// shown are left out.
pub(super) fn event(time: f64, shown: &[Shown]) -> Event {
    let mut event = Event::new(time, 0);
    for (rank, Shown { name, guess, label, probabilities, picture }) in (1..).zip(shown) {
        let Ok(Thumbnail { width, height, jpeg }) = picture else { continue };
        let [sure, left] = probabilities.map(|probability| percent(Some(probability.into())));
        let tag = format!("mistakes/{rank:02}: {label} taken for {guess}");
        let help = format!("{name}: said {guess} with {sure}, right is {label} with {left}");
        event.picture(&tag, &help, Picture { width: *width, height: *height, file: jpeg });
    }
    event
}

/// Returns the pairs of a label and another one that its images were most often taken for, with the number of
/// images, the most frequent first.
pub(super) fn pairs<'a>(confusion: &Confusion, labels: &'a [String]) -> Vec<(&'a str, &'a str, u32)> {
    let mut pairs: Vec<_> = confusion.iter().filter(|((label, guess), _)| label != guess).collect();
    pairs.sort_by_key(|&(pair, &images)| (Reverse(images), *pair));
    pairs.truncate(MOST_PAIRS);
    let named = |(&(label, guess), &images): (&(u32, u32), &u32)| {
        (labels[label as usize].as_str(), labels[guess as usize].as_str(), images)
    };
    pairs.into_iter().map(named).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_surest_mistakes_come_first_and_no_more_than_fit() {
        let mistake =
            |image, guess, right| Mistake { image, label: 0, guess: 1, probabilities: [guess, right] };
        let found = worst(&[mistake(0, 0.5, 0.2), mistake(1, 0.9, 0.05), mistake(2, 0.9, 0.01)]);
        assert_eq!(found.iter().map(|mistake| mistake.image).collect::<Vec<_>>(), [2, 1, 0]);
        let many: Vec<Mistake> = (0..1000).map(|image| mistake(image, image as f32 / 1e3, 0.0)).collect();
        let found = worst(&many);
        assert_eq!((found.len(), found[0].image, found[59].image), (60, 999, 940));
    }

    #[test]
    fn the_most_frequent_confusions_come_first() {
        let labels: Vec<String> = (0..1000).map(|label| format!("class {label}")).collect();
        let mut confusion = Confusion::from([((7, 7), 90), ((7, 8), 2), ((8, 7), 5), ((3, 4), 5)]);
        assert_eq!(
            pairs(&confusion, &labels),
            [("class 3", "class 4", 5), ("class 8", "class 7", 5), ("class 7", "class 8", 2)]
        );
        confusion.extend((0..999).map(|label| ((label, label + 1), 9)));
        assert_eq!(pairs(&confusion, &labels).len(), 50);
    }
}
