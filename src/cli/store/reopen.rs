//! `pangate store reopen`.

use super::{Ended, Format, file, on, settings};
use crate::cli::say;
use clap::Args;
use std::path::PathBuf;
use store::{MoveState, move_of};

#[derive(Debug, Args)]
pub(super) struct Reopen {
    /// The settings file that names the SQLite file.
    #[arg(long, short, env = "PANGATE_CONFIG", default_value = "pangate.toml")]
    config: PathBuf,
}

pub(super) async fn run(wanted: &Reopen, format: Format) -> Result<(), Ended> {
    let database = settings(&wanted.config)?.store;
    let path = file(&database)?.display().to_string();
    let mut store = database.open_for_move(None).await?;
    let found = move_of(&mut store).await.map_err(on("the file"))?;
    let lifted = match found.map(|found| found.state) {
        None => Err("no move was begun; the file takes writes as it is".to_owned()),
        Some(MoveState::Leaving) => Ok(()),
        Some(MoveState::Left | MoveState::Arriving | MoveState::Arrived) => Err(
            "the vault has left; what was written since is in the other database and would be missing here"
                .to_owned(),
        ),
    };
    if lifted.is_ok() {
        store.lift_fence().await.map_err(on("the file"))?;
    }
    store.close().await;
    lifted.map_err(Ended::Misuse)?;
    match format {
        Format::Json => say(&serde_json::json!({ "reopened": path }).to_string()),
        Format::Text => say(&format!(
            "{path} takes writes again; drop what was copied to the other database before you move once more"
        )),
    }
    Ok(())
}
