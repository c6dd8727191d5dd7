//! Fields between the form in which the pipeline holds them and that of the HTTP/2 library.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use weir_wire::http1::{ChunkError, Head, TRAILER_BYTES_MAX, TRAILER_FIELDS_MAX};

/// The fields as they are written: names in lower case, values sharing one copy of the head's bytes.
///
/// A field that HTTP/2 cannot carry is left out: there is none among those that were read or made here, but a policy's
/// name is not looked at before.
pub(crate) fn written(head: &Head) -> HeaderMap {
    let mut map = HeaderMap::with_capacity(head.len());
    let bytes = Bytes::copy_from_slice(head.bytes());
    for (name, value) in head.places() {
        let name = HeaderName::from_bytes(&bytes[name]);
        let value = HeaderValue::from_maybe_shared(bytes.slice(value));
        if let (Ok(name), Ok(value)) = (name, value) {
            let _too_many = map.try_append(name, value);
        }
    }
    map
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
