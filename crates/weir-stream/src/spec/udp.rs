use weir_config::{Key, Node, Object, Problems, Shape};

use super::{Decoded, ON_DOWN, ON_REMOVE, on_down, on_remove, upstream};
use crate::UdpPlan;

/// `udp` of a listener.
pub static UDP: Object = Object::new(
    "udp",
    "Takes UDP datagrams and relays them to an upstream: a session for each client address, with a socket of its own.",
    &[
        Key::new("forward", Shape::Text, "The upstream.").required(),
        Key::new(
            "idle_timeout",
            Shape::duration(1, 30 * 86_400_000),
            "Longest silence of a session, in both directions together.",
        )
        .default("60s"),
        Key::new(
            "requests",
            Shape::Integer { min: 1, max: i64::MAX },
            "Datagrams of a client after which its next one begins a new session; none by default.",
        ),
        Key::new(
            "responses",
            Shape::Integer { min: 1, max: i64::MAX },
            "Answers to each datagram of the client after which the session is over, such as 1 for DNS; none by default.",
        ),
        Key::new(
            "sessions_max",
            Shape::Integer { min: 1, max: 10_000_000 },
            "Sessions of this listener over all workers; half of what the descriptor limit allows by default. One more ends the one that has been silent longest, of those without an answer first.",
        ),
        Key::new(
            "send_proxy_protocol",
            Shape::OneOf(&[Shape::Off, Shape::Enum(&["v2"])]),
            "Whether the first datagram of a session begins with a PROXY header that tells the endpoint who the client is.",
        )
        .default("off"),
        ON_REMOVE,
        ON_DOWN,
    ],
);

impl UdpPlan {
    /// Reads the `udp` of a listener; the plan counts only while `problems` hold no error.
    pub fn decode<'n>(node: &'n Node, problems: &Problems) -> Decoded<'n, Self> {
        let section = UDP.open(node, problems);
        let upstreams: Vec<_> = upstream(&section, "forward").into_iter().collect();
        let plan = Self {
            forward: upstreams.first().map_or_else(|| "".into(), |upstream| upstream.name.clone()),
            idle_timeout: section.duration("idle_timeout"),
            requests: section.opt_integer("requests"),
            responses: section.opt_integer("responses"),
            sessions_max: section.opt_integer("sessions_max"),
            on_remove: on_remove(&section),
            on_down: on_down(&section),
            send_proxy_protocol: section.opt_text("send_proxy_protocol") == Some("v2"),
        };
        Decoded { plan, upstreams }
    }
}
