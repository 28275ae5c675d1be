//! Numbers for people, and tables of them: aligned text or Markdown.

use std::fmt;

/// Three digits that mean something, or all before the point.
pub(crate) fn digits(value: f64) -> String {
    let decimals = match value.abs() {
        least if least < 9.995 => 2,
        less if less < 99.95 => 1,
        _ => 0,
    };
    format!("{value:.decimals$}")
}

/// A number with a prefix for each thousand: `12.3 M`.
pub(crate) fn scaled(value: f64) -> String {
    with_prefix(value, 1000.0, &["", "k", "M", "G", "T"])
}

/// A number of bytes: `1.50 MiB`.
pub(crate) fn bytes_text(bytes: f64) -> String {
    with_prefix(bytes, 1024.0, &["B", "KiB", "MiB", "GiB", "TiB"])
}

fn with_prefix(value: f64, step: f64, prefixes: &[&str]) -> String {
    let (mut value, mut place) = (value, 0);
    while value.abs() >= step && place + 1 < prefixes.len() {
        (value, place) = (value / step, place + 1);
    }
    format!("{} {}", digits(value), prefixes[place])
}

/// Rows under a head; the first column is text, the others are numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Table {
    head: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn new(head: &[&str]) -> Self {
        Self { head: head.iter().map(ToString::to_string).collect(), rows: Vec::new() }
    }

    /// Adds a row; cells that are missing stay empty.
    pub(crate) fn row(&mut self, mut cells: Vec<String>) {
        cells.resize(self.head.len(), String::new());
        self.rows.push(cells);
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Without the columns in which no row has anything.
    pub(crate) fn trimmed(mut self) -> Self {
        let is_used = |column: usize| self.rows.iter().any(|row| !row[column].is_empty());
        let used: Vec<bool> = (0..self.head.len()).map(is_used).collect();
        let keep = |cells: &mut Vec<String>| {
            let mut used = used.iter();
            cells.retain(|_| used.next().copied().unwrap_or_default());
        };
        keep(&mut self.head);
        self.rows.iter_mut().for_each(keep);
        self
    }

    /// Columns aligned with spaces.
    pub(crate) fn text(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = |column: usize| {
            let cells = self.rows.iter().chain([&self.head]).map(|row| row[column].len());
            // More than a width that can be asked for stands out, and nothing else.
            cells.max().unwrap_or_default().min(usize::from(u16::MAX))
        };
        let widths: Vec<_> = (0..self.head.len()).map(width).collect();
        for row in [&self.head].into_iter().chain(&self.rows) {
            let cells = row.iter().zip(&widths).enumerate().map(|(column, (cell, &width))| {
                if column == 0 { format!("{cell:width$}") } else { format!("{cell:>width$}") }
            });
            writeln!(f, "{}", cells.collect::<Vec<_>>().join("  ").trim_end())?;
        }
        Ok(())
    }

    /// A table of Markdown.
    pub(crate) fn markdown(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "| {} |", self.head.join(" | "))?;
        writeln!(f, "|---{}|", "|---:".repeat(self.head.len().saturating_sub(1)))?;
        for row in &self.rows {
            writeln!(f, "| {} |", row.join(" | "))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Shown<'a>(&'a Table, bool);

    impl fmt::Display for Shown<'_> {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            if self.1 { self.0.markdown(f) } else { self.0.text(f) }
        }
    }

    #[test]
    fn numbers_keep_three_digits() {
        let cases =
            [(0.0, "0.00"), (1.234, "1.23"), (12.34, "12.3"), (99.96, "100"), (9.999, "10.0")];
        for (value, text) in cases {
            assert_eq!(digits(value), text);
        }
        assert_eq!(digits(12345.6), "12346");
        assert_eq!((scaled(999.0), scaled(1234.0)), ("999 ".to_owned(), "1.23 k".to_owned()));
        assert_eq!(bytes_text(3.5 * 1024.0 * 1024.0 * 1024.0), "3.50 GiB");
        assert_eq!(scaled(1e18), "1000000 T");
    }

    #[test]
    fn a_table_is_aligned_and_empty_columns_go() {
        let mut table = Table::new(&["figure", "value", "none", "x"]);
        table.row(vec!["search".into(), "143".into(), String::new(), "12.7".into()]);
        table.row(vec!["a".into(), "1".into()]);
        assert!(!table.is_empty());
        let table = table.trimmed();
        let text = "figure  value     x\nsearch    143  12.7\na           1\n";
        assert_eq!(Shown(&table, false).to_string(), text);
        let markdown =
            "| figure | value | x |\n|---|---:|---:|\n| search | 143 | 12.7 |\n| a | 1 |  |\n";
        assert_eq!(Shown(&table, true).to_string(), markdown);
    }
}
