use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::task::Poll;
use std::time::{Duration, Instant};

use weir_net::{Socket, is_out_of_descriptors};
use weir_task::Deadline;
use weir_upstream::Address;

use super::ForwardError;
use crate::worker::Worker;

/// Opens a connection to an endpoint within `limit`.
///
/// Where no descriptor is left, idle connections are given up and it is tried once more.
pub(super) async fn dial(
    worker: &Worker,
    deadline: &Deadline,
    address: &Address,
    limit: Duration,
) -> Result<Socket, ForwardError> {
    match connect(deadline, address, limit).await {
        Err(ForwardError::Connect(error)) if is_out_of_descriptors(&error) => {
            worker.descriptors_ran_out();
            match connect(deadline, address, limit).await {
                Err(ForwardError::Connect(error)) if is_out_of_descriptors(&error) => {
                    Err(ForwardError::OutOfDescriptors)
                }
                result => result,
            }
        }
        result => result,
    }
}

async fn connect(deadline: &Deadline, address: &Address, limit: Duration) -> Result<Socket, ForwardError> {
    deadline.set(Instant::now(), limit);
    let connecting = async {
        match address {
            Address::Tcp(address) => Socket::connect_tcp(*address).await,
            Address::Unix(path) => Socket::connect_unix(path).await,
        }
    };
    let mut connecting = pin!(connecting);
    let result: Option<io::Result<Socket>> = poll_fn(|cx| match connecting.as_mut().poll(cx) {
        Poll::Ready(result) => Poll::Ready(Some(result)),
        Poll::Pending if deadline.is_expired(cx) => Poll::Ready(None),
        Poll::Pending => Poll::Pending,
    })
    .await;
    match result {
        Some(Ok(socket)) => Ok(socket),
        Some(Err(error)) => Err(ForwardError::Connect(error)),
        None => Err(ForwardError::ConnectTimeout),
    }
}
