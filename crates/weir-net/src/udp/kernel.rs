use std::io;
use std::mem::{self, MaybeUninit};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::ptr;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::batch::{BATCH, Meta};
use super::outgoing::Outgoing;

/// Room for the control messages of one datagram: a local address (40 bytes over IPv6) and a segment's size (24).
#[derive(Clone, Copy)]
#[repr(C, align(8))]
struct Control([u8; 72]);

/// Room for an address of either family, of which the one of IPv6 is the longer.
type Name = MaybeUninit<libc::sockaddr_in6>;

// SAFETY: one of zeros is a valid one, without name, pieces and control messages.
const EMPTY: libc::mmsghdr = unsafe { mem::zeroed() };

/// Takes datagrams that wait at a socket, one into each `slot_bytes` of `memory`, and says how many; never waits. Who
/// sent them is asked for only where `from_any`.
///
/// # Errors
///
/// [`io::ErrorKind::WouldBlock`] where none waits, or what the kernel says, such as the refusal of an earlier one.
pub(super) fn receive(
    socket: BorrowedFd<'_>,
    memory: &mut [u8],
    slot_bytes: usize,
    metas: &mut [Meta],
    from_any: bool,
) -> io::Result<usize> {
    let count = metas.len().min(memory.len() / slot_bytes).min(BATCH);
    // Not initialised as a whole: most often only the first few are used.
    let mut names = [Name::uninit(); BATCH];
    let mut controls = [MaybeUninit::<Control>::uninit(); BATCH];
    let mut pieces = [MaybeUninit::<libc::iovec>::uninit(); BATCH];
    let mut headers = [MaybeUninit::<libc::mmsghdr>::uninit(); BATCH];
    for (at, slot) in memory.chunks_exact_mut(slot_bytes).take(count).enumerate() {
        let piece = libc::iovec { iov_base: slot.as_mut_ptr().cast(), iov_len: slot_bytes };
        let header = &mut headers[at].write(EMPTY).msg_hdr;
        if from_any {
            header.msg_name = names[at].as_mut_ptr().cast();
            header.msg_namelen = size_of::<libc::sockaddr_in6>() as libc::socklen_t;
        }
        header.msg_iov = pieces[at].write(piece);
        header.msg_iovlen = 1;
        header.msg_control = controls[at].as_mut_ptr().cast();
        header.msg_controllen = size_of::<Control>() as _;
    }
    // SAFETY: `count` headers are filled in above; each points to a name, one piece and control room of its own, of the
    // sizes it states, all of which live until the call returns. The kernel keeps none of them.
    let received = unsafe {
        libc::recvmmsg(
            socket.as_raw_fd(),
            headers.as_mut_ptr().cast(),
            count as libc::c_uint,
            libc::MSG_DONTWAIT,
            ptr::null_mut(),
        )
    };
    let received = usize::try_from(received).map_err(|_| io::Error::last_os_error())?;
    for (meta, header) in metas.iter_mut().zip(&headers[..received]) {
        // SAFETY: it was written above, and the kernel has filled it and what it points to, which still lives.
        *meta = unsafe { meta_of(header.assume_init_ref()) };
    }
    Ok(received)
}

/// Reads what the kernel said about a datagram.
///
/// # Safety
///
/// `message` comes from a successful `recvmmsg`; its control pointer points to what that call filled, and so does its name
/// pointer where `msg_namelen` is not 0.
unsafe fn meta_of(message: &libc::mmsghdr) -> Meta {
    let header = &message.msg_hdr;
    // SAFETY: the name is aligned for `sockaddr_in6` and `msg_namelen` bytes of it are filled.
    let peer = unsafe { address_of(header.msg_name.cast(), header.msg_namelen) };
    let mut meta = Meta { bytes: message.msg_len, peer, local: None, segment_bytes: 0 };
    // SAFETY: `msg_control` and `msg_controllen` describe the filled part of an aligned buffer.
    let mut next = unsafe { libc::CMSG_FIRSTHDR(header) };
    // SAFETY: where it is not null it points to a whole `cmsghdr` within that buffer.
    while let Some(control) = unsafe { next.as_ref() } {
        // SAFETY: the data follows the header; each read below is of what its level and type say stands there, and
        // unaligned, as only the header's alignment is promised.
        unsafe {
            let data = libc::CMSG_DATA(control);
            match (control.cmsg_level, control.cmsg_type) {
                (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
                    let info: libc::in_pktinfo = ptr::read_unaligned(data.cast());
                    // Not `ipi_addr`: for a broadcast that is no address to answer from.
                    meta.local = Some(IpAddr::V4(Ipv4Addr::from(info.ipi_spec_dst.s_addr.to_ne_bytes())));
                }
                (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
                    let info: libc::in6_pktinfo = ptr::read_unaligned(data.cast());
                    meta.local = Some(IpAddr::V6(Ipv6Addr::from(info.ipi6_addr.s6_addr)));
                }
                (libc::SOL_UDP, libc::UDP_GRO) => {
                    let bytes: libc::c_int = ptr::read_unaligned(data.cast());
                    meta.segment_bytes = u16::try_from(bytes).unwrap_or(0);
                }
                _ => {}
            }
            next = libc::CMSG_NXTHDR(header, control);
        }
    }
    meta
}

/// Sends up to [`BATCH`] datagrams and says how many the kernel took; never waits.
///
/// # Errors
///
/// Why the first was not sent. Where a later one fails the count ends before it, and the next call says why.
pub(super) fn send(socket: BorrowedFd<'_>, datagrams: &[Outgoing<'_>]) -> io::Result<usize> {
    let count = datagrams.len().min(BATCH);
    let mut names = [Name::uninit(); BATCH];
    let mut controls = [MaybeUninit::<Control>::uninit(); BATCH];
    let mut pieces = [MaybeUninit::<libc::iovec>::uninit(); BATCH];
    let mut headers = [MaybeUninit::<libc::mmsghdr>::uninit(); BATCH];
    for (at, datagram) in datagrams[..count].iter().enumerate() {
        let bytes = datagram.bytes;
        let piece = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
        let header = &mut headers[at].write(EMPTY).msg_hdr;
        header.msg_iov = pieces[at].write(piece);
        header.msg_iovlen = 1;
        if let Some(to) = datagram.to {
            header.msg_namelen = write_address(to, &mut names[at]);
            header.msg_name = names[at].as_mut_ptr().cast();
        }
        if datagram.from.is_some() || datagram.segment_bytes.is_some() {
            header.msg_control = controls[at].write(Control([0; 72])).0.as_mut_ptr().cast();
            header.msg_controllen = size_of::<Control>() as _;
            // SAFETY: the control room is zeroed, aligned, and of the size that the header states.
            header.msg_controllen = unsafe { write_controls(header, datagram) } as _;
        }
    }
    // SAFETY: as in `receive`; the pieces point to the caller's bytes, which the kernel only reads.
    let sent = unsafe {
        libc::sendmmsg(
            socket.as_raw_fd(),
            headers.as_mut_ptr().cast(),
            count as libc::c_uint,
            libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL,
        )
    };
    usize::try_from(sent).map_err(|_| io::Error::last_os_error())
}

/// Writes the control messages that a datagram needs; returns their bytes.
///
/// # Safety
///
/// `header.msg_control` points to a whole zeroed [`Control`] and `msg_controllen` states its size.
unsafe fn write_controls(header: &libc::msghdr, datagram: &Outgoing<'_>) -> usize {
    // SAFETY: a `Control` holds at least one header.
    let mut next = unsafe { libc::CMSG_FIRSTHDR(header) };
    let mut bytes = 0;
    let mut push = |level, kind, data: &[u8]| {
        // SAFETY: both messages that are ever pushed, a local address and a segment's size, fit into a `Control`, so
        // that `next` points to room for a header and the data.
        unsafe {
            (*next).cmsg_level = level;
            (*next).cmsg_type = kind;
            (*next).cmsg_len = libc::CMSG_LEN(data.len() as _) as _;
            ptr::copy_nonoverlapping(data.as_ptr(), libc::CMSG_DATA(next), data.len());
            bytes += libc::CMSG_SPACE(data.len() as _) as usize;
            next = libc::CMSG_NXTHDR(header, next);
        }
    };
    match datagram.from {
        // The interface's index, the local address and the header's, which is not for us to say.
        Some(IpAddr::V4(from)) => {
            let mut info = [0; size_of::<libc::in_pktinfo>()];
            info[4..8].copy_from_slice(&from.octets());
            push(libc::IPPROTO_IP, libc::IP_PKTINFO, &info);
        }
        // The local address and the interface's index.
        Some(IpAddr::V6(from)) => {
            let mut info = [0; size_of::<libc::in6_pktinfo>()];
            info[..16].copy_from_slice(&from.octets());
            push(libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, &info);
        }
        None => {}
    }
    if let Some(segment_bytes) = datagram.segment_bytes {
        push(libc::SOL_UDP, libc::UDP_SEGMENT, &segment_bytes.get().to_ne_bytes());
    }
    bytes
}

/// Switches an option of a socket on.
///
/// # Errors
///
/// What setsockopt(2) says.
pub(super) fn switch_on(socket: BorrowedFd<'_>, level: libc::c_int, option: libc::c_int) -> io::Result<()> {
    let on: libc::c_int = 1;
    // SAFETY: the value is an integer, as all options are that are switched, and its size is stated.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            option,
            (&raw const on).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Lets the runtime tell when a descriptor may be read.
///
/// # Errors
///
/// Where the runtime cannot watch it.
pub(super) fn watch(descriptor: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an owned descriptor is open and the same one for as long as it lives, and it lives within the result.
    Ok(unsafe { AsyncFd::register_with_interest(descriptor, Interest::READABLE) }?)
}

/// # Safety
///
/// `name` is aligned for `sockaddr_in6` and its first `length` bytes are filled.
unsafe fn address_of(name: *const libc::sockaddr_in6, length: libc::socklen_t) -> Option<SocketAddr> {
    let length = length as usize;
    // SAFETY: every address begins with its family, and each is read only where all of it is filled.
    unsafe {
        if length >= size_of::<libc::sockaddr_in>()
            && (*name.cast::<libc::sockaddr_in>()).sin_family == libc::AF_INET as libc::sa_family_t
        {
            let address = *name.cast::<libc::sockaddr_in>();
            let ip = Ipv4Addr::from(address.sin_addr.s_addr.to_ne_bytes());
            return Some(SocketAddrV4::new(ip, u16::from_be(address.sin_port)).into());
        }
        if length >= size_of::<libc::sockaddr_in6>()
            && (*name).sin6_family == libc::AF_INET6 as libc::sa_family_t
        {
            let address = *name;
            let (ip, port) = (Ipv6Addr::from(address.sin6_addr.s6_addr), u16::from_be(address.sin6_port));
            return Some(SocketAddrV6::new(ip, port, address.sin6_flowinfo, address.sin6_scope_id).into());
        }
    }
    None
}

/// Writes an address as the kernel has it; returns its bytes.
fn write_address(address: SocketAddr, name: &mut Name) -> libc::socklen_t {
    let bytes = match address {
        SocketAddr::V4(address) => {
            let written = libc::sockaddr_in {
                sin_family: libc::AF_INET as libc::sa_family_t,
                sin_port: address.port().to_be(),
                sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes(address.ip().octets()) },
                sin_zero: [0; 8],
            };
            // SAFETY: an address of IPv6 has the same alignment as one of IPv4 and is longer.
            unsafe { name.as_mut_ptr().cast::<libc::sockaddr_in>().write(written) };
            size_of::<libc::sockaddr_in>()
        }
        SocketAddr::V6(address) => {
            name.write(libc::sockaddr_in6 {
                sin6_family: libc::AF_INET6 as libc::sa_family_t,
                sin6_port: address.port().to_be(),
                sin6_flowinfo: address.flowinfo(),
                sin6_addr: libc::in6_addr { s6_addr: address.ip().octets() },
                sin6_scope_id: address.scope_id(),
            });
            size_of::<libc::sockaddr_in6>()
        }
    };
    bytes as libc::socklen_t
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_come_back_as_they_were_written() {
        for text in ["127.0.0.1:1", "255.1.2.3:65535", "[::1]:80", "[fe80::1%7]:53"] {
            let address: SocketAddr = text.parse().unwrap();
            let mut name = Name::uninit();
            let length = write_address(address, &mut name);
            // SAFETY: just written, with this length.
            assert_eq!(unsafe { address_of(name.as_ptr(), length) }, Some(address), "{text}");
            // SAFETY: as above; fewer bytes are claimed than are filled.
            assert_eq!(unsafe { address_of(name.as_ptr(), length - 1) }, None, "{text}, cut short");
        }
        // SAFETY: nothing is read where nothing is filled.
        assert_eq!(unsafe { address_of(Name::uninit().as_ptr(), 0) }, None);
    }

    #[test]
    fn both_control_messages_fit_in_their_room() {
        // SAFETY: pure arithmetic.
        let (v6, v4, size) = unsafe {
            (
                libc::CMSG_SPACE(size_of::<libc::in6_pktinfo>() as _),
                libc::CMSG_SPACE(size_of::<libc::in_pktinfo>() as _),
                libc::CMSG_SPACE(size_of::<libc::c_int>() as _),
            )
        };
        assert!((v6.max(v4) + size) as usize <= size_of::<Control>());
    }
}
