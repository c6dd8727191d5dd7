use super::Fault;
use super::connect::Asked;

/// Whether a connection is accepted, TLS included where the endpoint is spoken to by it; it is closed at once.
pub(super) async fn ask(asked: &Asked) -> Result<(), Fault> {
    asked.connect(&[]).await.map(drop)
}
