use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::task::Poll;
use std::time::{Duration, Instant};

use weir_net::{Socket, Worker, is_out_of_descriptors};
use weir_task::Deadline;

use crate::{Address, Outcome};

/// Why there is no connection to an endpoint.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// It was refused, or failed otherwise.
    #[error(transparent)]
    Failed(#[from] io::Error),
    /// It was not made in time.
    #[error("it was not made in time")]
    TimedOut,
    /// This process has no descriptor left; says nothing about the endpoint.
    #[error("no descriptor is left")]
    OutOfDescriptors,
    /// The process stops; says nothing about the endpoint.
    #[error("the gateway stops before it was made")]
    Stopping,
}

impl DialError {
    /// What it says about the endpoint.
    pub const fn outcome(&self) -> Outcome {
        match self {
            Self::Failed(_) => Outcome::ConnectFailed,
            Self::TimedOut => Outcome::ConnectTimeout,
            Self::OutOfDescriptors | Self::Stopping => Outcome::Cancelled,
        }
    }
}

/// Opens a connection to an endpoint within `limit`; moves `deadline`.
///
/// Where no descriptor is left, idle connections are given up and it is tried once more in what is left of the time.
///
/// # Errors
///
/// [`DialError`]; nothing was sent.
pub async fn dial(
    worker: &Worker,
    deadline: &Deadline,
    address: &Address,
    limit: Duration,
) -> Result<Socket, DialError> {
    deadline.set(Instant::now(), limit);
    match connect(worker, deadline, address).await {
        Err(DialError::OutOfDescriptors) => {
            worker.descriptors_ran_out();
            connect(worker, deadline, address).await
        }
        result => result,
    }
}

async fn connect(worker: &Worker, deadline: &Deadline, address: &Address) -> Result<Socket, DialError> {
    let connecting = async {
        match address {
            Address::Tcp(address) => Socket::connect_tcp(*address).await,
            Address::Unix(path) => Socket::connect_unix(path).await,
        }
    };
    let mut connecting = pin!(connecting);
    poll_fn(|cx| match connecting.as_mut().poll(cx) {
        Poll::Ready(Ok(socket)) => Poll::Ready(Ok(socket)),
        Poll::Ready(Err(error)) if is_out_of_descriptors(&error) => {
            Poll::Ready(Err(DialError::OutOfDescriptors))
        }
        Poll::Ready(Err(error)) => Poll::Ready(Err(DialError::Failed(error))),
        Poll::Pending if worker.is_stopping() => Poll::Ready(Err(DialError::Stopping)),
        Poll::Pending if deadline.is_expired(cx) => Poll::Ready(Err(DialError::TimedOut)),
        Poll::Pending => Poll::Pending,
    })
    .await
}
