use std::io;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU16;
use std::os::fd::AsFd;

use super::kernel;

/// Most datagrams of one system call, and slots of a [`Batch`].
pub const BATCH: usize = 32;

/// Bytes of a slot: the longest datagram there is, or several that the kernel joined, take 65,535.
///
/// Not a power of two, else the first bytes of all slots would share a set of the processor's cache and push each other
/// out.
const SLOT_BYTES: usize = (64 << 10) + 576;

/// Datagrams that were received and wait to be sent on; one for all the listeners of a worker.
///
/// Takes 2 MiB of address space, of which is resident what received datagrams have touched: 4 KiB a slot while they
/// are small.
#[derive(Debug)]
pub struct Batch {
    memory: Box<[u8]>,
    metas: [Meta; BATCH],
    filled: usize,
}

/// A received datagram, or several of one sender that the kernel joined.
#[derive(Debug, Clone, Copy)]
pub struct Datagram<'a> {
    /// What it carries; may be empty.
    pub bytes: &'a [u8],
    /// Who sent it; none on a connected socket.
    pub peer: Option<SocketAddr>,
    /// The address of this host that it came to; none but on listeners of every address.
    pub local: Option<IpAddr>,
    /// Where `bytes` are several datagrams: the bytes of each but the last, which may be shorter.
    pub segment_bytes: Option<NonZeroU16>,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Meta {
    pub(super) bytes: u32,
    pub(super) segment_bytes: u16,
    pub(super) peer: Option<SocketAddr>,
    pub(super) local: Option<IpAddr>,
}

impl Default for Batch {
    fn default() -> Self {
        let meta = Meta { bytes: 0, segment_bytes: 0, peer: None, local: None };
        // Zeroed memory of this size comes from the kernel page by page, as it is touched.
        Self { memory: vec![0; BATCH * SLOT_BYTES].into_boxed_slice(), metas: [meta; BATCH], filled: 0 }
    }
}

impl Batch {
    /// Slots that are free.
    pub const fn room(&self) -> usize {
        BATCH - self.filled
    }

    /// Slots that are filled.
    pub const fn len(&self) -> usize {
        self.filled
    }

    /// Whether no slot is filled.
    pub const fn is_empty(&self) -> bool {
        self.filled == 0
    }

    /// Frees all slots.
    pub const fn clear(&mut self) {
        self.filled = 0;
    }

    /// Receives at most `max` datagrams into free slots and says how many came; never waits. Fewer than asked for means
    /// that no more are there.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::WouldBlock`] where none is there, or what the kernel says.
    pub fn receive(&mut self, socket: impl AsFd, max: usize) -> io::Result<usize> {
        self.fill(socket, max, true)
    }

    /// [`Self::receive`] from a socket that is connected; the datagrams do not say who sent them.
    ///
    /// # Errors
    ///
    /// As there, and [`io::ErrorKind::ConnectionRefused`] where an earlier datagram was refused.
    pub fn receive_connected(&mut self, socket: impl AsFd, max: usize) -> io::Result<usize> {
        self.fill(socket, max, false)
    }

    fn fill(&mut self, socket: impl AsFd, max: usize, from_any: bool) -> io::Result<usize> {
        let end = self.filled + max.min(self.room());
        let memory = &mut self.memory[self.filled * SLOT_BYTES..end * SLOT_BYTES];
        let count =
            kernel::receive(socket.as_fd(), memory, SLOT_BYTES, &mut self.metas[self.filled..end], from_any)?;
        self.filled += count;
        Ok(count)
    }

    /// Forgets what a filled slot holds beyond its first `count` datagrams; nothing less than one.
    ///
    /// # Panics
    ///
    /// When the slot is not filled.
    pub fn keep_first(&mut self, slot: usize, count: u32) {
        let Datagram { segment_bytes: Some(segment), .. } = self.datagram(slot) else { return };
        let meta = &mut self.metas[slot];
        meta.bytes = meta.bytes.min(u32::from(segment.get()).saturating_mul(count.max(1)));
    }

    /// What a filled slot holds.
    ///
    /// # Panics
    ///
    /// When the slot is not filled.
    pub fn datagram(&self, slot: usize) -> Datagram<'_> {
        assert!(slot < self.filled, "only filled slots are read");
        let meta = &self.metas[slot];
        let bytes = &self.memory[slot * SLOT_BYTES..][..meta.bytes as usize];
        // A joined one of a single segment is an ordinary one.
        let segment_bytes =
            NonZeroU16::new(meta.segment_bytes).filter(|segment| usize::from(segment.get()) < bytes.len());
        Datagram { bytes, peer: meta.peer, local: meta.local, segment_bytes }
    }
}

impl Datagram<'_> {
    /// How many datagrams it stands for.
    pub fn count(&self) -> u32 {
        match self.segment_bytes {
            Some(segment) => self.bytes.len().div_ceil(usize::from(segment.get())) as u32,
            None => 1,
        }
    }
}
