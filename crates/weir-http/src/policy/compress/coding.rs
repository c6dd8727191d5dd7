use weir_wire::http1::list_items;

/// A content coding that the gateway can make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coding {
    /// Zstandard (RFC 8878).
    Zstd,
    /// Brotli (RFC 7932).
    Brotli,
    /// gzip (RFC 1952).
    Gzip,
}

/// Most codings of a request that are looked at; further ones count as not written.
const ITEMS_MAX: usize = 32;

impl Coding {
    /// The names in the configuration and on the wire.
    pub const NAMES: [(&'static str, Self); 3] =
        [("zstd", Self::Zstd), ("br", Self::Brotli), ("gzip", Self::Gzip)];

    /// The name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Zstd => "zstd",
            Self::Brotli => "br",
            Self::Gzip => "gzip",
        }
    }

    /// What the client would rather have of `offered`, the earlier one where it wants two alike (RFC 9110 section
    /// 12.5.3); `None` where it wants the body as it is, or does not say.
    pub(super) fn negotiate<'a>(offered: &[Self], accept: impl Iterator<Item = &'a [u8]>) -> Option<Self> {
        let mut weights = [None; Self::NAMES.len()];
        let (mut any, mut identity) = (None, None);
        for item in accept.flat_map(list_items).take(ITEMS_MAX) {
            let mut parts = item.split(|&b| b == b';').map(<[u8]>::trim_ascii);
            let name = parts.next().unwrap_or_default();
            let Some(weight) = read_weight(parts) else { continue };
            let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
            if is("*") {
                any = Some(weight);
            } else if is("identity") {
                identity = Some(weight);
            } else if let Some(at) = Self::NAMES.iter().position(|(known, _)| is(known)) {
                weights[at] = Some(weight);
            } else if is("x-gzip") {
                weights[Self::Gzip as usize] = Some(weight);
            }
        }
        let mut best = None;
        // As much as the body as it is, or more.
        let mut most: u16 = identity.unwrap_or(0).saturating_sub(1);
        for coding in offered {
            let weight = weights[*coding as usize].or(any).unwrap_or(0);
            if weight > most {
                best = Some(*coding);
                most = weight;
            }
        }
        best
    }
}

/// The weight among an item's parameters, in thousandths; `None` where it cannot be read.
fn read_weight<'a>(params: impl Iterator<Item = &'a [u8]>) -> Option<u16> {
    let mut weight = 1_000;
    for param in params {
        if let [b'q' | b'Q', b'=', text @ ..] = param {
            weight = weir_route::read_weight(text)?;
        }
    }
    Some(weight)
}

#[cfg(test)]
mod tests {
    use super::*;
    use Coding::{Brotli, Gzip, Zstd};

    #[test]
    fn the_client_decides_and_the_order_where_it_does_not() {
        let cases: [(&[&str], Option<Coding>); 18] = [
            (&["gzip, deflate, br, zstd"], Some(Zstd)),
            (&["gzip"], Some(Gzip)),
            (&["GZIP"], Some(Gzip)),
            (&["x-gzip"], Some(Gzip)),
            (&["gzip;q=1.0, br;q=0.5"], Some(Gzip)),
            (&["gzip;q=0.5", "br;q=0.8"], Some(Brotli)),
            (&["*"], Some(Zstd)),
            (&["*;q=0.1, zstd;q=0"], Some(Brotli)),
            (&["gzip;q=0"], None),
            (&["gzip;q=0, *;q=0"], None),
            (&["identity"], None),
            (&["identity, gzip;q=0.5"], None),
            (&["identity;q=0.5, gzip;q=0.5"], Some(Gzip)),
            (&["identity;q=0, gzip"], Some(Gzip)),
            (&["deflate, compress"], None),
            (&["gzip;q=nope"], None),
            (&[""], None),
            (&[], None),
        ];
        for (lines, wanted) in cases {
            let lines = lines.iter().map(|line| line.as_bytes());
            assert_eq!(
                Coding::negotiate(&[Zstd, Brotli, Gzip], lines.clone()),
                wanted,
                "{:?}",
                lines.collect::<Vec<_>>()
            );
        }
        assert_eq!(Coding::negotiate(&[Gzip, Zstd], [&b"zstd, gzip"[..]].into_iter()), Some(Gzip));
    }
}
