//! Protocol state machines without sockets.
