//! Reads `/metrics`, and the documentation of the metrics.

use std::collections::{BTreeMap, BTreeSet};

use openmetrics_parser::{
    MetricFamily, PrometheusType, PrometheusValue, prometheus::parse_prometheus,
};

use crate::shop::Shop;

/// The page that documents the metrics.
pub const OPERATIONS: &str = include_str!("../../../docs/OPERATIONS.md");

type Family = MetricFamily<PrometheusType, PrometheusValue>;

/// The metrics of one answer, by their names.
pub struct Scrape(pub BTreeMap<String, Family>);

impl Scrape {
    pub async fn of(shop: &Shop) -> Self {
        let url = format!("{}/metrics", shop.origin);
        let answer = shop.client.get(url).send().await.unwrap();
        assert_eq!(answer.status(), 200);
        let content_type = answer.headers()["content-type"].to_str().unwrap();
        assert_eq!(content_type, "text/plain; version=0.0.4; charset=utf-8");
        let text = answer.text().await.unwrap();
        for line in text.lines() {
            // The parser takes what has no description, too.
            if let Some(name) = line.strip_prefix("# TYPE ") {
                let name = name.split(' ').next().unwrap();
                assert!(text.contains(&format!("# HELP {name} ")), "{name}");
            }
        }
        let parsed = parse_prometheus(&text).unwrap_or_else(|error| panic!("{error}:\n{text}"));
        Self(parsed.families.into_iter().collect())
    }

    /// The value of a series, if it is there.
    pub fn find(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let family = self.0.get(name)?;
        let of_sample = |sample: &openmetrics_parser::Sample<PrometheusValue>| {
            let known: BTreeMap<String, String> = sample
                .get_labelset()
                .unwrap()
                .iter()
                .map(|(name, value)| (name.clone(), value.clone()))
                .collect();
            let wanted =
                |(name, value): &(&str, &str)| known.get(*name).is_some_and(|v| v == value);
            labels.iter().all(wanted).then(|| match &sample.value {
                PrometheusValue::Counter(counter) => counter.value.as_f64(),
                PrometheusValue::Gauge(gauge) => gauge.as_f64(),
                PrometheusValue::Histogram(histogram) => histogram.count.unwrap() as f64,
                other => panic!("{name} is {other:?}"),
            })
        };
        family.iter_samples().find_map(of_sample)
    }

    pub fn value(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let found = self.find(name, labels);
        found.unwrap_or_else(|| panic!("{name}{labels:?} is not in {}", self.0[name]))
    }

    /// The type and the labels of each metric, in the form of the documentation.
    pub fn kinds(&self) -> BTreeMap<String, (String, BTreeSet<String>)> {
        let kind = |(name, family): (&String, &Family)| {
            let labels = family.get_label_names().iter().cloned().collect();
            (name.clone(), (family.family_type.to_string(), labels))
        };
        self.0.iter().map(kind).collect()
    }
}

/// The metrics of the documentation: rows of name, type, labels, unit and meaning.
pub fn documented() -> BTreeMap<String, (String, BTreeSet<String>)> {
    let row = |line: &str| {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let [_, name, kind, labels, _, _, _] = cells[..] else {
            return None;
        };
        let name = name.strip_prefix('`')?.strip_suffix('`')?;
        let labels = labels.split(", ").map(|label| label.trim_matches('`'));
        let labels = labels.filter(|label| !label.is_empty()).map(str::to_owned);
        Some((name.to_owned(), (kind.to_owned(), labels.collect())))
    };
    OPERATIONS.lines().filter_map(row).collect()
}
