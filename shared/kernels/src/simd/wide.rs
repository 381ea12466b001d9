//! Register tiles for 32 registers of 16 floats, shared by AVX-512 and its portable twin.

/// Three blocks; the tiles of 7 to 9 pixels serve rows of 7, 14, 28 and 56 as well as 8, 16, 32 and 64.
pub(super) const PANEL: usize = 3;

/// Eight rows; 8 rows x 3 columns are 24 accumulators, and 8 divides a block of 16 channels.
pub(super) const ROWS: usize = 8;

/// Nine pixels; 9 x 3 = 27 accumulators, 3 weights and 1 broadcast value take 31 registers. Narrower panels
/// could take more pixels, but 9 x 2 already has the accumulators and the few loads that two FMA units need.
pub(super) const PIXELS: [usize; 4] = [0, 9, 9, 9];
