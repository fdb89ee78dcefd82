//! Draws a curve as SVG. Both axes are logarithmic.

use std::path::Path;

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::curves::Curve;

const SIZE: (u32, u32) = (760, 420);
const COLOURS: [RGBColor; 4] =
    [RGBColor(31, 119, 180), RGBColor(214, 99, 22), RGBColor(44, 140, 60), RGBColor(130, 80, 170)];

/// Draws `curve` into `folder`, if any point of it could be measured.
pub(crate) fn write(curve: &Curve, folder: &Path) {
    let points = || curve.series.iter().flat_map(|(_, points)| points);
    let Some(x) = range(points().map(|point| point.0)) else { return };
    let Some(y) = range(points().map(|point| point.1)) else { return };
    let path = folder.join(format!("{}.svg", curve.name));
    draw(curve, &path, x, y).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}

/// The range from the smallest to the largest value, with a margin at both ends.
fn range(values: impl Iterator<Item = f64> + Clone) -> Option<(f64, f64)> {
    let low = values.clone().reduce(f64::min)?;
    let high = values.reduce(f64::max)?;
    Some((low / 1.5, high * 1.5))
}

fn draw(curve: &Curve, path: &Path, x: (f64, f64), y: (f64, f64)) -> Result<(), Box<dyn std::error::Error>> {
    let root = SVGBackend::new(path, SIZE).into_drawing_area();
    root.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&root)
        .caption(&curve.title, ("sans-serif", 18))
        .margin(12)
        .x_label_area_size(42)
        .y_label_area_size(70)
        .build_cartesian_2d((x.0..x.1).log_scale(), (y.0..y.1).log_scale())?;
    let label = |value: &f64| short(*value);
    chart
        .configure_mesh()
        .x_desc(curve.x)
        .y_desc(curve.y)
        .x_label_formatter(&label)
        .y_label_formatter(&label)
        .light_line_style(BLACK.mix(0.05))
        .bold_line_style(BLACK.mix(0.12))
        .draw()?;
    for ((name, points), colour) in curve.series.iter().zip(COLOURS) {
        chart.draw_series(LineSeries::new(points.iter().copied(), colour.stroke_width(2)))?;
        chart.draw_series(points.iter().map(|&point| Circle::new(point, 3, colour.filled())))?;
        let style =
            ("sans-serif", 13).into_text_style(&root).color(&colour).pos(Pos::new(HPos::Right, VPos::Bottom));
        if let Some(&(at, last)) = points.last() {
            // A little above the line. On a logarithmic axis a factor is a distance.
            chart.draw_series([Text::new(name.clone(), (at, last * (y.1 / y.0).powf(0.02)), style)])?;
        }
    }
    root.present()?;
    Ok(())
}

/// Formats a number: 1500 as 1.5k.
fn short(value: f64) -> String {
    let (value, unit) = match value {
        v if v >= 1e6 => (v / 1e6, "M"),
        v if v >= 1e3 => (v / 1e3, "k"),
        v => (v, ""),
    };
    let text = format!("{value:.2}");
    format!("{}{unit}", text.trim_end_matches('0').trim_end_matches('.'))
}
