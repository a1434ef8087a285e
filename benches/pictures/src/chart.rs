//! One picture: hits as bars above, and what follows from them as an area and lines below.

use std::error::Error;

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

/// The colours of M. Okabe and K. Ito, which differ for every kind of colour vision.
pub(crate) const BLUE: RGBColor = RGBColor(0, 114, 178);
pub(crate) const SKY: RGBColor = RGBColor(86, 180, 233);
pub(crate) const ORANGE: RGBColor = RGBColor(230, 159, 0);
pub(crate) const RED: RGBColor = RGBColor(213, 94, 0);
pub(crate) const GREEN: RGBColor = RGBColor(0, 158, 115);
const INK: RGBColor = RGBColor(51, 51, 51);
const PALE: RGBColor = RGBColor(225, 225, 225);

const SIZE: (u32, u32) = (760, 400);
/// The upper panel ends here.
const SPLIT: i32 = 212;

pub(crate) struct Picture {
    pub(crate) name: &'static str,
    pub(crate) title: String,
    /// How long it lasts.
    pub(crate) seconds: f64,
    /// The seconds that a bar stands for.
    pub(crate) bin: f64,
    pub(crate) bars: Vec<Bars>,
    pub(crate) bars_unit: &'static str,
    /// The most that the upper axis shows.
    pub(crate) bars_top: f64,
    pub(crate) area: Curve,
    pub(crate) lines: Vec<Curve>,
    pub(crate) lower_unit: &'static str,
    pub(crate) lower_top: f64,
    /// Seconds at which a window ends.
    pub(crate) boundaries: Vec<f64>,
}

/// Bars of one meaning, stacked upon those before.
pub(crate) struct Bars {
    pub(crate) label: &'static str,
    pub(crate) colour: RGBColor,
    pub(crate) heights: Vec<f64>,
}

pub(crate) struct Curve {
    pub(crate) label: &'static str,
    pub(crate) colour: RGBColor,
    pub(crate) is_dashed: bool,
    pub(crate) points: Vec<(f64, f64)>,
}

type Drawn = Result<(), Box<dyn Error>>;

fn text(size: u32, colour: &RGBColor) -> TextStyle<'static> {
    ("sans-serif", size).into_font().color(colour)
}

/// Returns the picture as SVG.
pub(crate) fn draw(picture: &Picture) -> Result<String, Box<dyn Error>> {
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        root.fill(&WHITE)?;
        root.draw(&Text::new(picture.title.clone(), (14, 12), text(17, &INK)))?;
        let (upper, lower) = root.margin(34, 0, 0, 0).split_vertically(SPLIT - 34);
        bars(&upper, picture)?;
        curves(&lower, picture)?;
        root.present()?;
    }
    // Text in whatever sans-serif face the reader has, and nothing that depends on one.
    Ok(svg.replace("opacity=\"1\" ", "").replace(" stroke-width=\"1\"", ""))
}

type Area<'a, 'b> = DrawingArea<SVGBackend<'a>, Shift>;

/// Draws swatches with their labels at the upper right.
fn legend(area: &Area<'_, '_>, entries: &[(&'static str, RGBColor, bool)]) -> Drawn {
    let width = |label: &str| 30 + (label.chars().count() as i32 * 64) / 10;
    let mut x = SIZE.0 as i32 - 16 - entries.iter().map(|(label, ..)| width(label)).sum::<i32>();
    for (label, colour, is_line) in entries {
        if *is_line {
            area.draw(&PathElement::new(vec![(x, 9), (x + 16, 9)], colour.stroke_width(3)))?;
        } else {
            area.draw(&Rectangle::new([(x, 3), (x + 14, 14)], colour.filled()))?;
        }
        let style = text(12, &INK).pos(Pos::new(HPos::Left, VPos::Center));
        area.draw(&Text::new(*label, (x + 20, 9), style))?;
        x += width(label);
    }
    Ok(())
}

fn bars(area: &Area<'_, '_>, picture: &Picture) -> Drawn {
    let mut chart = ChartBuilder::on(area)
        .margin_right(16)
        .margin_left(8)
        .margin_top(22)
        .margin_bottom(4)
        .x_label_area_size(6)
        .y_label_area_size(44)
        .build_cartesian_2d(0.0..picture.seconds, 0.0..picture.bars_top)?;
    mesh(&mut chart, picture.bars_unit, picture.bars_top, None)?;
    edges(&mut chart, picture, picture.bars_top)?;
    let gap = picture.bin * 0.08;
    let count = picture.bars.iter().map(|bars| bars.heights.len()).max().unwrap_or(0);
    for at in 0..count {
        let mut below = 0.0;
        for bars in &picture.bars {
            let height = bars.heights.get(at).copied().unwrap_or(0.0);
            if height > 0.0 {
                let left = at as f64 * picture.bin;
                let corners = [(left + gap, below), (left + picture.bin - gap, below + height)];
                chart.draw_series([Rectangle::new(corners, bars.colour.filled())])?;
                below += height;
            }
        }
    }
    let entries: Vec<_> = picture.bars.iter().map(|bars| (bars.label, bars.colour, false)).collect();
    legend(area, &entries)
}

fn curves(area: &Area<'_, '_>, picture: &Picture) -> Drawn {
    let mut chart = ChartBuilder::on(area)
        .margin_right(16)
        .margin_left(8)
        .margin_top(22)
        .margin_bottom(6)
        .x_label_area_size(36)
        .y_label_area_size(44)
        .build_cartesian_2d(0.0..picture.seconds, 0.0..picture.lower_top)?;
    mesh(&mut chart, picture.lower_unit, picture.lower_top, Some("time in seconds"))?;
    edges(&mut chart, picture, picture.lower_top)?;
    let colour = picture.area.colour;
    chart.draw_series(
        AreaSeries::new(picture.area.points.iter().copied(), 0.0, colour.mix(0.25))
            .border_style(colour.stroke_width(2)),
    )?;
    let mut entries = vec![(picture.area.label, colour, false)];
    for line in &picture.lines {
        let points = line.points.iter().copied();
        let style = line.colour.stroke_width(2);
        if line.is_dashed {
            chart.draw_series(DashedLineSeries::new(points, 7, 5, style))?;
        } else {
            chart.draw_series(LineSeries::new(points, style))?;
        }
        entries.push((line.label, line.colour, true));
    }
    legend(area, &entries)
}

type Chart<'a, 'b> = ChartContext<
    'a,
    SVGBackend<'b>,
    Cartesian2d<plotters::coord::types::RangedCoordf64, plotters::coord::types::RangedCoordf64>,
>;

fn mesh(chart: &mut Chart<'_, '_>, unit: &str, top: f64, time: Option<&str>) -> Drawn {
    let mut mesh = chart.configure_mesh();
    mesh.disable_x_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(PALE)
        .axis_style(INK)
        .y_labels(if top > 6.0 { 5 } else { 4 })
        .y_desc(unit)
        .label_style(text(12, &INK))
        .axis_desc_style(text(12, &INK))
        .x_label_formatter(&|x| format!("{x:.0}"))
        .y_label_formatter(&|y| if y.fract() == 0.0 { format!("{y:.0}") } else { format!("{y:.1}") });
    match time {
        Some(text) => mesh.x_labels(13).x_desc(text).draw()?,
        None => mesh.x_labels(0).draw()?,
    }
    Ok(())
}

/// Draws where windows end.
fn edges(chart: &mut Chart<'_, '_>, picture: &Picture, top: f64) -> Drawn {
    for at in &picture.boundaries {
        chart.draw_series([PathElement::new(vec![(*at, 0.0), (*at, top)], PALE.stroke_width(1))])?;
    }
    Ok(())
}
