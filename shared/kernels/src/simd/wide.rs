//! Tiles for 32 registers of 16 floats; a file of its own because AVX-512 and its portable twin share them.

/// Three blocks: the tiles of 7 to 9 pixels serve rows of 7, 14, 28 and 56 as well as 8, 16, 32 and 64.
pub(super) const PANEL: usize = 3;

/// 8 rows x 3 columns = 24 accumulators; divides a block of 16 channels.
pub(super) const ROWS: usize = 8;

/// 9 x 3 = 27 accumulators, 3 weights and 1 broadcast are 31 registers. Narrower panels could take more pixels, but 9 x 2
/// already has the accumulators and the few loads that two units need.
pub(super) const PIXELS: [usize; 4] = [0, 9, 9, 9];
