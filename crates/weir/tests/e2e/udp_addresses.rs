//! Where a `udp` listener listens, and where its answers come from.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use weir_testkit::{UdpClient, UdpOrigin, free_address, wait};

use crate::binary;
use crate::udp::{UdpConfig, client, sessions};

#[test]
fn answers_of_a_wildcard_listener_leave_from_the_address_that_the_client_used() {
    let origin = UdpOrigin::echo();
    let gateway = UdpConfig::to([origin.addr()]).bind("0.0.0.0:0").start();
    let port = gateway.addr("dns").port();
    for last in 1..=5 {
        // A connected socket takes answers from the address that it is connected to and from no other.
        let client = UdpClient::connect(SocketAddr::from(([127, 0, 0, last], port)));
        assert_eq!(client.ask_text("a"), "a");
        assert_eq!(client.ask_text("b"), "b");
    }
    assert_eq!(sessions(&gateway), 5);
}

#[test]
fn answers_of_a_wildcard_listener_of_ipv6_do_so_too() {
    let origin = UdpOrigin::echo();
    let gateway = UdpConfig::to([origin.addr()]).bind("[::]:0").start();
    let client = UdpClient::connect((Ipv6Addr::LOCALHOST, gateway.addr("dns").port()).into());
    assert_eq!(client.ask_text("a"), "a");
    let line = "an access line with the address of IPv6";
    drop(gateway.reload(&UdpConfig::to([origin.addr()]).bind("[::]:0").udp("idle_timeout: 1ms").yaml()));
    wait::until_true(line, || !gateway.log_lines(|line| line["client_ip"] == "::1").is_empty());
}

#[test]
fn one_socket_that_uses_two_addresses_has_two_sessions() {
    let origin = UdpOrigin::echo();
    let gateway = UdpConfig::to([origin.addr()]).bind("0.0.0.0:0").start();
    let port = gateway.addr("dns").port();
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).expect("a free port");
    socket.set_read_timeout(Some(wait::PATIENCE)).expect("a positive timeout");
    for last in [2, 3, 2] {
        let addr = SocketAddr::from(([127, 0, 0, last], port));
        socket.send_to(&[last], addr).expect("loopback takes datagrams");
        let mut bytes = [0; 2];
        assert_eq!(socket.recv_from(&mut bytes).expect("an answer"), (1, addr));
        assert_eq!(bytes[0], last);
    }
    assert_eq!(origin.sources().len(), 2);
}

#[test]
fn clients_of_several_addresses_reach_a_listener_of_several_addresses() {
    let origin = UdpOrigin::echo();
    let yaml = UdpConfig::to([origin.addr()]).bind("127.0.0.1:0").yaml();
    let gateway =
        crate::start(&yaml.replace(r#"bind: "127.0.0.1:0""#, r#"bind: ["127.0.0.2:0", "[::1]:0"]"#));
    let both = || -> Option<[SocketAddr; 2]> {
        let mut addrs = gateway.events("listening").into_iter().filter(|event| event["listener"] == "dns");
        let mut next = || addrs.next()?["address"].as_str()?.parse().ok();
        Some([next()?, next()?])
    };
    for addr in wait::until("both addresses", both) {
        assert_eq!(UdpClient::connect(addr).ask_text("a"), "a", "{addr}");
    }
    let v4 = *wait::until("both addresses", both).iter().find(|addr| addr.is_ipv4()).expect("one of IPv4");
    for last in [1, 7, 200] {
        let client = UdpClient::connect_from(IpAddr::from([127, 0, 0, last]), v4);
        assert_eq!(client.ask_text("b"), "b");
    }
}

#[test]
fn port_0_is_chosen_once_and_kept_across_reloads() {
    let origin = UdpOrigin::echo();
    let config = UdpConfig::to([origin.addr()]);
    let gateway = config.start();
    let addr = gateway.addr("dns");
    assert_ne!(addr.port(), 0);
    assert_eq!(gateway.reload(&config.clone().udp("idle_timeout: 2s").yaml()).status, 200);
    assert_eq!(gateway.addr("dns"), addr);
    assert_eq!(client(&gateway).ask_text("a"), "a");
}

#[test]
fn a_port_that_another_process_has_is_refused_at_start_and_by_a_reload() {
    let origin = UdpOrigin::echo();
    let config = UdpConfig::to([origin.addr()]);
    let first = config.start();
    let taken = first.addr("dns");
    let (status, said) = binary().start_refused(&config.clone().bind(taken).yaml());
    assert_eq!(status.code(), Some(1), "{said}");
    let whole = format!("{taken} (UDP) is already in use by another process");
    assert!(said.contains(&whole), "{said}");

    let second = config.start();
    let refused = second.reload(&config.clone().bind(taken).yaml());
    assert_eq!(refused.status, 422, "{refused:?}");
    assert!(refused.text().contains(&whole), "{refused:?}");
    assert_eq!(client(&second).ask_text("still here"), "still here");
    assert_eq!(client(&first).ask_text("here too"), "here too");
}

#[test]
fn udp_and_tcp_share_a_port_number() {
    let origin = UdpOrigin::echo();
    let addr = free_address();
    let web = format!("  web: {{ bind: \"{addr}\", http: {{}} }}\n");
    let yaml = UdpConfig::to([origin.addr()]).bind(addr).top("routes: [{ respond: { body: web } }]").yaml();
    let gateway = crate::start(&yaml.replace("listeners:\n", &format!("listeners:\n{web}")));
    assert_eq!(client(&gateway).ask_text("a"), "a");
    assert_eq!(gateway.get("/").text(), "web");
}
