//! Keys past their cryptoperiod or their uses: found, told once a day to the audit log, and always to readiness and
//! metrics.

use super::inventory::{DataKeyLine, HsmKeyLine};
use super::{Keys, KeysError, system};
use crate::record::{Event, now_us};
use audit::{Action, KeyName, LogName, Resource};
use std::sync::{Arc, PoisonError};
use store::{StoreError, Value, Work};
use tokens::Tenant;

const DAY_US: i64 = 24 * 3600 * 1_000_000;

/// One key that should have been replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Overdue {
    /// A version of an HSM key.
    Hsm {
        /// Its label.
        name: String,
        /// Its version.
        version: u32,
    },
    /// A tenant's data key.
    Data {
        /// Whose.
        tenant: Tenant,
    },
}

impl Keys {
    /// What was overdue when that was last looked at.
    pub fn overdue(&self) -> Vec<Overdue> {
        self.0.overdue.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Remembers what is overdue now, and gives it.
    pub(in crate::keys) fn find_overdue(&self, hsm: &[HsmKeyLine], data: &[DataKeyLine]) -> Vec<Overdue> {
        let hsm = hsm
            .iter()
            .filter(|line| line.overdue)
            .map(|line| Overdue::Hsm { name: line.name.clone(), version: line.version });
        let data = data
            .iter()
            .filter(|line| line.overdue)
            .filter_map(|line| Tenant::parse(&line.tenant).ok().map(|tenant| Overdue::Data { tenant }));
        let found: Vec<Overdue> = hsm.chain(data).collect();
        self.0.overdue.write().unwrap_or_else(PoisonError::into_inner).clone_from(&found);
        found
    }

    /// Tells the audit log, each key at most once a day however often pangate is started.
    pub(in crate::keys) async fn tell_overdue(&self, found: Vec<Overdue>) -> Result<(), KeysError> {
        if found.is_empty() {
            return Ok(());
        }
        let parts = Arc::clone(&self.0);
        self.0
            .store
            .commit(move |work| {
                Box::pin(async move {
                    for key in found {
                        if !first_today(work, parts.recorder.log(), &key).await? {
                            continue;
                        }
                        let mut origin = system();
                        let on = match key {
                            Overdue::Hsm { name, version } => KeyName::parse(&name)
                                .map_or(Resource::None, |label| Resource::Key { label, version }),
                            Overdue::Data { tenant } => {
                                origin.tenant = Some(tenant);
                                Resource::None
                            }
                        };
                        let event = Event::failed(Action::KeyOverdue, on, "overdue");
                        let _receipt = parts.recorder.append(work, &origin, event).await?;
                    }
                    Ok::<(), KeysError>(())
                })
            })
            .await
    }
}

/// Whether the key was not yet told to this log today; from now on it was.
async fn first_today(work: &mut Work<'_>, log: &LogName, key: &Overdue) -> Result<bool, StoreError> {
    let key = match key {
        Overdue::Hsm { name, version } => format!("{name}#{version}"),
        Overdue::Data { tenant } => format!("data_key/{tenant}"),
    };
    once_a_day(work, &format!("keys.overdue_told/{log}/{key}")).await
}

/// Whether that was not yet said today; from now on it was.
pub(in crate::keys) async fn once_a_day(work: &mut Work<'_>, what: &str) -> Result<bool, StoreError> {
    let today = Value::from(now_us().div_euclid(DAY_US).to_string());
    let changed = work
        .execute(
            "INSERT INTO setting (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET \
             value = excluded.value WHERE setting.value <> excluded.value",
            vec![what.into(), today],
        )
        .await?;
    Ok(changed > 0)
}
