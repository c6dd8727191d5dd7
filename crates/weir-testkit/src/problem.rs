use serde_json::Value;

use crate::Response;

/// An error that the gateway itself answered, checked for the shape that all of them share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The status, the same in the status line and in the body.
    pub status: u16,
    /// The code, the same in `weir-error` and in `type`.
    pub code: String,
    /// The sentence for people.
    pub detail: String,
    /// The request's path.
    pub instance: String,
}

impl Problem {
    /// Reads the problem that `response` carries.
    ///
    /// # Panics
    ///
    /// When it is not `application/problem+json` with exactly the five members, or disagrees with its header.
    pub fn of(response: &Response) -> Self {
        assert_eq!(response.field("content-type"), Some("application/problem+json"), "{response:?}");
        let body = response.json();
        let members = body.as_object().unwrap_or_else(|| panic!("no object: {response:?}"));
        let mut names: Vec<&str> = members.keys().map(String::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["detail", "instance", "status", "title", "type"], "{response:?}");
        let text = |name: &str| match &members[name] {
            Value::String(text) => text.clone(),
            other => panic!("{name} is {other}"),
        };
        let code = response.field("weir-error").unwrap_or_else(|| panic!("no weir-error: {response:?}"));
        assert_eq!(text("type"), format!("urn:weir:error:{code}"));
        assert_eq!(members["status"], u64::from(response.status));
        assert!(!text("title").is_empty());
        Self {
            status: response.status,
            code: code.to_owned(),
            detail: text("detail"),
            instance: text("instance"),
        }
    }

    /// Asserts that `response` is the gateway's own answer with this status and code.
    ///
    /// # Panics
    ///
    /// When it is another one.
    pub fn expect(response: &Response, status: u16, code: &str) -> Self {
        let problem = Self::of(response);
        assert_eq!((problem.status, problem.code.as_str()), (status, code), "{response:?}");
        problem
    }
}
