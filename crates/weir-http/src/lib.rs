//! The HTTP plane: server, pipeline, forwarding, policies, actions.
