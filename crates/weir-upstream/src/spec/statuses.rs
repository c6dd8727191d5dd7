use std::ops::RangeInclusive;

use weir_config::{Code, Problem, Problems, Section};

/// The statuses of a list such as `[503, "500-502"]`, as ranges; the problems name items that are none.
pub(super) fn ranges(section: &Section, key: &str, problems: &Problems) -> Vec<RangeInclusive<u16>> {
    let mut found = Vec::new();
    for (text, node) in section.texts(key) {
        match parse(text) {
            Some(range) => found.push(range),
            None => {
                let message = format!("`{key}` lists statuses from 100 to 599, got {}", node.describe());
                let problem = Problem::error(Code::MALFORMED, node, message);
                problems.push(problem.help("write a status such as `503` or a range such as `500-599`"));
            }
        }
    }
    found
}

/// The same, one by one, each once, in rising order.
pub(super) fn listed(section: &Section, key: &str, problems: &Problems) -> Vec<u16> {
    let mut all: Vec<u16> = ranges(section, key, problems).into_iter().flatten().collect();
    all.sort_unstable();
    all.dedup();
    all
}

fn parse(text: &str) -> Option<RangeInclusive<u16>> {
    let number = |text: &str| {
        let digits = text.len() == 3 && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse().ok().filter(|status| digits && (100..=599).contains(status))
    };
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last): (u16, u16) = (number(first.trim())?, number(last.trim())?);
    (first <= last).then_some(first..=last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_are_numbers_and_ranges_from_100_to_599() {
        assert_eq!(parse("503"), Some(503..=503));
        assert_eq!(parse("200-299"), Some(200..=299));
        assert_eq!(parse("200 - 299"), Some(200..=299));
        for bad in ["", "5xx", "99", "600", "299-200", "200-", "-200", "+200", "0200", "200-299-300"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}
