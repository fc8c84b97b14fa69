//! Where a vault stands that moves from one database to another.
//!
//! The database that it leaves is fenced: its own triggers refuse every write, so that no gateway, running or started
//! later, acknowledges what would be left behind. The database that it arrives in opens to nobody but the move until
//! everything is there. Both remember the move's id in the setting `store.move`.

use crate::tables::TABLES;
use crate::{Fetch, Store, StoreError, Value, Work};
use std::sync::LazyLock;

/// How far a move is, as one of the two databases knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MoveState {
    /// Fenced, and being copied away.
    Leaving,
    /// Fenced; the vault is elsewhere.
    Left,
    /// Being filled.
    Arriving,
    /// Whole.
    Arrived,
}

impl MoveState {
    const ALL: [MoveState; 4] =
        [MoveState::Leaving, MoveState::Left, MoveState::Arriving, MoveState::Arrived];

    fn as_str(self) -> &'static str {
        match self {
            MoveState::Leaving => "leaving",
            MoveState::Left => "left",
            MoveState::Arriving => "arriving",
            MoveState::Arrived => "arrived",
        }
    }
}

/// A move, as one of the two databases knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Move {
    /// The same on both sides.
    pub id: String,
    /// How far it is.
    pub state: MoveState,
}

const SELECT: &str = "SELECT value FROM setting WHERE name = 'store.move'";

/// What the move remembers, if there is one.
///
/// # Errors
/// Any [`StoreError`] of the statement, or [`StoreError::Corrupt`].
pub async fn move_of(source: &mut impl Fetch) -> Result<Option<Move>, StoreError> {
    let corrupt = StoreError::Corrupt { column: "value" };
    let Some(row) = source.fetch_optional(SELECT, Vec::new()).await? else { return Ok(None) };
    let text = row.text("value")?;
    let (state, id) = text.split_once(' ').ok_or(corrupt)?;
    let state = MoveState::ALL.into_iter().find(|known| known.as_str() == state).ok_or(corrupt)?;
    Ok(Some(Move { id: id.to_owned(), state }))
}

async fn note(work: &mut Work<'_>, id: &str, state: MoveState) -> Result<(), StoreError> {
    work.execute(
        "INSERT INTO setting (name, value) VALUES ('store.move', $1) \
         ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        vec![Value::from(format!("{} {id}", state.as_str()))],
    )
    .await?;
    Ok(())
}

/// SQLite alone: one trigger for each table and kind of write, but for the move's own setting.
struct Fence {
    raise: Vec<String>,
    lift: Vec<String>,
}

static FENCE: LazyLock<Fence> = LazyLock::new(|| {
    let mut fence = Fence { raise: Vec::new(), lift: Vec::new() };
    for table in &TABLES {
        for (act, row) in [("INSERT", "NEW"), ("UPDATE", "OLD"), ("DELETE", "OLD")] {
            let name = format!("moved_{}_{}", table.name(), act.to_ascii_lowercase());
            let but = match table.stays {
                Some(stays) => format!(" WHEN NOT ({row}.{stays})"),
                None => String::new(),
            };
            fence.raise.push(format!(
                "CREATE TRIGGER IF NOT EXISTS {name} BEFORE {act} ON {}{but} \
                 BEGIN SELECT RAISE(ABORT, 'the vault has moved'); END",
                table.name()
            ));
            fence.lift.push(format!("DROP TRIGGER IF EXISTS {name}"));
        }
    }
    fence
});

impl Store {
    /// Lets nothing be written to this SQLite database any more, by whoever has it open: from the moment that this
    /// returns every write is answered [`StoreError::Moved`].
    ///
    /// # Errors
    /// [`StoreError::Busy`] when a gateway keeps the write lock; any other of the statements.
    pub async fn fence(&self, id: &str) -> Result<(), StoreError> {
        self.remember(id, MoveState::Leaving, Some(&FENCE.raise)).await
    }

    /// Says that the vault is elsewhere for good. The fence stays.
    ///
    /// # Errors
    /// Any [`StoreError`] of the statement.
    pub async fn leave(&self, id: &str) -> Result<(), StoreError> {
        self.remember(id, MoveState::Left, None).await
    }

    async fn remember(
        &self,
        id: &str,
        state: MoveState,
        statements: Option<&'static [String]>,
    ) -> Result<(), StoreError> {
        let id = id.to_owned();
        self.commit(move |work| {
            Box::pin(async move {
                note(work, &id, state).await?;
                for statement in statements.into_iter().flatten() {
                    work.execute(statement, Vec::new()).await?;
                }
                Ok(())
            })
        })
        .await
    }

    /// Takes the fence away: the move is given up.
    ///
    /// # Errors
    /// Any [`StoreError`] of the statements.
    pub async fn lift_fence(&self) -> Result<(), StoreError> {
        self.commit(|work| {
            Box::pin(async move {
                for statement in &FENCE.lift {
                    work.execute(statement, Vec::new()).await?;
                }
                work.execute("DELETE FROM setting WHERE name = 'store.move'", Vec::new()).await?;
                Ok(())
            })
        })
        .await
    }

    /// Keeps everybody but the move out of this database, which has to be empty.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when something is in it; any other of the statements.
    pub async fn expect_arrival(&self, id: &str) -> Result<(), StoreError> {
        let id = id.to_owned();
        self.commit(move |work| {
            Box::pin(async move {
                note(work, &id, MoveState::Arriving).await?;
                for table in &TABLES {
                    if table.last_key(work).await?.is_some() {
                        return Err(StoreError::Conflict);
                    }
                }
                Ok(())
            })
        })
        .await
    }
}

/// Opens this database to everybody, inside `work`: every row is there. What the database counts by itself goes on
/// after the last of them.
///
/// # Errors
/// Any [`StoreError`] of the statements.
pub async fn arrive(work: &mut Work<'_>, id: &str) -> Result<(), StoreError> {
    for table in TABLES.iter().filter(|table| table.counter.is_some()) {
        work.fetch_optional(table.texts().go_on.as_str(), Vec::new()).await?;
    }
    note(work, id, MoveState::Arrived).await
}
