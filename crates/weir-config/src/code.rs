use std::fmt;

/// The stable number of one kind of problem, printed `W0412`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Code(u16);

/// One row of the registry of problems.
#[derive(Debug, Clone, Copy)]
pub struct Rule {
    /// The number.
    pub code: Code,
    /// A few words, for a list.
    pub title: &'static str,
    /// What it means and what to do.
    pub doc: &'static str,
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "W{:04}", self.0)
    }
}

macro_rules! rules {
    ($( $name:ident = $number:literal, $title:literal, $doc:literal; )+) => {
        impl Code {
            $( #[doc = concat!($title, ".")] pub const $name: Self = Self($number); )+
            /// Every code, by number.
            pub const ALL: &'static [Rule] = &[ $( Rule { code: Self::$name, title: $title, doc: $doc }, )+ ];

            /// The registry's row of this code.
            pub fn rule(self) -> &'static Rule {
                Self::ALL.iter().find(|rule| rule.code == self).expect("codes are made only by this table")
            }
        }
    };
}

// Numbers are never reused. 01xx text, 02xx files and environment, 04xx keys and values, 05xx refused for now.
rules! {
    SYNTAX = 101, "not YAML", "The text cannot be read as YAML 1.2; the place is where reading stopped.";
    REPEATED_KEY = 102, "repeated key", "A mapping names the same key twice. Remove one of them.";
    TOO_DEEP = 103, "nested too deep", "Lists and mappings stand in each other more than 64 levels deep.";
    TOO_LARGE = 104, "expands too far", "Aliases, merge keys or variables multiply the file beyond the limits.";
    FILE_TOO_LARGE = 105, "file too large", "A configuration file has at most 16 MiB. Split it with `include`.";
    NOT_UTF8 = 106, "not UTF-8", "Configuration files are UTF-8 text.";
    BAD_MERGE = 107, "bad merge key", "The value of `<<` is a mapping, or a list of mappings, usually an alias.";
    BAD_KEY = 108, "key is not a text", "A key is a plain or quoted text, never a list or a mapping.";
    SECOND_DOCUMENT = 109, "second document", "A file holds one YAML document; use `include` for more.";
    BAD_TAG = 110, "tag", "Tags such as `!foo` have no meaning here; `!!str` is spelt with quotes.";
    UNREADABLE = 201, "file cannot be read", "The file is missing, or may not be read by this user.";
    INCLUDE_CYCLE = 202, "include cycle", "A file includes itself, directly or through others.";
    INCLUDE_LIMIT = 203, "too many includes", "At most 16 levels of include and 4096 files.";
    SET_TWICE = 204, "set twice", "Two files set the same thing; each setting and each named object has one owner.";
    UNSET_VARIABLE = 205, "variable is not set", "Set the variable, or write a default: `${NAME:-default}`.";
    BAD_VARIABLE = 206, "bad variable", "Write `${NAME}` or `${NAME:-default}`; `$$` stands for a dollar.";
    UNKNOWN_KEY = 401, "unknown key", "No such key here. The reference page lists all of them.";
    MISSING_KEY = 402, "missing key", "A key that has no default is absent.";
    WRONG_TYPE = 403, "wrong type", "The value has another shape than the key wants, such as a list for a number.";
    MALFORMED = 404, "malformed value", "The value has the right shape, but its text cannot be read.";
    UNKNOWN_CHOICE = 405, "unknown choice", "The value is none of the listed words.";
    EXACTLY_ONE = 406, "exactly one", "Exactly one key of a group must be there.";
    PATTERN = 407, "bad pattern", "A host, a path, a method, a regular expression or a text with variables cannot be read.";
    CONFLICT = 408, "settings that conflict", "Two settings exclude each other, or one has no effect without another.";
    OUT_OF_RANGE = 412, "out of range", "The value is outside the range that the reference page states.";
    UNKNOWN_NAME = 431, "unknown name", "The value names an object that does not exist.";
    NAME_TAKEN = 432, "name taken", "Two objects of a kind have the same name.";
    UNUSED = 433, "not used", "Nothing refers to the object. Remove it, or name it where it should be used.";
    SAME_ADDRESS = 434, "same address", "Two listeners want one address, or one endpoint is listed twice.";
    TIE = 441, "routes tie", "Two routes can match the same request and no rule says which one wins.";
    UNREACHABLE = 442, "route is never reached", "Another route wins every request that the route matches.";
    WEAK_SECRET = 451, "weak secret", "The secret is a well-known one or shorter than 16 bytes. Anybody can guess it.";
    NO_SECRET = 452, "secret cannot be read", "The file or the variable that should hold the secret is missing or empty.";
    OPEN_ADMIN = 453, "admin beyond loopback", "The admin address can be reached from other machines; it needs a token, and a warning stays.";
    INSECURE = 454, "not verified", "An upstream is not verified, so that anybody may be it; the warning stays.";
    CERTIFICATE = 461, "certificate cannot be used", "A certificate, its key or a file of authorities is missing, unreadable, or does not belong to the other. It is an error where nothing is left to serve.";
    CERTIFICATE_DATE = 462, "certificate out of date", "A certificate has expired, expires within 14 days, or is not valid yet. It is served all the same.";
    CERTIFICATE_FLAW = 463, "certificate with a flaw", "The chain is incomplete or out of order, the certificate names no host, or its OCSP answer cannot be stapled.";
    CERTIFICATE_NAME = 464, "certificate for another name", "Two certificates are for one name, or none is for a host of a route.";
    NOT_YET = 501, "not yet", "The key is planned and this version refuses it.";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_rise_and_every_code_is_explained() {
        assert!(Code::ALL.windows(2).all(|pair| pair[0].code < pair[1].code));
        assert!(Code::ALL.iter().all(|rule| rule.doc.ends_with('.')));
        assert_eq!(Code::OUT_OF_RANGE.to_string(), "W0412");
        assert_eq!(Code::OUT_OF_RANGE.rule().title, "out of range");
    }
}
