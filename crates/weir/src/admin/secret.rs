//! What the views do not show: the language has no mark for a header's value or a query entry that is a secret, so
//! the name decides.

/// What stands in a secret's place.
pub(super) const STARS: &str = "***";

/// Whether somebody may prove themselves with the field, header or query entry of this name.
pub(super) fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    ["auth", "cookie", "key", "pass", "secret", "session", "token"].iter().any(|word| name.contains(word))
}

/// A URL or path with the values of such query entries starred, and what stands before an `@` in its authority.
pub(super) fn without_secrets(url: &str) -> String {
    let (start, query) = url.split_once('?').map_or((url, None), |(start, query)| (start, Some(query)));
    let authority = start.find("://").map_or(0, |at| at + 3);
    let authority_end = start[authority..].find('/').map_or(start.len(), |at| authority + at);
    let mut shown = match start[authority..authority_end].rfind('@') {
        Some(at) if authority > 0 => format!("{}{STARS}{}", &start[..authority], &start[authority + at..]),
        _ => start.to_owned(),
    };
    if let Some(query) = query {
        let pairs = query.split('&').map(|pair| match pair.split_once('=') {
            Some((name, _)) if is_secret(name) => format!("{name}={STARS}"),
            _ => pair.to_owned(),
        });
        shown.push('?');
        shown.push_str(&pairs.collect::<Vec<_>>().join("&"));
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_shown_without_what_is_secret_in_it() {
        for (url, shown) in [
            ("/health", "/health"),
            ("/health?deep=true&token=abc&b", "/health?deep=true&token=***&b"),
            ("https://u:p@a.example/x@y?api_key=1", "https://***@a.example/x@y?api_key=***"),
            ("https://{host}{uri}", "https://{host}{uri}"),
            ("https://u:p@a.example", "https://***@a.example"),
            ("/a@b", "/a@b"),
        ] {
            assert_eq!(without_secrets(url), shown);
        }
    }
}
