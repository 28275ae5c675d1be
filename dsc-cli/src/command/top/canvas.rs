//! A picture of characters, each with a style, cut at its edges.

use std::fmt::Write;

/// How a character looks; what it means is told by the character.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Style {
    #[default]
    Plain,
    Bold,
    Dim,
    Good,
    Warning,
    Bad,
    Work,
    Space,
    Memory,
}

impl Style {
    /// The parameters of the escape sequence that selects it (ECMA-48, SGR).
    const fn code(self) -> &'static str {
        match self {
            Self::Plain => "0",
            Self::Bold => "0;1",
            Self::Dim => "0;2",
            Self::Good => "0;32",
            Self::Warning => "0;33",
            Self::Bad => "0;31;1",
            Self::Work => "0;34;1",
            Self::Space => "0;35;1",
            Self::Memory => "0;36;1",
        }
    }
}

/// The picture.
#[derive(Debug)]
pub(super) struct Canvas {
    width: usize,
    height: usize,
    cells: Vec<(char, Style)>,
}

impl Canvas {
    pub(super) fn new(width: usize, height: usize) -> Self {
        Self { width, height, cells: vec![(' ', Style::Plain); width * height] }
    }

    pub(super) const fn width(&self) -> usize {
        self.width
    }

    pub(super) const fn height(&self) -> usize {
        self.height
    }

    /// Writes from column `x` of line `y` on, and returns the column behind the text.
    pub(super) fn put(&mut self, x: usize, y: usize, text: &str, style: Style) -> usize {
        let mut at = x;
        for c in text.chars() {
            // One column for one character: what has another width, or none, is not let through.
            let c = if c.is_control() { '?' } else { c };
            if at < self.width && y < self.height {
                self.cells[y * self.width + at] = (c, style);
            }
            at += 1;
        }
        at
    }

    fn lines(&self) -> impl Iterator<Item = &[(char, Style)]> {
        self.cells.chunks(self.width.max(1))
    }

    /// The characters alone.
    #[cfg(test)]
    pub(super) fn text(&self) -> String {
        let line = |line: &[(char, Style)]| {
            let text: String = line.iter().map(|(c, _)| c).collect();
            text.trim_end().to_owned() + "\n"
        };
        self.lines().map(line).collect()
    }

    /// What draws it over whatever a terminal shows, without a moment of emptiness.
    pub(super) fn escapes(&self) -> String {
        let mut out = String::from("\u{1b}[H");
        for (y, line) in self.lines().enumerate() {
            let mut style = Style::Plain;
            let _ = write!(out, "\u{1b}[{};1H\u{1b}[0m", y + 1);
            for (c, next) in line {
                if *next != style {
                    style = *next;
                    let _ = write!(out, "\u{1b}[{}m", style.code());
                }
                out.push(*c);
            }
        }
        out.push_str("\u{1b}[0m");
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_cut_at_the_edges_and_steers_nothing() {
        let mut canvas = Canvas::new(4, 2);
        assert_eq!(canvas.put(2, 0, "abc", Style::Bad), 5);
        canvas.put(0, 1, "\u{1b}[2", Style::Plain);
        canvas.put(0, 9, "x", Style::Plain);
        assert_eq!(canvas.text(), "  ab\n?[2\n");
        let drawn = canvas.escapes();
        assert!(drawn.contains("  \u{1b}[0;31;1mab\u{1b}[2;1H\u{1b}[0m?[2 "), "{drawn:?}");
        assert!(Canvas::new(0, 0).text().is_empty());
    }
}
