//! Markdown: the few forms that the pages are made of.

/// Text in which nothing but a code span has a meaning, on one line.
pub(super) fn plain(text: &str) -> String {
    let mut is_code = false;
    let mut made = String::new();
    for c in text.split_whitespace().collect::<Vec<_>>().join(" ").chars() {
        is_code ^= c == '`';
        if c == '|' || (!is_code && "<>*[]".contains(c)) {
            made.push('\\');
        }
        made.push(c);
    }
    made
}

/// A code span that may stand in a table.
pub(super) fn code(text: &str) -> String {
    format!("`{}`", text.replace('|', "\\|"))
}

/// One sentence: a capital at the start, a full stop at the end.
pub(super) fn sentence(text: &str) -> String {
    let text = plain(text);
    let (first, rest) = text.split_at(text.chars().next().map_or(0, char::len_utf8));
    let end = if text.is_empty() || text.ends_with(['.', '?', '!', ':', ';']) { "" } else { "." };
    format!("{}{rest}{end}", first.to_uppercase())
}

/// A table, or nothing if it has no rows. Cells are Markdown already.
pub(super) fn table<const N: usize>(head: [&str; N], rows: &[[String; N]]) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
    let rule = format!("|{}\n", "---|".repeat(N));
    let rows: String = rows.iter().map(|row| line(row)).collect();
    format!("{}{rule}{rows}\n", line(&head.map(ToOwned::to_owned)))
}

#[test]
fn what_has_a_meaning_in_markdown_is_escaped() {
    assert_eq!(plain("a <B>\n  | `<C>|` [d]"), "a \\<B\\> \\| `<C>\\|` \\[d\\]");
    assert_eq!(sentence("done"), "Done.");
    assert_eq!(table(["a"], &[]), "");
    assert_eq!(table(["a"], &[[code("b|")]]), "| a |\n|---|\n| `b\\|` |\n\n");
}
