//! Rows of the list as messages to the portal's route.

use crate::support::raw::head;
use crate::support::{System, wire};
use base64::Engine;
use http_body_util::StreamBody;
use hyper::body::Frame;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde::Deserialize;
use std::convert::Infallible;

/// One row of `crates/sweep/tests/adversarial.json`.
#[derive(Deserialize, Clone)]
pub(crate) struct Row {
    pub(crate) id: String,
    #[serde(rename = "where")]
    pub(crate) place: String,
    #[serde(default)]
    content: String,
    base64: Option<String>,
    content_type: Option<String>,
    content_encoding: Option<String>,
    header: Option<String>,
    pub(crate) expect: String,
}

/// A message to send and what has to come of it.
pub(crate) struct Message {
    pub(crate) what: String,
    pub(crate) expect: &'static str,
    target: String,
    headers: Vec<(String, Vec<u8>)>,
    trailer: Option<(String, Vec<u8>)>,
    body: Vec<u8>,
}

pub(crate) const ROUTE: &str = "/portal/payments";
const JSON: &str = "application/json";
const FORM: &str = "application/x-www-form-urlencoded";

/// Refused with the sweep's own code.
const STRAY: &str = "stray";
/// Refused, with whichever code says best why.
const REFUSED: &str = "refused";
/// Reaches the companion, which posts it.
const PAID: &str = "paid";

pub(crate) fn all() -> Vec<Row> {
    serde_json::from_str(include_str!("../../crates/sweep/tests/adversarial.json")).unwrap()
}

/// A system whose portal route lets undeclared fields through.
pub(crate) async fn keeping_system() -> System {
    let policy = tempfile::tempdir().unwrap().keep();
    let routes =
        pangate::cli::setup::ROUTES.replace("reuse = true", "reuse = true\nunknown_fields = \"keep\"");
    assert!(routes.contains("keep\"\n"), "the policy's wording changed");
    std::fs::write(policy.join("routes.toml"), routes).unwrap();
    pangate::governance::write_missing(&policy).unwrap();
    pangate::governance::write_companion(&policy, "localhost").unwrap();
    let system = System::start_with(|settings| {
        *settings = settings.replace("dir = \"policy\"", &format!("dir = \"{}\"", policy.display()));
    })
    .await;
    std::fs::remove_dir_all(policy).unwrap();
    system
}

/// The text of an honest payment, open at its end for one more member.
pub(crate) fn open_payment(system: &System) -> String {
    let payment = serde_json::to_string(&system.payment("5555555555554444", "0.10")).unwrap();
    payment.strip_suffix('}').unwrap().to_owned()
}

fn honest(system: &System) -> Vec<u8> {
    format!("{}}}", open_payment(system)).into_bytes()
}

fn fields(system: &System) -> Vec<(&'static str, String)> {
    vec![
        ("account", system.account.clone()),
        ("statement", system.statement.clone()),
        ("amount", "0.10".into()),
        ("currency", "USD".into()),
        ("card[number]", "5555555555554444".into()),
        ("card[exp_month]", "12".into()),
        ("card[exp_year]", "2034".into()),
        ("card[cvc]", "737".into()),
    ]
}

fn form(system: &System, more: &str) -> Vec<u8> {
    let payment = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields(system)).finish();
    format!("{payment}&{more}").into_bytes()
}

fn multipart(system: &System, note: &str) -> Vec<u8> {
    let mut body = String::new();
    for (name, value) in fields(system).into_iter().chain([("note", note.to_owned())]) {
        body.push_str(&format!(
            "--edge\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n"
        ));
    }
    body.push_str("--edge--\r\n");
    body.into_bytes()
}

impl Row {
    fn bytes(&self) -> Vec<u8> {
        match &self.base64 {
            Some(text) => base64::engine::general_purpose::STANDARD.decode(text).unwrap(),
            None => self.content.clone().into_bytes(),
        }
    }

    fn hostile(&self) -> Option<&'static str> {
        match self.expect.as_str() {
            "T" => Some(STRAY),
            "R" => Some(REFUSED),
            "P" => None,
            other => panic!("unknown expectation {other}"),
        }
    }

    fn message(&self, kind: &str, expect: &'static str, content_type: &str, body: Vec<u8>) -> Message {
        Message {
            what: format!("row {} {kind}", self.id),
            expect,
            target: ROUTE.to_owned(),
            headers: vec![("content-type".to_owned(), content_type.as_bytes().to_vec())],
            trailer: None,
            body,
        }
    }

    /// The text of a JSON row whose verdict does not hang on its field's name.
    fn text(&self) -> Option<String> {
        let value: serde_json::Value = serde_json::from_slice(&self.bytes()).ok()?;
        let mut members = value.as_object()?.iter();
        match (members.next(), members.next()) {
            (Some((name, value)), None) if name == "reference" || name == "note" => {
                value.as_str().map(str::to_owned)
            }
            _ => None,
        }
    }

    /// As the note of a payment in each of the three body kinds.
    fn notes(&self, system: &System, expect: &'static str) -> Vec<Message> {
        let Some(text) = self.text() else { return vec![] };
        let quoted = serde_json::to_string(&text).unwrap();
        let pair = form_urlencoded::Serializer::new(String::new()).append_pair("note", &text).finish();
        let json = format!("{},\"note\":{quoted}}}", open_payment(system)).into_bytes();
        vec![
            self.message("as JSON note", expect, JSON, json),
            self.message("as form note", expect, FORM, form(system, &pair)),
            self.message(
                "as multipart note",
                expect,
                "multipart/form-data; boundary=edge",
                multipart(system, &text),
            ),
        ]
    }

    /// As a member beside an honest payment, undeclared on the strict route.
    fn beside(&self, system: &System, expect: &'static str) -> Message {
        let mut body = format!("{},\"extra\":", open_payment(system)).into_bytes();
        body.extend_from_slice(&self.bytes());
        body.push(b'}');
        self.message("beside a payment", expect, JSON, body)
    }

    /// Every body in which the row has to be refused by the strict route.
    pub(crate) fn hostile_bodies(&self, system: &System) -> Vec<Message> {
        let Some(expect) = self.hostile() else { return vec![] };
        match self.place.as_str() {
            "json" => {
                // One row has its code where this route declares one; alone it is refused for what is missing.
                let alone = if self.id == "70.3" { REFUSED } else { expect };
                let mut messages =
                    vec![self.message("alone", alone, JSON, self.bytes()), self.beside(system, expect)];
                messages.extend(self.notes(system, expect));
                messages
            }
            "form" => {
                let with = form(system, &self.content);
                vec![
                    self.message("alone", expect, FORM, self.bytes()),
                    self.message("beside", expect, FORM, with),
                ]
            }
            "multipart" => {
                let content_type = self.content_type.as_deref().unwrap();
                vec![self.message("alone", expect, content_type, self.bytes())]
            }
            "body" => {
                // The portal route takes three types; a row of another is refused for its type.
                let mut message = self.message("as a body", REFUSED, "", self.bytes());
                message.headers.clear();
                let named =
                    [("content-type", &self.content_type), ("content-encoding", &self.content_encoding)];
                for (name, value) in named {
                    message.headers.extend(value.clone().map(|value| (name.to_owned(), value.into_bytes())));
                }
                vec![message]
            }
            _ => vec![],
        }
    }

    /// Every head and trailer section in which the row has to be refused; the body is honest.
    pub(crate) fn hostile_heads(&self, system: &System) -> Vec<Message> {
        let Some(expect) = self.hostile() else { return vec![] };
        let mut message = self.message(&format!("in {}", self.place), expect, JSON, honest(system));
        match self.place.as_str() {
            "path" => message.target = self.content.clone(),
            "query" => message.target = format!("{ROUTE}?{}", self.content),
            "header" => {
                let field = (self.header.clone().unwrap(), self.bytes());
                let mut behind = self.message("in a trailer", expect, JSON, honest(system));
                behind.trailer = Some(field.clone());
                message.headers.push(field);
                return vec![message, behind];
            }
            _ => return vec![],
        }
        vec![message]
    }

    /// The row's own members beside those of a payment, on the route that keeps them.
    pub(crate) fn kept_fields(&self, system: &System) -> Vec<Message> {
        match self.hostile() {
            Some(expect) if self.place == "json" => vec![self.beside(system, expect)],
            _ => vec![],
        }
    }

    /// Bodies that must reach the companion: the row's own field, and the note where no rule speaks of free text.
    pub(crate) fn honest_bodies(&self, system: &System) -> Vec<Message> {
        if self.hostile().is_some() {
            return vec![];
        }
        let members = self.content.trim().strip_prefix('{').and_then(|text| text.strip_suffix('}'));
        let list = || format!("\"list\":{}", self.content);
        let members = members.map_or_else(list, str::to_owned);
        let own = format!("{},{members}}}", open_payment(system)).into_bytes();
        let mut messages = vec![self.message("in its own field", PAID, JSON, own)];
        // In free text a filled-up number is found; the row speaks of other fields.
        if self.id != "47.2" {
            messages.extend(self.notes(system, PAID));
        }
        messages
    }
}

impl Message {
    pub(crate) fn expected(&self, status: u16, code: &str) -> bool {
        match self.expect {
            STRAY => status == 400 && matches!(code, "stray_pan" | "stray_sensitive_data"),
            REFUSED => (400..500).contains(&status) && !code.is_empty(),
            _ => status == 201,
        }
    }

    /// As bytes of HTTP/1.1; with a trailer the body is chunked.
    pub(crate) fn http1(&self, system: &System) -> Vec<u8> {
        let mut bytes = head(system, "POST", &self.target).into_bytes();
        if self.headers.iter().any(|(name, _)| name == "authorization") {
            bytes = format!("POST {} HTTP/1.1\r\nHost: localhost\r\n", self.target).into_bytes();
        }
        for (name, value) in &self.headers {
            bytes.extend_from_slice(&[name.as_bytes(), b": ", value, b"\r\n"].concat());
        }
        match &self.trailer {
            None => {
                bytes.extend_from_slice(format!("content-length: {}\r\n\r\n", self.body.len()).as_bytes());
                bytes.extend_from_slice(&self.body);
            }
            Some((name, value)) => {
                let size = format!("transfer-encoding: chunked\r\n\r\n{:x}\r\n", self.body.len());
                bytes.extend_from_slice(&[size.as_bytes(), &self.body, b"\r\n0\r\n"].concat());
                bytes.extend_from_slice(&[name.as_bytes(), b": ", value, b"\r\n\r\n"].concat());
            }
        }
        bytes
    }

    /// The same over HTTP/2: status, code and the whole answer.
    pub(crate) async fn http2(&self, system: &System) -> (u16, String, String) {
        let stream = wire::raw_tls(&system.url, &system.path("tls/ca.pem"), &[b"h2"]).await;
        let (mut sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let uri = format!("https://localhost{}", self.target);
        let mut request =
            http::Request::post(uri).header("authorization", format!("Bearer {}", system.key("portal")));
        for (name, value) in &self.headers {
            if name == "authorization" {
                request.headers_mut().unwrap().remove(name);
            }
            request = request.header(name, value.as_slice());
        }
        let mut frames = vec![Frame::data(bytes::Bytes::from(self.body.clone()))];
        if let Some((name, value)) = &self.trailer {
            let name = http::HeaderName::try_from(name).unwrap();
            let trailers = [(name, http::HeaderValue::try_from(value.as_slice()).unwrap())];
            frames.push(Frame::trailers(trailers.into_iter().collect()));
        }
        let frames = frames.into_iter().map(Ok::<_, Infallible>);
        let body = StreamBody::new(futures_util::stream::iter(frames));
        let response = sender.send_request(request.body(body).unwrap()).await.unwrap();
        read(response).await
    }
}

#[expect(clippy::disallowed_methods, reason = "a test reads an answer, not a request")]
pub(crate) async fn read(response: http::Response<hyper::body::Incoming>) -> (u16, String, String) {
    use http_body_util::BodyExt;
    let status = response.status().as_u16();
    let headers = format!("{:?}", response.headers());
    let body = response.into_body().collect().await.unwrap().to_bytes();
    let text = String::from_utf8_lossy(&body).into_owned();
    let json: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
    (status, json["code"].as_str().unwrap_or_default().to_owned(), format!("{headers}{text}"))
}
