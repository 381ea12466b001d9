//! The crops of an image that are classified in an evaluation (paper, section 7).
//!
//! The image is resized to one or four scales, squares are taken from it along its longer side, and from each
//! square its corners, its centre and the square itself, each as it is and mirrored. The paper does not say
//! from what one crop and ten crops are taken: here it is the middle square at the first scale, which is 256
//! / 224 of the input size.

use std::fmt;
use std::str::FromStr;

use settings::Resize;

/// Shorter side of the resized image in pixels, for each scale, at an input size of 224 pixels.
const SCALES: [u32; 4] = [256, 288, 320, 352];

/// The number of crops of each image that are classified in an evaluation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Crops {
    /// 1 crop: the centre of the image, which is first resized to 256/224 of the input size.
    One,
    /// 10 crops: the four corners and the centre of the middle square of the image, which is first resized to
    /// 256/224 of the input size, and the mirror of each.
    Ten,
    /// 144 crops, as in the GoogLeNet paper: the image at four scales, three squares at each scale, six crops
    /// of each square (four corners, the centre and the whole square), and the mirror of each.
    All,
}

/// An error: a number of crops other than 1, 10 and 144.
#[derive(Debug, thiserror::Error)]
#[error("expected 1, 10 or 144 crops, found {0}")]
pub struct CropsError(String);

impl Crops {
    /// Returns the number of crops of one image: 1, 10 or 144.
    pub fn count(self) -> usize {
        match self {
            Crops::One => 1,
            Crops::Ten => 10,
            Crops::All => 144,
        }
    }
}

impl fmt::Display for Crops {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.count().fmt(f)
    }
}

impl FromStr for Crops {
    type Err = CropsError;

    fn from_str(text: &str) -> Result<Crops, CropsError> {
        match text {
            "1" => Ok(Crops::One),
            "10" => Ok(Crops::Ten),
            "144" => Ok(Crops::All),
            _ => Err(CropsError(text.into())),
        }
    }
}

/// An evaluation crop: a square of the resized image that becomes one input of the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EvaluationCrop {
    /// Width and height of the resized image in pixels.
    pub resized: [u32; 2],
    /// First column of the square in the resized image, from 0.
    pub left: u32,
    /// First row of the square in the resized image, from 0.
    pub top: u32,
    /// Side of the square in pixels of the resized image; the square is resized once more if the network's
    /// input has another size.
    pub side: u32,
    /// Whether the square is mirrored left to right.
    pub mirror: bool,
}

/// Returns the shorter side, in pixels, of the resized images from which single crops of `size` pixels are
/// taken.
pub(crate) fn first_scale(size: usize) -> usize {
    scaled(SCALES[0], size as u32) as usize
}

/// Returns a scale, given for inputs of 224 pixels, for inputs of `size` pixels.
fn scaled(scale: u32, size: u32) -> u32 {
    (f64::from(size) * f64::from(scale) / 224.0).round() as u32
}

/// Returns the width and height that an image of `width` x `height` pixels has after it is resized to the
/// scale `short`.
fn resized(resize: Resize, [width, height]: [u32; 2], short: u32) -> [u32; 2] {
    let ratio = f64::from(short) / f64::from(width.min(height));
    match resize {
        Resize::Square => [short; 2],
        Resize::ShorterSide => [width, height].map(|side| (f64::from(side) * ratio).round() as u32),
    }
}

/// Returns the crops of an image of `width` x `height` pixels that are classified in its evaluation at inputs
/// of `size` x `size` pixels. Each is followed by its mirror, except with [`Crops::One`]. With [`Crops::All`]
/// they are taken from three squares along the longer side of the image at each scale, which are the same for
/// a square image.
pub fn evaluation_crops(
    crops: Crops,
    resize: Resize,
    width: u32,
    height: u32,
    size: u32,
) -> Vec<EvaluationCrop> {
    let scales = if crops == Crops::All { &SCALES[..] } else { &SCALES[..1] };
    let mut all = Vec::with_capacity(crops.count());
    for &scale in scales {
        let resized @ [w, h] = resized(resize, [width, height], scaled(scale, size));
        let (short, spare) = (w.min(h), w.abs_diff(h));
        let squares = if crops == Crops::All { vec![0, spare / 2, spare] } else { vec![spare / 2] };
        for square in squares {
            let [x, y] = if w >= h { [square, 0] } else { [0, square] };
            let far = short - size;
            let corners = [[0, 0], [far, 0], [0, far], [far, far], [far / 2, far / 2]];
            let mut add = |[left, top]: [u32; 2], side| {
                let crop = EvaluationCrop { resized, left: x + left, top: y + top, side, mirror: false };
                all.push(crop);
                if crops != Crops::One {
                    all.push(EvaluationCrop { mirror: true, ..crop });
                }
            };
            match crops {
                Crops::One => add(corners[4], size),
                Crops::Ten | Crops::All => corners.into_iter().for_each(|corner| add(corner, size)),
            }
            if crops == Crops::All {
                add([0, 0], short);
            }
        }
    }
    all
}

/// Returns those of the crops that differ, in their order, each with the number of crops that are equal to it.
///
/// Crops are equal if they are made from the same rectangle of the original image, even if they are taken at
/// different scales, as the whole square is, and if both or neither are mirrored.
pub(crate) fn distinct(crops: &[EvaluationCrop]) -> Vec<(EvaluationCrop, u32)> {
    let mut found: Vec<(EvaluationCrop, u32)> = Vec::with_capacity(crops.len());
    for crop in crops {
        match found.iter_mut().find(|(other, _)| crop.equals(other)) {
            Some((_, count)) => *count += 1,
            None => found.push((*crop, 1)),
        }
    }
    found
}

impl EvaluationCrop {
    /// Returns whether two crops are made from the same rectangle of the original image, mirrored or not.
    fn equals(&self, other: &EvaluationCrop) -> bool {
        // A place in the original is a fraction of the resized image, whose sides may differ: a / b = c / d.
        let same = |one: u32, other_one: u32, axis: usize| {
            u64::from(one) * u64::from(other.resized[axis])
                == u64::from(other_one) * u64::from(self.resized[axis])
        };
        self.mirror == other.mirror
            && same(self.left, other.left, 0)
            && same(self.top, other.top, 1)
            && same(self.side, other.side, 0)
            && same(self.side, other.side, 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the crops of one square, by hand: its offset, then the corners and the centre, then the whole.
    fn of_square(resized: [u32; 2], [x, y]: [u32; 2], far: u32, side: u32) -> Vec<EvaluationCrop> {
        let corners =
            [[x, y], [x + far, y], [x, y + far], [x + far, y + far], [x + far / 2, y + far / 2], [x, y]];
        let sides = [224, 224, 224, 224, 224, side];
        let both = |(at, side): ([u32; 2], u32)| {
            [false, true].map(|mirror| EvaluationCrop { resized, left: at[0], top: at[1], side, mirror })
        };
        corners.into_iter().zip(sides).flat_map(both).collect()
    }

    struct Case {
        name: &'static str,
        image: [u32; 2],
        /// Resized width and height, offsets of the three squares, distance of the far corners, side of the
        /// square.
        scales: [Scale; 4],
    }

    type Scale = ([u32; 2], [[u32; 2]; 3], u32, u32);

    /// 500 x 375 is 4:3, the shape of most ILSVRC photographs: the shorter side 375 goes to 256, 288, 320 and
    /// 352, the longer to 4/3 of it: 341.3, 384, 426.7 and 469.3.
    const TABLE: [Case; 3] = [
        Case {
            name: "landscape: left, centre, right",
            image: [500, 375],
            scales: [
                ([341, 256], [[0, 0], [42, 0], [85, 0]], 32, 256),
                ([384, 288], [[0, 0], [48, 0], [96, 0]], 64, 288),
                ([427, 320], [[0, 0], [53, 0], [107, 0]], 96, 320),
                ([469, 352], [[0, 0], [58, 0], [117, 0]], 128, 352),
            ],
        },
        Case {
            name: "portrait: top, centre, bottom",
            image: [375, 500],
            scales: [
                ([256, 341], [[0, 0], [0, 42], [0, 85]], 32, 256),
                ([288, 384], [[0, 0], [0, 48], [0, 96]], 64, 288),
                ([320, 427], [[0, 0], [0, 53], [0, 107]], 96, 320),
                ([352, 469], [[0, 0], [0, 58], [0, 117]], 128, 352),
            ],
        },
        Case {
            name: "square: three times the same",
            image: [400, 400],
            scales: [
                ([256, 256], [[0, 0]; 3], 32, 256),
                ([288, 288], [[0, 0]; 3], 64, 288),
                ([320, 320], [[0, 0]; 3], 96, 320),
                ([352, 352], [[0, 0]; 3], 128, 352),
            ],
        },
    ];

    #[test]
    fn the_144_crops_are_those_of_the_table() {
        for Case { name, image: [width, height], scales } in TABLE {
            let expected: Vec<EvaluationCrop> = scales
                .into_iter()
                .flat_map(|(resized, squares, far, side)| {
                    squares.into_iter().flat_map(move |square| of_square(resized, square, far, side))
                })
                .collect();
            let found = evaluation_crops(Crops::All, Resize::ShorterSide, width, height, 224);
            assert_eq!(found.len(), 144, "{name}");
            for (number, (found, expected)) in found.iter().zip(&expected).enumerate() {
                assert_eq!(found, expected, "{name}: crop {number}");
            }
        }
    }

    /// Written out in full once, for the landscape image's right square at the second scale.
    #[test]
    fn twelve_crops_of_one_square_in_full() {
        let all = evaluation_crops(Crops::All, Resize::ShorterSide, 500, 375, 224);
        let found: Vec<_> = all[5 * 12..6 * 12].iter().map(|v| (v.left, v.top, v.side, v.mirror)).collect();
        let expected = [
            (96, 0, 224, false),
            (96, 0, 224, true),
            (160, 0, 224, false),
            (160, 0, 224, true),
            (96, 64, 224, false),
            (96, 64, 224, true),
            (160, 64, 224, false),
            (160, 64, 224, true),
            (128, 32, 224, false),
            (128, 32, 224, true),
            (96, 0, 288, false),
            (96, 0, 288, true),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn one_and_ten_crops_are_of_the_middle_square() {
        let one = evaluation_crops(Crops::One, Resize::ShorterSide, 512, 256, 224);
        let crop = EvaluationCrop { resized: [512, 256], left: 144, top: 16, side: 224, mirror: false };
        assert_eq!(one, [crop]);
        let ten = evaluation_crops(Crops::Ten, Resize::ShorterSide, 512, 256, 224);
        let places: Vec<_> = ten.iter().step_by(2).map(|v| (v.left, v.top)).collect();
        assert_eq!(places, [(128, 0), (160, 0), (128, 32), (160, 32), (144, 16)]);
        assert!(ten.iter().skip(1).step_by(2).all(|crop| crop.mirror));
    }

    #[test]
    fn scales_follow_the_input_and_squashed_images_have_one_square() {
        // 64 * 256 / 224 = 73.1, 64 * 288 / 224 = 82.3, 91.4, 100.6.
        let small = evaluation_crops(Crops::All, Resize::Square, 500, 375, 64);
        let sides: Vec<_> = small.iter().step_by(36).map(|v| v.resized).collect();
        assert_eq!(sides, [[73; 2], [82; 2], [91; 2], [101; 2]]);
        assert!(small.iter().all(|v| v.left + v.side <= v.resized[0] && v.top + v.side <= v.resized[1]));
    }

    /// Caffe models squash their images into a square: three squares are one, and the whole of it is the same at
    /// all scales. The shorter side of a 3:2 photograph fits all scales without rounding, that of others does not.
    #[test]
    fn equal_crops_of_the_144_are_found_with_their_number() {
        let count = |resize, width, height| {
            let crops = evaluation_crops(Crops::All, resize, width, height, 224);
            let distinct = distinct(&crops);
            assert_eq!(distinct.iter().map(|(_, count)| *count).sum::<u32>(), 144);
            let wholes =
                distinct.iter().filter(|(crop, _)| crop.side == crop.resized[0].min(crop.resized[1]));
            (distinct.len(), wholes.map(|(_, count)| *count).collect::<Vec<_>>())
        };
        for (width, height) in [(500, 375), (375, 500), (331, 500), (7, 5), (500, 500)] {
            assert_eq!(count(Resize::Square, width, height), (42, vec![12; 2]), "{width}x{height}");
        }
        assert_eq!(count(Resize::ShorterSide, 333, 333), (42, vec![12; 2]));
        assert_eq!(count(Resize::ShorterSide, 6000, 4000), (126, vec![4; 6]));
        assert_eq!(count(Resize::ShorterSide, 4000, 6000), (126, vec![4; 6]));
        assert_eq!(count(Resize::ShorterSide, 500, 375).0, 144);
        for (crops, expected) in [(Crops::One, 1), (Crops::Ten, 10)] {
            assert_eq!(distinct(&evaluation_crops(crops, Resize::Square, 40, 30, 32)).len(), expected);
        }
    }

    #[test]
    fn every_crop_lies_in_its_image_however_odd() {
        for (width, height) in
            [(1, 1), (60_000, 1), (256_000_000, 1), (1, 256_000_000), (1, 999), (3, 7), (257, 256)]
        {
            for crop in evaluation_crops(Crops::All, Resize::ShorterSide, width, height, 32) {
                let [w, h] = crop.resized;
                assert!(
                    crop.left + crop.side <= w && crop.top + crop.side <= h,
                    "{width}x{height}: {crop:?}"
                );
            }
        }
    }

    #[test]
    fn the_numbers_of_crops_have_names() {
        for crops in [Crops::One, Crops::Ten, Crops::All] {
            assert_eq!(crops.to_string().parse::<Crops>().unwrap(), crops);
            assert_eq!(evaluation_crops(crops, Resize::ShorterSide, 40, 30, 32).len(), crops.count());
        }
        let text = "9".parse::<Crops>().unwrap_err().to_string();
        assert_eq!(text, "expected 1, 10 or 144 crops, found 9");
    }
}
