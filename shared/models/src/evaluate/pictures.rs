//! The plots of an evaluation: the errors of the table's rows, and the confusion matrix.

use std::path::Path;

use anyhow::Context;
use plotters::prelude::*;

use super::classes::Confusion;
use super::table::{Estimate, Row};

const INK: RGBColor = RGBColor(20, 90, 180);
const PALE: RGBColor = RGBColor(225, 120, 20);
/// Largest number of classes whose confusion matrix is legible.
pub(super) const MOST_CLASSES: usize = 40;

/// Writes a plot to a file, either the whole file or none.
pub(super) fn write(path: &Path, picture: anyhow::Result<String>) -> anyhow::Result<()> {
    let picture = picture.with_context(|| format!("draw {}", path.display()))?;
    files::write(path, picture.as_bytes()).with_context(|| format!("write {}", path.display()))
}

/// Draws the top-1 and top-5 errors of the rows as SVG, each with one standard error up and down.
pub(super) fn errors(rows: &[Row]) -> anyhow::Result<String> {
    let mut text = String::new();
    {
        let root = SVGBackend::with_string(&mut text, (760, 420)).into_drawing_area();
        root.fill(&WHITE)?;
        let upper = |e: &Estimate| 100.0 * (e.value + e.standard_error);
        let highest = rows.iter().map(|row| upper(&row.top1_error)).fold(1.0, f64::max) * 1.1;
        let mut chart = ChartBuilder::on(&root)
            .caption("error by models and crops, with one standard error", ("sans-serif", 18))
            .margin(12)
            .x_label_area_size(44)
            .y_label_area_size(60)
            .build_cartesian_2d(-0.6..rows.len() as f64 - 0.4, 0.0..highest)?;
        let name = |place: &f64| {
            let row = rows.get(place.round() as usize).filter(|_| place.fract().abs() < 1e-6);
            row.map_or(String::new(), |row| format!("{} x {}", row.models, row.crops))
        };
        chart
            .configure_mesh()
            .disable_x_mesh()
            .x_labels(2 * rows.len() + 2)
            .x_label_formatter(&name)
            .x_desc("models x crops")
            .y_desc("error, %")
            .label_style(("sans-serif", 13))
            .light_line_style(TRANSPARENT)
            .bold_line_style(BLACK.mix(0.12))
            .draw()?;
        for (name, colour, aside) in [("top-1", INK, -0.08), ("top-5", PALE, 0.08)] {
            let error = |row: &Row| if name == "top-1" { row.top1_error } else { row.top5_error };
            let at = |place: usize| (place as f64 + aside, 100.0 * error(&rows[place]).value);
            let bars = rows.iter().enumerate().map(|(place, row)| {
                let ((x, y), half) = (at(place), 100.0 * error(row).standard_error);
                PathElement::new([(x, (y - half).max(0.0)), (x, y + half)], colour.stroke_width(2))
            });
            chart.draw_series(bars)?;
            chart
                .draw_series((0..rows.len()).map(|place| Circle::new(at(place), 4, colour.filled())))?
                .label(name)
                .legend(move |place| Circle::new(place, 4, colour.filled()));
        }
        chart
            .configure_series_labels()
            .background_style(WHITE.mix(0.8))
            .border_style(BLACK.mix(0.2))
            .label_font(("sans-serif", 13))
            .draw()?;
        root.present()?;
    }
    Ok(text)
}

/// Draws the confusion matrix of these classes as SVG: a cell is as dark as its share of the row, and shows its
/// count.
pub(super) fn confusion(classes: &[String], confusion: &Confusion) -> anyhow::Result<String> {
    const CELL: i32 = 34;
    const LEFT: i32 = 180;
    const TOP: i32 = 60;
    let side = CELL * classes.len() as i32;
    let size = ((LEFT + side + 20) as u32, (TOP + side + 150) as u32);
    let mut text = String::new();
    {
        let root = SVGBackend::with_string(&mut text, size).into_drawing_area();
        root.fill(&WHITE)?;
        root.draw(&Text::new("class (rows) taken for class (columns)", (LEFT, 20), ("sans-serif", 16)))?;
        for row in 0..classes.len() {
            let count = |column: usize| confusion.get(&(row as u32, column as u32)).copied().unwrap_or(0);
            let total = (0..classes.len()).map(count).sum::<u32>().max(1);
            let y = TOP + CELL * row as i32;
            root.draw(&Text::new(shortened(&classes[row]), (8, y + 12), ("sans-serif", 13)))?;
            for column in 0..classes.len() {
                let count = count(column);
                let (x, share) = (LEFT + CELL * column as i32, f64::from(count) / f64::from(total));
                let corners = [(x, y), (x + CELL - 1, y + CELL - 1)];
                root.draw(&Rectangle::new(corners, INK.mix(0.04 + 0.96 * share).filled()))?;
                if count > 0 {
                    let colour = if share > 0.5 { WHITE } else { BLACK };
                    let style = ("sans-serif", 12).into_font().color(&colour);
                    root.draw(&Text::new(count.to_string(), (x + 6, y + 12), style))?;
                }
            }
        }
        for (column, class) in classes.iter().enumerate() {
            let style = ("sans-serif", 13).into_font().transform(FontTransform::Rotate90);
            let place = (LEFT + CELL * column as i32 + 22, TOP + side + 8);
            root.draw(&Text::new(shortened(class), place, style))?;
        }
        root.present()?;
    }
    Ok(text)
}

/// Shortens a label to fit into the margin.
fn shortened(label: &str) -> String {
    let most = 22;
    if label.chars().count() <= most {
        return label.to_owned();
    }
    label.chars().take(most - 1).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use dataset::Crops;
    use setup::Outcome;

    #[test]
    fn every_row_has_two_points_with_bars_and_its_name() {
        let outcomes: Vec<_> = (0..10).map(|i| Outcome { not_behind: i, loss: 1.0 }).collect();
        let rows: Vec<_> = [(1, Crops::One), (1, Crops::Ten), (7, Crops::All)]
            .map(|(models, crops)| Row::new(models, crops, &outcomes, None))
            .into();
        let text = errors(&rows).unwrap();
        assert_eq!(text.matches("<circle").count(), 2 * 3 + 2, "points and legend");
        for name in ["1 x 1\n", "1 x 10\n", "7 x 144\n", "top-5", "error, %"] {
            assert!(text.contains(name), "{name:?} is missing from {text}");
        }
    }

    #[test]
    fn every_cell_that_counts_something_says_so() {
        let classes = ["daisy".into(), "n02123045 tabby, tabby cat, and more".into()];
        let counts = Confusion::from([((0, 0), 7), ((1, 0), 3), ((1, 1), 12)]);
        let text = confusion(&classes, &counts).unwrap();
        for part in [">\n7\n", ">\n3\n", ">\n12\n", "daisy", "n02123045 tabby, tabb…"] {
            assert!(text.contains(part), "{part:?} is missing from {text}");
        }
    }
}
