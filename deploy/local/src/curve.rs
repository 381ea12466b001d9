//! The plots of a run's metrics as SVG: losses above, accuracies below, over the number of samples used.

use std::ops::Range;
use std::path::Path;

use plotters::coord::Shift;
use plotters::prelude::*;

use crate::folder::Folder;
use crate::metrics::{EvaluationPoint, Metrics};
use crate::progress::Progress;

const SIZE: (u32, u32) = (900, 760);
const TRAINING: RGBColor = RGBColor(160, 160, 160);
const AVERAGE: RGBColor = RGBColor(20, 90, 180);
const LAST: RGBColor = RGBColor(225, 120, 20);

/// Number of samples after which the weight of a training point has fallen to 1/e, as a fraction of the run.
const SMOOTHING: f64 = 0.02;

type Points = Vec<(f64, f64)>;

/// A named line of a plot; evaluations are few and have a dot each.
struct Line {
    name: &'static str,
    colour: RGBColor,
    dots: bool,
    points: Points,
}

/// Reads the metrics of the run in `folder`, draws them under the title into its plot, and returns them. A failure is
/// only a warning.
pub fn of_run(folder: &Folder, title: &str, progress: &Progress) -> Metrics {
    let metrics = Metrics::read(&folder.metrics()).unwrap_or_else(|error| {
        progress.warn(&format!("cannot read {}: {error}", folder.metrics().display()));
        Metrics::default()
    });
    if metrics != Metrics::default()
        && let Err(text) = draw(&metrics, title, &folder.curve())
    {
        progress.warn(&text);
    }
    metrics
}

/// Draws the losses and accuracies of a run over the number of samples and writes the plot to `path` as SVG;
/// `metrics` must have at least one point.
///
/// # Errors
/// If the plot cannot be drawn or written; the error is a text for the user.
fn draw(metrics: &Metrics, title: &str, path: &Path) -> Result<(), String> {
    let picture =
        picture(metrics, title).map_err(|error| format!("cannot draw {}: {error}", path.display()))?;
    files::write(path, picture.as_bytes())
        .map_err(|error| format!("cannot write {}: {error}", path.display()))
}

/// Draws top-1 accuracy over time and writes the plot to `path` as SVG. `accuracy` has at least one point: a
/// time in seconds of simulated time, and an accuracy from 0 to 1.
///
/// # Errors
/// If the plot cannot be drawn or written; the error is a text for the user.
pub fn draw_accuracy(accuracy: &[(f64, f64)], title: &str, path: &Path) -> Result<(), String> {
    let points = accuracy.iter().map(|(seconds, share)| (*seconds, share * 100.0)).collect();
    let line = Line { name: "validation, average", colour: AVERAGE, dots: true, points };
    let picture =
        accuracy_picture(line, title).map_err(|error| format!("cannot draw {}: {error}", path.display()))?;
    files::write(path, picture.as_bytes())
        .map_err(|error| format!("cannot write {}: {error}", path.display()))
}

fn accuracy_picture(line: Line, title: &str) -> Result<String, Box<dyn std::error::Error>> {
    let end = line.points.iter().map(|point| point.0).fold(1.0, f64::max);
    let mut text = String::new();
    {
        let root = SVGBackend::with_string(&mut text, (SIZE.0, SIZE.1 / 2)).into_drawing_area();
        root.fill(&WHITE)?;
        let area = root.titled(title, ("sans-serif", 18))?;
        let legend = SeriesLabelPosition::LowerRight;
        panel(&area, ["virtual seconds", "top-1, %"], 0.0..end, 0.0..100.0, legend, &[line])?;
        root.present()?;
    }
    Ok(text)
}

fn picture(metrics: &Metrics, title: &str) -> Result<String, Box<dyn std::error::Error>> {
    let training = |value: fn(&crate::metrics::TrainingPoint) -> Option<f64>| {
        smooth(
            metrics.training.iter().filter_map(|point| Some((point.samples as f64, value(point)?))).collect(),
        )
    };
    let evaluations = |value: fn(&EvaluationPoint) -> Option<f64>| -> Points {
        metrics.evaluations.iter().filter_map(|point| Some((point.samples as f64, value(point)?))).collect()
    };
    let lines = |training: Points, average: Points, last: Points| {
        [
            Line { name: "training, smoothed", colour: TRAINING, dots: false, points: training },
            Line { name: "validation, last iterate", colour: LAST, dots: true, points: last },
            Line { name: "validation, average", colour: AVERAGE, dots: true, points: average },
        ]
    };
    let losses = lines(
        training(|point| point.loss),
        evaluations(|point| Some(point.average.loss)),
        evaluations(|point| Some(point.last_iterate?.loss)),
    );
    let accuracies = lines(
        training(|point| point.top1.map(|share| share * 100.0)),
        evaluations(|point| Some(point.average.top1 * 100.0)),
        evaluations(|point| Some(point.last_iterate?.top1 * 100.0)),
    );
    let all = || losses.iter().flat_map(|line| &line.points);
    let samples = all().map(|point| point.0).fold(1.0, f64::max);
    // A first loss far above the rest, as an unlucky start gives, would press all others onto the axis.
    let highest = quantile(all().map(|point| point.1).collect(), 0.99).unwrap_or(1.0) * 1.1;

    let mut text = String::new();
    {
        let root = SVGBackend::with_string(&mut text, SIZE).into_drawing_area();
        root.fill(&WHITE)?;
        let (upper, lower) = root.titled(title, ("sans-serif", 18))?.split_vertically((SIZE.1 - 30) / 2);
        panel(
            &upper,
            ["training samples used", "loss"],
            0.0..samples,
            0.0..highest.max(1e-6),
            SeriesLabelPosition::UpperRight,
            &losses,
        )?;
        panel(
            &lower,
            ["training samples used", "top-1, %"],
            0.0..samples,
            0.0..100.0,
            SeriesLabelPosition::LowerRight,
            &accuracies,
        )?;
        root.present()?;
    }
    Ok(text)
}

fn panel(
    area: &DrawingArea<SVGBackend, Shift>,
    [x_name, y_name]: [&str; 2],
    x: Range<f64>,
    y: Range<f64>,
    legend: SeriesLabelPosition,
    lines: &[Line],
) -> Result<(), Box<dyn std::error::Error>> {
    let top = y.end;
    let mut chart = ChartBuilder::on(area)
        .margin(12)
        .x_label_area_size(44)
        .y_label_area_size(60)
        .build_cartesian_2d(x, y)?;
    chart
        .configure_mesh()
        .x_desc(x_name)
        .y_desc(y_name)
        .x_label_formatter(&|value| count(*value))
        .label_style(("sans-serif", 13))
        .light_line_style(TRANSPARENT)
        .bold_line_style(BLACK.mix(0.12))
        .draw()?;
    for Line { name, colour, dots, points } in lines.iter().filter(|line| !line.points.is_empty()) {
        let colour = *colour;
        let points = || points.iter().map(|point| (point.0, point.1.min(top)));
        chart
            .draw_series(LineSeries::new(points(), colour.stroke_width(2)))?
            .label(*name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(2)));
        if *dots {
            chart.draw_series(points().map(|point| Circle::new(point, 3, colour.filled())))?;
        }
    }
    chart
        .configure_series_labels()
        .position(legend)
        .background_style(WHITE.mix(0.8))
        .border_style(BLACK.mix(0.2))
        .label_font(("sans-serif", 13))
        .draw()?;
    Ok(())
}

/// Returns the points smoothed exponentially over the samples, without bias at the start.
fn smooth(points: Points) -> Points {
    let reach = points.last().map_or(1.0, |last| last.0) * SMOOTHING;
    let (mut sum, mut weight, mut before) = (0.0, 0.0, 0.0);
    points
        .into_iter()
        .map(|(samples, value)| {
            let new = samples - before;
            let kept = (-new / reach).exp();
            sum = sum * kept + value * new;
            weight = weight * kept + new;
            before = samples;
            (samples, if weight > 0.0 { sum / weight } else { value })
        })
        .collect()
}

fn quantile(mut values: Vec<f64>, share: f64) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let position = (values.len().checked_sub(1)? as f64 * share).round() as usize;
    Some(values[position])
}

/// Returns a count as text short enough for an axis: 500, 20k, 1.5M.
fn count(value: f64) -> String {
    match value {
        value if value >= 1e6 => format!("{}M", value / 1e6),
        value if value >= 1e4 => format!("{}k", value / 1e3),
        value => format!("{value}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::TrainingPoint;
    use setup::ClassifierScores;

    fn made_up(points: u64, evaluations: u64) -> Metrics {
        let fall = |share: f64| 0.3 + 2.0 * (-4.0 * share).exp();
        Metrics {
            training: (1..=points)
                .map(|i| {
                    let share = i as f64 / points as f64;
                    let noise = 0.2 * ((i * 7919 % 101) as f64 / 101.0 - 0.5);
                    TrainingPoint {
                        samples: i * 256,
                        loss: Some(fall(share) + noise),
                        top1: Some((1.0 - fall(share) / 2.5 + noise / 3.0).clamp(0.0, 1.0)),
                    }
                })
                .collect(),
            evaluations: (1..=evaluations)
                .map(|i| {
                    let share = i as f64 / evaluations as f64;
                    let scores = |extra: f64| ClassifierScores {
                        top1: 1.0 - fall(share) / 2.5 - extra / 3.0,
                        top5: 1.0,
                        loss: fall(share) + extra,
                    };
                    EvaluationPoint {
                        samples: points * 256 * i / evaluations,
                        images: 1000,
                        unreadable: 0,
                        average: scores(0.0),
                        last_iterate: Some(scores(0.15)),
                    }
                })
                .collect(),
            account: None,
        }
    }

    #[test]
    fn the_picture_has_axes_legend_and_every_point() {
        let text = picture(&made_up(120, 6), "quick, 2 workers").unwrap();
        assert!(text.starts_with("<svg") && text.trim_end().ends_with("</svg>"), "{text}");
        for part in ["quick, 2 workers", "training samples used", "loss", "top-1, %", "validation, average"] {
            assert!(text.contains(part), "{part} is missing");
        }
        assert_eq!(text.matches("<circle").count(), 2 * 2 * 6);
        let longest = text.lines().map(|line| line.matches(',').count()).max().unwrap();
        assert!(longest >= 120, "the training line has {longest} points");
    }

    #[test]
    fn one_point_or_none_still_makes_a_picture() {
        for metrics in [made_up(1, 1), made_up(3, 0), Metrics::default()] {
            assert!(picture(&metrics, "short").unwrap().contains("</svg>"));
        }
    }

    #[test]
    fn smoothing_keeps_a_constant_and_calms_noise() {
        let constant: Points = (1..100).map(|i| (i as f64, 3.0)).collect();
        assert!(smooth(constant).iter().all(|point| (point.1 - 3.0).abs() < 1e-9));
        let noisy: Points = (1..=1000).map(|i| (i as f64, f64::from(i % 2))).collect();
        let calm = smooth(noisy);
        assert!(calm[100..].iter().all(|point| (point.1 - 0.5).abs() < 0.05));
    }
}
