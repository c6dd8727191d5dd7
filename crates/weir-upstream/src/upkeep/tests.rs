use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use super::*;
use crate::{ActivePlan, CheckPlan, EndpointPlan, EndpointState, HttpCheckPlan, Target, UpstreamPlan};

/// Accepts one connection after the other, keeps what was asked and answers with the script's next line.
async fn server(script: Vec<&'static str>) -> (SocketAddr, mpsc::UnboundedReceiver<String>) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (asked, requests) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        for answer in script {
            let (mut socket, _) = listener.accept().await.unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                if socket.read_buf(&mut request).await.unwrap() == 0 {
                    break;
                }
            }
            asked.send(String::from_utf8(request).unwrap()).unwrap();
            socket.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    (address, requests)
}

fn checked(address: SocketAddr, http: HttpCheckPlan) -> Arc<Upstream> {
    let mut plan = UpstreamPlan::new("app");
    plan.endpoints.push(EndpointPlan::new(Target::Address(address.into())));
    let interval = Duration::from_millis(5);
    plan.health.active = Some(ActivePlan { interval, ..ActivePlan::new(CheckPlan::Http(http)) });
    Upstream::compile(plan, None, Instant::now())
}

fn upkeep() -> (Upkeep, mpsc::UnboundedReceiver<HealthChange>) {
    let (told, changes) = mpsc::unbounded_channel();
    (Upkeep::new(move |change| drop(told.send(change.clone()))), changes)
}

#[tokio::test]
async fn an_endpoint_goes_down_and_comes_up_by_its_checks() {
    let bad = "HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n";
    let good = "HTTP/1.1 204 Fine\r\n\r\n";
    let (address, mut requests) = server(vec![bad, good, good]).await;
    let upstream = checked(address, HttpCheckPlan::default());
    let (upkeep, mut changes) = upkeep();
    upkeep.sync(&[Arc::clone(&upstream)]);

    let down = changes.recv().await.unwrap();
    assert_eq!((down.from, down.to), (EndpointState::Up, EndpointState::CheckFailed));
    assert_eq!(down.reason, "the health check: status 503");
    let up = changes.recv().await.unwrap();
    assert_eq!((up.from, up.to), (EndpointState::CheckFailed, EndpointState::Up));
    let asked = requests.recv().await.unwrap();
    assert_eq!(
        asked,
        format!(
            "GET /health HTTP/1.1\r\nHost: {address}\r\nUser-Agent: Weir-HealthChecker/{}\r\nAccept: */*\r\nConnection: close\r\n\r\n",
            env!("CARGO_PKG_VERSION")
        )
    );
}
