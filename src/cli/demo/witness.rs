//! Looks into the databases from outside, so that what a step claims is seen and not believed: pangate's log, the
//! processor's books, and what the companion really holds.

use super::ground::{Ground, LOG};
use ::audit::Action;
use std::path::PathBuf;
use store::{Store, StoreError, Value};
use sweep::{FieldContext, Verdict};

/// Reads beside the running processes.
pub(super) struct Witness {
    store: Store,
    companion: PathBuf,
}

/// What the companion's database holds.
pub(super) struct Held {
    /// Values of its token columns.
    pub(super) tokens: Vec<String>,
    /// Whether no value of it is a card number.
    pub(super) clean: bool,
}

impl Witness {
    /// Opens the gateway's database.
    pub(super) async fn open(ground: &Ground) -> Result<Witness, String> {
        let store = Store::open(&ground.store_url, store::Settings::default()).await.map_err(text)?;
        Ok(Witness { store, companion: ground.claims_database.clone() })
    }

    /// Lets go of it.
    pub(super) async fn close(self) {
        self.store.close().await;
    }

    /// The gateway's database.
    pub(super) fn store(&self) -> &Store {
        &self.store
    }

    /// How many entries pangate's log has.
    pub(super) async fn log_position(&self) -> Result<i64, String> {
        let mut reader = self.store.read().await.map_err(text)?;
        let row = reader
            .fetch_optional("SELECT COUNT(*) AS n FROM audit_entry WHERE log = $1", vec![Value::from(LOG)])
            .await
            .map_err(text)?;
        row.map_or(Ok(0), |row| row.integer("n")).map_err(text)
    }

    /// The acts that pangate recorded from that position on, in order.
    pub(super) async fn acts_since(&self, position: i64) -> Result<Vec<Action>, String> {
        let mut reader = self.store.read().await.map_err(text)?;
        let rows = reader
            .fetch_all(
                "SELECT leaf FROM audit_entry WHERE log = $1 AND position >= $2 ORDER BY position LIMIT 100",
                vec![Value::from(LOG), Value::from(position)],
            )
            .await
            .map_err(text)?;
        let mut acts = Vec::new();
        for row in &rows {
            let leaf = row.bytes("leaf").map_err(text)?;
            acts.push(::audit::parse(&leaf).map_err(|error| error.to_string())?.action);
        }
        Ok(acts)
    }

    /// The processor's last booking: kind, amount, outcome.
    pub(super) async fn last_booking(&self) -> Result<String, String> {
        let mut reader = self.store.read().await.map_err(text)?;
        let row = reader
            .fetch_optional(
                "SELECT kind, amount_minor, currency, outcome FROM sandbox_book ORDER BY created_at DESC LIMIT 1",
                vec![],
            )
            .await
            .map_err(text)?;
        let Some(row) = row else { return Ok("nothing".to_owned()) };
        let told = || -> Result<String, StoreError> {
            let currency = row.text("currency")?;
            let amount = tokens::Currency::parse(&currency)
                .ok()
                .zip(row.integer("amount_minor").ok())
                .and_then(|(currency, minor)| tokens::Money::from_minor(minor, currency).ok())
                .ok_or(StoreError::Corrupt { column: "amount_minor" })?;
            Ok(format!("{} {amount} {currency} {}", row.text("kind")?, row.text("outcome")?))
        };
        told().map_err(text)
    }

    /// Reads every value of the companion's database.
    pub(super) async fn companion_holds(&self) -> Result<Held, String> {
        let mut held = Held { tokens: Vec::new(), clean: true };
        let mut each = |cell: store::Cell<'_>| {
            let value = String::from_utf8_lossy(cell.bytes);
            held.clean &= clean(&value);
            if cell.column == "token" {
                held.tokens.push(value.into_owned());
            }
        };
        store::walk_values(&self.companion, &mut each).await.map_err(text)?;
        Ok(held)
    }
}

/// Whether a text holds no card number.
pub(super) fn clean(text: &str) -> bool {
    sweep::sweep_text(text, FieldContext::FreeText) == Verdict::Clean
}

/// The start of a token, enough to tell two apart by eye.
pub(super) fn short(token: &str) -> String {
    format!("{}…", token.get(..15).unwrap_or(token))
}

/// Acts as the table shows them.
pub(super) fn told(acts: &[Action]) -> String {
    acts.iter().map(|act| act.as_str()).collect::<Vec<_>>().join(", ")
}

fn text(error: StoreError) -> String {
    error.to_string()
}
