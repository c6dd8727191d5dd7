//! The contestants' configurations: files with `@NAME@` for what differs from run to run.

use anyhow::bail;

/// Fills a template.
///
/// `@NAME@` becomes its value. A line that starts with `@only CASE,CASE@` is kept, without that mark, in these cases
/// alone; `@except CASE@` is the opposite.
///
/// # Errors
///
/// A name without a value.
pub(super) fn fill(template: &str, case: &str, values: &[(&str, String)]) -> anyhow::Result<String> {
    let mut filled = String::with_capacity(template.len());
    for line in template.lines() {
        let Some(line) = kept(line, case) else { continue };
        let mut line = line.to_owned();
        for (name, value) in values {
            line = line.replace(&format!("@{name}@"), value);
        }
        if line.contains('@') && !line.trim_start().starts_with('#') {
            bail!("nothing to fill in here: {line}");
        }
        filled.push_str(&line);
        filled.push('\n');
    }
    Ok(filled)
}

fn kept<'a>(line: &'a str, case: &str) -> Option<&'a str> {
    let marked = |mark: &str| line.strip_prefix(mark)?.split_once('@');
    let (listed, rest, wanted) = match (marked("@only "), marked("@except ")) {
        (Some((cases, rest)), _) => (cases.split(',').any(|name| name == case), rest, true),
        (_, Some((cases, rest))) => (cases.split(',').any(|name| name == case), rest, false),
        (None, None) => return Some(line),
    };
    (listed == wanted).then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_replaced_by_their_values() {
        let filled =
            fill("listen @PORT@;\nto @PORT@ @DIR@", "idle", &[("PORT", "80".into()), ("DIR", "/t".into())]);
        assert_eq!(filled.unwrap(), "listen 80;\nto 80 /t\n");
    }

    #[test]
    fn marked_lines_belong_to_their_cases() {
        let template = "@only a,b@ one\n@except a@ two\nthree";
        assert_eq!(fill(template, "a", &[]).unwrap(), " one\nthree\n");
        assert_eq!(fill(template, "b", &[]).unwrap(), " one\n two\nthree\n");
        assert_eq!(fill(template, "c", &[]).unwrap(), " two\nthree\n");
    }

    #[test]
    fn a_name_without_a_value_is_refused() {
        assert!(fill("listen @PORT@;", "a", &[]).is_err());
        assert!(fill("# who@where", "a", &[]).is_ok());
    }
}
