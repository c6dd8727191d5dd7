use super::{Fault, dial};
use crate::Address;

/// Whether a connection is accepted; it is closed at once.
pub(super) async fn ask(address: &Address) -> Result<(), Fault> {
    dial(address).await.map(drop)
}
