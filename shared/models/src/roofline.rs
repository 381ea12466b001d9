//! The roofline plot of a measurement (Williams et al. 2009): the speed of each convolution and fully
//! connected layer over its arithmetic intensity, which is its operations per byte that it must at least
//! move.

use std::path::Path;

use anyhow::Context;
use plotters::prelude::*;

use crate::bench::Measurement;

const DIRECT: RGBColor = RGBColor(20, 90, 180);
const WINOGRAD: RGBColor = RGBColor(225, 120, 20);

/// Draws the roofline plot of a measurement and writes it to `path` as SVG, either the whole file or none.
///
/// # Errors
/// If the file cannot be written.
pub fn write(measurement: &Measurement, path: &Path) -> anyhow::Result<()> {
    let picture = picture(measurement).with_context(|| format!("draw {}", path.display()))?;
    files::write(path, picture.as_bytes()).with_context(|| format!("write {}", path.display()))
}

fn picture(measurement: &Measurement) -> anyhow::Result<String> {
    let (peak, memory) = (measurement.fma_peak_gflops, measurement.triad_gigabytes_per_second);
    let points: Vec<_> = measurement.layers.iter().filter(|layer| layer.gflops > 0.0).collect();
    let intensities = || points.iter().map(|layer| layer.intensity);
    let left = intensities().fold(peak / memory, f64::min) / 1.5;
    let right = intensities().fold(peak / memory, f64::max) * 1.5;
    let speeds = || points.iter().map(|layer| layer.gflops);
    let (lowest, highest) = (speeds().fold(peak, f64::min) / 1.5, speeds().fold(peak, f64::max) * 1.5);
    let mut text = String::new();
    {
        let root = SVGBackend::with_string(&mut text, (900, 560)).into_drawing_area();
        root.fill(&WHITE)?;
        let what = if measurement.forward_only { "forward pass" } else { "training step" };
        let Measurement { batch, threads, isa, .. } = measurement;
        let caption = format!("{what}, batch {batch}, {threads} threads, {isa}: a point for each layer");
        let mut chart = ChartBuilder::on(&root)
            .caption(caption, ("sans-serif", 18))
            .margin(12)
            .x_label_area_size(44)
            .y_label_area_size(60)
            .build_cartesian_2d((left..right).log_scale(), (lowest..highest).log_scale())?;
        chart
            .configure_mesh()
            .x_desc("operations for each byte of input, output and parameters")
            .y_desc("10^9 operations a second, as of direct convolution")
            .label_style(("sans-serif", 13))
            .light_line_style(TRANSPARENT)
            .bold_line_style(BLACK.mix(0.12))
            .draw()?;
        let roof = [left, peak / memory, right].map(|intensity| (intensity, peak.min(intensity * memory)));
        chart
            .draw_series(LineSeries::new(roof, BLACK.stroke_width(2)))?
            .label(format!("{memory:.0} GB/s (triad), {peak:.0} GFLOP/s"))
            .legend(|(x, y)| PathElement::new([(x, y), (x + 16, y)], BLACK.stroke_width(2)));
        for (name, colour, winograd) in [("direct", DIRECT, false), ("Winograd", WINOGRAD, true)] {
            // Winograd's kernels are named by their tiles, such as F(4x4, 3x3).
            let is_winograd =
                |kernel: &Option<String>| kernel.as_ref().is_some_and(|kernel| kernel.starts_with("F("));
            let points = points.iter().filter(|layer| is_winograd(&layer.kernel) == winograd);
            let points = points.map(|layer| Circle::new((layer.intensity, layer.gflops), 4, colour.filled()));
            chart
                .draw_series(points)?
                .label(name)
                .legend(move |(x, y)| Circle::new((x + 8, y), 4, colour.filled()));
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::LowerRight)
            .label_font(("sans-serif", 13))
            .border_style(BLACK.mix(0.3))
            .background_style(WHITE.mix(0.9))
            .draw()?;
        root.present()?;
    }
    Ok(text)
}
