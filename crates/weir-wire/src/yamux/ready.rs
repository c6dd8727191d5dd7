use std::collections::{HashMap, VecDeque};

use super::DATA_BYTES_MAX;
use super::stream::Stream;

/// Streams with data, in the order of their turns: deficit round robin, with a first turn for those that had nothing
/// to send a moment ago, as in FQ-CoDel (RFC 8290 section 4.2). A request passes beside a bulk transfer, and streams
/// that are busy share evenly.
#[derive(Debug, Default)]
pub(super) struct Ready {
    fresh: VecDeque<u32>,
    busy: VecDeque<u32>,
}

/// Least part of a frame that fills up a message: below it a frame waits for the next one.
const PART_BYTES_MIN: usize = 4 << 10;

impl Ready {
    /// The stream has become able to send.
    pub(super) fn add(&mut self, id: u32, stream: &mut Stream) {
        if !stream.is_ready && stream.sendable() > 0 {
            stream.is_ready = true;
            stream.deficit = DATA_BYTES_MAX;
            self.fresh.push_back(id);
        }
    }

    /// The stream whose turn it is and how much it sends, at most `room`; none where nothing fits or waits.
    pub(super) fn next(&mut self, streams: &mut HashMap<u32, Stream>, room: usize) -> Option<(u32, usize)> {
        loop {
            let is_fresh = !self.fresh.is_empty();
            let queue = if is_fresh { &mut self.fresh } else { &mut self.busy };
            let id = *queue.front()?;
            let Some(stream) = streams.get_mut(&id) else {
                queue.pop_front();
                continue;
            };
            let sendable = stream.sendable();
            if sendable == 0 {
                queue.pop_front();
                // A stream that sends little and often gets its first turn only once in a round.
                if is_fresh && !self.busy.is_empty() {
                    self.busy.push_back(id);
                } else {
                    stream.is_ready = false;
                }
                continue;
            }
            if stream.deficit == 0 {
                queue.pop_front();
                stream.deficit = DATA_BYTES_MAX;
                self.busy.push_back(id);
                continue;
            }
            let whole = sendable.min(stream.deficit);
            let bytes = whole.min(room);
            if bytes < whole.min(PART_BYTES_MIN) {
                return None;
            }
            stream.deficit -= bytes;
            return Some((id, bytes));
        }
    }
}
