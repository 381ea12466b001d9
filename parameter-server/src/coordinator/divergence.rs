//! Divergence of training, which is believed of one worker once the others say the same.
//!
//! A worker that sees a loss that is not finite, or whose pushes are refused one after the other, may be
//! faulty or lie. It is fenced, so that the others train on without it, and has thereby one vote. The run has
//! diverged once the votes are more than the workers that were members at the first of them, are still there,
//! and have not voted. A minibatch that anybody trained on as usual makes the votes void.

/// Votes of workers that training has diverged, since the last minibatch that was as usual.
#[derive(Debug, Default)]
pub(super) struct Votes {
    /// Number that the next worker to join had at the first vote: workers that joined later have no vote, so
    /// that nobody has several by joining again.
    voters: Option<u32>,
    votes: usize,
}

impl Votes {
    /// Records that `worker` says that training has diverged, one of the members with the numbers `present`;
    /// `next_worker` is the number that the next worker to join gets. Returns whether it has.
    pub(super) fn record(
        &mut self,
        worker: u32,
        present: impl Iterator<Item = u32>,
        next_worker: u32,
    ) -> bool {
        let voters = *self.voters.get_or_insert(next_worker);
        self.votes += usize::from(worker < voters);
        let others: Vec<u32> = present.filter(|other| *other != worker).collect();
        let silent = others.iter().filter(|other| **other < voters).count();
        others.is_empty() || self.votes > silent
    }

    /// Returns whether workers other than the newest one have said that training has diverged.
    pub(super) fn any_before(&self) -> bool {
        self.votes > 1
    }

    /// Records that a minibatch was trained on as usual.
    pub(super) fn clear(&mut self) {
        *self = Votes::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lets the workers of `say` say one after the other that training has diverged; each is fenced, and
    /// those in `again` join again at once. Returns how many it took.
    fn took(members: u32, say: &[u32], again: bool) -> Option<usize> {
        let (mut votes, mut present) = (Votes::default(), (0..members).collect::<Vec<u32>>());
        let mut next = members;
        say.iter().position(|&at| {
            let worker = present.remove(at as usize % present.len());
            let ended = votes.record(worker, present.iter().copied().chain([worker]), next);
            if again {
                present.push(next);
                next += 1;
            }
            ended
        })
    }

    #[test]
    fn a_lone_worker_is_believed_and_several_once_most_say_so() {
        for (members, expected) in [(1, 1), (2, 2), (3, 2), (4, 3), (5, 3), (32, 17)] {
            for again in [false, true] {
                let count = took(members, &[0; 40], again).map(|at| at + 1);
                assert_eq!(count, Some(expected), "{members} members, that join again: {again}");
            }
        }
    }

    #[test]
    fn one_that_joins_again_and_again_has_one_vote() {
        // The last of those present is the one that has just joined.
        for members in 2..6 {
            assert_eq!(took(members, &vec![members - 1; 100], true), None, "{members} members");
        }
    }

    #[test]
    fn a_usual_minibatch_makes_the_votes_void() {
        let mut votes = Votes::default();
        assert!(!votes.record(0, 0..3, 3));
        votes.clear();
        assert!(!votes.record(1, 1..4, 4));
        assert!(votes.record(2, 2..4, 4));
    }
}
