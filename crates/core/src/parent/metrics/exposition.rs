//! Writes the text formats of Prometheus: 0.0.4 (<https://prometheus.io/docs/instrumenting/exposition_formats/>) and OpenMetrics 1.0.

use std::fmt::Write;

use crate::stats::histogram::{Bounds, BucketCounts};

/// A text format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Version 0.0.4.
    Text,
    /// OpenMetrics 1.0.0.
    OpenMetrics,
}

impl Format {
    /// Returns the value of Content-Type.
    #[must_use]
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// The type of a family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A value that only grows.
    Counter,
    /// A value that goes up and down.
    Gauge,
    /// Counts by size.
    Histogram,
    /// Labels with the value 1.
    Info,
}

/// Labels with their values.
pub type Labels<'a> = &'a [(&'a str, &'a str)];

/// A text under construction.
#[derive(Debug)]
pub struct Exposition {
    text: String,
    format: Format,
    name: &'static str,
    kind: Kind,
}

impl Exposition {
    /// Begins a text.
    #[must_use]
    pub fn new(format: Format) -> Self {
        Self {
            text: String::with_capacity(8192),
            format,
            name: "",
            kind: Kind::Gauge,
        }
    }

    /// Begins a family. `name` has no suffix: counters get `_total`.
    pub fn family(&mut self, kind: Kind, name: &'static str, help: &str) -> &mut Self {
        (self.name, self.kind) = (name, kind);
        let is_open_metrics = self.format == Format::OpenMetrics;
        let suffix = if is_open_metrics { "" } else { suffix_of(kind) };
        let word = match kind {
            Kind::Counter => "counter",
            Kind::Histogram => "histogram",
            Kind::Info if is_open_metrics => "info",
            Kind::Gauge | Kind::Info => "gauge",
        };
        self.write(format_args!(
            "# HELP {name}{suffix} {help}\n# TYPE {name}{suffix} {word}\n"
        ));
        self
    }

    /// Writes one value of the family.
    pub fn value(&mut self, labels: Labels<'_>, value: impl std::fmt::Display) -> &mut Self {
        let suffix = suffix_of(self.kind);
        self.sample(suffix, labels, None, value);
        self
    }

    /// Writes one histogram of the family, in seconds.
    pub fn histogram(&mut self, labels: Labels<'_>, bounds: &Bounds, counts: &BucketCounts) -> &mut Self {
        let mut below = 0;
        for (count, bound) in counts.counts.iter().zip(bounds.iter().map(Some).chain([None])) {
            below += count;
            let bound = bound.map_or_else(|| "+Inf".to_owned(), |&micros| seconds(micros));
            self.sample("_bucket", labels, Some(&bound), below);
        }
        self.sample("_sum", labels, None, seconds(counts.sum_micros));
        self.sample("_count", labels, None, below);
        self
    }

    /// Adds families in the same format. The text has no end mark.
    pub fn append(&mut self, families: &str) {
        self.text.push_str(families);
        if !families.is_empty() && !families.ends_with('\n') {
            self.text.push('\n');
        }
    }

    /// Returns the complete text.
    #[must_use]
    pub fn finish(mut self) -> String {
        if self.format == Format::OpenMetrics {
            self.text.push_str("# EOF\n");
        }
        self.text
    }

    fn sample(&mut self, suffix: &str, labels: Labels<'_>, bound: Option<&str>, value: impl std::fmt::Display) {
        self.text.push_str(self.name);
        self.text.push_str(suffix);
        let mut separator = '{';
        for (name, value) in labels.iter().copied().chain(bound.map(|bound| ("le", bound))) {
            self.text.push(separator);
            separator = ',';
            self.text.push_str(name);
            self.text.push_str("=\"");
            push_escaped(&mut self.text, value);
            self.text.push('"');
        }
        if separator == ',' {
            self.text.push('}');
        }
        self.write(format_args!(" {value}\n"));
    }

    fn write(&mut self, arguments: std::fmt::Arguments<'_>) {
        // A String never fails.
        let _ = self.text.write_fmt(arguments);
    }
}

fn suffix_of(kind: Kind) -> &'static str {
    match kind {
        Kind::Counter => "_total",
        Kind::Info => "_info",
        Kind::Gauge | Kind::Histogram => "",
    }
}

fn push_escaped(text: &mut String, value: &str) {
    for character in value.chars() {
        match character {
            '\\' => text.push_str("\\\\"),
            '"' => text.push_str("\\\""),
            '\n' => text.push_str("\\n"),
            other => text.push(other),
        }
    }
}

/// Returns microseconds as a decimal number of seconds, exactly.
#[must_use]
pub fn seconds(micros: u64) -> String {
    let (whole, rest) = (micros / 1_000_000, micros % 1_000_000);
    if rest == 0 {
        // OpenMetrics requires bounds to be floating point numbers.
        return format!("{whole}.0");
    }
    format!("{whole}.{rest:06}").trim_end_matches('0').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::histogram::WAIT_BOUNDS;

    fn with_one_of_each(format: Format) -> String {
        let mut text = Exposition::new(format);
        text.family(Kind::Info, "app", "Information.")
            .value(&[("version", "1 \"a\\b\"\n")], 1);
        text.family(Kind::Counter, "app_things", "Things.").value(&[], 3);
        text.finish()
    }

    #[test]
    fn the_formats_name_counters_and_infos_differently() {
        assert_eq!(
            with_one_of_each(Format::Text),
            "# HELP app_info Information.\n# TYPE app_info gauge\napp_info{version=\"1 \\\"a\\\\b\\\"\\n\"} 1\n\
             # HELP app_things_total Things.\n# TYPE app_things_total counter\napp_things_total 3\n"
        );
        assert_eq!(
            with_one_of_each(Format::OpenMetrics),
            "# HELP app Information.\n# TYPE app info\napp_info{version=\"1 \\\"a\\\\b\\\"\\n\"} 1\n\
             # HELP app_things Things.\n# TYPE app_things counter\napp_things_total 3\n# EOF\n"
        );
    }

    #[test]
    fn the_buckets_of_a_histogram_are_cumulative() {
        let mut counts = BucketCounts::default();
        (counts.counts[0], counts.counts[2], counts.counts[16], counts.sum_micros) = (2, 1, 1, 12_000_350);
        let mut text = Exposition::new(Format::Text);
        text.family(Kind::Histogram, "wait_seconds", "Waits.")
            .histogram(&[], &WAIT_BOUNDS, &counts);
        let text = text.finish();
        for line in [
            "wait_seconds_bucket{le=\"0.0001\"} 2",
            "wait_seconds_bucket{le=\"0.00025\"} 2",
            "wait_seconds_bucket{le=\"0.0005\"} 3",
            "wait_seconds_bucket{le=\"10.0\"} 3",
            "wait_seconds_bucket{le=\"+Inf\"} 4",
            "wait_seconds_sum 12.00035",
            "wait_seconds_count 4",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} in\n{text}");
        }
    }
}
