//! The blending of transparent pixels with white, as image viewers show them: a drawing in black on a
//! transparent ground must not become a black square.

use image::{DynamicImage, RgbImage};

/// Returns a colour sample blended with white; `alpha` is the opacity of its pixel, 0 to 255.
pub(crate) fn over_white(sample: u8, alpha: u8) -> u8 {
    let (sample, alpha) = (u32::from(sample), u32::from(alpha));
    ((sample * alpha + 255 * (255 - alpha) + 127) / 255) as u8
}

/// Converts an image of any kind to opaque RGB: grey becomes three equal channels, and 16 bits are rounded to
/// 8.
pub(crate) fn opaque(image: DynamicImage) -> RgbImage {
    if !image.color().has_alpha() {
        return image.into_rgb8();
    }
    let image = image.into_rgba8();
    let (width, height) = image.dimensions();
    let mut pixels = image.into_raw();
    // In place: the place of a pixel's three samples lies before those that are still to be read.
    for at in 0..pixels.len() / 4 {
        let [red, green, blue, alpha] = *pixels[4 * at..].first_chunk().expect("four samples a pixel");
        pixels[3 * at..3 * at + 3]
            .copy_from_slice(&[red, green, blue].map(|sample| over_white(sample, alpha)));
    }
    pixels.truncate(pixels.len() / 4 * 3);
    RgbImage::from_raw(width, height, pixels).expect("three samples a pixel")
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::{Rgb, Rgba, RgbaImage};

    #[test]
    fn a_pixel_covers_white_by_its_alpha() {
        for sample in 0..=255 {
            assert_eq!(over_white(sample, 0), 255);
            assert_eq!(over_white(sample, 255), sample);
        }
        assert_eq!(over_white(0, 64), 191);
        assert_eq!(over_white(100, 128), 177);
    }

    #[test]
    fn a_transparent_image_keeps_its_place_on_white() {
        let image =
            RgbaImage::from_fn(5, 3, |x, y| Rgba([x as u8, y as u8, 9, if x == y { 0 } else { 255 }]));
        let expected =
            RgbImage::from_fn(5, 3, |x, y| Rgb(if x == y { [255; 3] } else { [x as u8, y as u8, 9] }));
        assert_eq!(opaque(image.into()), expected);
    }
}
