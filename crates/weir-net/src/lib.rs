//! Sockets: listeners, streams, raw relay and splice.
