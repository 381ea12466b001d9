//! Counts of updates by their staleness.

use crate::fields::{FieldError, listed};

/// Stalenesses below this have a count each.
const EXACT: u64 = 128;
/// Most counts: one for each exact staleness, and one for each power of two from there on.
const MOST: usize = EXACT as usize + (u64::BITS - EXACT.ilog2()) as usize;

/// Counts of updates by their staleness, the number of other updates that a block received after the fetch that
/// a gradient was computed from. Each staleness below 128 has a count of its own; from there on there is one for
/// each power of two. Counts only grow, so that the difference of two tells of the time in between.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct StalenessCounts(Vec<u64>);

impl StalenessCounts {
    /// Counts an update of this staleness.
    pub fn record(&mut self, staleness: u64) {
        let index = match staleness {
            0..EXACT => staleness as usize,
            _ => (EXACT + u64::from(staleness.ilog2() - EXACT.ilog2())) as usize,
        };
        if self.0.len() <= index {
            self.0.resize(index + 1, 0);
        }
        self.0[index] = self.0[index].saturating_add(1);
    }

    /// Adds the counts of other shards.
    pub fn add(&mut self, others: &StalenessCounts) {
        self.0.resize(self.0.len().max(others.0.len()), 0);
        self.0.iter_mut().zip(&others.0).for_each(|(sum, count)| *sum = sum.saturating_add(*count));
    }

    /// Returns the largest staleness that was counted since the counts were as in `before`, from 128 on rounded
    /// down to a power of two; 0 if none was.
    pub fn largest_since(&self, before: &StalenessCounts) -> u64 {
        let new = |index: &usize| self.0[*index] > before.0.get(*index).copied().unwrap_or(0);
        match (0..self.0.len()).rev().find(new).unwrap_or(0) as u64 {
            exact @ 0..EXACT => exact,
            index => EXACT << (index - EXACT),
        }
    }

    /// Returns the number of updates whose staleness was at most `staleness`, which is below 128.
    pub fn up_to(&self, staleness: u64) -> u64 {
        let exact = self.0.iter().take(staleness.min(EXACT - 1) as usize + 1);
        exact.fold(0, |sum, count| sum.saturating_add(*count))
    }

    pub(crate) fn into_list(self) -> Vec<u64> {
        self.0
    }

    /// Reads the counts of a field.
    pub(crate) fn read(
        counts: Vec<u64>,
        message: &'static str,
        field: &'static str,
    ) -> Result<StalenessCounts, FieldError> {
        Ok(StalenessCounts(listed(counts, MOST, "counts", message, field)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_is_that_since_the_counts_before() {
        let mut counts = StalenessCounts::default();
        assert_eq!(counts.largest_since(&StalenessCounts::default()), 0);
        for (staleness, largest) in
            [(3, 3), (0, 0), (127, 127), (1, 1), (128, 128), (300, 256), (u64::MAX, 1 << 63)]
        {
            let before = counts.clone();
            counts.record(staleness);
            assert_eq!(counts.largest_since(&before), largest, "{staleness}");
        }
        assert_eq!(counts.largest_since(&StalenessCounts::default()), 1 << 63);
        let up_to = [0, 1, 3, 126, 127, u64::MAX].map(|staleness| counts.up_to(staleness));
        assert_eq!(up_to, [1, 2, 3, 3, 4, 4]);
        let mut sum = StalenessCounts::default();
        sum.record(5);
        sum.add(&counts);
        assert_eq!(sum.largest_since(&counts), 5, "of another shard");
        // A shard that came back counts from the start.
        assert_eq!(StalenessCounts::default().largest_since(&counts), 0);
    }

    #[test]
    fn a_list_has_a_most() {
        let mut counts = StalenessCounts::default();
        counts.record(u64::MAX);
        let list = counts.clone().into_list();
        assert_eq!(list.len(), MOST);
        assert_eq!(StalenessCounts::read(list, "ShardStatus", "staleness_counts").unwrap(), counts);
        assert!(StalenessCounts::read(vec![0; MOST + 1], "ShardStatus", "staleness_counts").is_err());
    }
}
