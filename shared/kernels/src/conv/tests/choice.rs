//! The choice of the algorithm.

use super::*;
use crate::conv::winograd::Scheme;

/// The choice of the algorithm for the maps of GoogLeNet, with multiplications counted by hand.
#[test]
fn the_algorithm_follows_the_maps() {
    for (kernel, side, points, multiplications) in [
        (3, 56, 8, (9 * 8 + 4) * (9 * 8 + 4)),
        (3, 28, 8, (4 * 8 + 6) * (4 * 8 + 6)),
        (3, 14, 6, (3 * 6 + 4) * (3 * 6 + 4)),
        (3, 7, 6, 12 * 12),
        (5, 28, 8, 56 * 56),
        (5, 14, 8, (3 * 8 + 6) * (3 * 8 + 6)),
        (5, 7, 8, 16 * 16),
    ] {
        assert_eq!(Algorithm::fastest(kernel, [side; 2]), Algorithm::Winograd { points });
        assert_eq!(
            Scheme { kernel, points }.multiplications([side; 2]),
            multiplications,
            "{kernel} on {side}"
        );
    }
    let scheme = |kernel, points| Scheme { kernel, points };
    for (kernel, side, batch, points) in
        [(3, 56, 1, Some(6)), (3, 56, 2, Some(8)), (3, 28, 4, Some(6)), (3, 28, 8, Some(8)), (3, 7, 1, None)]
    {
        let found = winograd::fastest_gradient(scheme(kernel, 8), [side; 2], batch);
        assert_eq!(found.map(|scheme| scheme.points), points, "{batch} gradients of {kernel} on {side}");
        assert!(
            winograd::fastest_gradient(scheme(kernel, 6), [side; 2], batch).is_none_or(|f| f.points == 6)
        );
    }
    for (kernel, side) in [(1, 56), (7, 56), (3, 1), (5, 1)] {
        assert_eq!(Algorithm::fastest(kernel, [side; 2]), Algorithm::Direct, "{kernel} on {side}");
    }
}
