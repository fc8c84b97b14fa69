//! The tenants' data keys: sealed in the database, opened by the HSM, remembered for minutes in memory that is
//! wiped. A key comes out only for the tenant, class and epoch that it was sealed for.

mod cache;

use crate::clock::Clock;
use crate::error::VaultError;
use crate::key_names::KeyNames;
use cache::Cache;
use hsm::{Context, DataKey, HsmError, HsmQueue, KeyLabel, KeyRef, SealedDataKey, WrapSuite};
use std::sync::Arc;
use store::{Store, Work};
use tokens::{Realm, Tenant};
use uuid::Uuid;

/// The only class of data that the card room seals.
const CLASS: &str = "card";

/// Finds, opens and makes data keys.
pub(crate) struct DataKeys {
    hsm: HsmQueue,
    store: Store,
    names: Arc<KeyNames>,
    realm: Realm,
    cache: Cache,
}

impl DataKeys {
    pub(crate) fn new(
        hsm: HsmQueue,
        store: Store,
        names: Arc<KeyNames>,
        realm: Realm,
        clock: Arc<dyn Clock>,
    ) -> Self {
        DataKeys { hsm, store, names, realm, cache: Cache::new(clock) }
    }

    /// The id of the tenant's key for new records, if there is one.
    pub(crate) async fn active(&self, tenant: &Tenant) -> Result<Option<[u8; 16]>, VaultError> {
        if let Some(id) = self.cache.active(tenant) {
            return Ok(Some(id));
        }
        let mut reader = self.store.read().await?;
        let row = reader
            .fetch_optional(
                "SELECT data_key_id FROM data_key \
                 WHERE tenant = $1 AND class = $2 AND status = 'active' ORDER BY epoch DESC LIMIT 1",
                vec![tenant.as_str().into(), CLASS.into()],
            )
            .await?;
        let Some(row) = row else { return Ok(None) };
        let id = identity(&row.bytes("data_key_id")?)?;
        self.cache.set_active(tenant, id);
        Ok(Some(id))
    }

    /// The key for new records of that tenant, and its id.
    ///
    /// # Errors
    /// [`VaultError::NoDataKey`] when the tenant has none yet.
    pub(crate) async fn for_sealing(&self, tenant: &Tenant) -> Result<([u8; 16], Arc<DataKey>), VaultError> {
        let id = self.active(tenant).await?.ok_or(VaultError::NoDataKey)?;
        Ok((id, self.open(tenant, id).await?))
    }

    /// Opens one data key. Requests that miss the cache together ask the HSM once.
    pub(crate) async fn open(&self, tenant: &Tenant, id: [u8; 16]) -> Result<Arc<DataKey>, VaultError> {
        self.cache.get(tenant, id, || self.unseal(tenant, id)).await
    }

    async fn unseal(&self, tenant: &Tenant, id: [u8; 16]) -> Result<DataKey, VaultError> {
        let mut reader = self.store.read().await?;
        let row = reader
            .fetch_optional(
                "SELECT class, epoch, status, sealed, kek_label, kek_version FROM data_key \
                 WHERE data_key_id = $1 AND tenant = $2",
                vec![id.into(), tenant.as_str().into()],
            )
            .await?
            .ok_or(VaultError::Integrity)?;
        drop(reader);
        let sealed = SealedDataKey::from_bytes(&row.bytes("sealed")?).map_err(|_| VaultError::Integrity)?;
        let named = row.text("kek_label")? == sealed.kek.label.as_str()
            && row.integer("kek_version")? == i64::from(sealed.kek.version.get());
        let usable = matches!(row.text("status")?.as_str(), "active" | "deactivated");
        if !named || !usable || row.text("class")? != CLASS {
            return Err(VaultError::Integrity);
        }
        let epoch = u32::try_from(row.integer("epoch")?).map_err(|_| VaultError::Integrity)?;
        let context = self.context(&sealed.kek, sealed.suite, id, tenant, epoch)?;
        Ok(self.hsm.open_data_key(sealed, context).await?)
    }

    /// A new sealed key for a tenant that has none.
    pub(crate) async fn wanted(&self, tenant: &Tenant) -> Result<Option<DataKeyDraft>, VaultError> {
        if self.active(tenant).await?.is_some() {
            return Ok(None);
        }
        let mut reader = self.store.read().await?;
        let epoch = reader
            .fetch_optional(
                "SELECT COALESCE(MAX(epoch), 0) + 1 AS epoch FROM data_key WHERE tenant = $1 AND class = $2",
                vec![tenant.as_str().into(), CLASS.into()],
            )
            .await?
            .ok_or(VaultError::StoreRefused)?
            .integer("epoch")?;
        drop(reader);
        let epoch = u32::try_from(epoch).map_err(|_| VaultError::Integrity)?;
        let id = *Uuid::now_v7().as_bytes();
        let kek = self.names.current(&KeyLabel::KEK_CARD).await?;
        let sealed = match self.make(&kek, id, tenant, epoch).await {
            Err(HsmError::KeyStatus { .. } | HsmError::KeyNotFound) => {
                self.names.forget().await;
                let kek = self.names.current(&KeyLabel::KEK_CARD).await?;
                self.make(&kek, id, tenant, epoch).await?
            }
            made => made?,
        };
        Ok(Some(DataKeyDraft { id, tenant: tenant.clone(), epoch, sealed }))
    }

    async fn make(
        &self,
        kek: &KeyRef,
        id: [u8; 16],
        tenant: &Tenant,
        epoch: u32,
    ) -> Result<SealedDataKey, HsmError> {
        let context = self.context(kek, WrapSuite::Aes256GcmData, id, tenant, epoch)?;
        // The clear key is dropped, and wiped, here: the first seal asks the HSM to open it again, which proves
        // that the stored bytes are good before a card depends on them.
        let (_clear, sealed) = self.hsm.new_data_key(kek.clone(), context).await?;
        Ok(sealed)
    }

    fn context(
        &self,
        kek: &KeyRef,
        suite: WrapSuite,
        id: [u8; 16],
        tenant: &Tenant,
        epoch: u32,
    ) -> Result<Context, HsmError> {
        let realm = match self.realm {
            Realm::Live => hsm::Realm::Live,
            Realm::Test => hsm::Realm::Test,
        };
        Context::data_key(realm, kek, suite, id, tenant.as_str(), CLASS, epoch)
    }
}

/// A sealed data key that waits for its transaction. Its clear form is already wiped.
pub struct DataKeyDraft {
    id: [u8; 16],
    tenant: Tenant,
    epoch: u32,
    sealed: SealedDataKey,
}

impl DataKeyDraft {
    /// The new key's id.
    pub fn id(&self) -> Uuid {
        Uuid::from_bytes(self.id)
    }

    /// The HSM key and version that sealed it.
    pub fn kek(&self) -> &KeyRef {
        &self.sealed.kek
    }

    /// Puts the row down. `false` when another request was first: then nothing changed and nothing is to be
    /// recorded.
    ///
    /// # Errors
    /// Any failure of the store.
    pub async fn settle(self, work: &mut Work<'_>, now_us: i64) -> Result<bool, VaultError> {
        let rows = work
            .execute(
                "INSERT INTO data_key (data_key_id, tenant, class, epoch, status, sealed, kek_label, kek_version, \
                 created_at, row_version) VALUES ($1, $2, $3, $4, 'active', $5, $6, $7, $8, 1) \
                 ON CONFLICT DO NOTHING",
                vec![
                    self.id.into(),
                    self.tenant.as_str().into(),
                    CLASS.into(),
                    self.epoch.into(),
                    self.sealed.to_bytes().into(),
                    self.sealed.kek.label.as_str().into(),
                    self.sealed.kek.version.get().into(),
                    now_us.into(),
                ],
            )
            .await?;
        Ok(rows == 1)
    }
}

fn identity(bytes: &[u8]) -> Result<[u8; 16], VaultError> {
    <[u8; 16]>::try_from(bytes).map_err(|_| VaultError::Integrity)
}
