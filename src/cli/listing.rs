//! How lists and pages of names and values are written.

use super::page::Page;
use super::pattern::fill;
use super::text::Table;
use super::view::View;

/// How the tables of an array are shown: one line each.
pub struct Listing {
    /// The array.
    pub field: &'static str,
    /// With `--names`: a pattern.
    pub names: &'static str,
    /// What is said when there are none; otherwise only the titles are shown.
    pub none: &'static str,
    /// As [`Table::titled`] takes them.
    pub titles: &'static str,
    /// A pattern for each column.
    pub cells: &'static str,
    /// Patterns of lines below the table, for each that has something to say.
    pub notes: &'static [&'static str],
}

impl Listing {
    /// Writes a table, or only names.
    pub fn show(&self, view: &View<'_>, names: bool, page: &mut Page) {
        let entries = view.tables(self.field);
        if names {
            return entries.iter().for_each(|entry| page.add(self.names, entry));
        }
        if entries.is_empty() && !self.none.is_empty() {
            return page.line(self.none);
        }
        let mut table = Table::titled(self.titles);
        for entry in &entries {
            let mut row = Vec::new();
            for pattern in self.cells.split('|') {
                row.push(match fill(pattern, entry, page) {
                    // Otherwise columns could not be told apart.
                    empty if empty.is_empty() => "-".to_string(),
                    text => text,
                });
            }
            table.row(row);
        }
        table.write(&mut page.text, "", page.color);
        for entry in &entries {
            self.notes.iter().for_each(|note| page.add(note, entry));
        }
    }
}

/// Adds names and values to a table, `name|pattern` in each line. What is empty is left out.
pub fn pairs(patterns: &str, view: &View<'_>, page: &Page, table: &mut Table) {
    for line in patterns.lines() {
        let (name, pattern) = line.split_once('|').unwrap_or_default();
        table.pair(name, fill(pattern, view, page));
    }
}

/// Writes a page of nothing but names and values.
pub fn only_pairs(patterns: &str, view: &View<'_>, page: &mut Page) {
    let mut table = Table::default();
    pairs(patterns, view, page, &mut table);
    table.write(&mut page.text, "", false);
}
