//! What the companion answers is swept as well (P2). A companion that misbehaves is played by a small TLS server of
//! ours here; everything else is real.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a test that cannot be set up must fail"
)]

#[path = "answers/player.rs"]
mod player;
mod support;

use player::{Plan, Player};
use std::io::Write;
use std::time::{Duration, Instant};
use support::wire::Answer;

const PAN: &str = "4111111111111111";

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    writer.write_all(bytes).unwrap();
    writer.finish().unwrap()
}

/// An answer with a sized body.
fn sized(status: &str, headers: &str, body: &[u8]) -> Plan {
    let head = format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {}\r\n\r\n", body.len());
    Plan::Answer([head.as_bytes(), body].concat())
}

fn json(body: &str) -> Plan {
    sized("201 Created", "Content-Type: application/json\r\n", body.as_bytes())
}

/// Plays one answer and gives what the portal got, after checking that no digit of the number came through.
async fn portal_gets(player: &Player, plan: Plan) -> Answer {
    player.next(plan);
    let payment = player.system.payment("4242424242424242", "1.00");
    let answer = player.system.post("portal", "/portal/payments", &payment).await;
    for text in [&answer.text, &format!("{:?}", answer.headers)] {
        assert!(!text.contains("41111111") && !text.contains("４１１１"), "{text}");
    }
    answer
}

async fn recorded(player: &Player, answer: &Answer, reason: &str) {
    let request = answer.json()["request_id"].as_str().unwrap().to_owned();
    assert!(
        player.system.recorded(&request, reason).await,
        "{reason} is not in the audit log: {}",
        answer.text
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn p2_an_answer_with_a_card_number_anywhere_is_withheld() {
    let player = Player::start().await;
    let body = format!("{{\"id\":\"pay_a\",\"note\":\"{PAN}\"}}");
    let fullwidth: String =
        PAN.chars().map(|c| char::from_u32(0xff10 + c.to_digit(10).unwrap()).unwrap()).collect();
    let coded = |headers: &str, body: &[u8]| {
        sized("201 Created", &format!("Content-Type: application/json\r\n{headers}"), body)
    };
    let clean = "{\"id\":\"pay_a\"}";
    let chunked = format!(
        "HTTP/1.1 201 Created\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n\
         {:x}\r\n{clean}\r\n0\r\nX-Sum: {PAN}\r\n\r\n",
        clean.len()
    );
    for (what, plan) in [
        ("in JSON", json(&body)),
        ("as a number", json(&format!("{{\"card\":{PAN}}}"))),
        ("as full-width digits", json(&format!("{{\"note\":\"{fullwidth}\"}}"))),
        ("in base64", json("{\"note\":\"NDExMTExMTExMTExMTExMQ==\"}")),
        ("a verification code", json("{\"card\":{\"cvc\":\"123\"}}")),
        (
            "in an error",
            sized("422 Unprocessable Entity", "Content-Type: application/problem+json\r\n", body.as_bytes()),
        ),
        (
            "in a stack trace",
            sized(
                "500 Internal Server Error",
                "Content-Type: text/plain\r\n",
                format!("at card {PAN} in pay()").as_bytes(),
            ),
        ),
        (
            "in HTML",
            sized("200 OK", "Content-Type: text/html\r\n", b"<p>4111<b>11111111</b>1111 was declined</p>"),
        ),
        ("in gzip", coded("Content-Encoding: gzip\r\n", &gzip(body.as_bytes()))),
        ("in Location", sized("303 See Other", &format!("Location: /receipt/{PAN}\r\n"), b"")),
        ("in Set-Cookie", coded(&format!("Set-Cookie: c={PAN}; Path=/\r\n"), clean.as_bytes())),
        ("in a header of its own", coded("X-Card: 4111 1111 1111 1111\r\n", clean.as_bytes())),
        ("in a header's name", coded(&format!("X-{PAN}: 1\r\n"), clean.as_bytes())),
        ("in a trailer", Plan::Answer(chunked.into_bytes())),
        ("behind a megabyte", json(&format!("{{\"a\":\"{}\",\"note\":\"{PAN}\"}}", "x".repeat(1 << 20)))),
    ] {
        let answer = portal_gets(&player, plan).await;
        assert_eq!(
            (answer.status.as_u16(), answer.code().as_str()),
            (502, "stray_pan_in_answer"),
            "{what}: {}",
            answer.text
        );
        answer.is_problem(502, "stray_pan_in_answer");
        recorded(&player, &answer, "stray_pan_in_answer").await;
    }
    assert_eq!(player.system.files_with(&[PAN, "41111111"]), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn p9_an_answer_that_cannot_be_searched_is_withheld() {
    let player = Player::start().await;
    let coded = |headers: &str, body: &[u8]| {
        sized("201 Created", &format!("Content-Type: application/json\r\n{headers}"), body)
    };
    for (what, plan) in [
        ("no JSON", json("{\"id\":")),
        ("no UTF-8", coded("", b"{\"id\":\"\xff\"}")),
        ("a picture", sized("200 OK", "Content-Type: image/png\r\n", b"\x89PNG")),
        ("no type", sized("200 OK", "", b"{\"id\":\"a\"}")),
        ("no gzip", coded("Content-Encoding: gzip\r\n", b"{\"id\":\"a\"}")),
        ("unknown coding", coded("Content-Encoding: compress\r\n", b"{\"id\":\"a\"}")),
        ("five megabytes", coded("", format!("{{\"note\":\"{}\"}}", "x".repeat(5 << 20)).as_bytes())),
        ("a bomb", coded("Content-Encoding: gzip\r\n", &gzip(&vec![b' '; 30_000_000]))),
        ("too deep", json(&format!("{}{}", "[".repeat(500), "]".repeat(500)))),
        ("one key twice", json("{\"id\":\"a\",\"id\":\"b\"}")),
        ("cut off", Plan::Answer(b"HTTP/1.1 201 Created\r\nContent-Type: application/json\r\nContent-Length: 50\r\n\r\n{\"id\":".to_vec())),
    ] {
        let answer = portal_gets(&player, plan).await;
        assert_eq!((answer.status.as_u16(), answer.code().as_str()), (502, "answer_unreadable"), "{what}");
        answer.is_problem(502, "answer_unreadable");
        recorded(&player, &answer, "answer_unreadable").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn p9_a_companion_that_gives_no_answer_gets_a_503_in_time() {
    let player = Player::start().await;
    for (what, plan) in [
        ("hangs up", Plan::Answer(Vec::new())),
        ("talks garbage", Plan::Answer(format!("SSH-2.0-OpenSSH {PAN}\r\n").into_bytes())),
        ("half a head", Plan::Answer(format!("HTTP/1.1 201 Created\r\nX-Card: {PAN}").into_bytes())),
        ("bad status", Plan::Answer(b"HTTP/1.1 9999 What\r\n\r\n".to_vec())),
        ("is silent", Plan::Silence),
    ] {
        let started = Instant::now();
        let answer = portal_gets(&player, plan).await;
        assert_eq!(
            (answer.status.as_u16(), answer.code().as_str()),
            (503, "companion_unavailable"),
            "{what}: {}",
            answer.text
        );
        answer.is_problem(503, "companion_unavailable");
        assert!(answer.headers.contains_key("retry-after"), "{what}");
        assert!(started.elapsed() < Duration::from_secs(20), "{what}: {:?}", started.elapsed());
        recorded(&player, &answer, "companion_unavailable").await;
    }
    // A head in time and a body that never ends.
    let started = Instant::now();
    let endless =
        b"HTTP/1.1 201 Created\r\nContent-Type: application/json\r\nContent-Length: 50\r\n\r\n{".to_vec();
    portal_gets(&player, Plan::Endless(endless)).await.is_problem(502, "answer_unreadable");
    assert!(started.elapsed() < Duration::from_secs(25), "{:?}", started.elapsed());
    assert_eq!(player.system.files_with(&[PAN]), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_honest_answer_passes_byte_for_byte_with_its_status() {
    let player = Player::start().await;
    let odd = "{ \"id\" :\"pay_abc\",\n \"status\":\"succeeded\", \"amount\":\"1.00\", \"na\\u00efve\":[1,2.50,null] }";
    for (status, content_type) in [
        ("200 OK", "application/json"),
        ("201 Created", "application/json"),
        ("402 Payment Required", "application/problem+json"),
        ("404 Not Found", "application/problem+json"),
        ("422 Unprocessable Entity", "application/problem+json; charset=utf-8"),
        ("503 Service Unavailable", "application/problem+json"),
    ] {
        let headers = format!(
            "Content-Type: {content_type}\r\nX-Receipt: abc\r\nConnection: close, X-Hop\r\nX-Hop: 1\r\n"
        );
        let answer = portal_gets(&player, sized(status, &headers, odd.as_bytes())).await;
        assert_eq!((answer.status.as_str(), answer.text.as_str()), (&status[..3], odd));
        assert_eq!(answer.headers["content-type"], content_type);
        assert_eq!(answer.headers["x-receipt"], "abc");
        assert!(!answer.headers.contains_key("x-hop"), "hop-by-hop headers stay behind");
    }
    let long = format!("{{\"note\":\"{}\"}}", "x".repeat(1 << 20));
    assert!(portal_gets(&player, json(&long)).await.text == long, "a long answer passes too");
    let packed = sized(
        "201 Created",
        "Content-Type: application/json\r\nContent-Encoding: gzip\r\n",
        &gzip(odd.as_bytes()),
    );
    let answer = portal_gets(&player, packed).await;
    assert_eq!((answer.status.as_u16(), answer.text.as_str()), (201, odd));
}

#[tokio::test(flavor = "multi_thread")]
async fn p8_after_a_withheld_answer_the_same_key_asks_again_and_an_answer_is_stored() {
    let player = Player::start().await;
    let send = async || {
        let request = player.system.client().post(format!("{}/portal/payments", player.system.url));
        let request = request.bearer_auth(player.system.key("portal")).header("Idempotency-Key", "one");
        Answer::of(request.json(&player.system.payment("4242424242424242", "1.00"))).await
    };
    player.next(json(&format!("{{\"note\":\"{PAN}\"}}")));
    send().await.is_problem(502, "stray_pan_in_answer");
    player.next(json("{\"id\":\"pay_a\"}"));
    assert_eq!(send().await.text, "{\"id\":\"pay_a\"}");
    let heard = player.heard().len();
    let again = send().await;
    assert_eq!(
        (again.text.as_str(), &again.headers["idempotent-replayed"]),
        ("{\"id\":\"pay_a\"}", &http::HeaderValue::from_static("true"))
    );
    assert_eq!(player.heard().len(), heard, "the stored answer asks nobody");
}

#[tokio::test(flavor = "multi_thread")]
async fn p1_what_the_companion_hears_holds_no_number_code_or_credential_of_the_portals() {
    let player = Player::start().await;
    player.next(json("{\"id\":\"pay_a\"}"));
    let mut payment = player.system.payment("378282246310005", "125.40");
    payment["note"] = "thank you".into();
    let request = player.system.client().post(format!("{}/portal/payments", player.system.url));
    let request = request
        .bearer_auth(player.system.key("portal"))
        .header("Cookie", "session=secret")
        .header("X-Forwarded-For", "10.0.0.1");
    assert_eq!(Answer::of(request.json(&payment)).await.status, 201);

    let heard = player.heard();
    let (head, body) = heard.last().unwrap();
    let body: serde_json::Value = serde_json::from_str(body).unwrap();
    let token = body["card"]["number"].as_str().unwrap();
    assert!(tokens::Token::parse(token).is_ok(), "{token}");
    assert_eq!((&body["card"]["brand"], &body["card"]["last4"]), (&"amex".into(), &"0005".into()));
    assert!(body["card"].get("cvc").is_none() && body["amount"] == "125.40" && body["note"] == "thank you");
    let head = head.to_ascii_lowercase();
    for name in ["pangate-tenant: north-clinic", "pangate-principal: portal", "pangate-request-id: req_"] {
        assert!(head.contains(name), "{head}");
    }
    for hidden in [player.system.key("portal"), "378282246310005", "7373", "session=secret", "10.0.0.1"] {
        assert!(!head.contains(hidden) && !body.to_string().contains(hidden), "{hidden}");
    }
}
