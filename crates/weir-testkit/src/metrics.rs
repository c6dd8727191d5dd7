use std::collections::{BTreeMap, BTreeSet};

/// A scrape of `/metrics`, read strictly.
#[derive(Debug, Clone, Default)]
pub struct Metrics {
    /// Value by series: name and labels as they stand.
    pub series: BTreeMap<String, f64>,
    /// Type by family.
    pub types: BTreeMap<String, String>,
}

impl Metrics {
    /// Reads the Prometheus text format.
    ///
    /// # Panics
    ///
    /// When a line is malformed, a series stands twice, or a sample has no TYPE before it.
    pub fn parse(text: &str) -> Self {
        let mut metrics = Self::default();
        let mut helped = BTreeSet::new();
        assert!(text.ends_with('\n'), "the exposition must end with a line end");
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# HELP ") {
                let name = rest.split(' ').next().unwrap_or_default();
                assert!(helped.insert(name.to_owned()), "HELP twice: {line}");
            } else if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').unwrap_or_else(|| panic!("{line}"));
                assert!(matches!(kind, "counter" | "gauge" | "histogram" | "summary" | "untyped"), "{line}");
                assert!(metrics.types.insert(name.to_owned(), kind.to_owned()).is_none(), "twice: {line}");
            } else if !line.is_empty() && !line.starts_with('#') {
                metrics.sample(line);
            }
        }
        metrics
    }

    fn sample(&mut self, line: &str) {
        let (series, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("no value: {line}"));
        let value: f64 = value.parse().unwrap_or_else(|_| panic!("no number: {line}"));
        let name = series.split('{').next().unwrap_or_default();
        let is_name = |n: &str| {
            !n.is_empty()
                && !n.starts_with(|c: char| c.is_ascii_digit())
                && n.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b':')
        };
        assert!(is_name(name), "no metric name: {line}");
        check_labels(&series[name.len()..], line);
        let family = ["_bucket", "_sum", "_count"]
            .iter()
            .filter_map(|suffix| name.strip_suffix(suffix))
            .find(|family| self.types.contains_key(*family))
            .unwrap_or(name);
        assert!(self.types.contains_key(family), "no TYPE before {line}");
        assert!(self.series.insert(series.to_owned(), value).is_none(), "series twice: {line}");
    }

    /// The sum over all series called `name` whose labels contain every one of `labels` (`key="value"`).
    pub fn sum(&self, name: &str, labels: &[&str]) -> f64 {
        self.series
            .iter()
            .filter(|(series, _)| series.split('{').next() == Some(name))
            .filter(|(series, _)| labels.iter().all(|label| series.contains(label)))
            .map(|(_, value)| value)
            .sum()
    }

    /// Whether a series called `name` is there.
    pub fn has(&self, name: &str) -> bool {
        self.series.keys().any(|series| series.split('{').next() == Some(name))
    }
}

/// Checks `{a="b",c="d"}`: quotes balanced, only the three escapes.
fn check_labels(labels: &str, line: &str) {
    if labels.is_empty() {
        return;
    }
    let inner = labels.strip_prefix('{').and_then(|l| l.strip_suffix('}'));
    let mut rest = inner.unwrap_or_else(|| panic!("braces: {line}"));
    while !rest.is_empty() {
        let (key, after) = rest.split_once("=\"").unwrap_or_else(|| panic!("label: {line}"));
        assert!(
            key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') && !key.is_empty(),
            "key: {line}"
        );
        let mut bytes = after.bytes().enumerate();
        let end = loop {
            match bytes.next() {
                Some((_, b'\\')) => {
                    assert!(matches!(bytes.next(), Some((_, b'\\' | b'"' | b'n'))), "escape: {line}");
                }
                Some((at, b'"')) => break at,
                Some((_, b)) => assert!(b >= 0x20, "control byte: {line}"),
                None => panic!("quote: {line}"),
            }
        };
        rest = &after[end + 1..];
        rest = rest.strip_prefix(',').unwrap_or(rest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_well_formed_scrape_is_summed_by_labels() {
        let text =
            "# HELP a_total x\n# TYPE a_total counter\na_total{b=\"1\",c=\"x\\\"y\"} 2\na_total{b=\"2\"} 3\n";
        let metrics = Metrics::parse(text);
        assert_eq!(metrics.sum("a_total", &[]) as u64, 5);
        assert_eq!(metrics.sum("a_total", &["b=\"1\""]) as u64, 2);
    }

    #[test]
    #[should_panic(expected = "series twice")]
    fn a_series_that_stands_twice_is_refused() {
        Metrics::parse("# TYPE a counter\na 1\na 2\n");
    }
}
