//! The AMX tiles of Intel's processors: eight registers of 16 rows of 64 bytes, and an instruction that
//! multiplies two of them.
//!
//! A tile holds 16 x 16 sums in f32, or 16 rows of 32 bf16. Stable Rust offers the instructions only as
//! assembly. The compiler never uses tiles itself, so nothing else touches them.

use super::{Operands, TILE};
use half::bf16;
use std::arch::asm;
use std::arch::x86_64::__cpuid_count;
use std::marker::PhantomData;
use std::sync::OnceLock;

/// Bytes of a value.
const VALUE: usize = size_of::<bf16>();

/// Whether the machine has AMX for bf16 and the system lets this process use it.
pub(crate) fn available() -> bool {
    static AVAILABLE: OnceLock<bool> = OnceLock::new();
    *AVAILABLE.get_or_init(|| {
        const LAST_LEAF: u32 = 7;
        const BF16: u32 = 1 << 22;
        const TILES: u32 = 1 << 24;
        let has = |leaf: u32, bits: u32| __cpuid_count(leaf, 0).edx & bits == bits;
        __cpuid_count(0, 0).eax >= LAST_LEAF && has(LAST_LEAF, BF16 | TILES) && permitted()
    })
}

/// Asks Linux for permission to use tiles, whose 8 KiB per thread it saves only for processes that asked. The
/// permission holds for all threads.
#[cfg(target_os = "linux")]
fn permitted() -> bool {
    const ARCH_PRCTL: i64 = 158;
    const ARCH_REQ_XCOMP_PERM: u64 = 0x1023;
    const TILE_DATA: u64 = 18;
    let result: i64;
    // SAFETY: this system call touches no memory of ours; the registers that it overwrites are named.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") ARCH_PRCTL => result,
            in("rdi") ARCH_REQ_XCOMP_PERM,
            in("rsi") TILE_DATA,
            out("rcx") _,
            out("r11") _,
            options(nostack)
        );
    }
    result == 0
}

/// Returns false: permission is requested on Linux only.
#[cfg(not(target_os = "linux"))]
fn permitted() -> bool {
    false
}

/// Shapes of the eight tiles, in the format of the configuration instruction.
#[repr(C, align(64))]
struct Shapes {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    row_bytes: [u16; 16],
    rows: [u8; 16],
}

static SHAPES: Shapes = {
    let (mut row_bytes, mut rows) = ([0; 16], [0; 16]);
    let mut tile = 0;
    while tile < 8 {
        row_bytes[tile] = 64;
        rows[tile] = TILE as u8;
        tile += 1;
    }
    Shapes { palette: 1, start_row: 0, reserved: [0; 14], row_bytes, rows }
};

/// The assembly of a multiply of one or two columns of tiles; the four lists are the instructions of the
/// second column.
///
/// Tiles 0 and 1 hold the first column of sums, 2 and 3 the second; 4 and 5 hold operand a, 6 and 7 operand
/// b. The first multiply of a step needs two of the four loads, so that it need not wait for all.
macro_rules! multiply {
    (
        $operands:ident, $offsets:ident, $sums:ident, $accumulate:ident,
        [$($begin:literal)*], [$($second_load:literal)*], [$($second:literal)*], [$($end:literal)*]
    ) => {
        asm!(
            "test {accumulate:e}, {accumulate:e}",
            "jz 2f",
            "tileloadd tmm0, [{sums} + {line}]",
            "tileloadd tmm1, [{sums} + {line} + 1024]",
            $($begin,)*
            "jmp 3f",
            "2:",
            "tilezero tmm0",
            "tilezero tmm1",
            "tilezero tmm2",
            "tilezero tmm3",
            "3:",
            "cmp {offsets}, {end}",
            "je 5f",
            "4:",
            "mov {place:e}, dword ptr [{offsets}]",
            "add {place}, {a}",
            "tileloadd tmm4, [{place} + {a_row}]",
            "tileloadd tmm6, [{b} + {line}]",
            "add {place}, {a_tile}",
            "tdpbf16ps tmm0, tmm4, tmm6",
            "tileloadd tmm5, [{place} + {a_row}]",
            "lea {place}, [{b} + {b_tile}]",
            "tdpbf16ps tmm1, tmm5, tmm6",
            $($second_load,)*
            $($second,)*
            "add {b}, {b_step}",
            "add {offsets}, 4",
            "cmp {offsets}, {end}",
            "jne 4b",
            "5:",
            "tilestored [{sums} + {line}], tmm0",
            "tilestored [{sums} + {line} + 1024], tmm1",
            $($end,)*
            accumulate = in(reg) u32::from($accumulate),
            sums = in(reg) $sums,
            line = in(reg) 64usize,
            place = out(reg) _,
            a = in(reg) $operands.a,
            a_row = in(reg) $operands.a_row * VALUE,
            a_tile = in(reg) $operands.a_tile * VALUE,
            b = inout(reg) $operands.b => _,
            b_tile = in(reg) $operands.b_tile * VALUE,
            b_step = in(reg) $operands.b_step * VALUE,
            offsets = inout(reg) $offsets.as_ptr() => _,
            end = in(reg) $offsets.as_ptr_range().end,
            out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
            out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
            options(nostack)
        )
    };
}

/// The configured tiles of this thread, all of full size. Dropping the value releases them.
pub(crate) struct Tiles(PhantomData<*const ()>);

impl Tiles {
    /// Configures the tiles of this thread.
    ///
    /// # Safety
    /// [`available`] must have returned true.
    #[inline(always)]
    pub(super) unsafe fn new() -> Tiles {
        // SAFETY: the machine has the instruction (caller), the shapes are ones that it has.
        unsafe {
            asm!("ldtilecfg [{}]", in(reg) &raw const SHAPES, options(nostack, readonly, preserves_flags))
        };
        Tiles(PhantomData)
    }

    /// Multiplies; see [`super::Tiles::multiply`].
    ///
    /// # Safety
    /// See [`super::Tiles::multiply`].
    #[inline(always)]
    pub(super) unsafe fn multiply<const COLUMNS: usize>(
        &self,
        operands: Operands,
        offsets: &[u32],
        sums: *mut f32,
        accumulate: bool,
    ) {
        if offsets.is_empty() && accumulate {
            return;
        }
        // SAFETY: the tiles are configured, since `self` exists; the caller promises that operands and sums
        // are valid.
        unsafe {
            if COLUMNS == 1 {
                multiply!(operands, offsets, sums, accumulate, [], [], [], [])
            } else {
                multiply!(
                    operands, offsets, sums, accumulate,
                    ["tileloadd tmm2, [{sums} + {line} + 2048]" "tileloadd tmm3, [{sums} + {line} + 3072]"],
                    ["tileloadd tmm7, [{place} + {line}]"],
                    ["tdpbf16ps tmm2, tmm4, tmm7" "tdpbf16ps tmm3, tmm5, tmm7"],
                    ["tilestored [{sums} + {line} + 2048], tmm2" "tilestored [{sums} + {line} + 3072], tmm3"]
                )
            }
        }
    }
}

impl Drop for Tiles {
    #[inline(always)]
    fn drop(&mut self) {
        // SAFETY: the machine has the instruction, since `self` exists. Threads without tiles cost the system
        // less to switch.
        unsafe { asm!("tilerelease", options(nomem, nostack, preserves_flags)) };
    }
}
