//! Ways by which a card or a stand-still was once got out of the gateway, played against the real processes: a
//! companion that points elsewhere, fields without a value, heads that cost the square of their length.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot be set up must fail")]

#[path = "answers/player.rs"]
mod player;
mod support;

use hyper_util::rt::{TokioExecutor, TokioIo};
use player::{Plan, Player};
use serde_json::json;
use std::time::{Duration, Instant};
use support::wire::{self, Answer};
use support::{System, raw};

const PAN: &str = "4111111111111111";

/// An answer without a body.
fn bare(status: &str, headers: &str) -> Plan {
    Plan::Answer(format!("HTTP/1.1 {status}\r\n{headers}Content-Length: 0\r\n\r\n").into_bytes())
}

/// Pays through the gateway with a client that goes wherever it is sent, as browsers and most libraries do.
async fn followed(player: &Player, plan: Plan) -> Answer {
    player.next(plan);
    let request = player.system.client().post(format!("{}/portal/payments", player.system.url));
    let request = request.bearer_auth(player.system.key("portal"));
    Answer::of(request.json(&player.system.payment(PAN, "1.00"))).await
}

#[tokio::test(flavor = "multi_thread")]
async fn p7_a_companion_that_sends_the_portal_elsewhere_is_not_listened_to() {
    let player = Player::start().await;
    for status in [
        "300 Multiple Choices",
        "301 Moved Permanently",
        "302 Found",
        "305 Use Proxy",
        "307 Temporary Redirect",
        "308 Permanent Redirect",
    ] {
        // The gateway's own address: a client that followed would come back with the card, and be seen.
        let elsewhere = format!("Location: {}/stolen\r\n", player.system.url);
        let answer = followed(&player, bare(status, &elsewhere)).await;
        answer.is_problem(502, "answer_diverts");
        assert!(!answer.headers.contains_key("location"), "{status}");
        let request = answer.json()["request_id"].as_str().unwrap().to_owned();
        assert!(player.system.recorded(&request, "answer_diverts").await, "{status} is not in the audit log");
    }
    // What it would say after that is not waited for.
    let unending = b"HTTP/1.1 307 x\r\nLocation: /\r\nContent-Length: 9\r\n\r\nno end".to_vec();
    let begun = Instant::now();
    followed(&player, Plan::Endless(unending)).await.is_problem(502, "answer_diverts");
    assert!(begun.elapsed() < IN_TIME, "the end of a refused answer was waited for");
    let switched = bare("101 Switching Protocols", "Connection: upgrade\r\nUpgrade: websocket\r\n");
    followed(&player, switched).await.is_problem(502, "answer_diverts");
    for (_, body) in player.heard() {
        assert!(!body.contains(PAN), "the companion got the card");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn p7_a_redirect_that_carries_no_body_still_passes() {
    let player = Player::start().await;
    player.next(bare("303 See Other", "Location: /receipts/abc\r\n"));
    let client = reqwest::Client::builder()
        .add_root_certificate(
            reqwest::Certificate::from_pem(&std::fs::read(player.system.path("tls/ca.pem")).unwrap())
                .unwrap(),
        )
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .unwrap();
    let request = client.post(format!("{}/portal/payments", player.system.url));
    let request = request.bearer_auth(player.system.key("portal"));
    let answer = Answer::of(request.json(&player.system.payment(PAN, "1.00"))).await;
    assert_eq!(
        (answer.status.as_u16(), &answer.headers["location"]),
        (303, &"/receipts/abc".parse().unwrap())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn p7_the_companion_does_not_speak_for_the_gateways_origin() {
    let player = Player::start().await;
    let foreign = [
        ("Set-Cookie", "session=mine"),
        ("Alt-Svc", "h3=\":443\""),
        ("Refresh", "0; url=https://elsewhere.example"),
        ("Access-Control-Allow-Origin", "*"),
        ("Clear-Site-Data", "\"*\""),
        ("Idempotent-Replayed", "true"),
        ("WWW-Authenticate", "Basic"),
        ("Content-Security-Policy-Report-Only", "report-uri https://elsewhere.example"),
        ("Service-Worker-Allowed", "/"),
        ("Pangate-Destination-Status", "200"),
    ];
    let lines: String = foreign.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let ours = "Strict-Transport-Security: max-age=0\r\nPangate-Request-Id: req_theirs\r\nX-Receipt: abc\r\n";
    let answer = followed(&player, bare("201 Created", &format!("{lines}{ours}"))).await;
    assert_eq!((answer.status.as_u16(), &answer.headers["x-receipt"]), (201, &"abc".parse().unwrap()));
    for (name, _) in foreign {
        assert!(!answer.headers.contains_key(name), "{name} came through");
    }
    assert_eq!(answer.headers["strict-transport-security"], "max-age=31536000");
    assert_ne!(answer.headers["pangate-request-id"], "req_theirs");
}

#[tokio::test(flavor = "multi_thread")]
async fn p2_an_undeclared_field_is_refused_also_when_it_holds_nothing() {
    let system = System::start().await;
    let (left, right) = PAN.split_at(8);
    for (name, extra) in [
        ("an empty object", json!({"extra": {}})),
        ("an empty list", json!({"extra": []})),
        ("nothing inside nothing", json!({"extra": {"more": [{}]}})),
        ("a number cut over two names", json!({left: {}, right: []})),
    ] {
        let mut outside = system.payment("4242424242424242", "1.00");
        outside.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        let mut inside = system.payment("4242424242424242", "1.00");
        inside["card"].as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        for payment in [outside, inside] {
            let answer = system.post("portal", "/portal/payments", &payment).await;
            let refused = (answer.status.as_u16(), answer.code());
            // Where the halves stand side by side they may also be read as the number that they are.
            let read = name == "a number cut over two names" && refused == (400, "stray_pan".to_owned());
            assert!(read || refused == (422, "unknown_field".to_owned()), "{name}: {}", answer.text);
        }
    }
    assert_eq!(system.companion_messages(), 0, "nothing reached the companion");
    let mut payment = system.payment("4242424242424242", "1.00");
    payment["card"] = json!({});
    system.post("portal", "/portal/payments", &payment).await.is_problem(422, "missing_field");
}

#[tokio::test(flavor = "multi_thread")]
async fn p2_the_host_in_an_http2_target_is_searched_like_any_header() {
    let system = System::start().await;
    let stream = wire::raw_tls(&system.url, &system.path("tls/ca.pem"), &[b"h2"]).await;
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let request = http::Request::get(format!("https://{PAN}/v1/keys"));
    let request = request.body(http_body_util::Empty::<bytes::Bytes>::new()).unwrap();
    let response = sender.send_request(request).await.unwrap();
    let header = |name: &str| response.headers()[name].to_str().unwrap().to_owned();
    assert_eq!(
        (response.status().as_u16(), header("content-type").as_str()),
        (400, "application/problem+json")
    );
    assert!(system.recorded(&header("pangate-request-id"), "stray_pan").await);
}

/// Far above what the slowest machine needs, far below what a search costs that grows with the square.
const IN_TIME: Duration = Duration::from_secs(6);

#[tokio::test(flavor = "multi_thread")]
async fn p9_a_stranger_cannot_make_the_search_of_a_head_expensive() {
    let system = System::start().await;
    // Each ending wears one more disguise, and every disguise is searched again.
    let endings = " a%41b &#65; \\x41 =4A QWxhZGRpbjpvcGVuc2VzYW1l";
    for unit in ["0-", "0 ", "0,", "00 "] {
        let value = format!("{}{endings}", unit.repeat(28_000 / unit.len()));
        let request = format!("GET / HTTP/1.1\r\nHost: localhost\r\nX-Thing: {value}\r\n\r\n");
        let begun = Instant::now();
        let answer = raw::once(&system, request.as_bytes()).await.unwrap();
        assert!((400..500).contains(&answer.status), "{}", answer.head);
        assert!(begun.elapsed() < IN_TIME, "{unit:?} took {:?}", begun.elapsed());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn p9_a_note_built_to_be_searched_for_long_is_refused_in_time() {
    let system = System::start().await;
    for unit in ["1 ", "4111 ", "<a", "=?a?q?x", "=?a?b?QUJD?x", "&#", "%25", "1e9 "] {
        let mut payment = system.payment("4242424242424242", "1.00");
        payment["note"] = unit.repeat(60_000 / unit.len()).into();
        let begun = Instant::now();
        let answer = system.post("portal", "/portal/payments", &payment).await;
        assert!(answer.status.is_client_error(), "{unit:?}: {}", answer.text);
        assert!(begun.elapsed() < IN_TIME, "{unit:?} took {:?}", begun.elapsed());
    }
}
