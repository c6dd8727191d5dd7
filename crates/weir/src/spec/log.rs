use weir_config::{Code, Key, Object, Problem, Problems, Section, Shape};
use weir_telemetry::{AccessSettings, Field, Fields, Format, Level, Sink};

use crate::plan::LogPlan;

pub(super) static LOG: Object = Object::new(
    "log",
    "What is logged, how and where. Events go to standard error.",
    &[
        Key::new("level", Shape::Enum(&["debug", "info", "warn", "error"]), "The least level of events that are written.").default("info"),
        Key::new("format", Shape::Enum(&["json", "text"]), "How events and access lines are written.").default("json"),
        Key::new("access", Shape::OneOf(&[Shape::Off, Shape::Text]), "Where the access log goes: `stdout`, `stderr`, `off`, or a file, relative to the file that names it.").default("stdout"),
        Key::new("access_sample", Shape::Percent, "How many of the good requests are logged; errors always are.").default("100%"),
        Key::new("fields", Shape::OneOrMany(&Shape::Text), "Which fields an access line has: names, or `all`.").default("all"),
    ],
);

pub(super) fn decode(root: &Section, problems: &Problems) -> LogPlan {
    let service_name = root.text("service_name").to_owned();
    let Some(section) = root.object("log", &LOG, problems) else {
        let access = AccessSettings { service_name: service_name.clone(), ..AccessSettings::default() };
        return LogPlan { service_name, access, ..LogPlan::default() };
    };
    let levels =
        [("debug", Level::Debug), ("info", Level::Info), ("warn", Level::Warn), ("error", Level::Error)];
    let format = section.choice("format", &[("json", Format::Json), ("text", Format::Text)]);
    let access = AccessSettings {
        service_name: service_name.clone(),
        format,
        fields: fields(&section, problems),
        sample: section.percent("access_sample"),
        sink: sink(&section),
    };
    LogPlan { level: section.choice("level", &levels), format, service_name, access }
}

fn sink(section: &Section) -> Sink {
    match section.node("access") {
        Some(node) if node.is_off() => Sink::Off,
        _ => match section.text("access") {
            "stdout" => Sink::Stdout,
            "stderr" => Sink::Stderr,
            _ => Sink::File(section.path("access").unwrap_or_default()),
        },
    }
}

fn fields(section: &Section, problems: &Problems) -> Fields {
    let mut found = Fields::NONE;
    let mut all = section.list("fields").is_empty();
    for (text, node) in section.texts("fields") {
        all |= text == "all";
        match Fields::named([text]) {
            Ok(_) => {
                let named = Field::ALL.iter().filter(|field| field.as_str() == text);
                found = named.fold(found, |set, field| set.with(*field));
            }
            Err("all") => {}
            Err(name) => {
                let names = || Field::ALL.iter().map(|field| field.as_str());
                let problem =
                    Problem::error(Code::UNKNOWN_NAME, node, format!("there is no log field `{name}`"));
                let listed = names().collect::<Vec<_>>().join(", ");
                problems.push(problem.did_you_mean(name, names()).help(format!("fields are: {listed}")));
            }
        }
    }
    if all { Fields::ALL } else { found }
}
