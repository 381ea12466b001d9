//! Scores by name: how well a network does its task.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};
use serde::ser::{Serialize, Serializer};

use crate::{
    fields::{FieldError, listed},
    proto,
};

/// Most scores of one evaluation.
const MOST_SCORES: usize = 16;

/// Most bytes of a score's name.
const MOST_NAME: usize = 64;

/// The scores that are shares of the images, 0 to 1.
const SHARES: [&str; 2] = ["top1", "top5"];

/// Scores, which say how well a network does its task: numbers by name, in the order in which they are shown;
/// in JSON an object. A classifier's are `top1` and `top5`, the shares of images whose right class is the
/// most probable one or among the five most probable, and `loss`, the mean cross-entropy.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Scores(Vec<(String, f64)>);

impl Scores {
    /// Creates scores from pairs of a name and a value; the values of a name that occurs twice are added.
    pub fn new<N: Into<String>>(scores: impl IntoIterator<Item = (N, f64)>) -> Scores {
        let mut all = Scores::default();
        scores.into_iter().for_each(|(name, value)| all.add(name.into(), value));
        all
    }

    /// Returns the score of a name, if there is one.
    pub fn get(&self, name: &str) -> Option<f64> {
        self.iter().find(|(known, _)| *known == name).map(|(_, value)| value)
    }

    /// Returns all names and values in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, f64)> {
        self.0.iter().map(|(name, value)| (name.as_str(), *value))
    }

    /// Returns whether these scores of a classifier are better than `others`: by `top1` and, where that is equal,
    /// by `loss`. A score that is not there is worse than any.
    pub fn is_better_than(&self, others: &Scores) -> bool {
        let top1 = |scores: &Scores| scores.get("top1").unwrap_or(-1.0);
        let gain = |scores: &Scores| -scores.get("loss").unwrap_or(f64::INFINITY);
        let by_top1 = top1(self).total_cmp(&top1(others));
        by_top1.then(gain(self).total_cmp(&gain(others))).is_gt()
    }

    /// Adds each score of `others` to the score of the same name, or appends it if there is none.
    pub fn add_all(&mut self, others: &Scores) {
        others.0.iter().for_each(|(name, value)| self.add(name.clone(), *value));
    }

    /// Returns each score divided by `count`: the means, where the scores are sums over `count` images. A sum
    /// that is the largest number, as which one is reported that is not finite, stays so.
    pub fn divided_by(&self, count: f64) -> Scores {
        let mean = |sum: f64| if sum == f64::MAX { sum } else { sum / count };
        Scores(self.0.iter().map(|(name, sum)| (name.clone(), mean(*sum))).collect())
    }

    fn add(&mut self, name: String, value: f64) {
        match self.0.iter_mut().find(|(known, _)| *known == name) {
            // What strangers report is finite, and so is its sum.
            Some((_, sum)) => *sum = (*sum + value).clamp(f64::MIN, f64::MAX),
            None => self.0.push((name, value)),
        }
    }

    /// Reads sums of scores from `message`: finite values of distinct names.
    pub(super) fn sums(
        scores: Vec<proto::Score>,
        message: &'static str,
        field: &'static str,
    ) -> Result<Scores, FieldError> {
        let mut sums = Scores::default();
        for proto::Score { name, value } in listed(scores, MOST_SCORES, "scores", message, field)? {
            let error = |expected: String, found: &dyn fmt::Display| {
                FieldError::new(message, field, expected, found.to_string())
            };
            // A name travels into logs and files, where it is a key.
            let letters = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
            if !(1..=MOST_NAME).contains(&name.len()) || !name.bytes().all(letters) {
                let expected = format!("names of 1 to {MOST_NAME} letters a to z, digits and _");
                return Err(error(expected, &name.escape_default()));
            }
            if sums.get(&name).is_some() {
                return Err(error("each name once".into(), &format_args!("{name} twice")));
            }
            // A snapshot's manifest, which is JSON, could not hold numbers that are not finite.
            if !value.is_finite() {
                return Err(error(format!("a finite {name}"), &value));
            }
            sums.0.push((name, value));
        }
        Ok(sums)
    }
}

impl fmt::Display for Scores {
    /// Writes names and values, as `top1 0.9250, top5 0.9900, loss 0.2500`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (name, value)) in self.iter().enumerate() {
            write!(f, "{}{name} {value:.4}", if at > 0 { ", " } else { "" })?;
        }
        Ok(())
    }
}

impl Serialize for Scores {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}

impl<'de> Deserialize<'de> for Scores {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Scores, D::Error> {
        struct Map;
        impl<'de> Visitor<'de> for Map {
            type Value = Scores;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("scores by name")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Scores, A::Error> {
                let mut scores = Vec::new();
                while let Some((name, value)) = map.next_entry()? {
                    scores.push(proto::Score { name, value });
                }
                Scores::try_from(proto::Scores { scores }).map_err(A::Error::custom)
            }
        }
        deserializer.deserialize_map(Map)
    }
}

impl From<Scores> for Vec<proto::Score> {
    fn from(Scores(scores): Scores) -> Vec<proto::Score> {
        scores.into_iter().map(|(name, value)| proto::Score { name, value }).collect()
    }
}

impl From<Scores> for proto::Scores {
    fn from(scores: Scores) -> proto::Scores {
        proto::Scores { scores: scores.into() }
    }
}

impl TryFrom<proto::Scores> for Scores {
    type Error = FieldError;

    fn try_from(proto::Scores { scores }: proto::Scores) -> Result<Scores, FieldError> {
        let scores = Scores::sums(scores, "Scores", "scores")?;
        for (name, value) in scores.iter().filter(|(name, _)| SHARES.contains(name)) {
            if !(0.0..=1.0).contains(&value) {
                return Err(FieldError::new("Scores", "scores", format!("{name} of 0 to 1"), value));
            }
        }
        Ok(scores)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_are_an_object_in_json_as_before_they_had_names() {
        let scores = Scores::new([("top1", 0.5), ("top5", 1.0), ("loss", 0.1 + 0.2)]);
        let text = serde_json::to_string(&scores).unwrap();
        assert_eq!(text, r#"{"top1":0.5,"top5":1.0,"loss":0.30000000000000004}"#);
        assert_eq!(serde_json::from_str::<Scores>(&text).unwrap(), scores);
        assert_eq!(scores.to_string(), "top1 0.5000, top5 1.0000, loss 0.3000");
        let error = serde_json::from_str::<Scores>(r#"{"top1":7.0}"#).unwrap_err().to_string();
        assert!(error.starts_with("Scores.scores: expected top1 of 0 to 1, found 7"), "{error}");
    }

    #[test]
    fn scores_are_better_by_top1_and_then_by_loss() {
        let scores = |top1: f64, loss: f64| Scores::new([("top1", top1), ("loss", loss)]);
        for (better, worse) in [
            (scores(0.6, 2.0), scores(0.5, 1.0)),
            (scores(0.5, 1.0), scores(0.5, 2.0)),
            (scores(0.5, f64::MAX), Scores::new([("top1", 0.5)])),
            (scores(0.0, 9.0), Scores::new([("loss", 1.0)])),
            (Scores::new([("loss", 1.0)]), Scores::default()),
        ] {
            assert!(better.is_better_than(&worse) && !worse.is_better_than(&better), "{better}; {worse}");
            assert!(!better.is_better_than(&better) && !worse.is_better_than(&worse));
        }
    }

    #[test]
    fn sums_meet_by_name() {
        let mut sums = Scores::default();
        sums.add_all(&Scores::new([("top1", 3.0)]));
        sums.add_all(&Scores::new([("boxes", 1.0), ("top1", 5.0)]));
        assert_eq!(sums.divided_by(4.0), Scores::new([("top1", 2.0), ("boxes", 0.25)]));
        sums.add_all(&Scores::new([("boxes", f64::MAX)]));
        assert_eq!(sums.divided_by(4.0).get("boxes"), Some(f64::MAX));
    }
}
