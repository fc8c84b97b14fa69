//! One key, one act: what a retry after a network fault gets (P8).
//!
//! Requests are compared by a MAC made inside the HSM, never by a plain digest: a digest of a body that holds a card
//! could be searched through.

mod adding;
mod shredded;

pub use shredded::{forget_metadata, forget_tokens};

use crate::answer::{Answer, Code, Problem, Stopped};
use crate::record::now_us;
use http::StatusCode;
use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use store::{Value, Work};
use subtle::ConstantTimeEq;
use tokens::{Principal, Tenant};

/// After this time a claim of another gateway is taken for abandoned: no request may run longer.
const LEASE_US: i64 = 60_000_000;

/// A checked `Idempotency-Key`: 1 to 255 visible ASCII characters.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Key(String);

impl Key {
    /// Parses the header's value.
    ///
    /// # Errors
    /// A problem that says what a key may be.
    pub fn parse(text: &[u8]) -> Result<Key, Problem> {
        let refuse = || {
            Problem::new(
                Code::IdempotencyKeyInvalid,
                "Send 1 to 255 visible ASCII characters, for instance a UUID",
            )
        };
        let text = std::str::from_utf8(text).map_err(|_| refuse())?;
        let valid = (1..=255).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
        if valid { Ok(Key(text.to_owned())) } else { Err(refuse()) }
    }

    /// The key's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What identifies one act: the same key of another tenant, caller or endpoint is another act.
#[derive(Debug, Clone)]
pub struct Claim {
    /// Whose.
    pub tenant: Tenant,
    /// Who asks.
    pub principal: Principal,
    /// The endpoint's name.
    pub endpoint: String,
    /// The caller's key.
    pub key: Key,
    /// The request's MACs, made inside the HSM, each with the version of its key, the newest first.
    pub request_macs: Vec<(u32, [u8; 32])>,
    /// The gateway process that runs it, so that a claim of a dead process can be taken over.
    pub owner: Owner,
}

/// One run of one gateway. Two processes never write one log, so a claim of the same log by another run is dead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    log: String,
    run: String,
}

impl Owner {
    /// The run of this process.
    ///
    /// # Errors
    /// [`tokens::RandomUnavailable`] when the operating system gives no random bytes.
    pub fn new(log: &audit::LogName) -> Result<Owner, tokens::RandomUnavailable> {
        Ok(Owner { log: log.as_str().to_owned(), run: tokens::random_letters(16)? })
    }

    /// `log/run`, as rows and log lines name it.
    pub fn text(&self) -> String {
        format!("{}/{}", self.log, self.run)
    }

    /// Whether a claim of `owner`, made at `created_us`, can no longer finish. Our own claims are judged by
    /// [`Running`], which the caller already holds.
    fn outlives(&self, owner: &str, created_us: i64) -> bool {
        let same_log = owner.split_once('/').is_some_and(|(log, _)| log == self.log);
        same_log || now_us().saturating_sub(created_us) > LEASE_US
    }
}

/// The claims that this process works on right now.
#[derive(Debug, Clone, Default)]
pub struct Running(Arc<Mutex<HashSet<String>>>);

/// Held while a claim is worked on; dropping it ends that, however the request ended.
#[derive(Debug)]
pub struct Working {
    running: Running,
    name: String,
}

impl Running {
    /// Starts work on a claim.
    ///
    /// # Errors
    /// 409 when a twin is at work in this process.
    pub fn enter(&self, claim: &Claim) -> Result<Working, Problem> {
        let name = format!("{}/{}", claim.tenant, claim.name());
        let entered = self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(name.clone());
        if entered {
            Ok(Working { running: self.clone(), name })
        } else {
            Err(Problem::new(Code::IdempotencyInFlight, IN_FLIGHT))
        }
    }
}

impl Drop for Working {
    fn drop(&mut self) {
        self.running.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.name);
    }
}

/// What a claim found.
#[derive(Debug)]
pub enum Claimed {
    /// Nobody used the key: go on.
    Fresh,
    /// A process that is gone left it unfinished: go on, every step is repeatable.
    TakenOver,
    /// Done before: give this answer again.
    Replay(Answer),
}

const REUSED: &str =
    "Use a new Idempotency-Key for a new request; repeat a request byte for byte to get its answer again";
const NO_MAC: &str = "The request has no MAC to be compared by; report this";
const IN_FLIGHT: &str = "Wait for the first request's answer, or retry in a second";

impl Claim {
    /// `principal/endpoint/key`: the same for every repeat of the request, another for every other act of the tenant.
    pub fn name(&self) -> String {
        format!("{}/{}/{}", self.principal, self.endpoint, self.key.as_str())
    }

    /// Claims the key inside `work`.
    ///
    /// # Errors
    /// The problems of the contract: 422 another body, 409 a twin still runs; or the store's error.
    pub async fn take(&self, work: &mut Work<'_>) -> Result<Claimed, Stopped> {
        let (version, mac) = self.request_macs.first().ok_or(Problem::new(Code::Internal, NO_MAC))?;
        let inserted = work
            .execute(
                "INSERT INTO idempotency (tenant, principal, endpoint, idempotency_key, request_mac, state, owner, \
                 created_at, request_mac_version) VALUES ($1, $2, $3, $4, $5, 'running', $6, $7, $8) \
                 ON CONFLICT DO NOTHING",
                vec![
                    Value::from(self.tenant.as_str()),
                    Value::from(self.principal.as_str()),
                    Value::from(self.endpoint.as_str()),
                    Value::from(self.key.as_str()),
                    Value::from(mac),
                    Value::from(self.owner.text()),
                    Value::from(now_us()),
                    Value::from(*version),
                ],
            )
            .await?;
        if inserted == 1 {
            return Ok(Claimed::Fresh);
        }
        let row = work
            .fetch_optional(
                "SELECT request_mac, request_mac_version, state, owner, status, content_type, body, created_at FROM idempotency \
                 WHERE tenant = $1 AND principal = $2 AND endpoint = $3 AND idempotency_key = $4",
                self.key_values(),
            )
            .await?
            .ok_or(Problem::new(Code::IdempotencyInFlight, IN_FLIGHT))?;
        self.same_request(row.integer("request_mac_version")?, &row.bytes("request_mac")?)?;
        if row.text("state")? == "done" {
            let status =
                u16::try_from(row.integer("status")?).ok().and_then(|s| StatusCode::from_u16(s).ok());
            let status = status.ok_or(store::StoreError::Corrupt { column: "status" })?;
            return Ok(Claimed::Replay(Answer::replayed(
                status,
                &row.text("content_type")?,
                row.bytes("body")?,
            )));
        }
        if !self.owner.outlives(&row.text("owner")?, row.integer("created_at")?) {
            return Err(Problem::new(Code::IdempotencyInFlight, IN_FLIGHT).into());
        }
        let mut values = self.key_values();
        values.extend([
            Value::from(self.owner.text()),
            Value::from(now_us()),
            Value::from(row.text("owner")?),
            Value::from(row.integer("created_at")?),
        ]);
        let taken = work
            .execute(
                "UPDATE idempotency SET owner = $5, created_at = $6 \
                 WHERE tenant = $1 AND principal = $2 AND endpoint = $3 AND idempotency_key = $4 \
                 AND owner = $7 AND created_at = $8 AND state = 'running'",
                values,
            )
            .await?;
        // Another gateway may have taken it over in this instant.
        if taken == 1 {
            Ok(Claimed::TakenOver)
        } else {
            Err(Problem::new(Code::IdempotencyInFlight, IN_FLIGHT).into())
        }
    }

    /// Compares with the first request under the version of the key that made its MAC, so that a retry across a
    /// rotation is still the same request.
    fn same_request(&self, version: i64, stored: &[u8]) -> Result<(), Problem> {
        let under = self.request_macs.iter().find(|(known, _)| i64::from(*known) == version);
        match under {
            Some((_, mac)) if bool::from(stored.ct_eq(mac)) => Ok(()),
            // A twin whose gateway heard of a new version first: we shall know it in a moment as well.
            None if self.request_macs.iter().all(|(known, _)| i64::from(*known) < version) => {
                Err(Problem::new(Code::IdempotencyInFlight, IN_FLIGHT))
            }
            // Another request, or one that can no longer be compared because its version was retired.
            _ => Err(Problem::new(Code::IdempotencyKeyReused, REUSED)),
        }
    }

    /// Stores the answer inside `work`, for whoever asks again.
    ///
    /// # Errors
    /// The store's error; nothing is stored then.
    pub async fn finish(&self, work: &mut Work<'_>, answer: &Answer) -> Result<(), store::StoreError> {
        let mut values = self.key_values();
        values.extend([
            Value::from(i64::from(answer.status().as_u16())),
            Value::from(answer.content_type()),
            Value::from(answer.body().to_vec()),
            Value::from(now_us()),
        ]);
        work.execute(
            "UPDATE idempotency SET state = 'done', status = $5, content_type = $6, body = $7, done_at = $8 \
             WHERE tenant = $1 AND principal = $2 AND endpoint = $3 AND idempotency_key = $4",
            values,
        )
        .await
        .map(|_| ())
    }

    /// Lets go of the key inside `work`: the act did not happen or its outcome is not known, so a retry may run.
    ///
    /// # Errors
    /// The store's error.
    pub async fn release(&self, work: &mut Work<'_>) -> Result<(), store::StoreError> {
        work.execute(
            "DELETE FROM idempotency WHERE tenant = $1 AND principal = $2 AND endpoint = $3 \
             AND idempotency_key = $4 AND state = 'running'",
            self.key_values(),
        )
        .await
        .map(|_| ())
    }

    fn key_values(&self) -> Vec<Value> {
        vec![
            Value::from(self.tenant.as_str()),
            Value::from(self.principal.as_str()),
            Value::from(self.endpoint.as_str()),
            Value::from(self.key.as_str()),
        ]
    }
}

/// Forgets answers older than `before_us`; keys are honoured for a day.
///
/// # Errors
/// The store's error.
pub async fn forget(work: &mut Work<'_>, before_us: i64) -> Result<u64, store::StoreError> {
    work.execute("DELETE FROM idempotency WHERE created_at < $1", vec![Value::from(before_us)]).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_of_an_earlier_run_is_taken_over_and_of_another_gateway_only_when_it_is_old() {
        let log = audit::LogName::parse("north").unwrap();
        let owner = Owner::new(&log).unwrap();
        assert!(owner.outlives("north/earlier", now_us()));
        assert!(!owner.outlives("south/other", now_us()));
        assert!(owner.outlives("south/other", now_us() - LEASE_US - 1));
    }

    fn claim(request_macs: Vec<(u32, [u8; 32])>) -> Claim {
        Claim {
            tenant: Tenant::parse("clinic").unwrap(),
            principal: Principal::parse("portal").unwrap(),
            endpoint: "tokens".to_owned(),
            key: Key::parse(b"once").unwrap(),
            request_macs,
            owner: Owner::new(&audit::LogName::parse("north").unwrap()).unwrap(),
        }
    }

    #[tokio::test]
    async fn a_retry_across_a_rotation_of_the_request_key_gets_the_first_answer() {
        let dir = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", dir.path().join("pangate.db").display());
        let store = store::Store::open(&url, store::Settings::default()).await.unwrap();
        let take = async |claim: Claim| -> Result<Claimed, Stopped> {
            store.commit(move |work| Box::pin(async move { claim.take(work).await })).await
        };
        let first = claim(vec![(1, [1; 32])]);
        assert!(matches!(take(first.clone()).await, Ok(Claimed::Fresh)));
        let answer = Answer::replayed(StatusCode::CREATED, "application/json", b"{}".to_vec());
        let done: Result<(), Stopped> =
            store.commit(move |work| Box::pin(async move { Ok(first.finish(work, &answer).await?) })).await;
        assert!(done.is_ok());

        let retry = take(claim(vec![(2, [2; 32]), (1, [1; 32])])).await;

        assert!(matches!(retry, Ok(Claimed::Replay(answer)) if answer.status() == StatusCode::CREATED));
        let another = take(claim(vec![(2, [2; 32]), (1, [9; 32])])).await.err().map(Stopped::problem);
        assert_eq!(another.map(|problem| problem.code()), Some(Code::IdempotencyKeyReused));
    }

    #[test]
    fn a_retry_is_compared_under_the_version_of_its_first_try() {
        let code = |claim: &Claim, version, mac: u8| {
            claim.same_request(version, &[mac; 32]).err().map(|problem| problem.code())
        };
        let across = claim(vec![(2, [2; 32]), (1, [1; 32])]);
        assert_eq!(code(&across, 1, 1), None);
        assert_eq!(code(&across, 2, 2), None);
        assert_eq!(code(&across, 2, 1), Some(Code::IdempotencyKeyReused));
        assert_eq!(code(&across, 1, 2), Some(Code::IdempotencyKeyReused));
        assert_eq!(code(&across, 3, 3), Some(Code::IdempotencyInFlight));
        let after = claim(vec![(2, [2; 32])]);
        assert_eq!(code(&after, 1, 1), Some(Code::IdempotencyKeyReused));
    }

    #[test]
    fn a_key_is_short_and_printable() {
        assert!(Key::parse(b"3f0c-once").is_ok());
        for wrong in [&b""[..], b"a b", b"\x00", "é".as_bytes(), &[b'k'; 256]] {
            assert_eq!(Key::parse(wrong).unwrap_err().code(), Code::IdempotencyKeyInvalid);
        }
        assert!(Key::parse(&[b'k'; 255]).is_ok());
    }
}
