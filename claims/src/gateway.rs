//! Charging by token at the gateway. Only a token leaves; what comes back is either certain or [`Charged::Unknown`].

use crate::body;
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Uri};
use http_body_util::Full;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use serde::Deserialize;
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;
use tokens::{ChargeId, Currency, Money, PaymentId, Token};
use zeroize::Zeroizing;

const ANSWER_LIMIT: usize = 64 * 1024;

/// What became of a charge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Charged {
    /// The money was taken.
    Succeeded(ChargeId),
    /// The processor said no.
    Declined {
        /// Its reason, lower-case letters and underscores.
        code: String,
        /// The declined charge, when it has an identifier.
        charge: Option<ChargeId>,
    },
    /// The gateway said no before any processor was asked.
    Refused {
        /// Its reason, lower-case letters and underscores.
        code: String,
    },
    /// Nobody can say. Only a repeat with the same idempotency key may follow.
    Unknown {
        /// For the log.
        why: &'static str,
    },
}

/// What the gateway knows of a payment's charge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// How it ended, or [`Charged::Unknown`] while it has not.
    Charge(Charged),
    /// No charge was ever begun, or one was taken back before anything was sent.
    Nothing,
    /// The gateway gave no answer that says either.
    Unanswered,
}

/// The client to the gateway could not be made.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// gateway.url is no https address.
    #[error("gateway.url must be https://HOST[:PORT]")]
    Url,
    /// gateway.ca holds no usable certificate.
    #[error("gateway.ca holds no usable certificate: give the PEM file of the gateway's authority")]
    Authority,
    /// The TLS provider lacks a protocol version.
    #[error("the TLS provider cannot be set up")]
    Tls(#[source] rustls::Error),
    /// The credential has characters that no header takes.
    #[error("gateway.key_file holds characters that an HTTP header cannot carry")]
    Credential,
}

/// The way to the gateway: one pool of connections, one credential.
pub struct Gateway {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    charges: Uri,
    credential: HeaderValue,
    deadline: Duration,
}

impl Gateway {
    /// A client that trusts `authority` alone, whatever else the host trusts.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn new(
        url: &str,
        authority: Vec<CertificateDer<'static>>,
        credential: &str,
        deadline: Duration,
    ) -> Result<Self, ClientError> {
        let charges: Uri =
            format!("{}/v1/charges", url.trim_end_matches('/')).parse().map_err(|_| ClientError::Url)?;
        if charges.scheme_str() != Some("https") {
            return Err(ClientError::Url);
        }
        let mut roots = RootCertStore::empty();
        for certificate in authority {
            roots.add(certificate).map_err(|_| ClientError::Authority)?;
        }
        if roots.is_empty() {
            return Err(ClientError::Authority);
        }
        let tls =
            ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
                .with_safe_default_protocol_versions()
                .map_err(ClientError::Tls)?
                .with_root_certificates(roots)
                .with_no_client_auth();
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(Duration::from_secs(3)));
        let https = HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_only()
            .enable_http1()
            .enable_http2()
            .wrap_connector(tcp);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .timer(TokioTimer::new())
            .pool_idle_timeout(Duration::from_secs(20))
            .pool_max_idle_per_host(32)
            .http2_keep_alive_interval(Duration::from_secs(15))
            .http2_keep_alive_timeout(Duration::from_secs(5))
            .build(https);
        let mut credential =
            HeaderValue::from_str(&format!("Bearer {credential}")).map_err(|_| ClientError::Credential)?;
        credential.set_sensitive(true);
        Ok(Gateway { client, charges, credential, deadline })
    }

    /// Charges `money` to the card behind `token`. The payment's identifier is the idempotency key, so that
    /// however often this is repeated, the card is charged once.
    pub async fn charge(&self, payment: &PaymentId, token: &Token, money: Money) -> Charged {
        let body = json!({
            "token": token.as_str(),
            "amount": money.to_string(),
            "currency": money.currency().code(),
            "reference": payment.as_str(),
        });
        let request = Request::builder()
            .method(Method::POST)
            .uri(self.charges.clone())
            .header(AUTHORIZATION, self.credential.clone())
            .header(CONTENT_TYPE, "application/json")
            .header("idempotency-key", payment.as_str())
            .body(Full::new(Bytes::from(body.to_string())));
        match self.exchange(request).await {
            Ok((status, body)) => judge(status, &body, money),
            Err(why) => Charged::Unknown { why },
        }
    }

    /// Asks what a payment came to, and charges nothing.
    pub async fn find(&self, payment: &PaymentId, money: Money) -> Found {
        let request = Request::builder()
            .method(Method::GET)
            .uri(format!("{}?idempotency_key={payment}", self.charges))
            .header(AUTHORIZATION, self.credential.clone())
            .body(Full::new(Bytes::new()));
        match self.exchange(request).await {
            Ok((status, body)) => judge_found(status, &body, money),
            Err(_) => Found::Unanswered,
        }
    }

    async fn exchange(
        &self,
        request: Result<Request<Full<Bytes>>, http::Error>,
    ) -> Result<(u16, Zeroizing<Vec<u8>>), &'static str> {
        let request = request.map_err(|_| "request_not_built")?;
        let exchange = async {
            let answer = self.client.request(request).await.map_err(|_| "no_answer")?;
            let (head, body) = answer.into_parts();
            let body = body::gather(body, ANSWER_LIMIT).await.map_err(|_| "answer_cut")?;
            Ok::<_, &'static str>((head.status.as_u16(), body))
        };
        tokio::time::timeout(self.deadline, exchange).await.unwrap_or(Err("no_answer_in_time"))
    }
}

#[derive(Deserialize, Default)]
struct Said {
    id: Option<String>,
    charge: Option<String>,
    /// Text on a charge, a number on a problem document.
    status: Option<serde_json::Value>,
    code: Option<String>,
    decline_code: Option<String>,
    reason: Option<String>,
    amount: Option<String>,
    currency: Option<String>,
}

/// Only what is certain moves money here: whatever reads oddly is unknown, and a repeat will ask again.
fn judge(status: u16, body: &[u8], money: Money) -> Charged {
    let Ok(said) = serde_json::from_slice::<Said>(body) else {
        return Charged::Unknown { why: "answer_not_read" };
    };
    let charge = [&said.charge, &said.id].into_iter().flatten().find_map(|id| ChargeId::parse(id).ok());
    let code =
        [&said.decline_code, &said.code, &said.reason].into_iter().flatten().find(|code| is_code(code));
    let state = said.status.as_ref().and_then(|status| status.as_str()).unwrap_or_default();
    match (status, state) {
        (200 | 201, "succeeded") if !same(&said, money) => Charged::Unknown { why: "another_amount_charged" },
        (200 | 201, "succeeded") => match charge {
            Some(charge) => Charged::Succeeded(charge),
            None => Charged::Unknown { why: "charge_without_identifier" },
        },
        (200 | 201, "declined") | (402, _) => {
            Charged::Declined { code: code.map_or("card_declined", String::as_str).to_owned(), charge }
        }
        // A proxy's 404 has no code of the gateway's, and our own key reused is a fault to look at, not an outcome.
        (400 | 404 | 410 | 422, _) => match code {
            Some(code) if code != "idempotency_key_reused" && code != "route_unknown" => {
                Charged::Refused { code: code.clone() }
            }
            _ => Charged::Unknown { why: "refused_without_known_code" },
        },
        // The gateway looks its charges up by our key first: it has none, and will make none.
        (409, _) if said.code.as_deref() == Some("no_open_payment") => {
            Charged::Refused { code: "no_open_payment".to_owned() }
        }
        (401 | 403, _) => Charged::Unknown { why: "credential_refused" },
        (409, _) => Charged::Unknown { why: "charge_under_way" },
        _ => Charged::Unknown { why: "gateway_unavailable" },
    }
}

#[derive(Deserialize)]
struct Listed {
    data: Vec<serde_json::Value>,
}

/// The list of one key: nothing, or the one charge, judged as if it had just been answered.
fn judge_found(status: u16, body: &[u8], money: Money) -> Found {
    if status != 200 {
        return Found::Unanswered;
    }
    match serde_json::from_slice::<Listed>(body).as_ref().map(|listed| listed.data.as_slice()) {
        Ok([]) => Found::Nothing,
        Ok([charge]) => Found::Charge(judge(200, charge.to_string().as_bytes(), money)),
        Ok(_) | Err(_) => Found::Unanswered,
    }
}

fn same(said: &Said, money: Money) -> bool {
    let currency = said.currency.as_deref().map_or(Ok(money.currency()), Currency::parse);
    let amount = said.amount.as_deref().map(|amount| Money::parse(amount, money.currency()));
    currency == Ok(money.currency()) && amount.is_none_or(|amount| amount == Ok(money))
}

fn is_code(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usd(amount: &str) -> Money {
        Money::parse(amount, Currency::Usd).unwrap()
    }

    #[test]
    fn only_a_certain_answer_moves_money() {
        let charge = ChargeId::mint().unwrap();
        let id = charge.as_str().to_owned();
        let unknown = |charged: Charged| matches!(charged, Charged::Unknown { .. });
        let say = |status, body: String| judge(status, body.as_bytes(), usd("125.40"));

        assert_eq!(
            say(201, format!(r#"{{"id":"{id}","status":"succeeded","amount":"125.40","currency":"USD"}}"#)),
            Charged::Succeeded(charge.clone())
        );
        assert_eq!(
            say(402, format!(r#"{{"status":402,"code":"insufficient_funds","charge":"{id}"}}"#)),
            Charged::Declined { code: "insufficient_funds".into(), charge: Some(charge) }
        );
        assert_eq!(
            say(410, r#"{"status":410,"code":"token_gone"}"#.into()),
            Charged::Refused { code: "token_gone".into() }
        );
        assert!(unknown(say(201, format!(r#"{{"id":"{id}","status":"succeeded","amount":"999.00"}}"#))));
        assert!(unknown(say(201, format!(r#"{{"id":"{id}","status":"pending"}}"#))));
        assert!(unknown(say(201, r#"{"status":"succeeded"}"#.into())));
        assert!(unknown(say(404, "<html>".into())));
        assert!(unknown(say(503, r#"{"status":503,"code":"hsm_unavailable"}"#.into())));
        assert!(unknown(say(401, r#"{"status":401,"code":"unauthenticated"}"#.into())));
    }

    #[test]
    fn a_charge_is_found_only_where_it_ended() {
        let charge = ChargeId::mint().unwrap();
        let listed = |status: &str| {
            format!(
                r#"{{"data":[{{"id":"{charge}","status":"{status}","amount":"125.40","currency":"USD"}}]}}"#
            )
        };
        let found = |status, body: &str| judge_found(status, body.as_bytes(), usd("125.40"));

        assert_eq!(found(200, &listed("succeeded")), Found::Charge(Charged::Succeeded(charge.clone())));
        assert_eq!(found(200, r#"{"data":[],"has_more":false}"#), Found::Nothing);
        assert!(matches!(found(200, &listed("in_doubt")), Found::Charge(Charged::Unknown { .. })));
        for (status, body) in [
            (200, r#"{"data":[{},{}]}"#.to_owned()),
            (200, "{}".to_owned()),
            (503, listed("succeeded")),
            (422, r#"{"code":"unknown_field"}"#.to_owned()),
        ] {
            assert_eq!(found(status, &body), Found::Unanswered, "{status} {body}");
        }
    }

    #[test]
    fn a_reason_that_is_no_code_is_not_passed_on() {
        let charged = judge(402, br#"{"code":"4242424242424242"}"#, usd("1.00"));

        assert_eq!(charged, Charged::Declined { code: "card_declined".into(), charge: None });
    }
}
