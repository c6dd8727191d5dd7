//! One exchange over HTTP/2, on a connection of its own.

use bytes::{Bytes, BytesMut};
use h2::RecvStream;
use h2::client::{self, ResponseFuture};
use http::{HeaderMap, Request};
use tokio::task::JoinHandle;

use super::Fault;
use super::connect::Stream;

/// Longest head or trailers.
const HEAD_BYTES_MAX: u32 = 64 << 10;

/// An answer that was read to its end, or to where it was long enough.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) fields: HeaderMap,
    pub(super) body: BytesMut,
    /// None where there are none, or where the body was not read to its end.
    pub(super) trailers: Option<HeaderMap>,
}

/// The connection's own work; ends with the check.
struct Driver(JoinHandle<()>);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Sends a request on a fresh connection and reads at most `body_max` bytes of its answer's body.
pub(super) async fn exchange(
    stream: Box<dyn Stream>,
    request: Request<()>,
    body: Bytes,
    body_max: usize,
) -> Result<Answer, Fault> {
    let failed = |error: h2::Error| Fault::early(format!("HTTP/2: {error}"));
    let mut builder = client::Builder::new();
    builder.enable_push(false).max_header_list_size(HEAD_BYTES_MAX);
    let (send, connection) = builder.handshake::<_, Bytes>(stream).await.map_err(failed)?;
    let _driver = Driver(tokio::spawn(async move {
        // What ends it ends the exchange too, and is told there.
        let _ended = connection.await;
    }));
    let mut send = send.ready().await.map_err(failed)?;
    let is_whole = body.is_empty();
    let (answer, mut sink) = send.send_request(request, is_whole).map_err(failed)?;
    if !is_whole {
        sink.send_data(body, true).map_err(failed)?;
    }
    read(answer, body_max).await.map_err(failed)
}

async fn read(answer: ResponseFuture, body_max: usize) -> Result<Answer, h2::Error> {
    let (head, mut stream) = answer.await?.into_parts();
    let mut body = BytesMut::new();
    let is_complete = read_body(&mut stream, &mut body, body_max).await?;
    let trailers = if is_complete { stream.trailers().await? } else { None };
    Ok(Answer { status: head.status.as_u16(), fields: head.headers, body, trailers })
}

/// Reads up to `max` bytes; whether the body ended there.
async fn read_body(stream: &mut RecvStream, body: &mut BytesMut, max: usize) -> Result<bool, h2::Error> {
    if max == 0 {
        return Ok(false);
    }
    while let Some(data) = stream.data().await {
        let data = data?;
        stream.flow_control().release_capacity(data.len())?;
        body.extend_from_slice(&data[..data.len().min(max - body.len())]);
        if body.len() >= max {
            return Ok(false);
        }
    }
    Ok(true)
}
