//! Waiting for many sockets at once.

use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::event::Timespec;
use rustix::event::epoll::{self, Event, EventData, EventFlags};
use rustix::io::Errno;

/// Events taken from the kernel in one call; sockets beyond it have their turn in the next.
const EVENTS_MAX: usize = 512;

/// Sockets that are watched for something to read, each under a key.
pub(crate) struct Poll {
    epoll: OwnedFd,
}

impl Poll {
    pub(crate) fn new() -> std::io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        Ok(Self { epoll })
    }

    /// Watches a socket until it is closed.
    pub(crate) fn add(&self, socket: &impl AsFd, key: u64) -> std::io::Result<()> {
        Ok(epoll::add(&self.epoll, socket, EventData::new_u64(key), EventFlags::IN)?)
    }

    /// Waits, at most for `limit`, and leaves in `keys` what can be read, or has ended.
    pub(crate) fn wait(&self, limit: Option<Duration>, keys: &mut Vec<u64>) -> std::io::Result<()> {
        let limit = limit.map(|limit| Timespec::try_from(limit).expect("a bench lasts less than an age"));
        let mut room = [const { MaybeUninit::<Event>::uninit() }; EVENTS_MAX];
        keys.clear();
        match epoll::wait(&self.epoll, &mut room, limit.as_ref()) {
            Ok((events, _)) => keys.extend(events.iter().map(|event| event.data.u64())),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }
}
