//! Codings that readers show and few programs write, and pictures as large as telephones make them.

use super::*;

/// 13 x 9 numbers of a palette of 16 colours, and the picture that they make.
fn indexed() -> (Vec<u8>, Vec<[u8; 3]>, RgbImage) {
    let colours: Vec<_> = (0..16).map(|index| [index * 16, 255 - index, index * 5]).collect();
    let indices: Vec<u8> = (0..13 * 9).map(|at| (at % 13 / 3 + at / 13) as u8).collect();
    let image = RgbImage::from_fn(13, 9, |x, y| Rgb(colours[usize::from(indices[(y * 13 + x) as usize])]));
    (indices, colours, image)
}

/// A bitmap of these bits a pixel and this compression.
fn bmp([width, height]: [i32; 2], [bits, compression]: [u32; 2], between: &[u8], pixels: &[u8]) -> Vec<u8> {
    let start = 54 + between.len();
    let colours = if bits <= 8 { between.len() as u32 / 4 } else { 0 };
    let longs = |values: &[u32]| values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>();
    let file = longs(&[(start + pixels.len()) as u32, 0, start as u32, 40]);
    let picture = longs(&[bits << 16 | 1, compression, pixels.len() as u32, 0, 0, colours, 0]);
    let sides = [width.to_le_bytes(), height.to_le_bytes()].concat();
    [b"BM".to_vec(), file, sides, picture, between.to_vec(), pixels.to_vec()].concat()
}

#[test]
fn run_lengths_of_a_bitmap_are_unpacked() {
    let (indices, colours, expected) = indexed();
    let palette: Vec<u8> = colours.iter().flat_map(|&[red, green, blue]| [blue, green, red, 0]).collect();
    for (bits, compression) in [(8, 1), (4, 2)] {
        // Rows from the lowest up, each pixel a run of one.
        let run = |index: &u8| [1, if bits == 8 { *index } else { index << 4 }];
        let rows =
            indices.chunks(13).rev().map(|row| [row.iter().flat_map(run).collect(), vec![0, 0]].concat());
        let pixels = [rows.collect::<Vec<_>>().concat(), vec![0, 1]].concat();
        let file = bmp([13, 9], [bits, compression], &palette, &pixels);
        assert_eq!(decode(&file).unwrap(), expected, "{bits} bits");
    }
}

#[test]
fn bitmaps_of_16_bits_and_from_the_top_down_are_read() {
    let image = RgbImage::from_fn(4, 3, |x, y| Rgb([(x * 8 * 9) as u8 & 0xF8, (y * 64) as u8, 0xF8]));
    let near = |file: &[u8]| {
        let found = decode(file).unwrap();
        assert_eq!(found.dimensions(), (4, 3));
        assert!(found.as_raw().iter().zip(image.as_raw()).all(|(a, b)| a.abs_diff(*b) <= 8));
    };
    let five = |sample: u8| u16::from(sample) >> 3;
    let packed = |pack: fn(u16, u16, u16) -> u16| -> Vec<u8> {
        let rows = image.as_raw().chunks(12).rev();
        rows.flat_map(|row| row.chunks(3))
            .flat_map(|p| pack(five(p[0]), five(p[1]), five(p[2])).to_le_bytes())
            .collect()
    };
    near(&bmp([4, 3], [16, 0], b"", &packed(|red, green, blue| red << 10 | green << 5 | blue)));
    let masks: Vec<u8> = [0xF800u32, 0x07E0, 0x001F].iter().flat_map(|mask| mask.to_le_bytes()).collect();
    near(&bmp([4, 3], [16, 3], &masks, &packed(|red, green, blue| red << 11 | green << 6 | blue)));
    let rows: Vec<u8> = image.as_raw().chunks(3).flat_map(|pixel| [pixel[2], pixel[1], pixel[0]]).collect();
    near(&bmp([4, -3], [24, 0], b"", &rows));
}

#[test]
fn an_interlaced_gif_is_put_together() {
    let (indices, colours, expected) = indexed();
    let rows = [(0, 8), (4, 8), (2, 4), (1, 2)].into_iter().flat_map(|(top, step)| (top..9).step_by(step));
    let lines: Vec<u8> = rows.flat_map(|y| indices[y * 13..][..13].to_vec()).collect();
    // Codes stay bytes for as long as there are few of them: 128 forgets them, 129 ends.
    let codes = [lines.chunks(100).flat_map(|part| [&[128], part].concat()).collect(), vec![129]].concat();
    let blocks: Vec<u8> =
        codes.chunks(255).flat_map(|block| [&[block.len() as u8], block].concat()).collect();
    let screen = b"GIF89a\x0D\0\x09\0\x83\0\0"; // with a palette of 16 colours
    let frame = b",\0\0\0\0\x0D\0\x09\0\x40\x07";
    let file = [&screen[..], &colours.concat(), frame, &blocks, b"\0;"].concat();
    assert_eq!(decode(&file).unwrap(), expected);
}

#[test]
fn the_first_picture_of_a_moving_png_is_read() {
    let still = |colour: [u8; 3]| deflated(&[&[0][..], &colour].concat());
    let control = |number: u8| {
        let sides = [0, 0, 0, number, 0, 0, 0, 1, 0, 0, 0, 1];
        chunk(b"fcTL", &[&sides[..], &[0; 8], &[0, 1, 0, 10, 0, 0]].concat())
    };
    let second = chunk(b"fdAT", &[&[0, 0, 0, 2][..], &still([9, 9, 9])].concat());
    let pixels = chunk(b"IDAT", &still([200, 10, 20]));
    let moving = chunk(b"acTL", &[0, 0, 0, 2, 0, 0, 0, 0]);
    let file = chunks(1, 1, [8, 2, 0], &[moving, control(0), pixels, control(1), second]);
    assert_eq!(decode(&file).unwrap().get_pixel(0, 0).0, [200, 10, 20]);
}

#[test]
fn a_photograph_of_108_megapixels_is_read() {
    let row = vec![0; 1 + 12_000 / 8];
    let file = chunks(12_000, 9_000, [1, 0, 0], &[chunk(b"IDAT", &deflated(&row.repeat(9_000)))]);
    let image = decode(&file).unwrap();
    assert_eq!((image.dimensions(), image.get_pixel(11_999, 8_999).0), ((12_000, 9_000), [0; 3]));
}
