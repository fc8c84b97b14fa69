//! Rows that a rotation would leave behind, and cards that would outlive their shredding at another gateway.

use super::{charge_at, ended, second_gateway, start, token_at, until_none};
use crate::support::wire::Answer;
use crate::support::{System, TENANT, cards};
use serde_json::json;
use std::time::Duration;

const ON_OLD_MAC: &str =
    "SELECT COUNT(*) AS n FROM card WHERE fingerprint IS NOT NULL AND fingerprint_version < 2";

#[tokio::test(flavor = "multi_thread")]
async fn a_fingerprint_of_a_gateway_that_had_not_heard_is_moved_as_well() {
    let system = System::start().await;
    let (_second, elsewhere) = second_gateway(&system);
    token_at(&system, &elsewhere, "portal", 100).await;
    let job = system.rotate("mac/pan").await;
    system.job_done(job["id"].as_str().unwrap()).await;
    // For half a minute the other gateway goes by the keys that it knew.
    let late = token_at(&system, &elsewhere, "portal", 101).await;
    assert_eq!(system.count(ON_OLD_MAC).await, 1, "the other gateway knew already; nothing is shown");
    until_none(&system, ON_OLD_MAC, Duration::from_secs(60)).await;
    assert_eq!(token_at(&system, &system.url, "portal", 101).await, late, "the card lost its token");
    let retired =
        system.two_people("/v1/keys/mac/pan/versions/1/retire", "status mac/pan#1 deactivated").await;
    system.job_done(retired["id"].as_str().unwrap()).await;
    assert_eq!(token_at(&system, &system.url, "portal", 101).await, late);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_does_not_open_keeps_no_other_on_the_old_key() {
    let system = start(|text| text.replace("batch_rows = 100", "batch_rows = 5")).await;
    for n in 200..230 {
        token_at(&system, &system.url, "portal", n).await;
    }
    let first = &system.rows("SELECT token, envelope FROM card ORDER BY token LIMIT 1", Vec::new()).await[0];
    let (token, whole) = (first.text("token").unwrap(), first.bytes("envelope").unwrap());
    let mut broken = whole.clone();
    *broken.last_mut().unwrap() ^= 1;
    let put = "UPDATE card SET envelope = $2 WHERE token = $1";
    assert_eq!(system.change(put, vec![token.as_str().into(), broken.into()]).await, 1);

    let job = system.rotate("mac/pan").await["id"].as_str().unwrap().to_owned();
    let over = ended(&system, &job).await;
    assert_eq!((&over["state"], &over["reason"]), (&json!("failed"), &json!("integrity")), "{over}");
    assert_eq!(system.count(ON_OLD_MAC).await, 1, "one poisoned row held up the others: {over}");

    assert_eq!(system.change(put, vec![token.as_str().into(), whole.into()]).await, 1);
    let resumed = system.post("admin", &format!("/v1/jobs/{job}/resume"), &json!({})).await;
    assert_eq!(resumed.status, 200, "{}", resumed.text);
    assert_eq!(ended(&system, &job).await["state"], "done");
    assert_eq!(system.count(ON_OLD_MAC).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shredded_tenant_is_gone_at_a_gateway_that_has_its_key_in_memory() {
    let system = start(|text| text.replace("rows_per_second = 2000", "rows_per_second = 100")).await;
    let (_second, elsewhere) = second_gateway(&system);
    // More than one transaction clears, so that rows still stand when the key is gone.
    for batch in 0..9_u64 {
        let list: Vec<_> = (0..256)
            .map(|n| json!({ "number": cards::generated(1000 + batch * 256 + n), "exp_month": 12, "exp_year": 2034 }))
            .collect();
        let url = format!("{}/v1/tokens/batch", system.url);
        let request = system.client().post(url).bearer_auth(system.key("portal"));
        let made = Answer::of(request.json(&json!({ "cards": list }))).await;
        assert_eq!(made.status, 200, "{}", made.text);
    }
    let known = token_at(&system, &elsewhere, "portal", 1).await;
    assert_eq!(charge_at(&system, &elsewhere, &known, "before").await.status, 201);

    let asked = system.post("auditor", &format!("/v1/tenants/{TENANT}/shred"), &json!({})).await.json();
    let job = system.agree(asked["id"].as_str().unwrap(), "").await.json()["id"].as_str().unwrap().to_owned();
    let standing = "SELECT token FROM card WHERE tenant = 'north-clinic' AND envelope IS NOT NULL AND \
                    EXISTS (SELECT 1 FROM data_key WHERE destroyed_at IS NOT NULL) LIMIT 1";
    let row = loop {
        let state = system.get("auditor", &format!("/v1/jobs/{job}")).await.json()["state"].clone();
        assert_eq!(state, "running", "the shredding was over before it was seen; nothing is shown");
        match system.rows(standing, Vec::new()).await.into_iter().next() {
            Some(row) => break row,
            None => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    };
    let token = row.text("token").unwrap();
    charge_at(&system, &elsewhere, &token, "after").await.is_problem(410, "token_gone");
    charge_at(&system, &system.url, &token, "after-here").await.is_problem(410, "token_gone");
    assert_eq!(ended(&system, &job).await["state"], "done");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shredded_cards_metadata_is_in_no_answer_that_is_kept_for_retries() {
    let mut system = System::start().await;
    let card = |n: u64| json!({ "number": cards::generated(n), "exp_month": 12, "exp_year": 2034 });
    let [one, batch] = [
        ("/v1/tokens", json!({ "card": card(1), "metadata": { "patient": "jane-roe-of-elm-street" } })),
        (
            "/v1/tokens/batch",
            json!({ "cards": [{ "number": cards::generated(2), "exp_month": 12, "exp_year": 2034 }] }),
        ),
    ];
    let send = async |system: &System, (path, body): &(&str, serde_json::Value), key: &str| {
        let url = format!("{}{path}", system.url);
        let request = system.client().post(url).bearer_auth(system.key("portal")).json(body);
        Answer::of(request.header("Idempotency-Key", key)).await
    };
    let first = send(&system, &one, "one").await;
    assert_eq!(
        (first.status.as_u16(), &first.json()["metadata"]["patient"]),
        (201, &json!("jane-roe-of-elm-street"))
    );
    let kept = send(&system, &batch, "batch").await;
    let token = first.json()["id"].as_str().unwrap().to_owned();

    let url = format!("{}/v1/tokens/{token}", system.url);
    let shredded = Answer::of(system.client().delete(url).bearer_auth(system.key("admin"))).await;
    assert_eq!(shredded.status, 200, "{}", shredded.text);
    // The retry is the same request still: no card is put down anew.
    let again = send(&system, &one, "one").await;
    assert_eq!((again.status.as_u16(), again.json()["id"].as_str()), (201, Some(token.as_str())));
    assert!(again.json()["metadata"].is_null(), "{}", again.text);
    assert_eq!(send(&system, &batch, "batch").await.text, kept.text);
    charge_at(&system, &system.url, &token, "gone").await.is_problem(410, "token_gone");

    // And with the tenant all that was kept of its cards.
    let other =
        ("/v1/tokens", json!({ "card": card(3), "metadata": { "patient": "john-doe-of-elm-street" } }));
    assert_eq!(send(&system, &other, "other").await.status, 201);
    let asked = system.post("auditor", &format!("/v1/tenants/{TENANT}/shred"), &json!({})).await.json();
    let job = system.agree(asked["id"].as_str().unwrap(), "").await.json()["id"].as_str().unwrap().to_owned();
    assert_eq!(ended(&system, &job).await["state"], "done");

    assert!(system.gateway().terminate());
    for file in system.files() {
        let bytes = std::fs::read(&file).unwrap();
        for name in [&b"jane-roe-of-elm-street"[..], b"john-doe-of-elm-street"] {
            let found = bytes.windows(name.len()).any(|window| window == name);
            assert!(!found, "{} still tells whose card it was", file.display());
        }
    }
}
