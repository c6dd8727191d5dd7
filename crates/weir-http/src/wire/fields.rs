//! Fields between the form in which the pipeline holds them and that of the HTTP/2 library.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use weir_wire::http1::{ChunkError, Head, Known, TRAILER_BYTES_MAX, TRAILER_FIELDS_MAX};

/// The fields as they are written: names in lower case, values sharing one copy of the head's bytes.
///
/// A field that HTTP/2 cannot carry is left out: there is none among those that were read or made here, but a policy's
/// name is not looked at before.
pub(crate) fn written(head: &Head) -> HeaderMap {
    let mut map = HeaderMap::with_capacity(head.len());
    let bytes = Bytes::copy_from_slice(head.bytes());
    for (known, name, value) in head.places() {
        if known.is_hop_by_hop() {
            continue;
        }
        let name =
            own_name(known).map_or_else(|| HeaderName::from_bytes(&bytes[name]), |name| Ok(name.clone()));
        let value = HeaderValue::from_maybe_shared(bytes.slice(value));
        if let (Ok(name), Ok(mut value)) = (name, value) {
            // What no other message repeats would only drive out of the compression's table what others do.
            value.set_sensitive(matches!(known, Known::XRequestId | Known::Traceparent));
            let _too_many = map.try_append(name, value);
        }
    }
    map
}

/// The names of the gateway's own fields that the library does not know: they need no copy.
fn own_name(known: Known) -> Option<&'static HeaderName> {
    macro_rules! names {
        ($( $known:ident ),+) => {
            match known {
                $( Known::$known => {
                    static NAME: HeaderName = HeaderName::from_static(Known::$known.as_str());
                    Some(&NAME)
                } )+
                _ => None,
            }
        };
    }
    names!(Traceparent, XForwardedFor, XForwardedHost, XForwardedPort, XForwardedProto, XRealIp, XRequestId)
}

/// The head of an answer with these fields.
pub(crate) fn response(status: u16, fields: HeaderMap) -> Response<()> {
    let mut head = Response::new(());
    // Any status that was parsed or that a policy may set is one.
    *head.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    *head.headers_mut() = fields;
    head
}

/// Reads trailers; what may not stand there is dropped, and there are no more of them than on HTTP/1.1.
pub(super) fn read_trailers(map: &HeaderMap, into: &mut Head) -> Result<(), ChunkError> {
    let bytes: usize = map.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
    if bytes > TRAILER_BYTES_MAX {
        return Err(ChunkError::TrailersTooLong);
    }
    if map.len() > TRAILER_FIELDS_MAX {
        return Err(ChunkError::BadTrailer);
    }
    for (name, value) in map {
        into.append_trailer(name.as_str().as_bytes(), value.as_bytes());
    }
    Ok(())
}
