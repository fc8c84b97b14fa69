//! The laws of the ledger, tried on a real SQLite file.

use super::*;
use crate::accounts;
use crate::database::Database;
use proptest::prelude::*;
use tokens::Tenant;

const AT: &str = "2026-01-05T09:00:00Z";

struct Book {
    _folder: tempfile::TempDir,
    database: Database,
    statement: StatementId,
}

async fn book() -> Book {
    let folder = tempfile::tempdir().unwrap();
    let database = Database::create(&folder.path().join("claims.db")).await.unwrap();
    let mut work = database.write().await.unwrap();
    let tenant = Tenant::parse("north").unwrap();
    let account = accounts::open_account(&mut work, &tenant, "Dana Reyes", Currency::Usd, AT).await.unwrap();
    let statement = accounts::open_statement(&mut work, &tenant, &account, Currency::Usd, "2026-02-01", AT)
        .await
        .unwrap();
    work.commit().await.unwrap();
    Book { _folder: folder, database, statement }
}

fn usd(minor: i64) -> Money {
    Money::from_minor(minor, Currency::Usd).unwrap()
}

async fn nets(work: &mut Connection, statement: &StatementId) -> Vec<i64> {
    let mut all = Vec::new();
    for account in LedgerAccount::ALL {
        all.push(net(work, statement, account).await.unwrap());
    }
    all
}

fn kind() -> impl Strategy<Value = Kind> {
    prop_oneof![Just(Kind::Charge), Just(Kind::Payment), Just(Kind::Refund), Just(Kind::Adjustment)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn posting_then_reversing_returns_every_balance(acts in proptest::collection::vec((kind(), 1i64..1_000_000), 1..8)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let book = book().await;
            let mut work = book.database.write().await.unwrap();
            Posting::new(Kind::Charge, "first", &book.statement, usd(48_200)).write(&mut work, AT).await.unwrap();
            let before = nets(&mut work, &book.statement).await;

            let postings: Vec<Posting> = acts
                .iter()
                .enumerate()
                .map(|(n, (kind, minor))| Posting::new(*kind, &format!("act-{n}"), &book.statement, usd(*minor)))
                .collect();
            for posting in &postings {
                posting.write(&mut work, AT).await.unwrap();
                assert_eq!(nets(&mut work, &book.statement).await.iter().sum::<i64>(), 0);
            }
            // The order of independent postings does not matter, so neither does that of their reversals.
            for posting in &postings {
                posting.reversed().write(&mut work, AT).await.unwrap();
            }

            assert_eq!(nets(&mut work, &book.statement).await, before);
        });
    }
}

#[tokio::test]
async fn the_same_source_is_posted_once() {
    let book = book().await;
    let mut work = book.database.write().await.unwrap();
    let posting = Posting::new(Kind::Charge, "line", &book.statement, usd(100));

    posting.write(&mut work, AT).await.unwrap();

    assert!(matches!(posting.write(&mut work, AT).await, Err(StoreError::Rule(_))));
}

#[tokio::test]
async fn the_database_itself_refuses_entries_that_do_not_balance() {
    let book = book().await;
    let mut work = book.database.write().await.unwrap();
    for (leg, side, minor) in [(1, "debit", 100), (2, "credit", 99)] {
        sqlx::query("INSERT INTO entries VALUES ('charge:x', $1, $2, 'revenue', $3, $4, 'USD')")
            .bind(leg)
            .bind(book.statement.as_str())
            .bind(side)
            .bind(minor)
            .execute(&mut *work)
            .await
            .unwrap();
    }

    let close = sqlx::query("INSERT INTO postings VALUES ('charge:x', 'charge', $1)")
        .bind(AT)
        .execute(&mut *work)
        .await;

    assert!(close.unwrap_err().to_string().contains("debits and credits"));
    // Without the posting that closes them, the entries cannot be committed either.
    assert!(work.commit().await.is_err());
}

#[tokio::test]
async fn a_posted_entry_is_never_changed_joined_or_removed() {
    let book = book().await;
    let mut work = book.database.write().await.unwrap();
    Posting::new(Kind::Charge, "line", &book.statement, usd(100)).write(&mut work, AT).await.unwrap();

    for attempt in [
        "UPDATE entries SET minor = 1",
        "DELETE FROM entries",
        "UPDATE postings SET kind = 'refund'",
        "DELETE FROM postings",
        "INSERT INTO entries SELECT posting, 3, statement, account, side, minor, currency FROM entries WHERE leg = 1",
    ] {
        assert!(sqlx::query(attempt).execute(&mut *work).await.is_err(), "{attempt}");
    }
    assert_eq!(balance(&mut work, &book.statement, Currency::Usd).await.unwrap(), usd(100));
}
