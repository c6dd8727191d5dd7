use weir_base::{ByteSize, DurationError, Percent, format_duration, parse_duration};

use crate::{Code, Key, Node, Problem, Problems, SecretSpec, Shape};

/// Checks one value against its shape, and the items of lists. Mappings with a table of their own are checked
/// when they are opened. Whether the value may be used; the problems say what is wrong.
pub(crate) fn check(key: &Key, shape: &Shape, node: &Node, problems: &Problems) -> bool {
    match fits(key, shape, node, problems) {
        Ok(good) => good,
        Err(problem) => {
            problems.push(*problem);
            false
        }
    }
}

type Fit = Result<bool, Box<Problem>>;

fn fits(key: &Key, shape: &Shape, node: &Node, problems: &Problems) -> Fit {
    let wrong = || Err(wrong_type(key, shape, node));
    match shape {
        Shape::Any => Ok(true),
        Shape::Text | Shape::Path | Shape::Address => {
            if node.text().is_some() {
                Ok(true)
            } else {
                wrong()
            }
        }
        Shape::Bool => {
            if node.boolean().is_some() {
                Ok(true)
            } else {
                wrong()
            }
        }
        Shape::OnOff => {
            let good = node.boolean().is_some() || matches!(node.text(), Some("on" | "off"));
            if good { Ok(true) } else { wrong() }
        }
        Shape::Off => {
            if node.is_off() {
                Ok(true)
            } else {
                wrong()
            }
        }
        Shape::Integer { min, max } => integer(key, shape, node, *min, *max),
        Shape::Duration { off_allowed: true, .. } if node.is_off() => Ok(true),
        Shape::Duration { min, max, .. } => match node.text().map(parse_duration) {
            Some(Ok(value)) if (*min..=*max).contains(&value) => Ok(true),
            Some(Ok(_)) => Err(out_of_range(key, node, &format_duration(*min), &format_duration(*max))),
            Some(Err(DurationError::NoUnit)) => {
                Err(malformed(key, shape, node, "write the unit: `ms`, `s`, `m`, `h` or `d`"))
            }
            Some(Err(_)) => Err(malformed(key, shape, node, "")),
            None => wrong(),
        },
        Shape::Size { min, max } => match node.text().map(ByteSize::parse) {
            Some(Ok(value)) if (*min..=*max).contains(&value.bytes()) => Ok(true),
            Some(Ok(_)) => {
                Err(out_of_range(key, node, &ByteSize(*min).to_string(), &ByteSize(*max).to_string()))
            }
            Some(Err(_)) => {
                Err(malformed(key, shape, node, "units are `KiB`, `MiB`, `GiB`, `KB`, `MB`, `GB`"))
            }
            None => wrong(),
        },
        Shape::Percent => match node.text().map(Percent::parse) {
            Some(Ok(_)) => Ok(true),
            Some(Err(weir_base::PercentError::TooLarge)) => Err(out_of_range(key, node, "0%", "100%")),
            Some(Err(_)) => Err(malformed(key, shape, node, "")),
            None => wrong(),
        },
        Shape::Enum(words) => choice(key, shape, node, words),
        Shape::Object(_) | Shape::Map(_) if node.is_null() => Ok(true),
        Shape::Object(_) => {
            if node.entries().is_some() {
                Ok(true)
            } else {
                wrong()
            }
        }
        Shape::Map(value) => match node.entries() {
            Some(entries) => Ok(each(entries.iter().map(|entry| &entry.value), key, value, problems)),
            None => wrong(),
        },
        Shape::List(item) => match node.items() {
            Some(items) => Ok(each(items, key, item, problems)),
            None => wrong(),
        },
        Shape::OneOrMany(item) => Ok(each(node.one_or_many(), key, item, problems)),
        Shape::Names => Ok(each(node.one_or_many(), key, &Shape::Text, problems)),
        Shape::Secret => {
            if SecretSpec::decode(node).is_some() {
                Ok(true)
            } else {
                wrong()
            }
        }
        Shape::OneOf(shapes) => one_of(key, shape, node, shapes, problems),
        Shape::Kind(rows) => kind(key, shape, node, rows(), problems),
    }
}

fn each<'a>(
    nodes: impl IntoIterator<Item = &'a Node>,
    key: &Key,
    shape: &Shape,
    problems: &Problems,
) -> bool {
    // Every item is checked, also behind a bad one.
    let bad = nodes.into_iter().filter(|node| !check(key, shape, node, problems)).count();
    bad == 0
}

fn integer(key: &Key, shape: &Shape, node: &Node, min: i64, max: i64) -> Fit {
    match node.integer() {
        Some(value) if (min..=max).contains(&value) => Ok(true),
        Some(_) => Err(out_of_range(key, node, &min.to_string(), &max.to_string())),
        None if node.plain().is_none() && node.text().is_some_and(|text| text.parse::<i64>().is_ok()) => {
            Err(Box::new((*wrong_type(key, shape, node)).help("write the number without quotes")))
        }
        None => Err(wrong_type(key, shape, node)),
    }
}

fn choice(key: &Key, shape: &Shape, node: &Node, words: &[&'static str]) -> Fit {
    let Some(text) = node.text() else { return Err(wrong_type(key, shape, node)) };
    if words.contains(&text) {
        return Ok(true);
    }
    let message = format!("`{}` must be {}, got {}", key.name, shape.wanted(), node.describe());
    let words = words.iter().copied();
    Err(Box::new(Problem::error(Code::UNKNOWN_CHOICE, node, message).did_you_mean(text, words)))
}

/// The first shape that takes the value; when none does and only one is of its sort, that one's words.
fn one_of(key: &Key, shape: &Shape, node: &Node, shapes: &[Shape], problems: &Problems) -> Fit {
    let mut near = None;
    for alternative in shapes {
        // Items are judged apart, so that a list's fault is not reported while alternatives are left.
        let trial = Problems::new();
        match fits(key, alternative, node, &trial) {
            Ok(true) => return Ok(true),
            Ok(false) => near = near.or(Some(trial.to_vec())),
            Err(problem) if problem.code() != Code::WRONG_TYPE => near = near.or(Some(vec![*problem])),
            Err(_) => {}
        }
    }
    if let Some(words) = words(shapes) {
        return choice(key, shape, node, &words);
    }
    let Some(found) = near else { return Err(wrong_type(key, shape, node)) };
    for problem in found {
        problems.push(problem);
    }
    Ok(false)
}

/// All words of alternatives that are nothing but words.
fn words(shapes: &[Shape]) -> Option<Vec<&'static str>> {
    let mut all = Vec::new();
    for shape in shapes {
        match shape {
            Shape::Off => all.push("off"),
            Shape::OnOff => all.extend(["on", "off"]),
            Shape::Enum(words) => all.extend(*words),
            _ => return None,
        }
    }
    Some(all)
}

fn kind(key: &Key, shape: &Shape, node: &Node, rows: &[crate::KindRow], problems: &Problems) -> Fit {
    let names = || rows.iter().map(|row| row.name);
    let listed = || format!("kinds are: {}", names().collect::<Vec<_>>().join(", "));
    let Some([entry]) = node.entries() else {
        return Err(Box::new((*wrong_type(key, shape, node)).help(listed())));
    };
    match rows.iter().find(|row| row.name == entry.name()) {
        Some(row) => fits(&Key { name: row.name, default: None, ..*key }, &row.shape, &entry.value, problems),
        None => {
            let message = format!("there is no kind {} here", entry.key.describe());
            let problem = Problem::error(Code::UNKNOWN_CHOICE, &entry.key, message);
            Err(Box::new(problem.did_you_mean(entry.name(), names()).help(listed())))
        }
    }
}

/// Boxed by the caller where help is added; a secret's value is never shown.
fn wrong_type(key: &Key, shape: &Shape, node: &Node) -> Box<Problem> {
    let got = match (shape, node.text()) {
        (Shape::Secret, Some(_)) => "a text".to_owned(),
        (_, Some(_)) if node.plain().is_none() => format!("the text {}", node.describe()),
        _ => node.describe(),
    };
    let message = format!("`{}` must be {}, got {got}", key.name, shape.wanted());
    Box::new(Problem::error(Code::WRONG_TYPE, node, message))
}

fn malformed(key: &Key, shape: &Shape, node: &Node, help: &str) -> Box<Problem> {
    let message = format!("`{}` must be {}, got {}", key.name, shape.wanted(), node.describe());
    let problem = Problem::error(Code::MALFORMED, node, message);
    Box::new(if help.is_empty() { problem } else { problem.help(help) })
}

fn out_of_range(key: &Key, node: &Node, min: &str, max: &str) -> Box<Problem> {
    let message = format!("`{}` must be between {min} and {max}, got {}", key.name, node.describe());
    let problem = Problem::error(Code::OUT_OF_RANGE, node, message);
    Box::new(match key.default {
        Some(default) => problem.help(format!("remove the line to use the default, {default}")),
        None => problem,
    })
}
