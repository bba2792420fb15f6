//! From the lines of the benchmark programs to one table.

use serde_json::{Value, json};

/// A wall time taken while other processes used more than this many cores is marked.
const NOISY: f64 = 0.25;

/// The best figure of one side for one case.
#[derive(Clone, Debug, Default, PartialEq)]
enum Cell {
    #[default]
    Missing,
    Skipped(String),
    Time {
        us: f64,
        noisy: bool,
    },
}

impl Cell {
    fn us(&self) -> Option<f64> {
        match self {
            Self::Time { us, .. } => Some(*us),
            _ => None,
        }
    }

    fn shown(&self) -> String {
        match self {
            Self::Missing => "-".to_owned(),
            Self::Skipped(_) => "skip".to_owned(),
            Self::Time { us, noisy } => format!("{}{}", significant(*us), if *noisy { "~" } else { "" }),
        }
    }

    /// Keeps the better one: any time before none, a lower before a higher.
    fn improve(&mut self, other: Self) {
        let better = match (self.us(), other.us()) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(old), Some(new)) => new < old,
        };
        if better {
            *self = other;
        }
    }
}

/// Four significant digits, without an exponent.
fn significant(value: f64) -> String {
    let digits = if value > 0.0 { (3 - value.log10().floor() as i32).clamp(0, 4) } else { 0 };
    format!("{value:.*}", digits as usize)
}

struct Row {
    case: String,
    kiln: Cell,
    torch: Cell,
}

/// The table of a run: a row per case, in the order of the first lines.
pub struct Table {
    threads: usize,
    with_torch: bool,
    rows: Vec<Row>,
}

impl Table {
    /// An empty table. CPU time fills it with one thread, wall time with more.
    pub fn new(threads: usize, with_torch: bool) -> Self {
        Self { threads, with_torch, rows: Vec::new() }
    }

    /// Takes in one line of a program; of several rounds, the best one counts.
    pub fn add(&mut self, line: &Value) {
        let (Some(case), Some(peer)) = (line["case"].as_str(), line["peer"].as_str()) else { return };
        let key = if self.threads == 1 { "cpu_us" } else { "median" };
        let cell = match line[key].as_f64() {
            Some(us) if line["metric"] != "skip" => {
                let other = line["other_cpu"].as_f64().unwrap_or(0.0);
                Cell::Time { us, noisy: self.threads > 1 && other > NOISY }
            }
            _ => Cell::Skipped(line["why"].as_str().unwrap_or("no figure").to_owned()),
        };
        let row = match self.rows.iter_mut().position(|r| r.case == case) {
            Some(i) => &mut self.rows[i],
            None => {
                self.rows.push(Row { case: case.to_owned(), kiln: Cell::Missing, torch: Cell::Missing });
                let last = self.rows.len() - 1;
                &mut self.rows[last]
            }
        };
        if peer == "kiln" { &mut row.kiln } else { &mut row.torch }.improve(cell);
    }

    fn cells(&self, row: &Row) -> Vec<String> {
        let mut cells = vec![row.case.clone(), row.kiln.shown()];
        if self.with_torch {
            cells.push(row.torch.shown());
            cells.push(ratio(row).map_or("-".to_owned(), |r| format!("{r:.2}")));
        }
        cells
    }

    fn header(&self) -> Vec<String> {
        let mut header = vec!["case", "kiln us"];
        if self.with_torch {
            header.extend(["torch us", "torch/kiln"]);
        }
        header.into_iter().map(str::to_owned).collect()
    }

    fn caption(&self) -> String {
        match self.threads {
            1 => "1 thread, CPU time per iteration".to_owned(),
            n => format!(
                "{n} threads, wall time per iteration (~: other processes took more than {NOISY} cores)"
            ),
        }
    }

    /// One row as text, for a run that is still going on.
    pub fn row(&self, case: &str) -> String {
        self.rows.iter().find(|r| r.case == case).map_or(case.to_owned(), |row| self.cells(row).join("  "))
    }

    /// The whole table, aligned.
    pub fn plain(&self) -> String {
        let mut lines = vec![self.header()];
        lines.extend(self.rows.iter().map(|row| self.cells(row)));
        let width = |column: usize| lines.iter().map(|l| l[column].chars().count()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..lines[0].len()).map(width).collect();
        let mut text = self.caption() + "\n";
        for line in &lines {
            let mut cells = line.iter().zip(&widths);
            if let Some((name, width)) = cells.next() {
                text.push_str(&format!("{name:width$}"));
            }
            for (cell, width) in cells {
                text.push_str(&format!("  {cell:>width$}"));
            }
            text.push('\n');
        }
        text + &self.reasons()
    }

    /// The whole table as Markdown.
    pub fn markdown(&self) -> String {
        let header = self.header();
        let mut text = format!("{}\n\n| {} |\n|", self.caption(), header.join(" | "));
        for i in 0..header.len() {
            text.push_str(if i == 0 { " --- |" } else { " ---: |" });
        }
        text.push('\n');
        for row in &self.rows {
            text.push_str(&format!("| {} |\n", self.cells(row).join(" | ")));
        }
        text + &self.reasons()
    }

    /// Why cases were skipped.
    fn reasons(&self) -> String {
        let mut text = String::new();
        for row in &self.rows {
            for (peer, cell) in [("kiln", &row.kiln), ("torch", &row.torch)] {
                if let Cell::Skipped(why) = cell {
                    text.push_str(&format!("\n{peer} skipped {}: {why}\n", row.case));
                }
            }
        }
        text
    }

    /// The rows for machines.
    pub fn json(&self) -> Value {
        let row = |row: &Row| json!({ "case": row.case, "kiln_us": row.kiln.us(), "torch_us": row.torch.us(), "ratio": ratio(row) });
        self.rows.iter().map(row).collect()
    }
}

/// How many times as fast as PyTorch: above 1 is faster.
fn ratio(row: &Row) -> Option<f64> {
    Some(row.torch.us()? / row.kiln.us().filter(|us| *us > 0.0)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(peer: &str, case: &str, cpu: f64, wall: f64, other: f64) -> Value {
        json!({ "peer": peer, "case": case, "metric": "us_per_iter", "median": wall, "cpu_us": cpu, "other_cpu": other })
    }

    fn filled(threads: usize) -> Table {
        let mut table = Table::new(threads, true);
        table.add(&line("kiln", "add", 2.0, 4.0, 0.0));
        table.add(&line("torch", "add", 3.0, 5.0, 0.5));
        table.add(&line("kiln", "add", 1.0, 4.5, 0.9));
        table.add(&line("torch", "add", 6.0, 5.5, 0.0));
        table.add(&json!({ "peer": "kiln", "case": "lstm", "metric": "skip", "why": "not there" }));
        table.add(&line("torch", "lstm", 12345.6, 1.0, 0.0));
        table
    }

    #[test]
    fn one_thread_compares_cpu_time_and_the_best_round_counts() {
        let text = filled(1).plain();
        let rows: Vec<Vec<&str>> = text.lines().map(|l| l.split_whitespace().collect()).collect();
        assert_eq!(rows[2], ["add", "1.000", "3.000", "3.00"]);
        assert_eq!(rows[3], ["lstm", "skip", "12346", "-"]);
        assert!(text.ends_with("kiln skipped lstm: not there\n"));
    }

    #[test]
    fn two_threads_compare_wall_time_and_mark_noise() {
        let table = filled(2);
        assert_eq!(table.row("add"), "add  4.000  5.000~  1.25");
        assert_eq!(table.json()[0], json!({ "case": "add", "kiln_us": 4.0, "torch_us": 5.0, "ratio": 1.25 }));
    }

    #[test]
    fn markdown_is_a_table_and_torch_can_be_absent() {
        let text = filled(1).markdown();
        assert!(text.contains(
            "| case | kiln us | torch us | torch/kiln |\n| --- | ---: | ---: | ---: |\n| add | 1.000 |"
        ));
        let mut table = Table::new(1, false);
        table.add(&line("kiln", "add", 0.0123, 4.0, 0.0));
        assert!(table.markdown().ends_with("| case | kiln us |\n| --- | ---: |\n| add | 0.0123 |\n"));
    }

    #[test]
    fn figures_have_four_digits() {
        assert_eq!(
            [0.5, 12.345, 123.45, 15200.4, 0.0].map(significant),
            ["0.5000", "12.35", "123.5", "15200", "0"]
        );
    }
}
