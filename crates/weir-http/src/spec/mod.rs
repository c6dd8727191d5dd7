//! What the specs of policies and actions share: texts with variables, fields, networks, path prefixes.

mod field;
mod network;

use weir_config::{Code, Node, Problem, Problems};

pub(crate) use field::{check_name, field_templates, names};
pub use network::network;

use crate::template::{Template, TemplateError};

/// What a decoder within a route knows: where problems go, and which path parameters the route binds.
#[derive(Debug, Clone, Copy)]
pub struct Scope<'a> {
    /// Every fault goes here.
    pub problems: &'a Problems,
    /// The parameters that each of the route's path patterns binds.
    pub params: &'a [String],
}

impl Scope<'_> {
    /// A text with variables; the problems point at the variable or brace that is wrong.
    pub(crate) fn template(&self, node: &Node) -> Option<Template> {
        self.template_of(node.text()?, node)
    }

    /// The same for a text that was made of the node's.
    pub(crate) fn template_of(&self, text: &str, node: &Node) -> Option<Template> {
        let error = match Template::parse(text, self.params) {
            Ok(template) => return Some(template),
            Err(error) => error,
        };
        let is_written = node.text() == Some(text);
        let place = |at: usize, length: usize| match is_written {
            true => node.part(at..at + length),
            false => node.place(),
        };
        let names = Template::names(self.params);
        let problem = match &error {
            TemplateError::Unbalanced { at } => {
                Problem::error(Code::PATTERN, place(*at, 1), "a brace has no partner")
                    .help("write `{{` or `}}` for a brace itself")
            }
            TemplateError::Unknown { name, at } => {
                let message = format!("there is no variable `{{{name}}}`");
                Problem::error(Code::UNKNOWN_NAME, place(*at, name.len() + 2), message)
                    .did_you_mean(name, names.iter().map(String::as_str))
                    .help(format!("variables here are: {}", names.join(", ")))
            }
        };
        self.problems.push(problem);
        None
    }

    /// Reports an error at a node; for decoders that then give up.
    pub(crate) fn refuse(&self, code: Code, node: &Node, message: impl Into<String>, help: &str) {
        let problem = Problem::error(code, node, message);
        self.problems.push(if help.is_empty() { problem } else { problem.help(help) });
    }

    /// A path of visible characters that begins with a slash and has neither query nor fragment.
    pub(crate) fn path(&self, key: &str, node: &Node) -> Option<String> {
        let text = node.text()?;
        let is_good = |byte: u8| (0x21..0x7f).contains(&byte) && !matches!(byte, b'?' | b'#');
        if text.starts_with('/') && text.bytes().all(is_good) {
            return Some(text.to_owned());
        }
        let message = format!("`{key}` must be a path such as `/v1`, got {}", node.describe());
        self.refuse(Code::MALFORMED, node, message, "it begins with `/` and has no spaces, `?` or `#`");
        None
    }
}
