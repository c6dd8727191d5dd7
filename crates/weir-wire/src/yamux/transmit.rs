use std::time::Instant;

use super::frame::{Flags, Frame, Kind};
use super::session::Session;
use super::stream::{Opening, Sending};
use super::{FRAME_HEADER_BYTES, INITIAL_WINDOW_BYTES, LINGER};

impl Session {
    /// The next frame to be sent, no longer than `room` bytes; none where nothing is to be sent, or does not fit.
    ///
    /// What keeps the session alive comes first, then what opens, ends and moves streams, then data in turns. A frame
    /// that was taken must be sent, its payload behind it, before the next.
    pub fn next_frame(&mut self, now: Instant, room: usize) -> Option<Frame> {
        let room = room.checked_sub(FRAME_HEADER_BYTES)?;
        let asks = self.control.ping.is_some();
        if let Some(frame) = self.control.next() {
            if asks
                && self.control.ping.is_none()
                && let Some((_, sent)) = &mut self.pinged
            {
                sent.get_or_insert(now);
            }
            return Some(frame);
        }
        if self.is_terminated {
            return None;
        }
        self.stream_control().or_else(|| self.stream_data(now, room))
    }

    /// The next frame that opens, acknowledges, widens or ends a stream; one flag to a frame.
    fn stream_control(&mut self) -> Option<Frame> {
        loop {
            let id = *self.talking.front()?;
            let Some(stream) = self.streams.get_mut(&id).filter(|stream| stream.has_control()) else {
                self.talking.pop_front();
                if let Some(stream) = self.streams.get_mut(&id) {
                    stream.is_in_control = false;
                }
                continue;
            };
            let (flags, window) = match stream.opening {
                Opening::Unsent => {
                    stream.opening = Opening::Unacknowledged;
                    (Flags::SYN, stream.window.grant())
                }
                Opening::Accepted => {
                    stream.opening = Opening::Open;
                    (Flags::ACK, stream.window.grant())
                }
                Opening::Waiting | Opening::Unacknowledged | Opening::Open
                    if !stream.has_ended && stream.window.due() > 0 =>
                {
                    (Flags::NONE, stream.window.grant())
                }
                Opening::Waiting | Opening::Unacknowledged | Opening::Open => {
                    stream.sending = Sending::Closed;
                    (Flags::FIN, 0)
                }
            };
            self.ready.add(id, stream);
            if stream.is_released() && stream.is_over() {
                self.gone(id);
            }
            return Some(Frame::control(Kind::WindowUpdate, flags, id, window));
        }
    }

    fn stream_data(&mut self, now: Instant, room: usize) -> Option<Frame> {
        let (id, bytes) = self.ready.next(&mut self.streams, room)?;
        let stream = self.streams.get_mut(&id).expect("a stream whose turn it is has an entry");
        stream.offered -= bytes;
        stream.credit -= u32::try_from(bytes).expect("no more is sent than there is window");
        if stream.credit == 0 && stream.offered > 0 {
            self.counts.stalls += 1;
        }
        if let Some(until) = &mut stream.released_until {
            *until = now + LINGER;
        }
        self.talk(id);
        Some(Frame::data(id, bytes))
    }
}

const _: () = assert!(super::DATA_BYTES_MAX < INITIAL_WINDOW_BYTES as usize);
