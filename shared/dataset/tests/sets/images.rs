//! Image files as they are found in the wild: an unreadable one is named with its reason, and costs only
//! itself.

use std::sync::Arc;

use dataset::{Dataset, Loader, LoaderRange, MEAN, Preprocessing, Rules, Sampling, Split, centre_of_file};
use image::codecs::png::PngEncoder;
use image::metadata::Orientation;
use image::{DynamicImage, ExtendedColorType, ImageEncoder, ImageFormat, Rgb, RgbImage};
use tempfile::TempDir;

use crate::support::{loader, picture, put};

const SIZE: usize = 16;

/// Mean colour of validation sample `index`.
fn colour(set: &Dataset, index: usize) -> [i32; 3] {
    let mut out = vec![0.0; 3 * SIZE * SIZE];
    set.validation_sample(index, &Preprocessing::default(), SIZE, &mut out).unwrap();
    let plane = |channel: usize| out[channel * SIZE * SIZE..][..SIZE * SIZE].iter().sum::<f32>();
    [0, 1, 2].map(|c| (plane(c) / (SIZE * SIZE) as f32 + MEAN[c]).round() as i32)
}

#[test]
fn content_decides_not_the_name() {
    let root = TempDir::new().unwrap();
    let [png, jpeg] = [ImageFormat::Png, ImageFormat::Jpeg].map(|format| picture([200, 100, 50], format));
    for (path, bytes) in [
        ("train/a/x", &png),
        ("train/b/x", &png),
        ("val/a/1.jpg", &png),
        ("val/a/2.png", &jpeg),
        ("val/b/3.image", &png),
    ] {
        put(root.path(), path, bytes);
    }
    let set = Dataset::open(root.path(), Rules::NEWEST).unwrap();
    for index in 0..3 {
        let near = colour(&set, index).iter().zip([200, 100, 50]).all(|(a, b)| (a - b).abs() <= 2);
        assert!(near, "{index}: {:?}", colour(&set, index));
    }
}

#[test]
fn unreadable_files_are_skipped_and_named() {
    let root = TempDir::new().unwrap();
    let good = picture([10, 20, 30], ImageFormat::Jpeg);
    let mut huge = good.clone();
    let frame = huge.windows(2).position(|pair| pair == [0xFF, 0xC0]).unwrap();
    huge[frame + 5..frame + 9].copy_from_slice(&[0x75, 0x30, 0x75, 0x30]);
    let files: [(&str, &[u8], Option<&str>); 6] = [
        ("val/a/1-good.jpg", &good, None),
        (
            "val/a/2-empty.jpg",
            b"",
            Some(
                "expected a JPEG, PNG, WebP, GIF, BMP or TIFF image, found an empty file: get it again or remove it",
            ),
        ),
        (
            "val/a/3-text.jpg",
            b"404 not found",
            Some(
                "expected a JPEG, PNG, WebP, GIF, BMP or TIFF image, found a file that starts with \"404 not \": remove it",
            ),
        ),
        (
            "val/b/4-truncated.jpg",
            &good[..good.len() - 5],
            Some("the image is truncated: the file ends after CUT bytes, before the image does"),
        ),
        (
            "val/b/5-huge.jpg",
            &huge,
            Some("the header says 30000 x 30000 pixels; at most 256 megapixels are read: reduce it"),
        ),
        ("val/b/6-good.jpg", &good, None),
    ];
    for (path, bytes, _) in files {
        put(root.path(), path, bytes);
    }
    put(root.path(), "train/a/x.jpg", &good);
    put(root.path(), "train/b/x.jpg", &good);
    let expected: Vec<String> = files
        .iter()
        .filter_map(|(path, bytes, reason)| {
            let reason = (*reason)?.replace("CUT", &bytes.len().to_string());
            Some(format!("{}: {reason}", root.path().join(path).display()))
        })
        .collect();

    let set = Arc::new(Dataset::open(root.path(), Rules::NEWEST).unwrap());
    let mut loader = Loader::new(set, loader(SIZE));
    loader.request(LoaderRange { split: Split::Validation, epoch: 0, start: 0, end: 6 });
    let minibatches: Vec<_> = std::iter::from_fn(|| loader.next().unwrap()).collect();
    assert_eq!(minibatches.iter().map(|m| m.positions).collect::<Vec<_>>(), [4, 2]);
    assert_eq!(minibatches.iter().map(|m| m.samples.clone()).collect::<Vec<_>>(), [vec![0], vec![5]]);
    assert_eq!(minibatches.iter().map(|m| m.labels.clone()).collect::<Vec<_>>(), [vec![0], vec![1]]);
    assert_eq!(minibatches[0].images.shape(), [1, 3, SIZE, SIZE]);
    assert_eq!(minibatches.iter().flat_map(|m| m.skipped.clone()).collect::<Vec<_>>(), expected);
}

/// Training, evaluation and classification see the same picture, however the camera was held.
#[test]
fn a_photograph_that_lies_on_its_side_is_upright_everywhere() {
    let upright = RgbImage::from_fn(40, 30, |x, y| Rgb([6 * x as u8, 8 * y as u8, (x * y / 5) as u8]));
    let png = |orientation: u8| {
        let mut image = DynamicImage::from(upright.clone());
        if orientation == 6 {
            image.apply_orientation(Orientation::Rotate270); // as a camera has it that is held on its right side
        }
        let exif =
            [&b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0"[..], &[orientation, 0, 0, 0, 0, 0, 0, 0]];
        let mut bytes = Vec::new();
        let mut encoder = PngEncoder::new(&mut bytes);
        encoder.set_exif_metadata(exif.concat()).unwrap();
        encoder
            .write_image(image.as_bytes(), image.width(), image.height(), ExtendedColorType::Rgb8)
            .unwrap();
        bytes
    };
    let seen = [1, 6].map(|orientation| {
        let root = TempDir::new().unwrap();
        for path in ["train/a/x.png", "train/b/x.png", "val/a/x.png", "val/b/x.png"] {
            put(root.path(), path, png(orientation));
        }
        let set = Dataset::open(root.path(), Rules::NEWEST).unwrap();
        let preprocessing = Preprocessing::default();
        let [mut training, mut validation, mut file] = [(); 3].map(|()| vec![0.0; 3 * SIZE * SIZE]);
        set.training_sample(0, 1, 0, &Sampling::default(), SIZE, &mut training).unwrap();
        set.validation_sample(0, &preprocessing, SIZE, &mut validation).unwrap();
        centre_of_file(&root.path().join("val/a/x.png"), &preprocessing, SIZE, &mut file).unwrap();
        [training, validation, file]
    });
    assert_eq!(seen[0], seen[1]);
}
