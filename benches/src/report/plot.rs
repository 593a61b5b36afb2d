//! Draws the rate by the size of the batch.

use std::path::Path;

use anyhow::{Context, anyhow};
use plotters::prelude::*;

use super::Measured;

const INK: RGBColor = RGBColor(60, 60, 60);
const LINE: RGBColor = RGBColor(31, 119, 180);

/// Draws `measured`, whose contestants are named `batch of N`, as an SVG.
pub fn rate_by_batch(path: &Path, measured: &Measured) -> anyhow::Result<()> {
    let points = measured
        .rows
        .iter()
        .map(|(name, figures)| {
            let size = name.rsplit(' ').next().context("a size")?;
            Ok((size.parse::<f64>()?, figures.orders_per_second))
        })
        .collect::<anyhow::Result<Vec<(f64, f64)>>>()?;
    draw(path, &points).map_err(|error| anyhow!("cannot draw {}: {error}", path.display()))
}

fn draw(path: &Path, points: &[(f64, f64)]) -> Result<(), Box<dyn std::error::Error>> {
    let area = SVGBackend::new(path, (760, 420)).into_drawing_area();
    area.fill(&WHITE)?;
    let font = |size: i32| ("sans-serif", size).into_font().color(&INK);
    let mut chart = ChartBuilder::on(&area)
        .caption("Orders decided per second, one hot product", font(18))
        .margin(14)
        .margin_right(60)
        .x_label_area_size(44)
        .y_label_area_size(76)
        .build_cartesian_2d((1.0..12_000.0).log_scale(), (500.0..400_000.0).log_scale())?;
    chart
        .configure_mesh()
        .x_desc("orders per transaction")
        .y_desc("orders per second")
        .label_style(font(13))
        .axis_desc_style(font(14))
        .light_line_style(WHITE)
        .bold_line_style(RGBColor(225, 225, 225))
        .x_label_formatter(&|size| format!("{size:.0}"))
        .y_label_formatter(&|rate| format!("{rate:.0}"))
        .draw()?;
    chart.draw_series(LineSeries::new(
        points.iter().copied(),
        LINE.stroke_width(3),
    ))?;
    chart.draw_series(
        points
            .iter()
            .map(|point| Circle::new(*point, 4, LINE.filled())),
    )?;
    chart.draw_series(
        points
            .iter()
            .step_by(2)
            .map(|(size, rate)| Text::new(format!("{rate:.0}"), (*size, rate * 1.35), font(12))),
    )?;
    area.present()?;
    Ok(())
}
