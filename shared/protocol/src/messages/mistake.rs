//! Mistakes of an evaluation: validation images that were taken for ones of another class.

use crate::{fields::FieldError, proto};

/// Most mistakes that come with one part of an evaluation.
pub const MOST_MISTAKES: usize = 4;
/// Most bytes of a mistake's picture.
pub const LARGEST_MISTAKE: usize = 64 << 10;

/// A validation image that was taken for one of another class.
#[derive(Clone, Debug, PartialEq)]
pub struct Mistake {
    /// Position of the image in the validation split.
    pub image: u64,
    /// Number of the image's class.
    pub right: u32,
    /// Number of the class that the image was taken for.
    pub said: u32,
    /// Probability of the image's class, 0 to 1.
    pub probability_right: f32,
    /// Probability of the class that the image was taken for, 0 to 1.
    pub probability_said: f32,
    /// A small picture of the image, a JPEG file of at most [`LARGEST_MISTAKE`] bytes; empty if there is none.
    pub picture: Vec<u8>,
}

impl From<Mistake> for proto::Mistake {
    fn from(mistake: Mistake) -> proto::Mistake {
        let Mistake { image, right, said, probability_right, probability_said, picture } = mistake;
        let picture = picture.into();
        proto::Mistake { image, right, said, probability_right, probability_said, picture }
    }
}

impl TryFrom<proto::Mistake> for Mistake {
    type Error = FieldError;

    fn try_from(mistake: proto::Mistake) -> Result<Mistake, FieldError> {
        let proto::Mistake { image, right, said, probability_right, probability_said, picture } = mistake;
        for (field, share) in
            [("probability_right", probability_right), ("probability_said", probability_said)]
        {
            if !(0.0..=1.0).contains(&share) {
                return Err(FieldError::new("Mistake", field, "0 to 1", share));
            }
        }
        if picture.len() > LARGEST_MISTAKE {
            let expected = format!("at most {LARGEST_MISTAKE} bytes");
            return Err(FieldError::new("Mistake", "picture", expected, picture.len()));
        }
        let picture = picture.to_vec();
        Ok(Mistake { image, right, said, probability_right, probability_said, picture })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_kept_and_told() {
        let good = proto::Mistake {
            probability_said: 1.0,
            picture: vec![0; LARGEST_MISTAKE].into(),
            ..Default::default()
        };
        let picture = vec![0; LARGEST_MISTAKE + 1].into();
        for (mistake, says) in [
            (good.clone(), None),
            (
                proto::Mistake { picture, ..good.clone() },
                Some("Mistake.picture: expected at most 65536 bytes, found 65537"),
            ),
            (
                proto::Mistake { probability_said: 1.5, ..good.clone() },
                Some("Mistake.probability_said: expected 0 to 1, found 1.5"),
            ),
            (
                proto::Mistake { probability_right: f32::NAN, ..good.clone() },
                Some("Mistake.probability_right: expected 0 to 1, found NaN"),
            ),
        ] {
            let found = Mistake::try_from(mistake).err().map(|error| error.to_string());
            assert_eq!(found.as_deref(), says);
        }
    }
}
