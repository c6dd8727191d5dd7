//! What a request's `Accept` says of the media types that a route offers (RFC 9110 section 12.5.1).

use crate::{FieldLookup, MediaRange};

/// How much a client wants something, in thousandths; 0 is not at all.
pub(crate) type Quality = u16;

/// What a client that does not say wants anything with.
pub(crate) const QUALITY_MAX: Quality = 1_000;

/// Most media ranges of a request that are looked at; further ones count as not written.
pub const ACCEPT_ITEMS_MAX: usize = 64;

/// The quality of the best of what is offered; [`QUALITY_MAX`] where the client does not say what it accepts.
///
/// The range that names a type most closely decides, so `text/html;q=0, */*` wants no HTML. Parameters other than
/// `q` are not compared, and what cannot be read counts as not written.
pub(crate) fn quality(offered: &[MediaRange], fields: &dyn FieldLookup) -> Quality {
    let mut says = false;
    let mut best = 0;
    for offer in offered {
        let mut asked = Asked::default();
        let mut items = 0;
        fields.any("accept", &mut |value| {
            for item in Items(value).take(ACCEPT_ITEMS_MAX - items) {
                items += 1;
                if let Some((range, quality)) = read(item) {
                    says = true;
                    asked.note(offer, range, quality);
                }
            }
            items == ACCEPT_ITEMS_MAX
        });
        best = best.max(asked.quality(offer));
    }
    if says { best } else { QUALITY_MAX }
}

/// What was asked about one offer, by how closely it was named.
#[derive(Default)]
struct Asked {
    exact: Option<Quality>,
    kind: Option<Quality>,
    any: Option<Quality>,
}

impl Asked {
    fn note(&mut self, offer: &MediaRange, (kind, subtype): (&[u8], &[u8]), quality: Quality) {
        let is = |asked: &[u8], own: &str| asked.eq_ignore_ascii_case(own.as_bytes());
        let place = match (kind, subtype) {
            (b"*", b"*") => &mut self.any,
            (kind, b"*") if is(kind, offer.kind()) => &mut self.kind,
            (kind, subtype)
                if is(kind, offer.kind()) && offer.subtype().is_none_or(|own| is(subtype, own)) =>
            {
                &mut self.exact
            }
            _ => return,
        };
        *place = Some(place.unwrap_or(0).max(quality));
    }

    fn quality(&self, offer: &MediaRange) -> Quality {
        let wide = self.kind.or(self.any).unwrap_or(0);
        match offer.subtype() {
            Some(_) => self.exact.unwrap_or(wide),
            // Of all that is offered, something may be wanted although another is not.
            None => self.exact.unwrap_or(0).max(wide),
        }
    }
}

/// The items of a list, split at commas that are not quoted.
struct Items<'a>(&'a [u8]);

impl<'a> Iterator for Items<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        while !self.0.is_empty() {
            let (item, rest) = split_unquoted(self.0, b',');
            self.0 = rest;
            let item = item.trim_ascii();
            if !item.is_empty() {
                return Some(item);
            }
        }
        None
    }
}

/// What stands before the first such byte outside of quotes, and what stands behind it.
fn split_unquoted(text: &[u8], at: u8) -> (&[u8], &[u8]) {
    let mut quoted = false;
    let mut escaped = false;
    for (place, &byte) in text.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            _ if byte == at && !quoted => return (&text[..place], &text[place + 1..]),
            _ => {}
        }
    }
    (text, &[])
}

type Range<'a> = (&'a [u8], &'a [u8]);

/// One item: type, subtype and weight.
fn read(item: &[u8]) -> Option<(Range<'_>, Quality)> {
    let (range, mut params) = split_unquoted(item, b';');
    let range = range.trim_ascii();
    let slash = memchr::memchr(b'/', range)?;
    let (kind, subtype) = (&range[..slash], &range[slash + 1..]);
    if kind.is_empty() || subtype.is_empty() || (kind == b"*" && subtype != b"*") {
        return None;
    }
    let mut quality = QUALITY_MAX;
    while !params.is_empty() {
        let (param, rest) = split_unquoted(params, b';');
        params = rest;
        if let [b'q' | b'Q', b'=', weight @ ..] = param.trim_ascii() {
            quality = read_weight(weight)?;
        }
    }
    Some(((kind, subtype), quality))
}

/// Reads the weight of a negotiation, `0`, `0.5`, `1.000`, in thousandths; at most three digits behind the point
/// (RFC 9110 section 12.4.2).
pub fn read_weight(text: &[u8]) -> Option<Quality> {
    let (whole, digits) = match text {
        [whole] | [whole, b'.'] => (whole, &[][..]),
        [whole, b'.', digits @ ..] if digits.len() <= 3 => (whole, digits),
        _ => return None,
    };
    let mut quality = match whole {
        b'0' => 0,
        b'1' => QUALITY_MAX,
        _ => return None,
    };
    let mut unit = 100;
    for digit in digits {
        quality += Quality::from(digit.is_ascii_digit().then(|| digit - b'0')?) * unit;
        unit /= 10;
    }
    (quality <= QUALITY_MAX).then_some(quality)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Lines<'a>(&'a [&'a str]);

    impl FieldLookup for Lines<'_> {
        fn any(&self, name: &str, test: &mut dyn FnMut(&[u8]) -> bool) -> bool {
            assert_eq!(name, "accept");
            self.0.iter().any(|line| test(line.as_bytes()))
        }
    }

    fn asked(offered: &[&str], lines: &[&str]) -> Quality {
        let offered: Vec<MediaRange> = offered.iter().map(|text| MediaRange::parse(text).unwrap()).collect();
        quality(&offered, &Lines(lines))
    }

    #[test]
    fn the_closest_range_decides() {
        let cases = [
            ("text/html", "text/html", 1000),
            ("text/html", "TEXT/HTML;Q=0.5", 500),
            ("text/html", "text/plain", 0),
            ("text/html", "text/*;q=0.3, */*;q=0.1", 300),
            ("text/html", "*/*;q=0.1, text/*;q=0.3, text/html;q=0.25", 250),
            ("text/html", "text/html;q=0, */*", 0),
            ("text/html", "text/html;level=1;q=0.7, text/html;q=0.2", 700),
            ("text/html", "text/html;x=\"a,b;q=0\";q=0.4", 400),
            ("text/*", "text/html;q=0, */*;q=0.2", 200),
            ("text/*", "text/html;q=0.6, text/*;q=0", 600),
            ("text/*", "application/json, text/*;q=0", 0),
            ("application/json", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", 800),
        ];
        for (offered, accept, wanted) in cases {
            assert_eq!(asked(&[offered], &[accept]), wanted, "{offered} for {accept}");
        }
    }

    #[test]
    fn who_does_not_say_takes_anything_and_the_best_offer_counts() {
        assert_eq!(asked(&["text/html"], &[]), 1000);
        assert_eq!(asked(&["text/html"], &[" , "]), 1000);
        assert_eq!(asked(&["text/html"], &["html", "text/html;q=2", "*/html"]), 1000);
        assert_eq!(
            asked(&["text/html", "application/json"], &["text/html;q=0.2", "application/json;q=0.4"]),
            400
        );
    }

    #[test]
    fn weights_are_read_strictly() {
        for (text, wanted) in [
            ("0", Some(0)),
            ("1", Some(1000)),
            ("0.", Some(0)),
            ("0.001", Some(1)),
            ("0.12", Some(120)),
            ("1.000", Some(1000)),
            ("1.001", None),
            ("0.1234", None),
            ("", None),
            (".5", None),
            ("0,5", None),
            ("0.5x", None),
            ("-1", None),
        ] {
            assert_eq!(read_weight(text.as_bytes()), wanted, "{text}");
        }
    }

    #[test]
    fn a_long_list_is_read_to_its_bound() {
        let many = "a/b, ".repeat(ACCEPT_ITEMS_MAX);
        assert_eq!(asked(&["text/html"], &[&many, "text/html"]), 0);
        assert_eq!(asked(&["text/html"], &[&many[5..], "text/html"]), 1000);
    }
}
