//! Markdown tables on standard output and line charts as SVG files.

use std::{fmt::Write as _, fs, path::PathBuf};

/// Where plots go; nowhere if no folder was named.
pub(crate) struct Output(pub(crate) Option<PathBuf>);

impl Output {
    pub(crate) fn write(&self, name: &str, plot: &Plot<'_>) -> anyhow::Result<()> {
        if let Some(folder) = &self.0 {
            fs::create_dir_all(folder)?;
            fs::write(folder.join(name), plot.svg()?)?;
        }
        Ok(())
    }
}

/// The lines of a table under way.
pub(crate) struct Markdown(Vec<String>);

impl Markdown {
    pub(crate) fn new(heads: &[&str]) -> Self {
        let head = format!("| {} |", heads.join(" | "));
        Self(vec![head, format!("|---{}|", "|---:".repeat(heads.len() - 1))])
    }

    pub(crate) fn row(&mut self, cells: &[String]) {
        self.0.push(format!("| {} |", cells.join(" | ")));
    }

    pub(crate) fn print(&self) {
        println!("{}\n", self.0.join("\n"));
    }
}

/// A line of a chart, with or without a mark at each point.
pub(crate) struct Series {
    name: String,
    points: Vec<(f64, f64)>,
    marks: bool,
}

impl Series {
    pub(crate) fn line(name: &str, points: Vec<(f64, f64)>) -> Self {
        Self { name: name.into(), points, marks: false }
    }

    pub(crate) fn marked(name: &str, points: Vec<(f64, f64)>) -> Self {
        Self { name: name.into(), points, marks: true }
    }
}

/// A chart; both axes are linear and span the points.
pub(crate) struct Plot<'a> {
    pub(crate) title: &'a str,
    pub(crate) x: &'a str,
    pub(crate) y: &'a str,
    pub(crate) series: Vec<Series>,
}

const COLOURS: [&str; 4] = ["#0b6cb0", "#c8501e", "#2b8a3e", "#7048a8"];
/// Left, top, width and height of the area between the axes.
const AREA: [f64; 4] = [70.0, 50.0, 600.0, 300.0];
const TICKS: u32 = 4;

impl Plot<'_> {
    fn span(&self, axis: fn(&(f64, f64)) -> f64) -> (f64, f64) {
        let values = || self.series.iter().flat_map(|series| &series.points).map(axis);
        (values().fold(f64::MAX, f64::min).min(0.0), values().fold(f64::MIN, f64::max))
    }

    fn svg(&self) -> Result<String, std::fmt::Error> {
        let (across, up) = (self.span(|point| point.0), self.span(|point| point.1));
        let place = |(x, y): (f64, f64)| {
            let share = |value: f64, span: (f64, f64)| (value - span.0) / (span.1 - span.0);
            let [left, top, width, height] = AREA;
            (left + width * share(x, across), top + height * (1.0 - share(y, up)))
        };
        let mut svg = self.frame()?;
        for tick in 0..=TICKS {
            let at =
                |span: (f64, f64)| span.0 + (span.1 - span.0) * f64::from(tick) / f64::from(TICKS);
            let (x, y) = place((at(across), at(up)));
            ticks(&mut svg, (x, at(across)), (y, at(up)))?;
        }
        for (index, series) in self.series.iter().enumerate() {
            let points: Vec<_> = series.points.iter().map(|point| place(*point)).collect();
            draw(&mut svg, index, series, &points)?;
        }
        svg += "</svg>\n";
        Ok(svg)
    }

    fn frame(&self) -> Result<String, std::fmt::Error> {
        let mut svg = String::from(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 900 410\" \
             font-family=\"sans-serif\" font-size=\"12\">\n\
             <rect width=\"900\" height=\"410\" fill=\"white\"/>\n",
        );
        let [left, top, width, height] = AREA;
        writeln!(
            svg,
            "<rect x=\"{left}\" y=\"{top}\" width=\"{width}\" height=\"{height}\" fill=\"none\" \
             stroke=\"#888\"/>"
        )?;
        let middle = left + width / 2.0;
        writeln!(svg, "<text x=\"{left}\" y=\"28\" font-size=\"15\">{}</text>", self.title)?;
        writeln!(svg, "<text x=\"{middle}\" y=\"395\" text-anchor=\"middle\">{}</text>", self.x)?;
        writeln!(svg, "<text x=\"{left}\" y=\"44\" fill=\"#444\">{}</text>", self.y)?;
        Ok(svg)
    }
}

fn ticks(svg: &mut String, across: (f64, f64), up: (f64, f64)) -> std::fmt::Result {
    let bottom = AREA[1] + AREA[3];
    let (x, y) = (across.0, up.0);
    writeln!(svg, "<path d=\"M{x:.1} {bottom}v5M{:.1} {y:.1}h-5\" stroke=\"#888\"/>", AREA[0])?;
    let (below, left, middle) = (bottom + 19.0, AREA[0] - 8.0, y + 4.0);
    writeln!(
        svg,
        "<text x=\"{x:.1}\" y=\"{below}\" text-anchor=\"middle\">{}</text>",
        short(across.1)
    )?;
    writeln!(svg, "<text x=\"{left}\" y=\"{middle:.1}\" text-anchor=\"end\">{}</text>", short(up.1))
}

/// At most two decimals, none that are zero.
fn short(value: f64) -> String {
    let text = format!("{value:.2}");
    text.trim_end_matches('0').trim_end_matches('.').into()
}

fn draw(
    svg: &mut String,
    index: usize,
    series: &Series,
    points: &[(f64, f64)],
) -> std::fmt::Result {
    let colour = COLOURS[index % COLOURS.len()];
    let path: Vec<_> = points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
    writeln!(
        svg,
        "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.6\"/>",
        path.join(" ")
    )?;
    for (x, y) in points.iter().filter(|_| series.marks) {
        writeln!(svg, "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\" fill=\"{colour}\"/>")?;
    }
    let y = AREA[1] + 18.0 + 17.0 * index as f64;
    let right = AREA[0] + AREA[2] + 12.0;
    writeln!(svg, "<text x=\"{right}\" y=\"{y}\" fill=\"{colour}\">{}</text>", series.name)
}
