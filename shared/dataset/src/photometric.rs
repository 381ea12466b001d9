//! Photometric distortions of training samples: brightness, contrast and saturation in random order (Howard
//! 2013, section 2), then the random lighting of AlexNet (Krizhevsky et al. 2012, section 4.1).

use std::f64::consts::TAU;

use rand::RngExt;

use settings::Sampling;
use settings::random::Random;

/// The distortions that mix an image with something grey.
#[derive(Clone, Copy)]
enum Mixture {
    Brightness,
    Contrast,
    Saturation,
}

/// Weights of R, G and B in the grey of a pixel.
const LUMA: [f32; 3] = [0.299, 0.587, 0.114];
/// Principal components of ILSVRC's colours: a row for each of R, G and B, a column for each component.
const COMPONENTS: [[f32; 3]; 3] =
    [[-0.5675, 0.7192, 0.4009], [-0.5808, -0.0045, -0.8140], [-0.5836, -0.6948, 0.4203]];
/// Standard deviations along the principal components. The published ones hold for pixels in 0..1; those here
/// are in 0..255.
const SCALES: [f32; 3] = [0.2175 * 255.0, 0.0188 * 255.0, 0.0045 * 255.0];

/// Distorts `planes`, which are planar R, G, B in 0..255. Mixtures are clipped to 0..255, each before the
/// next; lighting, which comes last, may leave that range.
pub(crate) fn distort(sampling: &Sampling, mixing: &mut Random, lighting: &mut Random, planes: &mut [f32]) {
    let mut order = [
        (Mixture::Brightness, sampling.brightness),
        (Mixture::Contrast, sampling.contrast),
        (Mixture::Saturation, sampling.saturation),
    ];
    for last in (1..order.len()).rev() {
        order.swap(last, mixing.random_range(0..=last));
    }
    for (mixture, strength) in order {
        // Drawn even where it is off: the others stay as they are.
        let factor = 1.0 + strength * (2.0 * mixing.random::<f32>() - 1.0);
        if strength > 0.0 {
            mix(mixture, factor, planes);
        }
    }
    if sampling.lighting > 0.0 {
        let shifts = shifts([0; 3].map(|_| sampling.lighting * normal(lighting)));
        for (plane, shift) in channels(planes).into_iter().zip(shifts) {
            plane.iter_mut().for_each(|value| *value += shift);
        }
    }
}

/// Replaces the image by grey + factor * (image - grey), clipped to 0..255.
fn mix(mixture: Mixture, factor: f32, planes: &mut [f32]) {
    let [red, green, blue] = channels(planes);
    let blend = |grey: f32, value: &mut f32| *value = (grey + factor * (*value - grey)).clamp(0.0, 255.0);
    let luma = |red: f32, green: f32, blue: f32| LUMA[0] * red + LUMA[1] * green + LUMA[2] * blue;
    if matches!(mixture, Mixture::Saturation) {
        for ((red, green), blue) in red.iter_mut().zip(green).zip(blue) {
            let grey = luma(*red, *green, *blue);
            [red, green, blue].into_iter().for_each(|value| blend(grey, value));
        }
    } else {
        let mean =
            |plane: &[f32]| plane.iter().map(|&value| f64::from(value)).sum::<f64>() / plane.len() as f64;
        let grey = match mixture {
            Mixture::Contrast => luma(mean(red) as f32, mean(green) as f32, mean(blue) as f32),
            _ => 0.0,
        };
        [red, green, blue].into_iter().flatten().for_each(|value| blend(grey, value));
    }
}

/// Returns the values that lighting with these coefficients adds to R, G and B.
fn shifts(coefficients: [f32; 3]) -> [f32; 3] {
    COMPONENTS.map(|row| (0..3).map(|i| row[i] * coefficients[i] * SCALES[i]).sum())
}

fn channels(planes: &mut [f32]) -> [&mut [f32]; 3] {
    let pixels = planes.len() / 3;
    let (red, rest) = planes.split_at_mut(pixels);
    let (green, blue) = rest.split_at_mut(pixels);
    [red, green, blue]
}

/// Draws a value from the standard normal distribution (Box and Muller).
fn normal(random: &mut Random) -> f32 {
    let (u, v) = (1.0 - random.random::<f64>(), random.random::<f64>());
    ((-2.0 * u.ln()).sqrt() * (TAU * v).cos()) as f32
}

#[cfg(test)]
mod tests {
    use super::*;
    use settings::random::stream;

    /// Two pixels: (100, 150, 200) and (50, 50, 50); greys 140.75 and 50, their mean 95.375.
    const PIXELS: [f32; 6] = [100.0, 50.0, 150.0, 50.0, 200.0, 50.0];

    fn mixed(mixture: Mixture, factor: f32) -> [f32; 6] {
        let mut planes = PIXELS;
        mix(mixture, factor, &mut planes);
        planes
    }

    fn close(found: [f32; 6], expected: [f32; 6]) {
        let near = found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-3);
        assert!(near, "expected {expected:?}, found {found:?}");
    }

    #[test]
    fn mixtures_of_known_pixels() {
        close(mixed(Mixture::Brightness, 0.5), [50.0, 25.0, 75.0, 25.0, 100.0, 25.0]);
        close(mixed(Mixture::Brightness, 1.5), [150.0, 75.0, 225.0, 75.0, 255.0, 75.0]);
        close(mixed(Mixture::Contrast, 0.0), [95.375; 6]);
        close(mixed(Mixture::Contrast, 0.5), [97.6875, 72.6875, 122.6875, 72.6875, 147.6875, 72.6875]);
        close(mixed(Mixture::Saturation, 0.0), [140.75, 50.0, 140.75, 50.0, 140.75, 50.0]);
        close(mixed(Mixture::Saturation, 1.5), [79.625, 50.0, 154.625, 50.0, 229.625, 50.0]);
        for mixture in [Mixture::Brightness, Mixture::Contrast, Mixture::Saturation] {
            close(mixed(mixture, 1.0), PIXELS);
        }
    }

    /// 0.1 along the first component moves R, G and B by some 3 levels of 255, all the same way: 0.5675 *
    /// 5.546 = 3.15.
    #[test]
    fn lighting_is_on_the_scale_of_255_levels() {
        let [red, green, blue] = shifts([0.1, 0.0, 0.0]);
        assert!((red + 3.1475).abs() < 1e-3 && (green + 3.2212).abs() < 1e-3 && (blue + 3.2367).abs() < 1e-3);
        let [red, green, blue] = shifts([0.0, 1.0, 0.0]);
        assert!((red - 3.4478).abs() < 1e-3 && (green + 0.0216).abs() < 1e-3 && (blue + 3.3309).abs() < 1e-3);
    }

    #[test]
    fn lighting_coefficients_are_normal() {
        let mut random = stream(4, "lighting", &[]);
        let drawn: Vec<f64> = (0..20_000).map(|_| f64::from(normal(&mut random))).collect();
        let mean = drawn.iter().sum::<f64>() / 20_000.0;
        let variance = drawn.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / 20_000.0;
        let within = drawn.iter().filter(|v| v.abs() < 1.0).count() as f64 / 20_000.0;
        assert!(mean.abs() < 0.03 && (variance - 1.0).abs() < 0.04, "mean {mean}, variance {variance}");
        assert!((within - 0.6827).abs() < 0.014, "{within} within one standard deviation");
    }

    /// Brightness alone cannot tell an order; all three together can: their order varies, their strength
    /// stays bounded.
    #[test]
    fn order_and_factors_vary_within_their_bounds() {
        let all = Sampling { brightness: 0.5, contrast: 0.5, saturation: 0.5, ..Sampling::default() };
        let bright = Sampling { brightness: 0.5, ..Sampling::default() };
        let mut factors = Vec::new();
        let mut ends = std::collections::BTreeSet::new();
        for index in 0..2000 {
            let (mut mixing, mut lighting) = (stream(1, "a", &[index]), stream(1, "b", &[index]));
            let mut planes = [100.0, 100.0, 100.0];
            distort(&bright, &mut mixing, &mut lighting, &mut planes);
            factors.push(planes[0] / 100.0);
            let (mut mixing, mut lighting) = (stream(1, "a", &[index]), stream(1, "b", &[index]));
            let mut planes = PIXELS;
            distort(&all, &mut mixing, &mut lighting, &mut planes);
            assert!(planes.iter().all(|v| (0.0..=255.0).contains(v)));
            ends.insert(planes.map(|v| v as u8));
        }
        let (least, most) = factors.iter().fold((f32::MAX, f32::MIN), |(a, b), &v| (a.min(v), b.max(v)));
        assert!((0.5..0.51).contains(&least) && (1.49..=1.5).contains(&most), "{least} to {most}");
        let mean = factors.iter().sum::<f32>() / 2000.0;
        assert!((mean - 1.0).abs() < 0.03, "{mean}");
        assert!(ends.len() > 1900, "{} different samples of 2000", ends.len());
    }

    #[test]
    fn off_is_off() {
        let mut planes = PIXELS;
        distort(&Sampling::default(), &mut stream(1, "a", &[]), &mut stream(1, "b", &[]), &mut planes);
        assert_eq!(planes, PIXELS);
    }
}
