//! A case of the report: figures, claims, and their table.

use std::fmt;

use comfy_table::{Table, presets::ASCII_MARKDOWN};
use order_core::bench::{Figures, Sample};

/// A case: the figures of its contestants, and the claims about them.
pub struct Measured {
    pub name: String,
    pub rows: Vec<(String, Figures)>,
    pub claims: Vec<Claim>,
}

/// A value, and the bar that it has to reach.
pub struct Claim {
    what: &'static str,
    value: f64,
    bar: Bar,
}

#[derive(Clone, Copy)]
pub enum Bar {
    AtLeast(f64),
    AtMost(f64),
}

impl Claim {
    pub const fn new(what: &'static str, value: f64, bar: Bar) -> Self {
        Self { what, value, bar }
    }

    fn holds(&self) -> bool {
        match self.bar {
            Bar::AtLeast(bar) => self.value >= bar,
            Bar::AtMost(bar) => self.value <= bar,
        }
    }
}

impl Measured {
    pub fn new(name: &str, rows: Vec<(String, Figures)>) -> Self {
        Self {
            name: name.to_owned(),
            rows,
            claims: Vec::new(),
        }
    }

    /// Tells whether every bar is reached.
    pub fn holds(&self) -> bool {
        self.claims.iter().all(Claim::holds)
    }

    pub fn claim(&mut self, what: &'static str, value: f64, bar: Bar) {
        self.claims.push(Claim::new(what, value, bar));
    }

    /// The highest median rate among the contestants whose name begins with `prefix`.
    pub fn rate(&self, prefix: &str) -> f64 {
        self.rows
            .iter()
            .filter(|(name, _)| name.starts_with(prefix))
            .map(|(_, figures)| figures.orders_per_second)
            .fold(f64::NAN, f64::max)
    }
}

/// A latency, or nothing where none was measured.
fn millis(latency_ms: f64) -> String {
    if latency_ms.is_nan() {
        return String::new();
    }
    format!("{latency_ms:.2}")
}

impl fmt::Display for Measured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "### {}\n", self.name)?;
        let mut table = Table::new();
        table.load_style(ASCII_MARKDOWN);
        table.set_header(["", "per second", "min", "max", "p50 ms", "p99 ms"]);
        for (name, figures) in &self.rows {
            table.add_row([
                name.clone(),
                format!("{:.0}", figures.orders_per_second),
                format!("{:.0}", figures.min),
                format!("{:.0}", figures.max),
                millis(figures.p50_ms),
                millis(figures.p99_ms),
            ]);
        }
        if !self.rows.is_empty() {
            writeln!(f, "{table}\n")?;
        }
        for claim in &self.claims {
            let (sign, bar) = match claim.bar {
                Bar::AtLeast(bar) => (">=", bar),
                Bar::AtMost(bar) => ("<=", bar),
            };
            let held = if claim.holds() { "" } else { " MISSED" };
            writeln!(
                f,
                "- {}: {:.2} ({sign} {bar}){held}",
                claim.what, claim.value
            )?;
        }
        Ok(())
    }
}

/// Lets contestants take turns: one run each, so many times.
pub async fn take_turns(
    names: Vec<String>,
    runs: usize,
    run: impl AsyncFn(usize) -> anyhow::Result<Sample>,
) -> anyhow::Result<Vec<(String, Figures)>> {
    let mut samples: Vec<Vec<Sample>> = vec![Vec::new(); names.len()];
    for _ in 0..runs {
        for (contestant, samples) in samples.iter_mut().enumerate() {
            samples.push(run(contestant).await?);
        }
    }
    let figures = samples.iter().map(|samples| Figures::of(samples));
    Ok(names.into_iter().zip(figures).collect())
}
