//! The key inventory: `GET /v1/keys`. Names, versions, states and check values; never a key.

use super::{Acted, Context, Refusal, Stopped};
use crate::answer::{Answer, Code, Problem};
use crate::gateway::Gateway;
use crate::permit::{ListKeys, Permit};
use crate::record::Event;
use audit::{Action, Resource};
use http::StatusCode;
use serde::Serialize;

#[derive(Serialize)]
struct Page {
    data: Vec<Key>,
    has_more: bool,
}

#[derive(Serialize)]
struct Key {
    name: String,
    version: u32,
    kind: &'static str,
    status: &'static str,
    realm: &'static str,
    extractable: bool,
    check_value: String,
}

/// Asks the HSM for its keys.
pub async fn list(gateway: &Gateway, context: &Context, permit: Permit<ListKeys>) -> Acted {
    let _ = permit;
    let refuse = |problem| Refusal::new(Action::KeyList, problem);
    let keys = gateway.hsm.keys(hsm::KeyFilter::default()).await.map_err(|error| {
        tracing::warn!(error = %error, "hsm");
        refuse(Problem::new(
            Code::HsmUnavailable,
            "The HSM does not answer; retry, and look at /readyz if it lasts",
        ))
    })?;
    let data = keys
        .iter()
        .map(|key| Key {
            name: key.key.label.as_str().to_owned(),
            version: key.key.version.get(),
            kind: key.kind.as_str(),
            status: key.status.as_str(),
            realm: key.realm.as_str(),
            extractable: key.extractable,
            check_value: key.kcv.to_string(),
        })
        .collect();
    let (recorder, origin) = (gateway.recorder.clone(), context.origin.clone());
    gateway
        .store
        .commit(move |work| {
            Box::pin(async move {
                let receipt =
                    recorder.append(work, &origin, Event::success(Action::KeyList, Resource::None)).await?;
                Ok::<_, Stopped>(Answer::done(&receipt, StatusCode::OK, &Page { data, has_more: false }))
            })
        })
        .await
        .map_err(|stopped| refuse(stopped.problem()))
}
