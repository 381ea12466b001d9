//! TIFF files as scanners, office programs and libraries write them.

use super::*;

/// How a file is written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Form {
    little: bool,
    /// With offsets of 64 bits.
    big: bool,
}

pub(super) const USUAL: Form = Form { little: true, big: false };

const FORMS: [Form; 4] = [
    USUAL,
    Form { little: false, big: false },
    Form { little: true, big: true },
    Form { little: false, big: true },
];

impl Form {
    /// The last so many bytes of a number, in the file's order.
    fn number(self, value: usize, bytes: usize) -> Vec<u8> {
        let mut number = value.to_be_bytes()[8 - bytes..].to_vec();
        if self.little {
            number.reverse();
        }
        number
    }

    /// A file of one picture whose samples are all in `parts`, its strips or tiles.
    fn file(self, parts: &[&[u8]], tags: &[(u16, Vec<usize>)]) -> Vec<u8> {
        let [offset, count, header] = if self.big { [8, 8, 16] } else { [4, 2, 8] };
        let start = if self.little { b"II" } else { b"MM" };
        let mut tags = tags.to_vec();
        let tiled = tags.iter().any(|(tag, _)| *tag == 322);
        let places = parts.iter().scan(header, |at, part| {
            *at += part.len();
            Some(*at - part.len())
        });
        for (tag, values) in [
            (if tiled { 324 } else { 273 }, places.collect::<Vec<_>>()),
            (if tiled { 325 } else { 279 }, parts.iter().map(|part| part.len()).collect()),
        ] {
            if tags.iter().all(|(other, _)| *other != tag) {
                tags.push((tag, values));
            }
        }
        tags.sort();
        let mut behind = parts.concat(); // what lies between the header and the directory
        let mut directory = self.number(tags.len(), count);
        for (tag, values) in &tags {
            let (kind, bytes) =
                if matches!(tag, 256 | 257 | 273 | 278 | 279 | 322..=325) { (4, 4) } else { (3, 2) };
            let mut value: Vec<u8> = values.iter().flat_map(|&value| self.number(value, bytes)).collect();
            if value.len() > offset {
                let place = self.number(header + behind.len(), offset);
                behind.append(&mut value);
                value = place;
            }
            value.resize(offset, 0);
            let numbers =
                [self.number((*tag).into(), 2), self.number(kind, 2), self.number(values.len(), offset)];
            directory.extend([numbers.concat(), value].concat());
        }
        directory.extend(vec![0; offset]);
        let version = if self.big {
            [43, 8, 0].map(|number| self.number(number, 2)).concat()
        } else {
            self.number(42, 2)
        };
        let place = self.number(header + behind.len(), offset);
        [&start[..], &version, &place, &behind, &directory].concat()
    }
}

/// Tags of a picture of one strip, in samples of so many bits.
fn tags(size: (u32, u32), interpretation: usize, samples: usize, bits: usize) -> Vec<(u16, Vec<usize>)> {
    let (width, height) = (size.0 as usize, size.1 as usize);
    vec![
        (256, vec![width]),
        (257, vec![height]),
        (258, vec![bits; samples]),
        (259, vec![1]),
        (262, vec![interpretation]),
        (277, vec![samples]),
        (278, vec![height]),
    ]
}

/// The same, with others in their place or beside them.
fn with(mut tags: Vec<(u16, Vec<usize>)>, others: &[(u16, &[usize])]) -> Vec<(u16, Vec<usize>)> {
    tags.retain(|(tag, _)| others.iter().all(|(other, _)| tag != other));
    tags.extend(others.iter().map(|(tag, values)| (*tag, values.to_vec())));
    tags
}

/// An uncompressed TIFF of 24 bits a pixel, with tags beside those that describe the pixels.
pub(super) fn tiff(image: &RgbImage, more: &[(u16, u32)]) -> Vec<u8> {
    let more: Vec<_> = more.iter().map(|(tag, value)| (*tag, [*value as usize])).collect();
    let more: Vec<_> = more.iter().map(|(tag, value)| (*tag, &value[..])).collect();
    USUAL.file(&[image.as_raw()], &with(tags(image.dimensions(), 2, 3, 8), &more))
}

/// Rows of samples of so many bits, each row from a byte of its own.
fn packed(samples: &[u8], width: usize, bits: usize) -> Vec<u8> {
    let per_byte = 8 / bits;
    let byte = |samples: &[u8]| {
        (0..per_byte).fold(0, |byte, at| (u16::from(byte) << bits) as u8 | samples.get(at).unwrap_or(&0))
    };
    samples.chunks(width).flat_map(|row| row.chunks(per_byte).map(byte)).collect()
}

/// Each sample in 16 bits of the usual form.
fn doubled(samples: &[u8]) -> Vec<u8> {
    samples.iter().flat_map(|&sample| [sample; 2]).collect()
}

const SIZE: (u32, u32) = (13, 9);

/// Numbers of a palette of so many bits, the palette, and the picture that they make; the map has all reds before
/// all greens.
fn indexed(bits: usize) -> (Vec<u8>, Vec<usize>, RgbImage) {
    let colour = |index: usize| [index * 50 % 256, 255 - index, index * 7 % 256];
    let index = |x: u32, y: u32| (x as usize * 5 + y as usize * 3) % (1 << bits);
    let indices = (0..SIZE.1).flat_map(|y| (0..SIZE.0).map(move |x| index(x, y) as u8)).collect();
    let map = (0..3).flat_map(|channel| (0..1 << bits).map(move |index| colour(index)[channel])).collect();
    (indices, map, RgbImage::from_fn(SIZE.0, SIZE.1, |x, y| Rgb(colour(index(x, y)).map(|s| s as u8))))
}

#[test]
fn a_palette_is_looked_up() {
    for bits in [1, 2, 4, 8] {
        let (indices, map, expected) = indexed(bits);
        let pixels = packed(&indices, SIZE.0 as usize, bits);
        let tags = tags(SIZE, 3, 1, bits);
        for form in FORMS {
            // As the standard says, as libraries round, and of 8 bits.
            for scale in [257, 256, 1] {
                let map: Vec<_> = map.iter().map(|sample| sample * scale).collect();
                let file = form.file(&[&pixels], &with(tags.clone(), &[(320, &map)]));
                assert_eq!(decode(&file).unwrap(), expected, "{bits} bits, {form:?}, scale {scale}");
            }
        }
    }
}

#[test]
fn a_palette_is_turned_and_has_transparent_pixels_on_white() {
    let (indices, map, expected) = indexed(8);
    let map: Vec<_> = map.iter().map(|sample| sample * 257).collect();
    let turned = USUAL.file(&[&indices], &with(tags(SIZE, 3, 1, 8), &[(320, &map), (274, &[3])]));
    assert_eq!(decode(&turned).unwrap(), stored(&expected, Orientation::Rotate180));
    let nothing: Vec<u8> = indices.iter().flat_map(|&index| [index, 0]).collect();
    let file = USUAL.file(&[&nothing], &with(tags(SIZE, 3, 2, 8), &[(320, &map), (338, &[2])]));
    assert_eq!(decode(&file).unwrap(), RgbImage::from_pixel(SIZE.0, SIZE.1, Rgb([255; 3])));
}

#[test]
fn strips_and_tiles_are_put_together() {
    let image = picture(37, 23);
    let rows: Vec<&[u8]> = image.as_raw().chunks(3 * 37 * 5).collect();
    let strips = USUAL.file(&rows, &with(tags((37, 23), 2, 3, 8), &[(278, &[5])]));
    assert_eq!(decode(&strips).unwrap(), image);

    let (indices, map, _) = indexed(8);
    let wide = RgbImage::from_fn(37, 23, |x, y| {
        let index = usize::from(indices[(x + y) as usize]);
        Rgb([0, 1, 2].map(|channel| map[channel * 256 + index] as u8))
    });
    let tiles: Vec<Vec<u8>> = [0, 16]
        .into_iter()
        .flat_map(|top| [0, 16, 32].map(|left| (left, top)))
        .map(|(left, top)| {
            let places = (top..top + 16).flat_map(|y| (left..left + 16).map(move |x| (x, y)));
            places.map(|(x, y)| if x < 37 && y < 23 { indices[x + y] } else { 99 }).collect()
        })
        .collect();
    let tiles: Vec<&[u8]> = tiles.iter().map(Vec::as_slice).collect();
    let more = [(320, &map[..]), (322, &[16]), (323, &[16])];
    let mut tags = with(tags((37, 23), 3, 1, 8), &more);
    tags.retain(|(tag, _)| *tag != 278);
    assert_eq!(decode(&USUAL.file(&tiles, &tags)).unwrap(), wide);
}

#[test]
fn samples_of_each_colour_may_lie_apart() {
    let image = picture(20, 11);
    let plane = |channel: usize| image.as_raw().iter().skip(channel).step_by(3).copied().collect::<Vec<u8>>();
    let planes = [0, 1, 2].map(plane);
    let [red, green, blue] = planes.each_ref().map(Vec::as_slice);
    let apart = with(tags(image.dimensions(), 2, 3, 8), &[(284, &[2])]);
    assert_eq!(decode(&USUAL.file(&[red, green, blue], &apart)).unwrap(), image);
    // In two strips each, the first of seven rows; with a plane that says what is transparent.
    let opaque = vec![255; red.len()];
    let [first, second] = [0, 1].map(|half| {
        [red, green, blue, &opaque].map(|plane| if half == 0 { &plane[..140] } else { &plane[140..] })
    });
    let strips: Vec<&[u8]> = first.into_iter().zip(second).flat_map(|(a, b)| [a, b]).collect();
    let apart = with(tags(image.dimensions(), 2, 4, 8), &[(284, &[2]), (278, &[7]), (338, &[2])]);
    assert_eq!(decode(&USUAL.file(&strips, &apart)).unwrap(), image);
}

#[test]
fn grey_of_few_bits_spans_black_to_white() {
    for bits in [1, 2, 4, 8] {
        let most = (1u16 << bits) - 1;
        let samples: Vec<u8> =
            (0..SIZE.0 * SIZE.1).map(|at| (at * 3 % (u32::from(most) + 1)) as u8).collect();
        let expected = RgbImage::from_fn(SIZE.0, SIZE.1, |x, y| {
            let sample = u16::from(samples[(y * SIZE.0 + x) as usize]);
            Rgb([(sample * 255 / most) as u8; 3])
        });
        let inverted: Vec<u8> = samples.iter().map(|sample| most as u8 - sample).collect();
        for (interpretation, samples) in [(1, samples), (0, inverted)] {
            let pixels = packed(&samples, SIZE.0 as usize, bits);
            let file = USUAL.file(&[&pixels], &tags(SIZE, interpretation, 1, bits));
            assert_eq!(decode(&file).unwrap(), expected, "{bits} bits, interpretation {interpretation}");
        }
    }
}

#[test]
fn every_kind_of_tiff_becomes_rgb_on_white() {
    // Interpretation, the samples of each pixel, what samples behind the colour mean, and the colour.
    type Case = (&'static str, usize, &'static [u8], Option<usize>, [u8; 3]);
    let cases: [Case; 14] = [
        ("grey", 1, &[7], None, [7; 3]),
        ("grey with alpha", 1, &[0, 64], Some(2), [191; 3]),
        ("grey and something else", 1, &[9, 64], Some(0), [9; 3]),
        ("rgb", 2, &[1, 2, 3], None, [1, 2, 3]),
        ("rgb and something else", 2, &[1, 2, 3, 0], Some(0), [1, 2, 3]),
        ("ink on nothing", 2, &[0, 0, 0, 0], Some(2), [255; 3]),
        ("half transparent", 2, &[0, 100, 255, 128], Some(2), [127, 177, 255]),
        ("multiplied already", 2, &[0, 50, 128, 128], Some(1), [127, 177, 255]),
        ("inks", 5, &[255, 0, 0, 0], None, [0, 255, 255]),
        ("inks under black", 5, &[0, 0, 51, 51], None, [204, 204, 163]),
        ("inks on nothing", 5, &[0, 0, 0, 255, 0], Some(2), [255; 3]),
        ("luma and chroma", 6, &[100, 128, 128], None, [100; 3]),
        ("red by chroma", 6, &[76, 85, 255], None, [254, 0, 0]),
        ("blue by chroma", 6, &[29, 255, 107], None, [0, 0, 254]),
    ];
    for (name, interpretation, pixel, extra, expected) in cases {
        let pixels = pixel.repeat((SIZE.0 * SIZE.1) as usize);
        let expected = RgbImage::from_pixel(SIZE.0, SIZE.1, Rgb(expected));
        let mut tags = with(tags(SIZE, interpretation, pixel.len(), 8), &[(530, &[1, 1])]);
        tags.extend(extra.map(|extra| (338, vec![extra])));
        assert_eq!(decode(&USUAL.file(&[&pixels], &tags)).unwrap(), expected, "{name}");
        if interpretation != 6 {
            let tags = with(tags, &[(258, &vec![16; pixel.len()])]);
            assert_eq!(
                decode(&USUAL.file(&[&doubled(&pixels)], &tags)).unwrap(),
                expected,
                "{name}, 16 bits"
            );
        }
    }
}

#[test]
fn a_jpeg_inside_a_tiff_comes_out_in_its_colours() {
    let jpeg = file("rgb");
    let tags = with(tags((24, 16), 6, 3, 8), &[(259, &[7])]);
    let image = decode(&USUAL.file(&[&jpeg], &tags)).unwrap();
    let differences = image.as_raw().iter().zip(decode(&jpeg).unwrap().into_raw());
    assert!(differences.map(|(a, b)| a.abs_diff(b)).max().unwrap() <= 2);
}

#[test]
fn a_coding_of_tiff_that_is_not_read_has_a_name() {
    let pixels = [0; 4 * 13 * 9];
    let file = |tags: Vec<(u16, Vec<usize>)>| USUAL.file(&[&pixels], &tags);
    let by = |compression: usize| with(tags(SIZE, 1, 1, 8), &[(259, &[compression])]);
    for (tags, coding) in [
        (by(2), "Huffman coding of fax machines"),
        (by(3), "fax coding of group 3"),
        (by(6), "JPEG coding of the old style"),
        (with(tags(SIZE, 1, 2, 8), &[(259, &[7])]), "JPEG coding of 2 samples a pixel"),
        (by(50_000), "Zstandard compression"),
        (by(50_001), "WebP compression"),
        (by(34_925), "LZMA compression"),
        (by(34_676), "compression number 34676"),
        (tags(SIZE, 8, 3, 8), "L*a*b* colours"),
        (tags(SIZE, 4, 1, 1), "a mask in place of a picture"),
        (with(tags(SIZE, 1, 1, 32), &[(339, &[3])]), "samples of 32 bits in floating point"),
        (with(tags(SIZE, 1, 1, 32), &[(339, &[2])]), "samples of 32 bits with a sign"),
        (tags(SIZE, 1, 1, 32), "samples of 32 bits"),
    ] {
        let text = format!("a TIFF image with {coding}, which is not read: convert it to JPEG or PNG");
        assert_eq!(reason(&file(tags)), text);
    }
}

/// A palette without a map, with a short one, or whose file is cut, is none.
#[test]
fn a_broken_palette_is_refused() {
    let (indices, map, _) = indexed(8);
    let file = |map: &[usize]| USUAL.file(&[&indices], &with(tags(SIZE, 3, 1, 8), &[(320, map)]));
    assert!(reason(&USUAL.file(&[&indices], &tags(SIZE, 3, 1, 8))).starts_with("the image is damaged: "));
    assert!(reason(&file(&map[..48])).contains("a palette of 16 colours for samples of 8 bits"));
    let whole = file(&map);
    for cut in 0..whole.len() {
        assert!(decode(&whole[..cut]).is_err(), "cut to {cut} of {} bytes", whole.len());
    }
}
