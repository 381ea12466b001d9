//! The worst mistakes of the newest evaluation, for a page that shows them.

use protocol::{Evaluation, Mistake, WorstMistakes};
use serde::{Serialize, Serializer};

/// The worst mistakes of the newest evaluation in this life of the server.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Mistakes {
    /// Number of the evaluation; 0 before the first.
    pub evaluation: u64,
    /// Samples that the run had trained on when it was ordered.
    pub samples: u64,
    /// The mistakes, those first of which the network was surest.
    pub mistakes: Vec<Shown>,
}

impl Mistakes {
    /// Creates the mistakes of `evaluation`, whose images are of `classes`, as they are shown.
    pub(super) fn of(evaluation: &Evaluation, worst: &WorstMistakes, classes: &[String]) -> Mistakes {
        let name = |class: u32| match classes.get(class as usize) {
            Some(name) => name.clone(),
            None => format!("class {class}, which no image has"),
        };
        let shown = |mistake: &Mistake| Shown {
            image: mistake.image,
            right: name(mistake.right),
            said: name(mistake.said),
            probability_right: mistake.probability_right,
            probability_said: mistake.probability_said,
            picture: mistake.picture.clone(),
        };
        let mistakes = worst.as_slice().iter().map(shown).collect();
        Mistakes { evaluation: evaluation.id, samples: evaluation.samples, mistakes }
    }
}

/// A validation image that was taken for one of another class, as it is shown.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Shown {
    /// Position of the image in the validation split.
    pub image: u64,
    /// Name of the image's class.
    pub right: String,
    /// Name of the class that the image was taken for.
    pub said: String,
    /// Probability of the image's class, 0 to 1.
    pub probability_right: f32,
    /// Probability of the class that the image was taken for, 0 to 1.
    pub probability_said: f32,
    /// A small picture of the image, the bytes of a JPEG file, which is written as a `data:` address; empty if there is
    /// none.
    #[serde(serialize_with = "address")]
    pub picture: Vec<u8>,
}

fn address<S: Serializer>(picture: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    match picture.is_empty() {
        true => serializer.serialize_str(""),
        false => serializer.serialize_str(&formats::data_address("image/jpeg", picture)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mistake(image: u64, said: f32) -> Mistake {
        let picture = vec![0xff, 0xd8, image as u8];
        Mistake { image, right: 0, said: 1, probability_right: 0.01, probability_said: said, picture }
    }

    #[test]
    fn mistakes_are_shown_by_names_and_with_their_pictures() {
        let evaluation = Evaluation {
            id: 7,
            samples: 320,
            images: 10,
            unreadable: 0,
            average: Default::default(),
            last_iterate: None,
        };
        let mut worst = WorstMistakes::keeping(2);
        worst.offer(0.75, 3, || mistake(3, 0.75));
        worst.offer(0.5, 4, || Mistake { right: 9, picture: Vec::new(), ..mistake(4, 0.5) });
        let shown = Mistakes::of(&evaluation, &worst, &["a \"rose\"".to_owned(), "tulip".to_owned()]);
        assert_eq!(
            serde_json::to_string(&shown).unwrap(),
            r#"{"evaluation":7,"samples":320,"mistakes":[{"image":3,"right":"a \"rose\"","said":"tulip","probability_right":0.01,"probability_said":0.75,"picture":"data:image/jpeg;base64,/9gD"},{"image":4,"right":"class 9, which no image has","said":"tulip","probability_right":0.01,"probability_said":0.5,"picture":""}]}"#
        );
    }
}
