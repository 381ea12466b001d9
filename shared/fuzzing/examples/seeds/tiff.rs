//! TIFF files of the forms that the writer of images does not make.

use crate::{Seed, seed};

const WIDTH: u16 = 0x100;
const HEIGHT: u16 = 0x101;
const BITS: u16 = 0x102;
const COMPRESSION: u16 = 0x103;
const INTERPRETATION: u16 = 0x106;
const STRIP_OFFSETS: u16 = 0x111;
const SAMPLES: u16 = 0x115;
const STRIP_ROWS: u16 = 0x116;
const STRIP_BYTES: u16 = 0x117;
const PLANES: u16 = 0x11c;
const COLOUR_MAP: u16 = 0x140;
const TILE_WIDTH: u16 = 0x142;
const TILE_HEIGHT: u16 = 0x143;
const TILE_OFFSETS: u16 = 0x144;
const TILE_BYTES: u16 = 0x145;

/// What of a picture a part holds.
enum Part {
    Strip,
    Tile,
}

/// A little-endian file of one directory, all of whose values are 16-bit numbers: its entries but those that say where the parts
/// are.
fn tiff(part: Part, entries: &[(u16, &[u16])], parts: &[&[u8]]) -> Vec<u8> {
    let mut bytes = b"II*\0\0\0\0\0".to_vec();
    let mut offsets = Vec::new();
    for part in parts {
        offsets.push(bytes.len() as u16);
        bytes.extend_from_slice(part);
    }
    let lengths: Vec<u16> = parts.iter().map(|part| part.len() as u16).collect();
    let [at, long] = match part {
        Part::Strip => [STRIP_OFFSETS, STRIP_BYTES],
        Part::Tile => [TILE_OFFSETS, TILE_BYTES],
    };
    let mut entries = entries.to_vec();
    entries.extend([(at, &offsets[..]), (long, &lengths[..])]);
    entries.sort();
    let mut directory = (entries.len() as u16).to_le_bytes().to_vec();
    for (tag, values) in entries {
        let mut field: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        // Values that do not fit into the entry lie elsewhere in the file.
        if field.len() > 4 {
            let place = bytes.len() as u32;
            bytes.extend_from_slice(&field);
            field = place.to_le_bytes().to_vec();
        }
        field.resize(4, 0);
        directory.extend([tag, 3].map(u16::to_le_bytes).concat());
        directory.extend((values.len() as u32).to_le_bytes());
        directory.extend(field);
    }
    directory.extend([0; 4]);
    let place = bytes.len() as u32;
    bytes[4..8].copy_from_slice(&place.to_le_bytes());
    [bytes, directory].concat()
}

/// Pack bits: as many bytes as they come, and one repeated.
const PACKED: &[u8] = &[3, 10, 20, 30, 40, 0xfd, 50];

pub fn seeds() -> Vec<Seed> {
    let grey = [(BITS, &[8u16][..]), (SAMPLES, &[1])];
    let colours = [(BITS, &[8u16, 8, 8][..]), (SAMPLES, &[3]), (INTERPRETATION, &[2])];
    let sides = [(WIDTH, &[6u16][..]), (HEIGHT, &[4])];
    let by_strips = [(COMPRESSION, &[1u16][..]), (STRIP_ROWS, &[2])];
    let map: Vec<u16> = (0..48).map(|at| at * 1365).collect();
    let palette = |bits: &'static [u16], map| {
        [&sides[..], &by_strips, &[(BITS, bits), (SAMPLES, &[1]), (INTERPRETATION, &[3]), (COLOUR_MAP, map)]]
            .concat()
    };
    let tiles = [
        &sides[..],
        &grey,
        &[(COMPRESSION, &[1]), (INTERPRETATION, &[1]), (TILE_WIDTH, &[16]), (TILE_HEIGHT, &[16])],
    ];
    let planes = [&sides[..], &colours, &by_strips, &[(PLANES, &[2])]].concat();
    let packed =
        [&sides[..1], &[(HEIGHT, &[1])], &grey, &[(COMPRESSION, &[32_773]), (INTERPRETATION, &[0])]].concat();
    let rows = [7; 12];
    vec![
        seed(
            "palette-of-4-bits.tiff",
            tiff(Part::Strip, &palette(&[4], &map), &[b"\x01\x23\x45\x67\x89\xab", b"\xcd\xef\0\0\x11\x11"]),
        ),
        seed(
            "number-without-a-colour.tiff",
            tiff(Part::Strip, &palette(&[8], &map), &[&[200; 12], &[15; 12]]),
        ),
        seed("palette-without-colours.tiff", tiff(Part::Strip, &palette(&[8], &[]), &[&rows, &rows])),
        seed("tiles.tiff", tiff(Part::Tile, &tiles.concat(), &[&[99; 256]])),
        seed("planes.tiff", tiff(Part::Strip, &planes, &[&rows, &rows, &rows, &rows, &rows, &rows])),
        seed("planes-cut.tiff", tiff(Part::Strip, &planes, &[&rows, &rows, &rows[..5]])),
        seed("pack-bits.tiff", tiff(Part::Strip, &packed, &[PACKED])),
        seed(
            "60000-by-60000.tiff",
            tiff(
                Part::Strip,
                &[&[(WIDTH, &[60_000][..]), (HEIGHT, &[60_000])], &grey[..], &[(INTERPRETATION, &[1])]]
                    .concat(),
                &[&rows],
            ),
        ),
    ]
}
