//! The test processor's books: one line a key. A repeated key changes nothing, and no refund exceeds its capture.

use crate::payments::DeclineCode;
use crate::payments::processor::{Outcome, ProcessorError};
use crate::record::now_us;
use store::{Fetch, Row, Store, StoreError, Value, Work};
use tokens::Money;

const APPROVED: &str = "approved";

/// One thing that was asked for.
#[derive(Clone)]
pub(super) struct Line {
    key: String,
    kind: Kind,
    amount: Money,
    /// The name of the authorization; a refund bears that of the authorization it gives back.
    reference: String,
    outcome: Outcome,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Approved without capture: nothing to give back.
    Authorization,
    Capture,
    Refund,
}

impl Kind {
    fn as_str(self) -> &'static str {
        match self {
            Kind::Authorization => "authorization",
            Kind::Capture => "capture",
            Kind::Refund => "refund",
        }
    }
}

impl Line {
    pub(super) fn authorization(key: &str, amount: Money, capture: bool, outcome: Outcome) -> Line {
        let kind = if capture { Kind::Capture } else { Kind::Authorization };
        Line { key: key.to_owned(), kind, amount, reference: format!("sandbox/{key}"), outcome }
    }

    pub(super) fn refund(key: &str, charge_reference: &str, amount: Money) -> Line {
        let outcome = Outcome::Approved { reference: format!("sandbox/{key}") };
        Line {
            key: key.to_owned(),
            kind: Kind::Refund,
            amount,
            reference: charge_reference.to_owned(),
            outcome,
        }
    }
}

/// What happened inside the books.
enum Entered {
    Fresh(Outcome),
    Before(Outcome),
    /// The key was used for something else; nothing was done.
    OtherUse,
}

impl From<StoreError> for ProcessorError {
    /// What the writer refused did not happen; what broke inside it may have.
    fn from(error: StoreError) -> Self {
        if error == StoreError::Busy { ProcessorError::NotSent } else { ProcessorError::Unknown }
    }
}

/// Enters the line, or finds what its key was used for. The flag says whether it was entered now.
pub(super) async fn enter(store: &Store, line: Line) -> Result<(Outcome, bool), ProcessorError> {
    let twin = line.clone();
    let entered = match once(store, line).await {
        // Another gateway entered a line of that key in this instant: it is there to be found.
        Err(StoreError::Conflict) => once(store, twin).await,
        entered => entered,
    };
    match entered? {
        Entered::Fresh(outcome) => Ok((outcome, true)),
        Entered::Before(outcome) => Ok((outcome, false)),
        Entered::OtherUse => Err(ProcessorError::NotSent),
    }
}

async fn once(store: &Store, line: Line) -> Result<Entered, StoreError> {
    store.commit(move |work| Box::pin(async move { write(work, line).await })).await
}

/// What became of a key.
pub(super) async fn find(store: &Store, key: String) -> Result<Option<Outcome>, ProcessorError> {
    let mut reader = store.read().await?;
    Ok(line(&mut reader, &key).await?.map(|row| outcome(&row)).transpose()?)
}

async fn write(work: &mut Work<'_>, new: Line) -> Result<Entered, StoreError> {
    if let Some(row) = line(work, &new.key).await? {
        let same = row.text("kind")? == new.kind.as_str()
            && row.integer("amount_minor")? == new.amount.minor()
            && row.text("currency")? == new.amount.currency().code()
            && row.text("reference")? == new.reference;
        return Ok(if same { Entered::Before(outcome(&row)?) } else { Entered::OtherUse });
    }
    let booked = match new.kind {
        Kind::Refund if !is_covered(work, &new).await? => {
            Outcome::Declined { code: DeclineCode::RefundRefused }
        }
        Kind::Authorization | Kind::Capture | Kind::Refund => new.outcome,
    };
    let word = match &booked {
        Outcome::Approved { .. } => APPROVED,
        Outcome::Declined { code } => code.as_str(),
    };
    work.execute(
        "INSERT INTO sandbox_book (idempotency_key, kind, amount_minor, currency, outcome, reference, created_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
        vec![
            Value::from(new.key),
            Value::from(new.kind.as_str()),
            Value::from(new.amount.minor()),
            Value::from(new.amount.currency().code()),
            Value::from(word),
            Value::from(new.reference),
            Value::from(now_us()),
        ],
    )
    .await?;
    Ok(Entered::Fresh(booked))
}

/// Whether the capture covers this refund beside the earlier ones.
async fn is_covered(work: &mut Work<'_>, refund: &Line) -> Result<bool, StoreError> {
    let row = work
        .fetch_optional(
            "SELECT COALESCE(SUM(CASE WHEN kind = 'capture' THEN amount_minor ELSE -amount_minor END), 0) AS left_minor \
             FROM sandbox_book WHERE reference = $1 AND currency = $2 AND outcome = 'approved' \
             AND kind IN ('capture', 'refund')",
            vec![Value::from(refund.reference.as_str()), Value::from(refund.amount.currency().code())],
        )
        .await?;
    Ok(row.map(|row| row.integer("left_minor")).transpose()?.unwrap_or(0) >= refund.amount.minor())
}

async fn line(from: &mut impl Fetch, key: &str) -> Result<Option<Row>, StoreError> {
    from.fetch_optional(
        "SELECT idempotency_key, kind, amount_minor, currency, outcome, reference FROM sandbox_book \
         WHERE idempotency_key = $1",
        vec![Value::from(key)],
    )
    .await
}

fn outcome(row: &Row) -> Result<Outcome, StoreError> {
    let word = row.text("outcome")?;
    if word == APPROVED {
        return Ok(Outcome::Approved { reference: format!("sandbox/{}", row.text("idempotency_key")?) });
    }
    let code = DeclineCode::from_name(&word).ok_or(StoreError::Corrupt { column: "outcome" })?;
    Ok(Outcome::Declined { code })
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokens::Currency;

    fn usd(minor: i64) -> Money {
        Money::from_minor(minor, Currency::Usd).unwrap()
    }

    fn approved(key: &str) -> Outcome {
        Outcome::Approved { reference: format!("sandbox/{key}") }
    }

    #[tokio::test]
    async fn one_key_is_one_line_and_no_refund_exceeds_its_capture() {
        let dir = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", dir.path().join("books.db").display());
        let store = Store::open(&url, store::Settings::default()).await.unwrap();
        let capture = |amount| Line::authorization("c", usd(amount), true, approved("c"));
        let refund = |key, amount| Line::refund(key, "sandbox/c", usd(amount));
        let refused = Outcome::Declined { code: DeclineCode::RefundRefused };

        assert_eq!(enter(&store, capture(500)).await, Ok((approved("c"), true)));
        assert_eq!(enter(&store, capture(500)).await, Ok((approved("c"), false)));
        assert_eq!(enter(&store, capture(501)).await, Err(ProcessorError::NotSent));
        assert_eq!(enter(&store, refund("r1", 400)).await, Ok((approved("r1"), true)));
        assert_eq!(enter(&store, refund("r2", 101)).await, Ok((refused.clone(), true)));
        assert_eq!(enter(&store, refund("r2", 101)).await, Ok((refused.clone(), false)));
        assert_eq!(enter(&store, refund("r3", 100)).await, Ok((approved("r3"), true)));
        assert_eq!(find(&store, "r1".to_owned()).await, Ok(Some(approved("r1"))));
        assert_eq!(find(&store, "nobody".to_owned()).await, Ok(None));

        let only_authorized = Line::authorization("a", usd(500), false, approved("a"));
        assert_eq!(enter(&store, only_authorized).await, Ok((approved("a"), true)));
        assert_eq!(enter(&store, Line::refund("r4", "sandbox/a", usd(1))).await, Ok((refused, true)));
    }
}
