//! The contestants' configurations: files with `@NAME@` for what differs from run to run.

use std::net::SocketAddr;

use anyhow::bail;

/// Fills a template.
///
/// `@NAME@` becomes its value. A line that starts with `@only NAME,NAME@` is kept, without that mark, for these cases
/// and contestants alone; `@except NAME@` is the opposite; several marks must all hold. A line that then holds `@ORIGIN@` is repeated for each of
/// `origins`, with `@INDEX@` counting them.
///
/// # Errors
///
/// A name without a value.
pub(super) fn fill(
    template: &str,
    names: &[&str],
    values: &[(&str, String)],
    origins: &[SocketAddr],
) -> anyhow::Result<String> {
    let mut filled = String::with_capacity(template.len());
    for line in template.lines() {
        let Some(line) = kept(line, names) else { continue };
        let mut line = line.to_owned();
        for (name, value) in values {
            line = line.replace(&format!("@{name}@"), value);
        }
        let copies = if line.contains("@ORIGIN@") { origins } else { &origins[..1] };
        for (index, origin) in copies.iter().enumerate() {
            let line = line.replace("@ORIGIN@", &origin.to_string()).replace("@INDEX@", &index.to_string());
            if line.contains('@') && !line.trim_start().starts_with('#') {
                bail!("nothing to fill in here: {line}");
            }
            filled.push_str(&line);
            filled.push('\n');
        }
    }
    Ok(filled)
}

fn kept<'a>(line: &'a str, names: &[&str]) -> Option<&'a str> {
    let marked = |mark: &str| line.strip_prefix(mark)?.split_once('@');
    let listed = |marked: &str| marked.split(',').any(|name| names.contains(&name));
    let (listed, rest, wanted) = match (marked("@only "), marked("@except ")) {
        (Some((marked, rest)), _) => (listed(marked), rest, true),
        (_, Some((marked, rest))) => (listed(marked), rest, false),
        (None, None) => return Some(line),
    };
    // A line may have several marks.
    if listed == wanted { kept(rest, names) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one_origin() -> [SocketAddr; 1] {
        ["127.0.0.1:9".parse().unwrap()]
    }

    #[test]
    fn names_are_replaced_by_their_values() {
        let values = [("PORT", "80".into()), ("DIR", "/t".into())];
        let filled = fill("listen @PORT@;\nto @PORT@ @DIR@", &["idle"], &values, &one_origin());
        assert_eq!(filled.unwrap(), "listen 80;\nto 80 /t\n");
    }

    #[test]
    fn marked_lines_belong_to_their_cases_and_contestants() {
        let template = "@only a,b@ one\n@except a@ two\nthree";
        let filled = |names: &[&str]| fill(template, names, &[], &one_origin()).unwrap();
        assert_eq!(filled(&["a", "x"]), " one\nthree\n");
        assert_eq!(filled(&["x", "b"]), " one\n two\nthree\n");
        assert_eq!(filled(&["c"]), " two\nthree\n");
        let both = |names: &[&str]| fill("@only a@@except x@ one", names, &[], &one_origin()).unwrap();
        assert_eq!(
            (both(&["a"]).as_str(), both(&["a", "x"]).as_str(), both(&["b"]).as_str()),
            (" one\n", "", "")
        );
    }

    #[test]
    fn a_line_with_an_origin_is_repeated_for_each() {
        let origins = ["127.0.0.1:1".parse().unwrap(), "127.0.0.1:2".parse().unwrap()];
        let filled = fill("to\n s@INDEX@ @ORIGIN@;", &[], &[], &origins).unwrap();
        assert_eq!(filled, "to\n s0 127.0.0.1:1;\n s1 127.0.0.1:2;\n");
    }

    #[test]
    fn a_name_without_a_value_is_refused() {
        assert!(fill("listen @PORT@;", &["a"], &[], &one_origin()).is_err());
        assert!(fill("# who@where", &["a"], &[], &one_origin()).is_ok());
    }
}
