use std::io;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU16;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::net::SendFlags;

use super::{BATCH, kernel};

/// A datagram to be sent, or several of the same size to the same peer.
#[derive(Debug, Clone, Copy)]
pub struct Outgoing<'a> {
    /// What it carries; may be empty.
    pub bytes: &'a [u8],
    /// Where to; none on a connected socket.
    pub to: Option<SocketAddr>,
    /// The address of this host that it leaves from; none where the kernel chooses, or the socket has but one.
    pub from: Option<IpAddr>,
    /// Where `bytes` are several datagrams: the bytes of each but the last, which may be shorter.
    pub segment_bytes: Option<NonZeroU16>,
}

impl<'a> Outgoing<'a> {
    /// One datagram for the peer that the socket is connected to.
    pub const fn to_peer(bytes: &'a [u8]) -> Self {
        Self { bytes, to: None, from: None, segment_bytes: None }
    }
}

/// Sends all of them in order, in as few system calls as it takes; never waits. `failed` is told the place of each that
/// was not sent, and why.
///
/// What cannot be sent because the socket's buffer is full fails with [`io::ErrorKind::WouldBlock`], and so does
/// everything behind it without being tried.
pub fn send_all(socket: impl AsFd, datagrams: &[Outgoing<'_>], mut failed: impl FnMut(usize, &io::Error)) {
    let socket = socket.as_fd();
    let mut at = 0;
    while at < datagrams.len() {
        let end = datagrams.len().min(at + BATCH);
        match send(socket, &datagrams[at..end]) {
            Ok(0) => return,
            Ok(count) => at += count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                (at..datagrams.len()).for_each(|at| failed(at, &error));
                return;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => {
                if let Err(error) = retry_singly(socket, &datagrams[at], error) {
                    failed(at, &error);
                }
                at += 1;
            }
        }
    }
}

/// Sends some and says how many; a single plain one by the call that has the least to look at.
fn send(socket: BorrowedFd<'_>, datagrams: &[Outgoing<'_>]) -> io::Result<usize> {
    match datagrams {
        [Outgoing { bytes, to: None, from: None, segment_bytes: None }] => {
            rustix::net::send(socket, bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL)?;
            Ok(1)
        }
        _ => kernel::send(socket, datagrams),
    }
}

/// Sends a joined datagram piece by piece where the way to its peer does not take it whole: a segment longer than the
/// path carries at once, or a device that cannot compute checksums.
fn retry_singly(socket: BorrowedFd<'_>, joined: &Outgoing<'_>, error: io::Error) -> io::Result<()> {
    let is_about_joining = matches!(error.raw_os_error(), Some(libc::EINVAL | libc::EIO | libc::EMSGSIZE));
    let Some(segment_bytes) = joined.segment_bytes.filter(|_| is_about_joining) else { return Err(error) };
    for bytes in joined.bytes.chunks(usize::from(segment_bytes.get())) {
        kernel::send(socket, &[Outgoing { bytes, segment_bytes: None, ..*joined }])?;
    }
    Ok(())
}
