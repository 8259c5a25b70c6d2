//! Line charts as SVG, readable on light and dark pages.

use std::fmt::Write as _;

const WIDTH: f64 = 460.0;
const HEIGHT: f64 = 340.0;
/// The margins of the plot: left, top, right, bottom.
const MARGIN: [f64; 4] = [72.0, 76.0, 24.0, 46.0];
const LEGEND_ROW: f64 = 16.0;

const STYLE: &str = "\
text{font:12px system-ui,sans-serif;fill:#24292f}.title{font-size:14px;font-weight:600}.grid{stroke:#d0d7de;stroke-width:1}\
.line{fill:none;stroke-width:2}.law{fill:none;stroke-width:1.5;stroke-dasharray:5 4}\
.c0{stroke:#0969da}.c1{stroke:#bc4c00}.c2{stroke:#1a7f37}.c3{stroke:#8250df}.c4{stroke:#6e7781}\
@media(prefers-color-scheme:dark){text{fill:#d6dde4}.grid{stroke:#3a424b}\
.c0{stroke:#58a6ff}.c1{stroke:#f0883e}.c2{stroke:#56d364}.c3{stroke:#bc8cff}.c4{stroke:#9aa4af}}";

pub(crate) enum Scale {
    Linear { to: f64 },
    Log { from: f64, to: f64 },
}

pub(crate) struct Axis {
    pub(crate) label: &'static str,
    pub(crate) scale: Scale,
    /// The positions of the grid lines, and their labels.
    pub(crate) ticks: Vec<(f64, String)>,
}

pub(crate) struct Series {
    pub(crate) name: String,
    pub(crate) points: Vec<(f64, f64)>,
    /// The number of the colour; a law is dashed.
    pub(crate) colour: usize,
    pub(crate) law: bool,
}

pub(crate) struct Chart {
    pub(crate) title: &'static str,
    pub(crate) x: Axis,
    pub(crate) y: Axis,
    pub(crate) series: Vec<Series>,
}

impl Axis {
    /// A logarithmic axis around these values, with a tick at each power of ten.
    pub(crate) fn log(label: &'static str, values: impl Iterator<Item = f64> + Clone) -> Self {
        let least = values.clone().fold(f64::INFINITY, f64::min);
        let most = values.fold(0.0, f64::max);
        let (from, to) = (least.log10().floor(), most.log10().ceil().max(least.log10().floor() + 1.0));
        #[expect(clippy::cast_possible_truncation, reason = "a number of digits")]
        let ticks = (from as i32..=to as i32).map(|power| (10_f64.powi(power), short(10_f64.powi(power))));
        Self {
            label,
            scale: Scale::Log { from: 10_f64.powf(from), to: 10_f64.powf(to) },
            ticks: ticks.collect(),
        }
    }

    /// A linear axis from zero to this value or a little more, with five ticks.
    pub(crate) fn linear(label: &'static str, to: f64) -> Self {
        let unit = 10_f64.powf(to.log10().floor()) * 0.4;
        let to = (to / unit).ceil() * unit;
        let ticks = (0..=4_u8).map(|at| to * f64::from(at) / 4.0).map(|value| (value, short(value)));
        Self { label, scale: Scale::Linear { to }, ticks: ticks.collect() }
    }

    /// The position along the axis, from 0 to 1.
    fn place(&self, value: f64) -> f64 {
        match self.scale {
            Scale::Linear { to } => value / to,
            Scale::Log { from, to } => (value.max(from) / from).ln() / (to / from).ln(),
        }
    }
}

/// 1,500 becomes 1.5k.
pub(crate) fn short(value: f64) -> String {
    let (value, unit) = match value {
        1e6.. => (value / 1e6, "M"),
        1e3.. => (value / 1e3, "k"),
        _ => (value, ""),
    };
    let text = format!("{value:.3}");
    format!("{}{unit}", text.trim_end_matches('0').trim_end_matches('.'))
}

/// The charts side by side, so many in a row.
pub(crate) fn page(charts: &[Chart], columns: usize) -> String {
    let rows = charts.len().div_ceil(columns);
    let (width, height) = (WIDTH * columns.min(charts.len()) as f64, HEIGHT * rows as f64);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\">\n\
         <style>{STYLE}</style>\n"
    );
    for (at, chart) in charts.iter().enumerate() {
        let (column, row) = (at % columns, at / columns);
        let _ =
            writeln!(svg, "<g transform=\"translate({} {})\">", WIDTH * column as f64, HEIGHT * row as f64);
        draw(&mut svg, chart);
        svg.push_str("</g>\n");
    }
    svg.push_str("</svg>\n");
    svg
}

fn draw(svg: &mut String, chart: &Chart) {
    let [left, top, right, bottom] = MARGIN;
    let (width, height) = (WIDTH - left - right, HEIGHT - top - bottom);
    let x = |value: f64| left + chart.x.place(value) * width;
    let y = |value: f64| top + (1.0 - chart.y.place(value)) * height;
    let (low, end) = (top + height, left + width);
    let _ = writeln!(svg, "<text class=\"title\" x=\"{left}\" y=\"20\">{}</text>", chart.title);
    legend(svg, &chart.series, left, width);
    for (value, name) in &chart.y.ticks {
        let at = y(*value);
        let _ = writeln!(
            svg,
            "<line class=\"grid\" x1=\"{left}\" x2=\"{end}\" y1=\"{at:.1}\" y2=\"{at:.1}\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{name}</text>",
            left - 6.0,
            at + 4.0,
        );
    }
    for (value, name) in &chart.x.ticks {
        let at = x(*value);
        let _ = writeln!(
            svg,
            "<line class=\"grid\" x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"{top}\" y2=\"{low}\"/>\
             <text x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{name}</text>",
            low + 16.0,
        );
    }
    let middle = left + width / 2.0;
    let _ = writeln!(
        svg,
        "<text x=\"{middle}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>\
         <text x=\"{}\" y=\"16\" text-anchor=\"middle\" transform=\"rotate(-90)\">{}</text>",
        low + 36.0,
        chart.x.label,
        -(top + height / 2.0),
        chart.y.label,
    );
    for series in &chart.series {
        let points: Vec<String> =
            series.points.iter().map(|(at, value)| format!("{:.1},{:.1}", x(*at), y(*value))).collect();
        let class = if series.law { "law" } else { "line" };
        let _ =
            writeln!(svg, "<polyline class=\"{class} c{}\" points=\"{}\"/>", series.colour, points.join(" "));
    }
}

/// Two legend entries per row, below the title.
fn legend(svg: &mut String, series: &[Series], left: f64, width: f64) {
    for (at, series) in series.iter().enumerate() {
        let x = left + (at % 2) as f64 * width / 2.0;
        let y = 38.0 + (at / 2) as f64 * LEGEND_ROW;
        let class = if series.law { "law" } else { "line" };
        let _ = writeln!(
            svg,
            "<line class=\"{class} c{}\" x1=\"{x}\" x2=\"{}\" y1=\"{}\" y2=\"{}\"/>\
             <text x=\"{}\" y=\"{y}\">{}</text>",
            series.colour,
            x + 18.0,
            y - 4.0,
            y - 4.0,
            x + 24.0,
            series.name,
        );
    }
}
