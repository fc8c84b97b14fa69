//! The tenants' data keys: sealed in the database, opened by the HSM, remembered for minutes in memory that is
//! wiped. A key comes out only for the tenant, class and epoch that it was sealed for.

mod cache;
mod draft;
mod limits;
mod meter;
mod stored;

use crate::clock::Clock;
use crate::error::VaultError;
use crate::key_names::KeyNames;
use cache::Cache;
use hsm::{Context, DataKey, HsmError, HsmQueue, KeyLabel, KeyRef, SealedDataKey, WrapSuite};
use meter::Meter;
use std::sync::Arc;
use store::Store;
use tokens::{Realm, Tenant};
use uuid::Uuid;

pub use cache::{CacheState, Purge};
pub use draft::DataKeyDraft;
pub use limits::DataKeyLimits;
pub(crate) use stored::{CLASS, StoredKey, identity};

/// Finds, opens and makes data keys.
pub(crate) struct DataKeys {
    hsm: HsmQueue,
    store: Store,
    names: Arc<KeyNames>,
    realm: Realm,
    limits: DataKeyLimits,
    clock: Arc<dyn Clock>,
    cache: Cache,
    meter: Meter,
}

/// How far a tenant's epochs are.
struct Newest {
    epoch: i64,
    active: Option<[u8; 16]>,
}

/// The tenant's key for new records, as its row says.
struct Active {
    id: [u8; 16],
    reserved: u64,
}

impl DataKeys {
    pub(crate) fn new(
        hsm: HsmQueue,
        store: Store,
        names: Arc<KeyNames>,
        realm: Realm,
        limits: DataKeyLimits,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let cache = Cache::new(Arc::clone(&clock), limits);
        let meter = Meter::new(store.clone(), limits);
        DataKeys { hsm, store, names, realm, limits, clock, cache, meter }
    }

    /// The id of the tenant's key for new records, if there is one.
    pub(crate) async fn active(&self, tenant: &Tenant) -> Result<Option<[u8; 16]>, VaultError> {
        match self.cache.active(tenant) {
            Some(id) => Ok(Some(id)),
            None => Ok(self.active_row(tenant).await?.map(|active| active.id)),
        }
    }

    /// Whether that key is remembered as the tenant's active one.
    pub(crate) fn is_active(&self, tenant: &Tenant, id: [u8; 16]) -> bool {
        self.cache.active(tenant) == Some(id)
    }

    async fn active_row(&self, tenant: &Tenant) -> Result<Option<Active>, VaultError> {
        let forgotten = self.cache.forgotten();
        let mut reader = self.store.read().await?;
        let row = reader
            .fetch_optional(
                "SELECT data_key_id, uses_reserved FROM data_key \
                 WHERE tenant = $1 AND class = $2 AND status = 'active' ORDER BY epoch DESC LIMIT 1",
                vec![tenant.as_str().into(), CLASS.into()],
            )
            .await?;
        let Some(row) = row else {
            self.cache.forget_active(tenant);
            return Ok(None);
        };
        let id = identity(&row.bytes("data_key_id")?)?;
        let reserved = u64::try_from(row.integer("uses_reserved")?).map_err(|_| VaultError::Integrity)?;
        self.cache.set_active(tenant, id, forgotten);
        Ok(Some(Active { id, reserved }))
    }

    /// The key for `seals` new records of that tenant, and its id. The seals are counted before they happen.
    ///
    /// # Errors
    /// [`VaultError::NoDataKey`] when the tenant has none yet, or when its key is used up.
    pub(crate) async fn for_sealing(
        &self,
        tenant: &Tenant,
        seals: u64,
    ) -> Result<([u8; 16], Arc<DataKey>), VaultError> {
        let id = self.active(tenant).await?.ok_or(VaultError::NoDataKey)?;
        match self.sealing_under(tenant, id, seals).await {
            // Used up, or ended since it was remembered: what the row says now decides.
            Err(VaultError::NoDataKey | VaultError::TokenGone) => {}
            found => return Ok((id, found?)),
        }
        let id = self.active_row(tenant).await?.ok_or(VaultError::NoDataKey)?.id;
        match self.sealing_under(tenant, id, seals).await {
            Err(VaultError::TokenGone) => Err(VaultError::NoDataKey),
            found => Ok((id, found?)),
        }
    }

    async fn sealing_under(
        &self,
        tenant: &Tenant,
        id: [u8; 16],
        seals: u64,
    ) -> Result<Arc<DataKey>, VaultError> {
        let key = self.open(tenant, id).await?;
        self.meter.spend(id, seals).await?;
        Ok(key)
    }

    /// Opens one data key. Requests that miss the cache together ask the HSM once; while the HSM is away what lies
    /// in the cache is served until its time is over.
    pub(crate) async fn open(&self, tenant: &Tenant, id: [u8; 16]) -> Result<Arc<DataKey>, VaultError> {
        self.names.refresh_in_background();
        self.cache.follow(self.names.changes());
        self.cache.get(tenant, id, || self.unseal(tenant, id)).await
    }

    async fn unseal(&self, tenant: &Tenant, id: [u8; 16]) -> Result<DataKey, VaultError> {
        let stored = self.stored(tenant, id).await?;
        let row_version = stored.row_version;
        match self.unsealed(stored).await {
            // Its KEK's version has ended; a rewrap may have moved the key since its row was read.
            Err(HsmError::KeyStatus { .. } | HsmError::KeyNotFound) => {
                let again = self.stored(tenant, id).await?;
                if again.row_version == row_version {
                    return Err(VaultError::HsmRefused);
                }
                Ok(self.unsealed(again).await?)
            }
            opened => Ok(opened?),
        }
    }

    async fn stored(&self, tenant: &Tenant, id: [u8; 16]) -> Result<StoredKey, VaultError> {
        let mut reader = self.store.read().await?;
        let row = reader
            .fetch_optional(
                "SELECT data_key_id, tenant, class, epoch, status, sealed, kek_label, kek_version, row_version \
                 FROM data_key WHERE data_key_id = $1 AND tenant = $2",
                vec![id.into(), tenant.as_str().into()],
            )
            .await?;
        StoredKey::read(&row.ok_or(VaultError::Integrity)?)
    }

    async fn unsealed(&self, stored: StoredKey) -> Result<DataKey, HsmError> {
        let context = stored.context(self.realm)?;
        let opened = self.hsm.open_data_key(stored.sealed, context).await;
        self.names.presence().note(opened.as_ref().err());
        opened
    }

    /// A new sealed key for a tenant that has none, or whose key has been used up to the soft limit.
    pub(crate) async fn wanted(&self, tenant: &Tenant) -> Result<Option<DataKeyDraft>, VaultError> {
        if self.cache.active(tenant).is_some_and(|id| self.meter.reserved(id) < self.limits.soft) {
            return Ok(None);
        }
        match self.active_row(tenant).await? {
            None => self.epoch_after(tenant, None).await,
            Some(active) if active.reserved < self.limits.soft => Ok(None),
            Some(active) => match self.epoch_after(tenant, Some(active.id)).await {
                // The old key is good up to the hard limit; the next request asks again.
                Err(VaultError::HsmUnavailable) if active.reserved < self.limits.hard => Ok(None),
                drafted => drafted,
            },
        }
    }

    /// A sealed key for the epoch after the one that was seen; none when another request or gateway was first.
    async fn epoch_after(
        &self,
        tenant: &Tenant,
        seen: Option<[u8; 16]>,
    ) -> Result<Option<DataKeyDraft>, VaultError> {
        let newest = self.newest(tenant).await?;
        if newest.active != seen {
            self.cache.forget_active(tenant);
            return Ok(None);
        }
        self.draft(tenant, newest.epoch).await.map(Some)
    }

    /// A sealed key for the tenant's next epoch, whatever it has now.
    pub(crate) async fn new_epoch(&self, tenant: &Tenant) -> Result<DataKeyDraft, VaultError> {
        let newest = self.newest(tenant).await?;
        self.draft(tenant, newest.epoch).await
    }

    /// The tenant's last epoch and its active key, of one moment.
    async fn newest(&self, tenant: &Tenant) -> Result<Newest, VaultError> {
        let row = self
            .store
            .look(
                "SELECT COALESCE(MAX(epoch), 0) AS epoch, (SELECT data_key_id FROM data_key \
                 WHERE tenant = $1 AND class = $2 AND status = 'active' ORDER BY epoch DESC LIMIT 1) AS active \
                 FROM data_key WHERE tenant = $1 AND class = $2",
                vec![tenant.as_str().into(), CLASS.into()],
            )
            .await?
            .ok_or(VaultError::StoreRefused)?;
        let active = row.optional_bytes("active")?.map(|id| identity(&id)).transpose()?;
        Ok(Newest { epoch: row.integer("epoch")?, active })
    }

    async fn draft(&self, tenant: &Tenant, newest: i64) -> Result<DataKeyDraft, VaultError> {
        let epoch = newest.checked_add(1).ok_or(VaultError::Integrity)?;
        let epoch = u32::try_from(epoch).map_err(|_| VaultError::Integrity)?;
        let id = *Uuid::now_v7().as_bytes();
        let drafted_at_us = self.clock.now_us();
        let kek = self.names.current(&KeyLabel::KEK_CARD).await?;
        let sealed = match self.make(&kek, id, tenant, epoch).await {
            Err(HsmError::KeyStatus { .. } | HsmError::KeyNotFound) => {
                self.names.forget().await;
                let kek = self.names.current(&KeyLabel::KEK_CARD).await?;
                self.make(&kek, id, tenant, epoch).await?
            }
            made => made?,
        };
        // Once it is settled it is the one to seal under.
        self.cache.forget_active(tenant);
        Ok(DataKeyDraft { id, tenant: tenant.clone(), epoch, sealed, drafted_at_us })
    }

    /// Wipes opened keys, and forgets which keys are active.
    pub(crate) fn purge(&self, what: &Purge) {
        self.cache.purge(what);
    }

    /// What lies in memory and how it has served.
    pub(crate) fn cache_state(&self) -> CacheState {
        CacheState { grace_since_us: self.names.presence().away_since_us(), ..self.cache.state() }
    }

    async fn make(
        &self,
        kek: &KeyRef,
        id: [u8; 16],
        tenant: &Tenant,
        epoch: u32,
    ) -> Result<SealedDataKey, HsmError> {
        let realm = match self.realm {
            Realm::Live => hsm::Realm::Live,
            Realm::Test => hsm::Realm::Test,
        };
        let suite = WrapSuite::Aes256GcmData;
        let context = Context::data_key(realm, kek, suite, id, tenant.as_str(), CLASS, epoch)?;
        // The clear key is dropped, and wiped, here: the first seal asks the HSM to open it again, which proves
        // that the stored bytes are good before a card depends on them.
        let made = self.hsm.new_data_key(kek.clone(), context).await;
        self.names.presence().note(made.as_ref().err());
        let (_clear, sealed) = made?;
        Ok(sealed)
    }
}
