//! The worst mistakes among the validation images that a worker scores.

use protocol::Mistake;

/// The mistakes of which a network is surest, of those that it makes.
#[derive(Debug, Default)]
pub struct Mistakes {
    most: usize,
    worst: Vec<Mistake>,
}

impl Mistakes {
    /// Keeps the worst `most` mistakes.
    pub fn keeping(most: usize) -> Mistakes {
        Mistakes { most, worst: Vec::new() }
    }

    /// Adds the mistake that `make` makes, in which the wrong class has the probability `said`, if it is among the worst
    /// so far; only then is it made.
    pub fn offer(&mut self, said: f32, make: impl FnOnce() -> Mistake) {
        let place = self.worst.partition_point(|worse| worse.probability_said >= said);
        if place < self.most {
            self.worst.truncate(self.most - 1);
            self.worst.insert(place, make());
        }
    }

    /// Returns the mistakes, those first of which the network was surest.
    pub fn into_worst(self) -> Vec<Mistake> {
        self.worst
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_surest_are_kept_and_only_they_are_made() {
        let mut mistakes = Mistakes::keeping(3);
        let mut made = 0;
        for (image, said) in [0.5, 0.9, 0.2, 0.1, 0.7, 0.2, 0.95, 0.6].into_iter().enumerate() {
            mistakes.offer(said, || {
                made += 1;
                let (image, picture) = (image as u64, Vec::new());
                Mistake { image, right: 0, said: 1, probability_right: 0.0, probability_said: said, picture }
            });
        }
        let kept: Vec<(u64, f32)> =
            mistakes.into_worst().iter().map(|mistake| (mistake.image, mistake.probability_said)).collect();
        assert_eq!((kept, made), (vec![(6, 0.95), (1, 0.9), (4, 0.7)], 5));
        Mistakes::keeping(0).offer(1.0, || unreachable!("no mistake is kept"));
    }
}
