//! The worst mistakes of those that were met.

use super::mistake::Mistake;

/// The mistakes of which a network was surest, as many as are to be kept: those first of which it was surest, of
/// equally sure ones that of the first image.
#[derive(Debug)]
pub struct WorstMistakes {
    most: usize,
    worst: Vec<Mistake>,
}

impl WorstMistakes {
    /// Keeps the worst `most` mistakes.
    pub fn keeping(most: usize) -> WorstMistakes {
        WorstMistakes { most, worst: Vec::new() }
    }

    /// Adds the mistake that `make` makes, of the validation image `image` whose wrong class has the probability
    /// `said`, if it is among the worst so far; only then is it made.
    pub fn offer(&mut self, said: f32, image: u64, make: impl FnOnce() -> Mistake) {
        let is_worse = |kept: &Mistake| {
            kept.probability_said.total_cmp(&said).reverse().then(kept.image.cmp(&image)).is_lt()
        };
        let place = self.worst.partition_point(is_worse);
        if place < self.most {
            self.worst.truncate(self.most - 1);
            self.worst.insert(place, make());
        }
    }

    /// Returns the mistakes.
    pub fn as_slice(&self) -> &[Mistake] {
        &self.worst
    }

    /// Returns the mistakes and keeps none.
    pub fn into_vec(self) -> Vec<Mistake> {
        self.worst
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mistake(image: u64, said: f32) -> Mistake {
        Mistake {
            image,
            right: 0,
            said: 1,
            probability_right: 0.01,
            probability_said: said,
            picture: Vec::new(),
        }
    }

    #[test]
    fn only_those_that_are_kept_are_made() {
        let mut worst = WorstMistakes::keeping(3);
        let mut made = 0;
        for (image, said) in (0..).zip([0.5, 0.9, 0.2, 0.1, 0.7, 0.2, 0.95, 0.6]) {
            worst.offer(said, image, || {
                made += 1;
                mistake(image, said)
            });
        }
        assert_eq!((worst.into_vec(), made), (vec![mistake(6, 0.95), mistake(1, 0.9), mistake(4, 0.7)], 5));
        WorstMistakes::keeping(0).offer(1.0, 0, || unreachable!("no mistake is kept"));
    }

    #[test]
    fn the_surest_are_kept_whatever_their_order() {
        let all: Vec<Mistake> =
            (0..40).map(|image| mistake(image, 0.3 + 0.01 * (7 * image % 20) as f32)).collect();
        let kept = |offered: &mut dyn Iterator<Item = &Mistake>| {
            let mut worst = WorstMistakes::keeping(12);
            offered.for_each(|one| worst.offer(one.probability_said, one.image, || one.clone()));
            worst.into_vec()
        };
        let mut expected = all.clone();
        expected
            .sort_by(|a, b| b.probability_said.total_cmp(&a.probability_said).then(a.image.cmp(&b.image)));
        expected.truncate(12);
        assert_eq!(kept(&mut all.iter()), expected);
        assert_eq!(kept(&mut all.iter().rev()), expected);
    }
}
