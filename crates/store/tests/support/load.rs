//! A load of tokens and refunds, and the count afterwards: what was acknowledged, and what is there.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use store::{Column, Kind, Numbered, Rows, Sheet, Store, StoreError, Value};

/// Each does one thing after the other: half of them add rows, half act on the ledger.
const TASKS: usize = 32;

static NOTE: Sheet = Sheet {
    table: "setting",
    columns: &[Column { name: "name", kind: Kind::Text }, Column { name: "value", kind: Kind::Text }],
    needs: None,
    numbered: None,
};

static ENTRY: Sheet = Sheet {
    table: "audit_entry",
    columns: &[
        Column { name: "log", kind: Kind::Text },
        Column { name: "tenant", kind: Kind::Text },
        Column { name: "leaf", kind: Kind::Bytes },
        Column { name: "leaf_hash", kind: Kind::Bytes },
    ],
    needs: None,
    numbered: Some(Numbered { column: "position", within: "log" }),
};

/// What was acknowledged so far, over all rounds.
#[derive(Default, Clone)]
pub(crate) struct Told(Arc<Mutex<Words>>);

#[derive(Default)]
struct Words {
    /// Each is printed as well, for whoever outlives this process.
    printed: bool,
    added: BTreeSet<String>,
    refunded: BTreeSet<String>,
    failed: Vec<StoreError>,
    /// When the first one after the last accident was acknowledged.
    back: Option<Instant>,
}

impl Told {
    pub(crate) fn printing() -> Told {
        let told = Told::default();
        told.0.lock().unwrap().printed = true;
        told
    }

    /// Reads what a printing one wrote. The full stop tells a whole line from one that a kill cut.
    pub(crate) fn hear(&self, line: &str) {
        let mut words = self.0.lock().unwrap();
        let Some((_, told)) = line.split_once("acknowledged ") else { return };
        match told.strip_suffix('.').and_then(|told| told.split_once(' ')) {
            Some(("added", name)) => assert!(words.added.insert(name.to_owned())),
            Some(("refunded", name)) => assert!(words.refunded.insert(name.to_owned())),
            _ => {}
        }
    }

    pub(crate) fn count(&self) -> usize {
        let words = self.0.lock().unwrap();
        words.added.len() + words.refunded.len()
    }

    /// From here on the next acknowledgement is looked for; gives how many there were.
    pub(crate) fn accident(&self) -> usize {
        self.0.lock().unwrap().back = None;
        self.count()
    }

    /// When it came.
    pub(crate) fn back(&self) -> Option<Instant> {
        self.0.lock().unwrap().back
    }

    /// What the failures since the last call were.
    pub(crate) fn failures(&self) -> Vec<StoreError> {
        std::mem::take(&mut self.0.lock().unwrap().failed)
    }
}

/// A load that runs.
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

impl Load {
    /// Starts one whose names begin with `round`, which no other load may have.
    pub(crate) fn start(store: &Store, round: &str, told: &Told) -> Load {
        let stop = Arc::new(AtomicBool::new(false));
        let tasks = (0..TASKS)
            .map(|task| {
                let (store, told, stop) = (store.clone(), told.clone(), Arc::clone(&stop));
                let name = format!("{round}-{task}");
                tokio::spawn(async move {
                    for n in 0_u64.. {
                        if stop.load(Ordering::Relaxed) {
                            return;
                        }
                        one(&store, &told, format!("{name}-{n}"), task % 2 == 0).await;
                    }
                })
            })
            .collect();
        Load { stop, tasks }
    }

    /// Lets each of them end what it is at.
    pub(crate) async fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        for task in self.tasks {
            task.await.unwrap();
        }
    }
}

async fn one(store: &Store, told: &Told, name: String, is_row: bool) {
    let answer = if is_row { add(store, &name).await } else { refund(store, name.clone()).await };
    let failed = {
        let mut words = told.0.lock().unwrap();
        if answer.is_ok() && words.printed {
            println!("acknowledged {} {name}.", if is_row { "added" } else { "refunded" });
        }
        if answer.is_ok() {
            words.back.get_or_insert_with(Instant::now);
        }
        match answer {
            Ok(()) if is_row => assert!(words.added.insert(name)),
            Ok(()) => assert!(words.refunded.insert(name)),
            Err(error) => words.failed.push(error),
        }
        answer.is_err()
    };
    if failed {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// A token's rows: the thing itself, and its entry in the log.
pub(crate) async fn add(store: &Store, name: &str) -> Result<(), StoreError> {
    let mut rows = Rows::new();
    rows.add(&NOTE, vec![name.into(), "x".repeat(200).into()]);
    rows.add(&ENTRY, vec!["gate".into(), Value::Null, name.as_bytes().into(), [7_u8; 32].into()]);
    store.add(rows).await
}

/// A ledger's act: one unit more of the one charge is refunded, and the refund's own row.
pub(crate) async fn refund(store: &Store, name: String) -> Result<(), StoreError> {
    store
        .commit(move |work| {
            Box::pin(async move {
                work.execute("UPDATE charge SET refunded_minor = refunded_minor + 1 WHERE id = 'ch'", Vec::new())
                    .await?;
                work.execute(
                    "INSERT INTO refund (id, tenant, charge, amount_minor, currency, reason, status, requested_by, \
                     act_hash, created_at, updated_at) \
                     VALUES ($1, 'north', 'ch', 1, 'USD', 'load', 'succeeded', 'staff', $2, $3, $3)",
                    vec![name.into(), vec![1_u8].into(), 1.into()],
                )
                .await?;
                Ok(())
            })
        })
        .await
}

/// The charge that all refunds are of.
pub(crate) async fn charge(store: &Store) -> Result<(), StoreError> {
    store
        .commit(|work| {
            Box::pin(async move {
                work.execute(
                    "INSERT INTO charge (id, tenant, token, brand, last4, amount_minor, currency, captured_minor, \
                     refunded_minor, status, idempotency_key, principal, processor, created_at, updated_at) \
                     VALUES ('ch', 'north', 'tok', 'visa', '4242', 1000000000, 'USD', 1000000000, 0, 'succeeded', \
                     'k', 'portal', 'sandbox', $1, $1)",
                    vec![1.into()],
                )
                .await
                .map(|_| ())
            })
        })
        .await
}

/// What was counted.
#[derive(Debug)]
pub(crate) struct Counted {
    pub(crate) acknowledged: usize,
    pub(crate) found: usize,
    pub(crate) missing: Vec<String>,
}

/// Looks for all that was acknowledged, and that nothing is there by halves.
pub(crate) async fn counted(store: &Store, told: &Told) -> Counted {
    let mut reader = store.read().await.unwrap();
    let mut texts = async |sql: &'static str| -> Vec<String> {
        let rows = reader.fetch_all(sql, Vec::new()).await.unwrap();
        rows.iter().map(|row| row.text("word").unwrap()).collect()
    };
    let added = texts("SELECT name AS word FROM setting WHERE value LIKE 'xxx%' ORDER BY name").await;
    let entries = texts(
        "SELECT convert_from(leaf, 'UTF8') COLLATE \"C\" AS word FROM audit_entry WHERE log = 'gate' ORDER BY word",
    )
    .await;
    assert_eq!(added, entries, "a row without its entry, or an entry without its row");
    let gaps = texts(
        "SELECT position::text AS word FROM (SELECT position, row_number() OVER (ORDER BY position) - 1 AS nth \
         FROM audit_entry WHERE log = 'gate') AS numbered WHERE position <> nth",
    )
    .await;
    assert!(gaps.is_empty(), "the log has gaps at {gaps:?}");
    let refunds = texts("SELECT id AS word FROM refund ORDER BY id").await;
    let booked = texts("SELECT refunded_minor::text AS word FROM charge WHERE id = 'ch'").await;
    assert_eq!(booked, [refunds.len().to_string()], "the ledger and its rows differ");

    let words = told.0.lock().unwrap();
    let there: BTreeSet<&String> = added.iter().chain(&refunds).collect();
    let acknowledged: Vec<&String> = words.added.iter().chain(&words.refunded).collect();
    Counted {
        acknowledged: acknowledged.len(),
        found: there.len(),
        missing: acknowledged.into_iter().filter(|name| !there.contains(name)).cloned().collect(),
    }
}
