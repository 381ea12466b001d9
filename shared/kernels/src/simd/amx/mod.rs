//! Matrix multiplies of bf16 on AMX tiles.
//!
//! A tile multiply takes 16 rows of 32 values and 32 x 16 values, and adds to 16 x 16 sums in f32. Two tiles
//! of rows and up to two of columns are multiplied at a time, so that each loaded tile is used twice.

#[cfg(target_arch = "x86_64")]
mod hardware;

use half::bf16;
#[cfg(target_arch = "x86_64")]
pub(crate) use hardware::available;

/// Rows and columns of a tile of sums.
pub(crate) const TILE: usize = 16;

/// Depth of a tile multiply: values of a row of the first operand and of a column of the second.
pub(crate) const DEPTH: usize = 32;

/// Values in a tile of the second operand. Two of its rows are interleaved, since bf16 are multiplied in
/// pairs.
pub(crate) const TILE_VALUES: usize = TILE * DEPTH;

/// Rows that are multiplied at a time.
pub(crate) const ROWS: usize = 2 * TILE;

/// The most columns of tiles that are multiplied at a time.
pub(crate) const COLUMNS: usize = 2;

/// Sums in a column of tiles, `[row][16 columns]`.
pub(crate) const SUMS: usize = ROWS * TILE;

/// An implementation of AMX tiles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Amx {
    /// The AMX unit of Intel's processors.
    #[cfg(target_arch = "x86_64")]
    Hardware,
    /// Plain loops, the reference for the hardware.
    #[cfg_attr(not(test), expect(dead_code, reason = "tests alone ask for the reference"))]
    Portable,
}

/// Addresses of the two operands of a multiply. Distances are in values.
#[derive(Clone, Copy)]
pub(crate) struct Operands {
    /// First row of the first operand; distance to the next row, and from the first 16 rows to the second 16.
    pub(crate) a: *const bf16,
    pub(crate) a_row: usize,
    pub(crate) a_tile: usize,
    /// First tile of the second operand; distance to the tile of the next 16 columns, and to the tile of the
    /// next step.
    pub(crate) b: *const bf16,
    pub(crate) b_tile: usize,
    pub(crate) b_step: usize,
}

/// Configured tiles of this thread, released on drop.
pub(crate) enum Tiles {
    #[cfg(target_arch = "x86_64")]
    Hardware(hardware::Tiles),
    Portable,
}

impl Amx {
    /// Configures the tiles of this thread.
    #[inline(always)]
    pub(crate) fn configure(self) -> Tiles {
        match self {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: `Isa` makes this only where the machine has the unit.
            Amx::Hardware => Tiles::Hardware(unsafe { hardware::Tiles::new() }),
            Amx::Portable => Tiles::Portable,
        }
    }
}

impl Tiles {
    /// Multiplies 32 rows with up to [`COLUMNS`] columns of tiles, summed over all steps, into `sums`,
    /// `[column][row][16]`, or adds to them if `accumulate`. Each step reads the first operand at an offset
    /// in bytes from its beginning.
    ///
    /// # Safety
    /// Both operands must be valid for reading in every step: 32 rows of 32 values and a tile for each
    /// column.
    #[inline(always)]
    pub(crate) unsafe fn multiply(
        &self,
        columns: usize,
        operands: Operands,
        offsets: &[u32],
        sums: &mut [f32],
        accumulate: bool,
    ) {
        assert!(
            (1..=COLUMNS).contains(&columns) && sums.len() >= columns * SUMS,
            "sums of {columns} columns"
        );
        match self {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: the caller's promise; the length of the sums is asserted.
            Tiles::Hardware(tiles) => unsafe {
                match columns {
                    1 => tiles.multiply::<1>(operands, offsets, sums.as_mut_ptr(), accumulate),
                    _ => tiles.multiply::<2>(operands, offsets, sums.as_mut_ptr(), accumulate),
                }
            },
            // SAFETY: the caller's promise.
            Tiles::Portable => unsafe { multiply(columns, operands, offsets, sums, accumulate) },
        }
    }
}

/// Multiplies by plain loops.
///
/// # Safety
/// See [`Tiles::multiply`].
unsafe fn multiply(columns: usize, operands: Operands, offsets: &[u32], sums: &mut [f32], accumulate: bool) {
    let Operands { a, a_row, a_tile, b, b_tile, b_step } = operands;
    for (column, sums) in sums.chunks_exact_mut(SUMS).take(columns).enumerate() {
        for (row, sums) in sums.chunks_exact_mut(TILE).enumerate() {
            for (lane, sum) in sums.iter_mut().enumerate() {
                let mut total = if accumulate { *sum } else { 0.0 };
                for (step, offset) in offsets.iter().enumerate() {
                    for k in 0..DEPTH {
                        let at = *offset as usize / size_of::<bf16>()
                            + row / TILE * a_tile
                            + row % TILE * a_row
                            + k;
                        let of = step * b_step + column * b_tile + k / 2 * 2 * TILE + 2 * lane + k % 2;
                        // SAFETY: the caller's promise. Rows may begin anywhere.
                        total += unsafe { (*a.add(at)).to_f32() * (*b.add(of)).to_f32() };
                    }
                }
                *sum = total;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::isa::Isa;
    use crate::testing::{assert_close, narrow, random};

    #[test]
    fn the_hardware_multiplies_as_the_reference() {
        let Some(amx) = Isa::detect().with_bf16().amx::<bf16>() else {
            println!("skipped: this machine has no AMX");
            return;
        };
        let a = narrow::<bf16>(&random(40_000, 1));
        let b = narrow::<bf16>(&random(16 * TILE_VALUES, 2));
        for steps in [0, 1, 2, 7] {
            // One line of 90 values for each row, the other tile a line behind them, steps anywhere.
            let offsets: Vec<u32> = (0..steps).map(|step| step * 642).collect();
            let operands = Operands {
                a: a.as_ptr(),
                a_row: 90,
                a_tile: 17 * 90,
                b: b.as_ptr(),
                b_tile: 8 * TILE_VALUES,
                b_step: TILE_VALUES,
            };
            for accumulate in [false, true] {
                let before = random(2 * SUMS, 3);
                let run = |tiles: Tiles, columns| {
                    let mut sums = before.clone();
                    // SAFETY: 33 lines of 90 values and 7 times 321 are fewer than there are; so are 2 times
                    // 8 tiles.
                    unsafe {
                        tiles.multiply(columns, operands, &offsets, &mut sums, accumulate);
                    }
                    sums
                };
                for columns in [1, 2] {
                    let (found, expected) = (run(amx.configure(), columns), run(Tiles::Portable, columns));
                    assert_close("the matrix amx", &found, &expected, 1e-5, 1.0);
                    assert_eq!(found[columns * SUMS..], before[columns * SUMS..], "what lies behind");
                }
            }
        }
    }
}
