//! The errors that the gateway answers itself.

use weir_testkit::{Origin, Problem, behaviour};

use crate::{Config, start};

const NO_ROUTES: &str = "listeners:\n  web: { bind: \"127.0.0.1:0\", http: {} }\nroutes:\n  \
                         - match: { host: only.example }\n    respond: { status: 200 }\n";

#[test]
fn an_error_is_a_problem_with_five_members_and_its_code() {
    let gateway = start(NO_ROUTES);
    let mut client = gateway.connect();
    let response = client.get("other.example", "/some/path?token=s3cret");
    let problem = Problem::expect(&response, 404, "route-not-found");
    assert_eq!(problem.instance, "/some/path");
    assert!(!response.text().contains("s3cret"));
    // The connection is as good as before.
    assert_eq!(client.get("only.example", "/").status, 200);
}

#[test]
fn a_browser_gets_html_and_an_escaped_one() {
    let gateway = start(NO_ROUTES);
    let mut client = gateway.connect();
    client.send(
        "GET /%3Cscript%3Ealert(1)%3C/script%3E?%3Cb%3E HTTP/1.1\r\nHost: other.example\r\n\
         Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n\r\n",
    );
    let response = client.response();
    assert_eq!((response.status, response.field("weir-error")), (404, Some("route-not-found")));
    assert!(response.field("content-type").is_some_and(|t| t.starts_with("text/html")), "{response:?}");
    assert!(response.text().contains("404") && !response.text().contains("<script>"), "{response:?}");
    client.send("GET / HTTP/1.1\r\nHost: other.example\r\nAccept: application/json\r\n\r\n");
    Problem::expect(&client.response(), 404, "route-not-found");
    client.send("GET / HTTP/1.1\r\nHost: other.example\r\nAccept: */*\r\n\r\n");
    Problem::expect(&client.response(), 404, "route-not-found");
}

#[test]
fn a_head_request_gets_the_fields_of_an_error_without_its_body() {
    let gateway = start(NO_ROUTES);
    let mut client = gateway.connect();
    client.send("HEAD / HTTP/1.1\r\nHost: other.example\r\n\r\n");
    let response = client.read_response("HEAD").unwrap();
    assert_eq!((response.status, response.field("weir-error")), (404, Some("route-not-found")));
    assert_eq!(client.get("only.example", "/").status, 200);
}

#[test]
fn a_grpc_caller_gets_a_grpc_status() {
    let gateway = start(NO_ROUTES);
    let mut client = gateway.connect();
    client.send(
        "POST /pkg.Service/Call HTTP/1.1\r\nHost: other.example\r\nContent-Type: application/grpc\r\nContent-Length: 0\r\n\r\n",
    );
    let response = client.response();
    assert_eq!(response.status, 200, "{response:?}");
    // 12 is UNIMPLEMENTED: there is no such service here.
    assert_eq!(response.field("grpc-status"), Some("12"), "{response:?}");
    assert_eq!(response.field("weir-error"), Some("route-not-found"));
}

#[test]
fn an_unread_body_does_not_become_the_next_request() {
    let gateway = start(NO_ROUTES);
    let mut client = gateway.connect();
    let hidden = "GET /hidden HTTP/1.1\r\nHost: only.example\r\n\r\n";
    client.send(format!(
        "POST / HTTP/1.1\r\nHost: other.example\r\nContent-Length: {}\r\n\r\n{hidden}",
        hidden.len()
    ));
    Problem::expect(&client.response(), 404, "route-not-found");
    client.half_close();
    assert!(client.read_response("GET").is_err(), "the body was read as a request");
}

#[test]
fn response_policies_apply_to_the_gateways_own_errors() {
    let refusing = weir_testkit::Refusing::start();
    let gateway = Config::to([refusing.addr()])
        .route("policies: [ { headers: { response: { set: { x-frame-options: DENY } } } } ]")
        .start();
    let response = gateway.get("/");
    Problem::expect(&response, 502, "connect-failed");
    assert_eq!(response.field("x-frame-options"), Some("DENY"));
}

#[test]
fn an_upstreams_own_errors_pass_untouched() {
    let origin = Origin::start(behaviour::fixed(500, "their own words"));
    let gateway = Config::to([origin.addr()]).start();
    let response = gateway.get("/");
    assert_eq!((response.status, response.text().as_str()), (500, "their own words"));
    assert_eq!(response.field("weir-error"), None);
}

#[test]
fn an_upstream_cannot_pose_as_the_gateway() {
    let origin = Origin::start(|_, connection| {
        connection.respond(200, &[("weir-error", "internal")], "");
        weir_testkit::After::KeepOpen
    });
    let gateway = Config::to([origin.addr()]).start();
    gateway.get("/posing");
    assert!(gateway.access_line("/posing")["error"].is_null(), "the log believed the upstream");
}
