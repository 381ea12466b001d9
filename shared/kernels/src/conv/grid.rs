//! The cut of a weight gradient into tasks: a grid over the pairs of input and output blocks.

/// Relative costs on vectors of multiplying a pair of blocks and of loading or transforming a block.
pub(super) const ON_VECTORS: [usize; 2] = [3, 1];

/// Numbers of parts that the input blocks and the output blocks are cut into. The tasks, of at most `most`
/// pairs each, take the least time on `threads` threads by the costs of a pair and of a block.
pub(super) fn grid(
    [inputs, outputs]: [usize; 2],
    threads: usize,
    most: usize,
    [pair, block]: [usize; 2],
) -> [usize; 2] {
    let part = |[i, o]: [usize; 2]| [inputs.div_ceil(i), outputs.div_ceil(o)];
    let time = |[i, o]: [usize; 2]| {
        let [inputs, outputs] = part([i, o]);
        (i * o).div_ceil(threads) * (pair * inputs * outputs + block * (inputs + outputs))
    };
    let grids = (1..=inputs).flat_map(|i| (1..=outputs).map(move |o| [i, o]));
    let fits = |grid: &[usize; 2]| {
        let [inputs, outputs] = part(*grid);
        inputs * outputs <= most.max(1)
    };
    grids.filter(fits).min_by_key(|grid| time(*grid)).expect("a convolution has blocks")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tasks_are_equal_and_as_square_as_that_allows() {
        assert_eq!(grid([4, 12], 1, usize::MAX, ON_VECTORS), [1, 1]);
        assert_eq!(grid([4, 12], 2, usize::MAX, ON_VECTORS), [1, 2]);
        assert_eq!(grid([12, 4], 4, usize::MAX, ON_VECTORS), [4, 1]);
        assert_eq!(grid([8, 8], 4, usize::MAX, ON_VECTORS), [2, 2]);
        assert_eq!(grid([1, 1], 16, usize::MAX, ON_VECTORS), [1, 1], "there is one pair");
    }

    #[test]
    fn no_task_has_more_pairs_than_it_may() {
        for blocks in [[52, 24], [33, 5], [1, 64], [7, 7]] {
            for threads in [1, 2, 3, 16] {
                let [i, o] = grid(blocks, threads, 60, ON_VECTORS);
                assert!(blocks[0].div_ceil(i) * blocks[1].div_ceil(o) <= 60, "{blocks:?} as {i} x {o}");
                assert!(
                    2 * i * o >= threads,
                    "{blocks:?} as {i} x {o} leaves most of {threads} threads idle"
                );
            }
        }
    }
}
