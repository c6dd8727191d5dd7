//! `compress`: encodes answers for clients that can decode them.
//!
//! The body passes through an encoder of bounded memory; what it keeps back is flushed whenever the endpoint pauses,
//! so a streamed answer stays one.

mod coding;
mod encoder;
mod media;
mod places;
mod spec;

use weir_base::ByteSize;
use weir_wire::http1::{Known, Version, list_items};

pub use coding::Coding;
pub use media::MediaPattern;
pub(crate) use spec::KIND;

use super::{Flow, Policy};
use crate::exchange::Exchange;
use crate::filter;
use crate::reject::Reject;
use crate::vary;
use encoder::Encoder;
use places::Places;

/// `compress` as checked.
#[derive(Debug, Clone)]
pub struct CompressPlan {
    /// The codings, the preferred one first.
    pub codings: Vec<Coding>,
    /// The shortest body that is compressed, where its length is known.
    pub bytes_min: ByteSize,
    /// The media types that are compressed.
    pub types: Vec<MediaPattern>,
    /// How hard each coding tries.
    pub levels: Levels,
    /// Most answers that are compressed at a time.
    pub streams_max: u32,
}

/// `compress` as it runs.
#[derive(Debug)]
pub(crate) struct Compress {
    plan: CompressPlan,
    places: Places,
}

/// How hard each coding tries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Levels {
    /// 1 to 9: higher ones need more memory than a gateway has for each answer.
    pub zstd: i32,
    /// 0 to 6, for the same reason.
    pub brotli: u32,
    /// 1 to 9.
    pub gzip: u32,
}

impl Default for Levels {
    /// 3, 4, 5: what costs about as little as it saves much.
    fn default() -> Self {
        Self { zstd: 3, brotli: 4, gzip: 5 }
    }
}

impl Policy for Compress {
    fn kind(&self) -> &'static str {
        "compress"
    }

    fn on_request(&self, exchange: &mut Exchange) -> Result<Flow, Reject> {
        // Settled here: a later policy may keep `Accept-Encoding` from the endpoint.
        let accepted = exchange.request.fields.named(b"accept-encoding");
        exchange.coding = Coding::negotiate(&self.plan.codings, accepted);
        Ok(Flow::Continue)
    }

    fn on_response(&self, exchange: &mut Exchange) {
        if !self.plan.may_compress(exchange) {
            return;
        }
        vary::add(&mut exchange.response.fields, "Accept-Encoding");
        // Without chunks, the end of a body whose length is not known would be that of the connection.
        let Some(coding) = exchange.coding.filter(|_| exchange.request.version() != Version::Http10) else {
            return;
        };
        let Some(place) = self.places.take() else {
            exchange.record.compression_refused = true;
            return;
        };
        let Ok(encoder) = Encoder::new(coding, self.plan.levels, exchange.body_length, place) else { return };
        let fields = &mut exchange.response.fields;
        fields.append(b"content-encoding", coding.as_str().as_bytes());
        fields.remove(Known::ContentLength);
        fields.remove_named(b"accept-ranges");
        weaken_etag(fields);
        filter::add(&mut exchange.response_filter, Box::new(encoder));
    }
}

impl CompressPlan {
    pub(crate) fn compile(self) -> Compress {
        Compress { places: Places::new(self.streams_max), plan: self }
    }

    /// Whether the answer is one that is compressed for who can decode it.
    fn may_compress(&self, exchange: &Exchange) -> bool {
        let fields = &exchange.response.fields;
        let has = |name: &str| fields.named(name.as_bytes()).next().is_some();
        let is_whole = !matches!(exchange.response.status, 0..=199 | 204..=206 | 304);
        let is_long = exchange.body_length.is_none_or(|length| length >= self.bytes_min.bytes().max(1));
        let media = fields.get(Known::ContentType).and_then(|value| value.split(|&b| b == b';').next());
        let media = media.unwrap_or_default().trim_ascii();
        let may_change = !fields
            .named(b"cache-control")
            .flat_map(list_items)
            .any(|item| item.eq_ignore_ascii_case(b"no-transform"));
        is_whole
            && is_long
            && may_change
            && self.types.iter().any(|pattern| pattern.covers(media))
            && fields.get(Known::ContentEncoding).is_none()
            && fields.get(Known::ContentRange).is_none()
            // A sum over the body would be that of another one.
            && !["content-digest", "repr-digest", "digest", "content-md5"].into_iter().any(has)
    }
}

/// Two bodies that differ in their coding are the same only as far as a weak validator says (RFC 9110 section 8.8.1).
fn weaken_etag(fields: &mut weir_wire::http1::Head) {
    let strong = fields.named(b"etag").find(|tag| tag.starts_with(b"\""));
    if let Some(tag) = strong {
        let weak = [b"W/", tag].concat();
        fields.set(b"etag", &weak);
    }
}

#[cfg(test)]
mod tests;
