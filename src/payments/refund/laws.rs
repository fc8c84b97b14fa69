//! The laws of refunds, tried against a real store and a processor that fails in every way it can.

use super::{Reason, Refund, RefundOrder, RefundRequest, Refunded, Status, rows};
use crate::payments::bad_line::{BadLine, Fault, run};
use crate::payments::desk::{Desk, system};
use crate::payments::{PaymentError, charge};
use crate::permit::tests::refund_judge as judge;
use crate::record::{Origin, Recorder, now_us};
use proptest::prelude::*;
use std::sync::Arc;
use store::{Settings, Store, Value};
use tokens::{ChargeId, Principal, RefundId, Tenant, Token};

struct House {
    desk: Arc<Desk>,
    tenant: Tenant,
    charge: ChargeId,
    _dir: tempfile::TempDir,
}

impl House {
    /// A captured charge of that many cents, in our rows and in the processor's books.
    async fn with(captured: i64, faults: Vec<Fault>) -> House {
        let dir = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", dir.path().join("pangate.db").display());
        let store = Store::open(&url, Settings::default()).await.unwrap();
        let (tenant, charge) = (Tenant::parse("north").unwrap(), ChargeId::mint().unwrap());
        let token = Token::mint(tokens::Realm::Test).unwrap();
        let args = vec![
            Value::from(charge.as_str()),
            Value::from(tenant.as_str()),
            Value::from(token.as_str()),
            Value::from(captured),
        ];
        let key = charge.as_str().to_owned();
        store
            .commit(move |work| {
                Box::pin(async move {
                    work.execute(
                        "INSERT INTO charge (id, tenant, token, brand, last4, amount_minor, currency, captured_minor, \
                         refunded_minor, status, idempotency_key, principal, processor, processor_reference, \
                         created_at, updated_at) \
                         VALUES ($1, $2, $3, 'visa', '4242', $4, 'USD', $4, 0, 'succeeded', 'k', 'companion', \
                         'sandbox', 'sandbox/' || $1, 1, 1)",
                        args,
                    )
                    .await?;
                    work.execute(
                        "INSERT INTO sandbox_book (idempotency_key, kind, amount_minor, currency, outcome, reference, \
                         created_at) VALUES ($1, 'capture', $2, 'USD', 'approved', 'sandbox/' || $1, 1)",
                        vec![Value::from(key), Value::from(captured)],
                    )
                    .await?;
                    Ok::<(), store::StoreError>(())
                })
            })
            .await
            .unwrap();
        let line = BadLine::new(store.clone(), faults);
        let recorder = Recorder::new(audit::LogName::parse("test").unwrap());
        House { desk: Arc::new(Desk::new(store, recorder, Arc::new(line))), tenant, charge, _dir: dir }
    }

    fn origin(&self) -> Origin {
        system(&self.tenant)
    }

    async fn refund(&self, key: &str, amount: Option<&str>) -> Result<Refunded, PaymentError> {
        let request = RefundRequest {
            charge: self.charge.clone(),
            amount: amount.map(str::to_owned),
            currency: None,
            reason: Reason::Duplicate,
        };
        let principal = Principal::parse("anna").unwrap();
        let order = RefundOrder {
            tenant: self.tenant.clone(),
            principal,
            key: key.to_owned(),
            request,
            judge: judge(),
        };
        self.desk.clone().refund(self.origin(), order).await
    }

    async fn approve(&self, who: &str, id: &RefundId) -> Result<Refunded, PaymentError> {
        let who = Principal::parse(who).unwrap();
        self.desk.clone().approve(self.origin(), self.tenant.clone(), (who, judge()), id.clone()).await
    }

    async fn number(&self, sql: &'static str) -> i64 {
        let mut reader = self.desk.store.read().await.unwrap();
        let row = reader.fetch_optional(sql, Vec::new()).await.unwrap().unwrap();
        row.integer("n").unwrap()
    }

    /// What the charge row says is given back or reserved.
    async fn reserved(&self) -> i64 {
        let mut reader = self.desk.store.read().await.unwrap();
        charge::by_id(&mut reader, &self.tenant, &self.charge).await.unwrap().unwrap().refunded.minor()
    }

    /// The sum over the refund rows that hold money.
    async fn held(&self) -> i64 {
        self.number(
            "SELECT COALESCE(SUM(amount_minor), 0) AS n FROM refund WHERE status NOT IN ('failed', 'expired')",
        )
        .await
    }

    /// What the processor gave back.
    async fn given(&self) -> i64 {
        self.number(
            "SELECT COALESCE(SUM(amount_minor), 0) AS n FROM sandbox_book \
             WHERE kind = 'refund' AND outcome = 'approved'",
        )
        .await
    }

    /// A round of the resolver a day and an hour from now: everything is old by then.
    async fn resolve(&self) {
        let later = now_us() + 25 * 3_600 * 1_000_000;
        for _ in 0..20 {
            self.desk.resolve_refunds(later).await.unwrap();
        }
    }
}

fn refund_of(refunded: Refunded) -> Refund {
    match refunded {
        Refunded::Now(refund, _receipt) => refund,
        Refunded::Before(refund) => refund,
    }
}

#[test]
fn p8_of_a_hundred_parallel_full_refunds_exactly_one_succeeds() {
    run(async {
        let house = Arc::new(House::with(12_540, Vec::new()).await);
        let tasks: Vec<_> = (0..100)
            .map(|n| {
                let house = house.clone();
                tokio::spawn(async move { house.refund(&format!("key-{n}"), Some("125.40")).await })
            })
            .collect();
        let (mut succeeded, mut refused) = (0, 0);
        for task in tasks {
            match task.await.unwrap() {
                Ok(refunded) => {
                    assert_eq!(refund_of(refunded).status, Status::Succeeded);
                    succeeded += 1;
                }
                Err(error) => {
                    assert_eq!(error, PaymentError::ExceedsCapture);
                    refused += 1;
                }
            }
        }
        assert_eq!((succeeded, refused), (1, 99));
        assert_eq!((house.reserved().await, house.given().await), (12_540, 12_540));
    });
}

#[test]
fn p8_twins_with_one_key_are_one_refund() {
    run(async {
        let house = Arc::new(House::with(10_000, Vec::new()).await);
        let tasks: Vec<_> = (0..20)
            .map(|_| {
                let house = house.clone();
                tokio::spawn(async move { house.refund("same", Some("10.00")).await })
            })
            .collect();
        let mut ids = Vec::new();
        for task in tasks {
            match task.await.unwrap() {
                Ok(refunded) => ids.push(refund_of(refunded).id),
                Err(error) => assert_eq!(error, PaymentError::InFlight),
            }
        }
        ids.push(refund_of(house.refund("same", Some("10.00")).await.unwrap()).id);
        ids.dedup();
        assert_eq!((ids.len(), house.given().await), (1, 1_000));
        assert_eq!(house.refund("same", Some("10.01")).await.unwrap_err(), PaymentError::KeyReused);
    });
}

#[test]
fn from_the_threshold_on_another_person_approves_once() {
    run(async {
        let house = House::with(50_000, Vec::new()).await;
        let refund = refund_of(house.refund("k", Some("250.00")).await.unwrap());
        assert_eq!((refund.status, house.given().await), (Status::PendingApproval, 0));
        assert_eq!(house.refund("more", Some("250.01")).await.unwrap_err(), PaymentError::ExceedsCapture);

        assert_eq!(house.approve("anna", &refund.id).await.unwrap_err(), PaymentError::SecondPerson);
        let approved = refund_of(house.approve("ben", &refund.id).await.unwrap());
        assert_eq!((approved.status, house.given().await), (Status::Succeeded, 25_000));
        assert_eq!(refund_of(house.approve("ben", &refund.id).await.unwrap()).status, Status::Succeeded);
        assert_eq!(house.approve("cora", &refund.id).await.unwrap_err(), PaymentError::RefundState);
        assert_eq!(house.given().await, 25_000);
    });
}

#[test]
fn an_approval_is_for_what_was_asked_and_for_a_day() {
    run(async {
        let house = House::with(100_000, Vec::new()).await;
        let edited = refund_of(house.refund("edited", Some("300.00")).await.unwrap());
        let late = refund_of(house.refund("late", Some("300.00")).await.unwrap());
        let (edited_id, late_id) = (edited.id.as_str().to_owned(), late.id.as_str().to_owned());
        house
            .desk
            .store
            .commit(move |work| {
                Box::pin(async move {
                    let sql = "UPDATE refund SET amount_minor = amount_minor + 1 WHERE id = $1";
                    work.execute(sql, vec![Value::from(edited_id)]).await?;
                    let sql = "UPDATE refund SET approval_expires_at = 1 WHERE id = $1";
                    work.execute(sql, vec![Value::from(late_id)]).await?;
                    Ok::<(), store::StoreError>(())
                })
            })
            .await
            .unwrap();

        assert_eq!(house.approve("ben", &edited.id).await.unwrap_err(), PaymentError::Integrity);
        assert_eq!(house.approve("ben", &late.id).await.unwrap_err(), PaymentError::ApprovalExpired);
        assert_eq!((house.reserved().await, house.given().await), (30_000, 0));
    });
}

#[test]
fn a_refund_that_was_not_sent_leaves_nothing_behind() {
    run(async {
        let house = House::with(50_000, vec![Fault::NotSent, Fault::NotSent]).await;
        assert_eq!(house.refund("k", Some("10.00")).await.unwrap_err(), PaymentError::ProcessorUnavailable);
        assert_eq!((house.reserved().await, house.held().await), (0, 0));

        let refund = refund_of(house.refund("big", Some("300.00")).await.unwrap());
        assert_eq!(house.approve("ben", &refund.id).await.unwrap_err(), PaymentError::ProcessorUnavailable);
        assert_eq!(refund_of(house.approve("cora", &refund.id).await.unwrap()).status, Status::Succeeded);
        assert_eq!((house.reserved().await, house.given().await), (30_000, 30_000));
    });
}

#[test]
fn p8_a_doubt_is_resolved_by_asking_with_the_same_key() {
    run(async {
        for fault in [Fault::AnswerLost, Fault::RequestLost] {
            let house = House::with(5_000, vec![fault]).await;
            assert_eq!(house.refund("k", None).await.unwrap_err(), PaymentError::InDoubt);
            assert_eq!(house.reserved().await, 5_000);
            let refund = refund_of(house.refund("k", None).await.unwrap());
            assert_eq!((refund.status, house.given().await), (Status::Succeeded, 5_000));
        }
    });
}

#[test]
fn another_tenant_sees_no_refund_and_no_charge() {
    run(async {
        let house = House::with(5_000, Vec::new()).await;
        let refund = refund_of(house.refund("k", Some("1.00")).await.unwrap());
        let mut reader = house.desk.store.read().await.unwrap();
        let other = Tenant::parse("south").unwrap();
        assert!(rows::by_id(&mut reader, &other, &refund.id).await.unwrap().is_none());
        assert!(charge::by_id(&mut reader, &other, &house.charge).await.unwrap().is_none());
    });
}

fn fault() -> impl Strategy<Value = Fault> {
    prop_oneof![
        3 => Just(Fault::None),
        1 => Just(Fault::NotSent),
        1 => Just(Fault::RequestLost),
        1 => Just(Fault::AnswerLost),
        1 => Just(Fault::Refused),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn p8_refunds_never_exceed_the_capture_whatever_fails_in_whatever_order(
        captured in 1i64..60_000,
        cents in proptest::collection::vec(1i64..30_000, 1..12),
        faults in proptest::collection::vec(fault(), 0..24),
        retries in 0usize..3,
    ) {
        run(async move {
            let house = Arc::new(House::with(captured, faults).await);
            for _ in 0..=retries {
                let tasks: Vec<_> = cents
                    .iter()
                    .enumerate()
                    .map(|(n, cents)| {
                        let (house, amount) = (house.clone(), format!("{}.{:02}", cents / 100, cents % 100));
                        tokio::spawn(async move {
                            let refunded = house.refund(&format!("key-{n}"), Some(&amount)).await;
                            if let Ok(Refunded::Now(refund, _receipt)) = refunded
                                && refund.status == Status::PendingApproval
                                && n % 2 == 0
                            {
                                let _ = house.approve("ben", &refund.id).await;
                            }
                        })
                    })
                    .collect();
                for task in tasks {
                    task.await.unwrap();
                }
                let (reserved, held, given) = (house.reserved().await, house.held().await, house.given().await);
                assert_eq!(reserved, held);
                assert!(given <= held && held <= captured, "{given} {held} {captured}");
            }

            house.resolve().await;
            let (reserved, held, given) = (house.reserved().await, house.held().await, house.given().await);
            assert_eq!((reserved, held), (given, given));
            assert!(given <= captured);
        });
    }
}
