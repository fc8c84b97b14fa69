//! The laws of charges, tried against a real card room, a real store and a processor that fails in every way it can.

use super::{Charge, ChargeOrder, ChargeRequest, Charged, Status};
use crate::payments::bad_line::{BadLine, Fault, run};
use crate::payments::desk::system;
use crate::payments::{DeclineCode, PaymentError, Payments, purpose};
use crate::permit::tests::charge_judge as judge;
use crate::record::{Recorder, now_us};
use hsm::{Hsm, HsmQueue, QueueSettings};
use hsm_sim::device::Device;
use http::{HeaderMap, HeaderValue, header::CONTENT_TYPE};
use http_body_util::Full;
use std::sync::Arc;
use store::{Settings, Store, StoreError};
use tokens::{Currency, Money, Principal, Realm, Tenant, Token};
use vault::{CardsShape, Vault, VaultError};

struct House {
    payments: Payments,
    store: Store,
    vault: Vault,
    tenant: Tenant,
    dir: tempfile::TempDir,
}

impl House {
    async fn with(faults: Vec<Fault>) -> House {
        let dir = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", dir.path().join("pangate.db").display());
        let store = Store::open(&url, Settings::default()).await.unwrap();
        // One worker, one session: the device's keys live as long as the session.
        let settings = QueueSettings { workers: 1, ..QueueSettings::default() };
        let hsm = HsmQueue::start(settings, || {
            Device::in_memory(hsm::Realm::Test).map(|device| Box::new(device) as Box<dyn Hsm>)
        })
        .unwrap();
        let vault = Vault::new(hsm, store.clone(), vault::Settings::new(Realm::Test));
        let recorder = Recorder::new(audit::LogName::parse("test").unwrap());
        let line = Arc::new(BadLine::new(store.clone(), faults));
        let payments = Payments::new(store.clone(), vault.clone(), recorder, line);
        House { payments, store, vault, tenant: Tenant::parse("north").unwrap(), dir }
    }

    /// A token for the card, collected for a payment of that amount or, without one, for nothing.
    async fn collect(&self, number: &str, open: Option<&str>) -> Token {
        if let Some(draft) = self.vault.data_key_wanted(&self.tenant).await.unwrap() {
            let made: Result<bool, VaultError> = self
                .store
                .commit(move |work| Box::pin(async move { draft.settle(work, now_us()).await }))
                .await;
            made.unwrap();
        }
        let body =
            format!(r#"{{"card":{{"number":"{number}","exp_month":12,"exp_year":2030,"cvc":"737"}}}}"#);
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let intake = self.vault.intake(&headers, Full::new(bytes::Bytes::from(body))).await.unwrap();
        let draft = self.vault.draft_cards(&self.tenant, intake, CardsShape::One).await.unwrap();
        let (tenant, open) = (self.tenant.clone(), open.map(usd));
        let settled: Result<_, VaultError> = self
            .store
            .commit(move |work| {
                Box::pin(async move {
                    let card = draft.settle(work, now_us()).await?.pop().unwrap()?;
                    if let Some(amount) = open {
                        purpose::open_payment(work, &tenant, &card.token, amount, "req", now_us()).await?;
                    }
                    Ok(card)
                })
            })
            .await;
        let mut settled = settled.unwrap();
        self.vault.hold_cvc(&mut settled);
        settled.token
    }

    async fn charge(&self, key: &str, token: &Token, amount: &str) -> Result<Charged, PaymentError> {
        self.charge_in(&self.tenant, key, token, amount).await
    }

    async fn charge_in(
        &self,
        tenant: &Tenant,
        key: &str,
        token: &Token,
        amount: &str,
    ) -> Result<Charged, PaymentError> {
        let request =
            ChargeRequest { token: token.clone(), amount: usd(amount), reference: None, capture: true };
        let principal = Principal::parse("companion").unwrap();
        let judge = judge();
        let order = ChargeOrder { tenant: tenant.clone(), principal, key: key.to_owned(), request, judge };
        self.payments.charge(system(tenant), order).await
    }

    async fn number(&self, sql: &'static str) -> i64 {
        let mut reader = self.store.read().await.unwrap();
        let row = reader.fetch_optional(sql, Vec::new()).await.unwrap().unwrap();
        row.integer("n").unwrap()
    }

    /// Cents that the processor took.
    async fn taken(&self) -> i64 {
        self.number(
            "SELECT COALESCE(SUM(amount_minor), 0) AS n FROM sandbox_book WHERE kind = 'capture' \
             AND outcome = 'approved'",
        )
        .await
    }

    async fn rows(&self) -> i64 {
        self.number("SELECT COUNT(*) AS n FROM charge").await
    }
}

const GOOD: &str = "4242424242424242";

fn usd(amount: &str) -> Money {
    Money::parse(amount, Currency::Usd).unwrap()
}

fn charge_of(charged: Charged) -> Charge {
    match charged {
        Charged::Now(charge, _receipt) => charge,
        Charged::Before(charge) => charge,
    }
}

#[test]
fn a_charge_succeeds_once_and_its_code_is_wiped() {
    run(async {
        let house = House::with(Vec::new()).await;
        let token = house.collect(GOOD, Some("125.40")).await;
        assert_eq!(house.vault.held_cvcs(), 1);

        let charge = charge_of(house.charge("k", &token, "125.40").await.unwrap());
        assert_eq!(
            (charge.status, charge.captured, charge.last4.as_str()),
            (Status::Succeeded, usd("125.40"), "4242")
        );
        assert_eq!(house.vault.held_cvcs(), 0);

        assert_eq!(charge_of(house.charge("k", &token, "125.40").await.unwrap()), charge);
        assert_eq!(house.charge("k", &token, "125.41").await.unwrap_err(), PaymentError::KeyReused);
        assert_eq!(house.charge("other", &token, "125.40").await.unwrap_err(), PaymentError::NoOpenPayment);
        assert_eq!((house.taken().await, house.rows().await), (12_540, 1));
    });
}

#[test]
fn a_token_alone_is_worth_nothing() {
    run(async {
        let house = House::with(Vec::new()).await;
        let bare = house.collect(GOOD, None).await;
        assert_eq!(house.charge("a", &bare, "1.00").await.unwrap_err(), PaymentError::NoOpenPayment);
        let open = house.collect(GOOD, Some("10.00")).await;
        assert_eq!(house.charge("b", &open, "10.01").await.unwrap_err(), PaymentError::NoOpenPayment);
        let south = Tenant::parse("south").unwrap();
        let foreign = house.charge_in(&south, "c", &open, "10.00").await;
        assert_eq!(foreign.unwrap_err(), PaymentError::UnknownToken);
        let nobodys = Token::mint(Realm::Test).unwrap();
        assert_eq!(house.charge("d", &nobodys, "10.00").await.unwrap_err(), PaymentError::UnknownToken);
        assert_eq!((house.taken().await, house.rows().await), (0, 0));
    });
}

#[test]
fn a_decline_opens_the_payment_again_for_another_key() {
    run(async {
        let house = House::with(vec![Fault::Refused]).await;
        let token = house.collect(GOOD, Some("10.00")).await;
        let declined = charge_of(house.charge("first", &token, "10.00").await.unwrap());
        assert_eq!((declined.status, declined.decline), (Status::Declined, Some(DeclineCode::DoNotHonor)));
        assert_eq!(charge_of(house.charge("first", &token, "10.00").await.unwrap()).status, Status::Declined);
        let second = charge_of(house.charge("second", &token, "10.00").await.unwrap());
        assert_eq!((second.status, house.taken().await), (Status::Succeeded, 1_000));
    });
}

#[test]
fn a_charge_that_was_not_sent_leaves_nothing_behind() {
    run(async {
        let house = House::with(vec![Fault::NotSent]).await;
        let token = house.collect(GOOD, Some("10.00")).await;
        let first = house.charge("k", &token, "10.00").await;
        assert_eq!(first.unwrap_err(), PaymentError::ProcessorUnavailable);
        assert_eq!((house.rows().await, house.taken().await), (0, 0));
        let retried = charge_of(house.charge("k", &token, "10.00").await.unwrap());
        assert_eq!((retried.status, house.taken().await), (Status::Succeeded, 1_000));
    });
}

#[test]
fn p8_a_doubt_is_resolved_by_asking_with_the_same_key() {
    run(async {
        for fault in [Fault::AnswerLost, Fault::RequestLost] {
            let house = House::with(vec![fault]).await;
            let token = house.collect(GOOD, Some("10.00")).await;
            assert_eq!(house.charge("k", &token, "10.00").await.unwrap_err(), PaymentError::InDoubt);
            // The payment is not open to anybody else meanwhile, and the code waits for this charge's retry.
            assert_eq!(house.charge("k2", &token, "10.00").await.unwrap_err(), PaymentError::NoOpenPayment);
            assert_eq!(house.vault.held_cvcs(), 1);
            let charge = charge_of(house.charge("k", &token, "10.00").await.unwrap());
            assert_eq!((charge.status, house.taken().await), (Status::Succeeded, 1_000));
            assert_eq!((house.vault.held_cvcs(), house.rows().await), (0, 1));
        }
    });
}

#[test]
fn the_card_that_times_out_is_charged_once() {
    run(async {
        let house = House::with(Vec::new()).await;
        let token = house.collect("4000000000004087", Some("10.00")).await;
        assert_eq!(house.charge("k", &token, "10.00").await.unwrap_err(), PaymentError::InDoubt);
        assert_eq!(house.payments.resolve_in_doubt().await.unwrap().settled, 0);
        let charge = charge_of(house.charge("k", &token, "10.00").await.unwrap());
        assert_eq!((charge.status, house.taken().await), (Status::Succeeded, 1_000));
    });
}

#[test]
fn the_resolver_settles_what_a_dead_process_left() {
    run(async {
        let house = House::with(vec![Fault::AnswerLost, Fault::RequestLost]).await;
        let (one, two) = (house.collect(GOOD, Some("10.00")).await, house.collect(GOOD, Some("20.00")).await);
        assert!(house.charge("a", &one, "10.00").await.is_err());
        assert!(house.charge("b", &two, "20.00").await.is_err());
        let aged: Result<u64, StoreError> = house
            .store
            .commit(|work| {
                let sql = "UPDATE charge SET status = 'started', updated_at = updated_at - 3600000000";
                Box::pin(work.execute(sql, Vec::new()))
            })
            .await;
        assert_eq!(aged.unwrap(), 2);

        assert_eq!(house.payments.resolve_in_doubt().await.unwrap().settled, 2);
        let heard = charge_of(house.charge("a", &one, "10.00").await.unwrap());
        let unheard = charge_of(house.charge("b", &two, "20.00").await.unwrap());
        assert_eq!(heard.status, Status::Succeeded);
        assert_eq!((unheard.status, unheard.decline), (Status::Declined, Some(DeclineCode::NotProcessed)));
        assert_eq!(house.taken().await, 1_000);
    });
}

#[test]
fn p8_twenty_racing_twins_and_twenty_racing_keys_charge_once() {
    run(async {
        for same in [true, false] {
            let house = Arc::new(House::with(Vec::new()).await);
            let token = house.collect(GOOD, Some("10.00")).await;
            let tasks: Vec<_> = (0..20)
                .map(|n| {
                    let (house, token) = (house.clone(), token.clone());
                    let key = if same { "k".to_owned() } else { format!("k{n}") };
                    tokio::spawn(async move { house.charge(&key, &token, "10.00").await.map(charge_of) })
                })
                .collect();
            for task in tasks {
                match task.await.unwrap() {
                    Ok(charge) => assert_eq!(charge.status, Status::Succeeded),
                    Err(error) => {
                        assert!(matches!(error, PaymentError::InFlight | PaymentError::NoOpenPayment))
                    }
                }
            }
            assert_eq!((house.taken().await, house.rows().await), (1_000, 1));
        }
    });
}

#[test]
fn every_booked_charge_has_its_two_entries_and_no_row_holds_a_card() {
    run(async {
        let house = House::with(Vec::new()).await;
        let token = house.collect(GOOD, Some("10.00")).await;
        let _ = charge_of(house.charge("k", &token, "10.00").await.unwrap());
        assert_eq!(house.number("SELECT COUNT(*) AS n FROM audit_entry").await, 2);

        let mut bytes = Vec::new();
        for file in std::fs::read_dir(house.dir.path()).unwrap() {
            bytes.extend(std::fs::read(file.unwrap().path()).unwrap());
        }
        let found = |text: &str| bytes.windows(text.len()).any(|window| window == text.as_bytes());
        assert!(found(token.as_str()), "a search that finds nothing at all proves nothing");
        assert!(!found(GOOD));
    });
}
