//! Results as an SVG chart of bars: how many times its baseline each figure is, how much of
//! its limit it reaches, and what threads bring.

use std::fmt::{self, Write as _};

use super::{
    record::Record,
    schema::{Found, Ratio, Unit},
    stats::float_of,
    table::digits,
};

const COLOURS: [&str; 4] = ["#0b6cb0", "#c8501e", "#2b8a3e", "#7048a8"];
const WIDTH: f64 = 900.0;
/// Where bars begin and how long the longest is.
const LEFT: f64 = 330.0;
const LENGTH: f64 = 480.0;
const BAR: f64 = 12.0;
const GAP: f64 = 8.0;

/// Bars of one kind.
struct Panel {
    title: &'static str,
    /// Written after each number.
    unit: &'static str,
    /// Where parity is.
    mark: f64,
    rows: Vec<Row>,
}

/// One figure of every record.
struct Row {
    path: String,
    label: String,
    values: Vec<Option<f64>>,
}

impl Panel {
    /// What `value` makes of each figure that has it.
    fn new(
        title: &'static str,
        unit: &'static str,
        mark: f64,
        records: &[Record],
        value: impl Fn(&Found) -> Vec<(String, f64)>,
    ) -> Self {
        let mut rows: Vec<Row> = Vec::new();
        for (index, record) in records.iter().enumerate() {
            for found in record.schema.figures_in(&record.value) {
                let section = found.path.split('.').next().unwrap_or_default();
                for (label, value) in value(&found) {
                    let label = match section.split_once('[') {
                        None => format!("{section}: {label}"),
                        Some(_) => label,
                    };
                    let path = format!("{} {label}", found.path);
                    let place = rows.iter().position(|row| row.path == path).unwrap_or_else(|| {
                        rows.push(Row { path, label, values: vec![None; records.len()] });
                        rows.len() - 1
                    });
                    rows[place].values[index] = Some(value);
                }
            }
        }
        Self { title, unit, mark, rows }
    }

    fn height(&self, records: usize) -> f64 {
        50.0 + float_of(self.rows.len()) * (float_of(records) * BAR + GAP)
    }

    fn draw(&self, svg: &mut String, top: f64, records: usize) -> fmt::Result {
        let values = || self.rows.iter().flat_map(|row| row.values.iter().flatten());
        let scale = LENGTH / values().copied().fold(self.mark, f64::max);
        writeln!(
            svg,
            "<text x=\"20\" y=\"{}\" font-size=\"15\">{}</text>",
            top + 20.0,
            self.title
        )?;
        let mut y = top + 36.0;
        let bottom = top + self.height(records) - 14.0;
        for row in &self.rows {
            let middle = y + float_of(records) * BAR / 2.0 + 4.0;
            let (x, label) = (LEFT - 8.0, escaped(&row.label));
            writeln!(svg, "<text x=\"{x}\" y=\"{middle:.1}\" text-anchor=\"end\">{label}</text>")?;
            for (index, value) in row.values.iter().enumerate() {
                if let Some(value) = value {
                    self.bar(svg, index, y + float_of(index) * BAR, *value, scale)?;
                }
            }
            y += float_of(records) * BAR + GAP;
        }
        let at = LEFT + self.mark * scale;
        let from = top + 32.0;
        writeln!(
            svg,
            "<path d=\"M{at:.1} {from:.1}V{bottom:.1}\" stroke=\"#222\" stroke-dasharray=\"3 3\"/>"
        )
    }

    fn bar(&self, svg: &mut String, index: usize, y: f64, value: f64, scale: f64) -> fmt::Result {
        let colour = COLOURS[index % COLOURS.len()];
        let (width, height) = ((value * scale).max(0.0), BAR - 2.0);
        writeln!(
            svg,
            "<rect x=\"{LEFT}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height}\" fill=\"{colour}\"/>"
        )?;
        let (x, base) = (LEFT + width + 5.0, y + 9.0);
        let text = digits(value);
        writeln!(
            svg,
            "<text x=\"{x:.1}\" y=\"{base:.1}\" font-size=\"11\">{text}{}</text>",
            self.unit
        )
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// Draws `records`; of figures with neither baseline nor limit only rates of many rows.
pub(super) fn svg(records: &[Record]) -> String {
    let times = |own: bool| {
        move |found: &Found| {
            let of_kind = |ratio: &&Ratio| ratio.baseline.field.is_some() == own;
            let label = |ratio: &Ratio| match ratio.baseline.field {
                Some(_) => format!("{} / {}", found.label, ratio.baseline.label),
                None => found.label.clone(),
            };
            let ratios = found.ratios.iter().filter(of_kind);
            ratios.map(|ratio| (label(ratio), ratio.times)).collect()
        }
    };
    let shares = |found: &Found| {
        let limit = found.figure.limit.zip(found.of_limit());
        let row =
            limit.map(|(limit, of)| (format!("{} / {}", found.label, limit.label), 100.0 * of));
        row.into_iter().collect()
    };
    let rates = |found: &Found| {
        let is_rate = found.figure.unit == Unit::PerSecond && found.figure.list.is_some();
        let alone = found.figure.baselines.is_empty() && found.figure.limit.is_none();
        let row = (is_rate && alone).then(|| (found.label.clone(), found.value));
        row.into_iter().collect()
    };
    let panels = [
        Panel::new("Per second", "", 0.0, records, rates),
        Panel::new("Times the baseline of the same run", "x", 1.0, records, times(true)),
        Panel::new("Share of the limit", " %", 100.0, records, shares),
        Panel::new("Times one thread", "x", 1.0, records, times(false)),
    ];
    let mut svg = String::new();
    draw(&mut svg, &panels, records).expect("writing to a string does not fail");
    svg
}

fn draw(svg: &mut String, panels: &[Panel], records: &[Record]) -> fmt::Result {
    let panels = || panels.iter().filter(|panel| !panel.rows.is_empty());
    let head = 14.0 + 18.0 * float_of(records.len());
    let height = panels().map(|panel| panel.height(records.len())).sum::<f64>() + head + 10.0;
    writeln!(
        svg,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height:.0}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"{WIDTH}\" height=\"{height:.0}\" fill=\"white\"/>"
    )?;
    for (index, record) in records.iter().enumerate() {
        let (y, colour) = (20.0 + 18.0 * float_of(index), COLOURS[index % COLOURS.len()]);
        let cpu = record.value["machine"]["cpu"].as_str().unwrap_or("unknown");
        let (commit, time) = (record.text("commit"), record.text("time"));
        let text = escaped(&format!("{}: {cpu}, {commit}, {time}", record.schema.title));
        writeln!(svg, "<text x=\"20\" y=\"{y}\" fill=\"{colour}\">{text}</text>")?;
    }
    let mut top = head;
    for panel in panels() {
        panel.draw(svg, top, records.len())?;
        top += panel.height(records.len());
    }
    svg.push_str("</svg>\n");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::compare::tests::{document, record};

    #[test]
    fn a_chart_has_a_bar_for_each_ratio_and_share_of_each_record() {
        let one = svg(&[record(document())]);
        let two = svg(&[record(document()), record(document())]);
        let bars = |svg: &str| svg.matches("<rect x=").count();
        assert!(bars(&one) > 3, "{one}");
        assert_eq!(bars(&two), 2 * bars(&one));
        assert!(one.starts_with("<svg ") && one.ends_with("</svg>\n") && !one.contains("NaN"));
    }

    #[test]
    fn text_cannot_break_out_of_the_chart() {
        assert_eq!(escaped("a<b>&c"), "a&lt;b&gt;&amp;c");
    }
}
