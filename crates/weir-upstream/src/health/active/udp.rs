use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::io::Interest;
use tokio::net::UdpSocket;

use super::Fault;
use crate::{Address, UdpCheckPlan};

/// Longest datagram of all.
const DATAGRAM_BYTES_MAX: usize = 65_535;

/// Sends the datagram from a fresh socket and waits for the expected answer; `unexpected` counts the others.
///
/// The socket is connected: nobody but the endpoint can answer, and a refusal by ICMP comes back as an error. A port of
/// its own keeps late answers to an earlier check out.
pub(super) async fn ask(address: &Address, plan: &UdpCheckPlan, unexpected: &mut u32) -> Result<(), Fault> {
    let Address::Tcp(address) = address else {
        return Err(Fault::early("a unix socket takes no datagrams"));
    };
    let failed = |what: &'static str| move |error| Fault::early(format!("cannot {what}: {error}"));
    let own = match address {
        SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
        SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
    };
    let socket = UdpSocket::bind(own).await.map_err(failed("open a socket"))?;
    socket.connect(address).await.map_err(failed("connect"))?;
    socket.send(&plan.send).await.map_err(failed("send"))?;
    let mut answer = Vec::new();
    loop {
        // A refusal makes the socket fail, not readable: waiting to read alone would miss it.
        let ready = socket.ready(Interest::READABLE | Interest::ERROR).await.map_err(failed("receive"))?;
        if ready.is_error() {
            let error = socket.take_error().unwrap_or_else(Some);
            return Err(failed("receive")(error.unwrap_or_else(|| io::ErrorKind::Other.into())));
        }
        // Only now, so that hundreds of checks that wait hold no memory.
        answer.resize(DATAGRAM_BYTES_MAX, 0);
        match socket.try_recv(&mut answer) {
            Ok(length) if plan.accepts(&answer[..length]) => return Ok(()),
            Ok(_) => *unexpected = unexpected.saturating_add(1),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(failed("receive")(error)),
        }
    }
}

impl UdpCheckPlan {
    fn accepts(&self, answer: &[u8]) -> bool {
        let Some(expected) = &self.expect else { return true };
        // A window of no bytes does not exist, and every answer holds nothing.
        expected.is_empty() || answer.windows(expected.len()).any(|window| window == expected)
    }
}
