//! One row of `data_key`, read and checked against itself. What it says counts only once the HSM has opened it.

use crate::error::VaultError;
use hsm::{Context, HsmError, KeyRef, SealedDataKey};
use store::Row;
use tokens::{Realm, Tenant};

/// The only class of data that the card room seals.
pub(crate) const CLASS: &str = "card";

/// A tenant's data key as it lies in the database.
pub(crate) struct StoredKey {
    pub(crate) id: [u8; 16],
    pub(crate) tenant: Tenant,
    pub(crate) epoch: u32,
    pub(crate) sealed: SealedDataKey,
    pub(crate) row_version: i64,
}

impl StoredKey {
    /// Reads `data_key_id, tenant, class, epoch, status, sealed, kek_label, kek_version, row_version`.
    ///
    /// # Errors
    /// [`VaultError::TokenGone`] for a destroyed key: what it sealed is gone with it. [`VaultError::Integrity`] for
    /// a row that was not written here.
    pub(crate) fn read(row: &Row) -> Result<StoredKey, VaultError> {
        let sealed = row.bytes("sealed")?;
        match row.text("status")?.as_str() {
            "active" | "deactivated" => {}
            "destroyed" if sealed.is_empty() => return Err(VaultError::TokenGone),
            _ => return Err(VaultError::Integrity),
        }
        let sealed = SealedDataKey::from_bytes(&sealed).map_err(|_| VaultError::Integrity)?;
        // The columns serve queries; the sealed bytes are what the device authenticates.
        let named = row.text("kek_label")? == sealed.kek.label.as_str()
            && row.integer("kek_version")? == i64::from(sealed.kek.version.get());
        if !named || row.text("class")? != CLASS {
            return Err(VaultError::Integrity);
        }
        Ok(StoredKey {
            id: identity(&row.bytes("data_key_id")?)?,
            tenant: Tenant::parse(&row.text("tenant")?).map_err(|_| VaultError::Integrity)?,
            epoch: u32::try_from(row.integer("epoch")?).map_err(|_| VaultError::Integrity)?,
            sealed,
            row_version: row.integer("row_version")?,
        })
    }

    /// What the key is bound to when that KEK seals it.
    pub(crate) fn context_under(&self, realm: Realm, kek: &KeyRef) -> Result<Context, HsmError> {
        let realm = match realm {
            Realm::Live => hsm::Realm::Live,
            Realm::Test => hsm::Realm::Test,
        };
        let suite = self.sealed.suite;
        Context::data_key(realm, kek, suite, self.id, self.tenant.as_str(), CLASS, self.epoch)
    }

    /// What it is bound to now.
    pub(crate) fn context(&self, realm: Realm) -> Result<Context, HsmError> {
        self.context_under(realm, &self.sealed.kek)
    }
}

/// A data key's id from its column.
pub(crate) fn identity(bytes: &[u8]) -> Result<[u8; 16], VaultError> {
    <[u8; 16]>::try_from(bytes).map_err(|_| VaultError::Integrity)
}
