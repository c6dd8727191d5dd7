use std::collections::HashMap;
use std::fmt::Write as _;

use super::Histogram;
use super::histogram::Merged;

/// What a family's numbers mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only grows; its name ends in `_total`.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts by bucket.
    Histogram,
}

impl Kind {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// Metrics being written in the Prometheus text format.
///
/// Families may be taken up again: each has one header and its samples stand together, whoever wrote them.
/// A family without samples is not shown.
#[derive(Debug, Default)]
pub struct Exposition {
    families: Vec<Family>,
    index: HashMap<String, usize>,
    current: usize,
}

#[derive(Debug)]
struct Family {
    name: String,
    head: String,
    samples: String,
}

impl Exposition {
    /// Empty.
    pub fn new() -> Self {
        Self::default()
    }

    /// Starts or takes up a family; samples that follow belong to it.
    ///
    /// `name` must match `[a-z_:][a-z0-9_:]*`; `help` is one sentence.
    pub fn family(&mut self, name: &str, help: &str, kind: Kind) -> &mut Self {
        debug_assert!(name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b':'), "{name}");
        self.current = match self.index.get(name) {
            Some(&place) => place,
            None => {
                let mut head = format!("# HELP {name} ");
                for c in help.chars() {
                    match c {
                        '\\' => head.push_str("\\\\"),
                        '\n' => head.push_str("\\n"),
                        c => head.push(c),
                    }
                }
                let _ = writeln!(head, "\n# TYPE {name} {}", kind.as_str());
                self.families.push(Family { name: name.to_owned(), head, samples: String::new() });
                self.index.insert(name.to_owned(), self.families.len() - 1);
                self.families.len() - 1
            }
        };
        self
    }

    /// Writes one sample of the current family; nothing before the first [`Exposition::family`].
    pub fn sample(&mut self, labels: &[(&str, &str)], value: f64) -> &mut Self {
        self.line("", labels, None, value);
        self
    }

    /// Writes the buckets, sum and count of several histograms added up.
    pub fn histogram<'a>(
        &mut self,
        labels: &[(&str, &str)],
        shards: impl Iterator<Item = &'a Histogram>,
    ) -> &mut Self {
        let merged = Merged::of(shards);
        let mut count = 0;
        for (bound, total) in merged.cumulative() {
            self.line("_bucket", labels, Some(bound), total as f64);
            count = total;
        }
        self.line("_sum", labels, None, merged.sum_seconds());
        self.line("_count", labels, None, count as f64);
        self
    }

    /// All of it; families in the order in which they were first named.
    pub fn into_text(self) -> String {
        let shown = || self.families.iter().filter(|family| !family.samples.is_empty());
        let mut text = String::with_capacity(shown().map(|f| f.head.len() + f.samples.len()).sum());
        for family in shown() {
            text.push_str(&family.head);
            text.push_str(&family.samples);
        }
        text
    }

    fn line(&mut self, suffix: &str, labels: &[(&str, &str)], bound: Option<&str>, value: f64) {
        let Some(Family { name, samples: out, .. }) = self.families.get_mut(self.current) else { return };
        out.push_str(name);
        out.push_str(suffix);
        let mut opening = '{';
        for (label, value) in labels.iter().copied().chain(bound.map(|bound| ("le", bound))) {
            out.push(opening);
            opening = ',';
            out.push_str(label);
            out.push_str("=\"");
            escape(value, out);
            out.push('"');
        }
        if opening == ',' {
            out.push('}');
        }
        out.push(' ');
        write_value(value, out);
        out.push('\n');
    }
}

fn escape(value: &str, out: &mut String) {
    for c in value.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '"' => out.push_str("\\\""),
            '\n' => out.push_str("\\n"),
            c => out.push(c),
        }
    }
}

fn write_value(value: f64, out: &mut String) {
    if value == f64::INFINITY {
        out.push_str("+Inf");
    } else if value == f64::NEG_INFINITY {
        out.push_str("-Inf");
    } else {
        let _ = write!(out, "{value}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn label_values_cannot_break_out_of_their_quotes() {
        let mut out = Exposition::new();
        out.family("weir_x_total", "A \\ and\na line.", Kind::Counter)
            .sample(&[("route", "a\"b\\c\nd")], 2.5);
        assert_eq!(
            out.into_text(),
            "# HELP weir_x_total A \\\\ and\\na line.\n# TYPE weir_x_total counter\n\
             weir_x_total{route=\"a\\\"b\\\\c\\nd\"} 2.5\n"
        );
    }

    #[test]
    fn a_family_taken_up_again_stays_together() {
        let mut out = Exposition::new();
        out.family("weir_a", "A.", Kind::Gauge).sample(&[], 1.0);
        out.family("weir_b", "B.", Kind::Gauge).sample(&[], 1e15);
        out.family("weir_a", "A.", Kind::Gauge).sample(&[("x", "y")], f64::INFINITY);
        out.family("weir_empty", "Nothing.", Kind::Gauge);
        let text = out.into_text();
        assert!(text.contains("weir_a 1\nweir_a{x=\"y\"} +Inf\n# HELP weir_b"), "{text}");
        assert!(text.contains("weir_b 1000000000000000\n") && !text.contains("weir_empty"), "{text}");
    }

    #[test]
    fn a_histogram_has_buckets_sum_and_count() {
        let histogram = Histogram::default();
        histogram.record(Duration::from_millis(1));
        let mut out = Exposition::new();
        out.family("weir_t_seconds", "Time.", Kind::Histogram)
            .histogram(&[("route", "r")], [&histogram].into_iter());
        let text = out.into_text();
        for line in [
            "weir_t_seconds_bucket{route=\"r\",le=\"0.0005\"} 0\n",
            "weir_t_seconds_bucket{route=\"r\",le=\"0.001\"} 1\n",
            "weir_t_seconds_bucket{route=\"r\",le=\"+Inf\"} 1\n",
            "weir_t_seconds_sum{route=\"r\"} 0.001\n",
            "weir_t_seconds_count{route=\"r\"} 1\n",
        ] {
            assert!(text.contains(line), "{line} in {text}");
        }
    }
}
