use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::Timespec;
use rustix::event::epoll;
use tokio::io::unix::AsyncFd;

use super::kernel;

/// Most sockets that one [`Readiness::ready`] tells of.
pub const EVENTS: usize = 64;

/// Says which of very many sockets have something to read, by a number that is given for each.
///
/// An epoll instance of its own: to whoever waits it is one descriptor, readable while any of its sockets is. That costs
/// a socket no memory here, where a registration with the runtime takes some hundred bytes. A socket that is closed
/// leaves by itself.
#[derive(Debug)]
pub struct Readiness {
    epoll: OwnedFd,
}

/// A socket that may be read, or has an error to tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ready(pub u64);

impl Readiness {
    /// Watches nothing yet.
    ///
    /// # Errors
    ///
    /// Where no descriptor is left.
    pub fn new() -> io::Result<Self> {
        Ok(Self { epoll: epoll::create(epoll::CreateFlags::CLOEXEC)? })
    }

    /// Watches a socket, until it is closed. It is told of again and again, for as long as there is something to read.
    ///
    /// # Errors
    ///
    /// Where the kernel has no memory, or the user's limit on watched descriptors is reached.
    pub fn watch(&self, socket: impl AsFd, number: u64) -> io::Result<()> {
        let data = epoll::EventData::new_u64(number);
        Ok(epoll::add(&self.epoll, socket, data, epoll::EventFlags::IN)?)
    }

    /// Watches a socket no more.
    ///
    /// # Errors
    ///
    /// Where it is not watched.
    pub fn unwatch(&self, socket: impl AsFd) -> io::Result<()> {
        Ok(epoll::delete(&self.epoll, socket)?)
    }

    /// Calls `each` for up to `max` sockets that are ready, in turn where more are; says how many. Never waits.
    ///
    /// # Errors
    ///
    /// What epoll_wait(2) says.
    pub fn ready(&self, max: usize, mut each: impl FnMut(Ready)) -> io::Result<usize> {
        let mut events = [MaybeUninit::<epoll::Event>::uninit(); EVENTS];
        let events = &mut events[..max.clamp(1, EVENTS)];
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        let (ready, _) = epoll::wait(&self.epoll, events, Some(&now))?;
        for event in ready.iter() {
            each(Ready(event.data.u64()));
        }
        Ok(ready.len())
    }
}

impl AsFd for Readiness {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }
}

/// Waits for a [`Readiness`] within a runtime.
#[derive(Debug)]
pub struct ReadinessWait {
    epoll: AsyncFd<OwnedFd>,
}

impl ReadinessWait {
    /// Waits for the sockets that `readiness` watches, now and later.
    ///
    /// # Errors
    ///
    /// Where no descriptor is left, or there is no runtime.
    pub fn new(readiness: &Readiness) -> io::Result<Self> {
        Ok(Self { epoll: kernel::watch(readiness.epoll.try_clone()?)? })
    }

    /// Waits until something came since the last call; may return for nothing.
    ///
    /// Whoever was told must read until there is nothing left, as it is not told again.
    ///
    /// # Errors
    ///
    /// Where the runtime ends.
    pub async fn ready(&self) -> io::Result<()> {
        // Cleared before anything is read: what comes after that makes it ready anew.
        self.epoll.readable().await?.clear_ready();
        Ok(())
    }
}
