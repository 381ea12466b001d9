//! Dropout whose mask is a pure function of (seed of the row, position), so that forward, backward and any
//! replay of a step agree on it without storing it, on every instruction set.

use crate::Isa;

/// Zeroes each value with probability `drop` (`0 <= drop < 1`) and scales what is kept by `1 / (1 - drop)`;
/// `rows` is `[seeds.len()][width]`. Applied to the gradient with the same seeds, it is its own backward.
pub fn dropout(_isa: Isa, seeds: &[u64], drop: f32, rows: &mut [f32]) {
    assert!((0.0..1.0).contains(&drop), "dropout: expected a rate in 0..1, found {drop}");
    if seeds.is_empty() {
        assert!(rows.is_empty(), "dropout: expected no values for no rows, found {}", rows.len());
        return;
    }
    assert!(
        rows.len().is_multiple_of(seeds.len()),
        "dropout: expected {} rows of equal width, found {} values",
        seeds.len(),
        rows.len()
    );
    let width = rows.len() / seeds.len();
    if width == 0 {
        return;
    }
    // A hash is uniform over 2^32 values; those below the threshold drop.
    let threshold = (f64::from(drop) * 2f64.powi(32)) as u32;
    let scale = 1.0 / (1.0 - drop);
    for (row, &seed) in rows.chunks_exact_mut(width).zip(seeds) {
        apply(key(seed), threshold, scale, row);
    }
}

#[inline(always)]
fn apply(key: [u32; 2], threshold: u32, scale: f32, row: &mut [f32]) {
    for (position, value) in row.iter_mut().enumerate() {
        *value = if hash(key, position as u32) >= threshold { *value * scale } else { 0.0 };
    }
}

/// Two independent words of a row's seed (the finaliser of SplitMix64), so that neighbouring seeds have
/// unrelated masks.
fn key(seed: u64) -> [u32; 2] {
    let mut bits = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^= bits >> 31;
    [bits as u32, (bits >> 32) as u32]
}

/// The hash of one position: two rounds of MurmurHash3's 32-bit finaliser, each after one word of the key.
#[inline(always)]
fn hash(key: [u32; 2], position: u32) -> u32 {
    mix(mix(position ^ key[0]) ^ key[1])
}

#[inline(always)]
fn mix(mut bits: u32) -> u32 {
    bits = (bits ^ (bits >> 16)).wrapping_mul(0x85eb_ca6b);
    bits = (bits ^ (bits >> 13)).wrapping_mul(0xc2b2_ae35);
    bits ^ (bits >> 16)
}
