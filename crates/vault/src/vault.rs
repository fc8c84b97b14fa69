//! The door: every verb of the card room. No verb takes or gives a card number in the clear but `reveal`.

use crate::clear::cvc::LONGEST;
use crate::clear::{self, CvcHolder};
use crate::clear::{
    CardsDraft, CardsShape, Declared, Head, Intake, MessageDraft, Revealed, Settled, SweptAnswer,
};
use crate::clock::{Clock, SystemClock};
use crate::data_keys::{CacheState, DataKeyDraft, DataKeyLimits, DataKeys, Purge};
use crate::error::VaultError;
use crate::key_names::KeyNames;
use crate::shape::Shape;
use bytes::Bytes;
use hsm::{HsmQueue, KeyLabel};
use http::HeaderMap;
use http_body::Body;
use std::sync::Arc;
use std::time::Duration;
use store::Store;
use sweep::Limits;
use tokens::{Realm, Tenant, Token};
use tokio::sync::Semaphore;

/// An answer of the companion may be larger than a request: statements are.
const ANSWER_LIMIT: usize = 4 << 20;
/// Cards that are moved to a new key because they were read, at once; more wait for the rotation.
const UPGRADES: usize = 2;

/// What the card room is told when it is built.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Live or test: enters every token and every key's context.
    pub realm: Realm,
    /// Most bytes of a body, before and after undoing its content encoding.
    pub body_limit: usize,
    /// How long a body may take to arrive.
    pub body_deadline: Duration,
    /// How long a verification code is held for its charge; at most 15 minutes are granted.
    pub cvc_lifetime: Duration,
    /// Most verification codes held at once; beyond it the oldest is wiped.
    pub cvc_capacity: usize,
    /// How much a data key may be used, and how long one may lie open in memory.
    pub data_keys: DataKeyLimits,
}

impl Settings {
    /// 64 KiB, 10 seconds, 15 minutes, 100,000 codes.
    pub fn new(realm: Realm) -> Self {
        Settings {
            realm,
            body_limit: 64 << 10,
            body_deadline: Duration::from_secs(10),
            cvc_lifetime: LONGEST,
            cvc_capacity: 100_000,
            data_keys: DataKeyLimits::default(),
        }
    }
}

/// The card room. Clones share it.
#[derive(Clone)]
pub struct Vault(Arc<Parts>);

/// What the rooms inside use.
pub(crate) struct Parts {
    pub(crate) hsm: HsmQueue,
    pub(crate) store: Store,
    pub(crate) names: Arc<KeyNames>,
    pub(crate) keys: DataKeys,
    pub(crate) cvc: Arc<CvcHolder>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) settings: Settings,
    /// How many cards may be moved to their tenant's active key at once because they were read.
    pub(crate) upgrades: Arc<Semaphore>,
}

impl Parts {
    /// Bounds of one request's body.
    pub(crate) fn limits(&self) -> Limits {
        Limits { body: self.settings.body_limit, ..Limits::default() }
    }
}

impl Vault {
    pub(crate) fn parts(&self) -> &Arc<Parts> {
        &self.0
    }

    /// Opens the card room over an HSM and a store.
    pub fn new(hsm: HsmQueue, store: Store, settings: Settings) -> Vault {
        Vault::with_clock(hsm, store, settings, Arc::new(SystemClock::new()))
    }

    /// As [`Vault::new`], with a clock of one's own.
    pub fn with_clock(hsm: HsmQueue, store: Store, settings: Settings, clock: Arc<dyn Clock>) -> Vault {
        let names = Arc::new(KeyNames::new(hsm.clone(), Arc::clone(&clock)));
        let keys = DataKeys::new(
            hsm.clone(),
            store.clone(),
            Arc::clone(&names),
            settings.realm,
            settings.data_keys,
            Arc::clone(&clock),
        );
        let cvc = CvcHolder::start(Arc::clone(&clock), settings.cvc_lifetime, settings.cvc_capacity);
        let upgrades = Arc::new(Semaphore::new(UPGRADES));
        Vault(Arc::new(Parts { hsm, store, names, keys, cvc, clock, settings, upgrades }))
    }

    /// Gathers a request's body, within its size and time, and undoes its content encoding. Nothing is parsed yet.
    ///
    /// # Errors
    /// [`VaultError::UnsupportedMediaType`], [`VaultError::TooLarge`], [`VaultError::BodyTimeout`],
    /// [`VaultError::BodyBroken`] or [`VaultError::Undecodable`].
    pub async fn intake<B>(&self, headers: &HeaderMap, body: B) -> Result<Intake, VaultError>
    where
        B: Body<Data = Bytes>,
    {
        clear::intake(headers, body, &self.0.limits(), self.0.settings.body_deadline).await
    }

    /// The body of a request that has no business with cards (`/v1/charges`, `/v1/refunds`), once it is swept.
    ///
    /// # Errors
    /// [`VaultError::StrayPan`] when something in it reads like a card, or why it cannot be searched.
    pub fn plain(&self, intake: Intake) -> Result<Bytes, VaultError> {
        clear::plain(intake, &self.0.limits())
    }

    /// Whether two requests are the same: HMAC-SHA-256 inside the HSM over endpoint, content type and body without its
    /// verification codes. A plain
    /// digest of a body with a card in it could be searched for the card. One for each active version of the key,
    /// with the version, the newest first: a retry after a rotation is compared under the version of the first try.
    ///
    /// # Errors
    /// [`VaultError::HsmUnavailable`] or [`VaultError::HsmRefused`].
    pub async fn request_macs(
        &self,
        endpoint: &str,
        intake: &Intake,
        declared: Declared<'_>,
    ) -> Result<Vec<(u32, [u8; 32])>, VaultError> {
        let message = clear::request_message(endpoint, intake, declared, &self.0.limits());
        let versions = self.0.names.macs(&KeyLabel::MAC_REQUEST, &[message]).await?;
        versions
            .into_iter()
            .map(|under| Ok((under.version, *under.macs.first().ok_or(VaultError::HsmRefused)?)))
            .collect()
    }

    /// A new data key for a tenant that has none or has used its own up to the soft limit, to be settled and recorded
    /// in one transaction before the next card is drafted; `None` when the tenant's key will do.
    ///
    /// # Errors
    /// Any failure of store or HSM.
    pub async fn data_key_wanted(&self, tenant: &Tenant) -> Result<Option<DataKeyDraft>, VaultError> {
        self.0.keys.wanted(tenant).await
    }

    /// The next epoch of a tenant's data key, to be settled and recorded in one transaction: from then on new cards
    /// are sealed under it, and [`crate::rotation::Task::Reencrypt`] moves the others. Call
    /// [`Vault::purge_data_keys`] once the transaction is durable, or this process goes on with the old key for up
    /// to a minute.
    ///
    /// # Errors
    /// Any failure of store or HSM; while the HSM is away there are no new epochs.
    pub async fn new_epoch(&self, tenant: &Tenant) -> Result<DataKeyDraft, VaultError> {
        self.0.keys.new_epoch(tenant).await
    }

    /// Wipes opened data keys from memory. Call it when the HSM's keys or a tenant's data keys have changed; the
    /// next use asks the HSM again.
    pub fn purge_data_keys(&self, what: &Purge) {
        self.0.keys.purge(what);
    }

    /// Has the next request ask the HSM which versions of its keys are active, and wipes all opened data keys. Call
    /// it after every act on the HSM's keys; other gateways notice within half a minute.
    pub async fn hsm_keys_changed(&self) {
        self.0.names.forget().await;
        self.0.keys.purge(&Purge::Everything);
    }

    /// The opened data keys in memory, and since when they stand in for an HSM that is away.
    pub fn cache_state(&self) -> CacheState {
        self.0.keys.cache_state()
    }

    /// Reads and seals the cards of `/v1/tokens` or `/v1/tokens/batch`.
    ///
    /// # Errors
    /// What is wrong with the body, or any failure of store or HSM. Wrong cards of a batch are in the draft.
    pub async fn draft_cards(
        &self,
        tenant: &Tenant,
        intake: Intake,
        shape: CardsShape,
    ) -> Result<CardsDraft, VaultError> {
        clear::draft_cards(&self.0, tenant, intake, shape).await
    }

    /// Reads a route's message by its shape and seals its cards. Head, trailers and the rest of the body are swept.
    ///
    /// # Errors
    /// What is wrong with the message, [`VaultError::StrayPan`], or any failure of store or HSM.
    pub async fn draft_message(
        &self,
        tenant: &Tenant,
        head: Head,
        intake: Intake,
        shape: &Shape,
    ) -> Result<MessageDraft, VaultError> {
        clear::draft_message(&self.0, tenant, head, intake, shape).await
    }

    /// Gathers, decodes and sweeps the companion's answer: headers, body and trailers.
    ///
    /// # Errors
    /// [`VaultError::StrayInAnswer`], or [`VaultError::AnswerUnreadable`] for what cannot be searched.
    pub async fn sweep_answer<B>(
        &self,
        parts: http::response::Parts,
        body: B,
    ) -> Result<SweptAnswer, VaultError>
    where
        B: Body<Data = Bytes>,
    {
        let limits = Limits { body: ANSWER_LIMIT, ..Limits::default() };
        clear::sweep_answer(parts, body, &limits, self.0.settings.body_deadline).await
    }

    /// Keeps a settled card's verification code for its charge. Call it after the commit: before it the token may
    /// never come to be.
    pub fn hold_cvc(&self, settled: &mut Settled) {
        settled.take_cvc(|tenant, token, held| self.0.cvc.hold(tenant, token, held));
    }

    /// DANGER: the card behind a token, in the clear, for one processor. The code is with it while it is held; the
    /// first `charge_key` to ask binds it, later only the same key (the charge's retry) gets it again.
    ///
    /// # Errors
    /// [`VaultError::UnknownToken`] (another tenant's token too), [`VaultError::TokenGone`],
    /// [`VaultError::TokenExpired`], [`VaultError::Integrity`], or any failure of store or HSM.
    pub async fn reveal(
        &self,
        tenant: &Tenant,
        token: &Token,
        charge_key: &str,
    ) -> Result<Revealed, VaultError> {
        clear::reveal(&self.0, tenant, token, charge_key).await
    }

    /// Wipes the verification codes of a card that charges have had: their authorization is over (PCI DSS 3.3.1).
    /// Those that wait for other payments with the same card stay.
    pub fn forget_used_cvc(&self, tenant: &Tenant, token: &Token) {
        self.0.cvc.forget_used(tenant, token);
    }

    /// Wipes every verification code of a card: it was shredded.
    pub fn forget_cvc(&self, tenant: &Tenant, token: &Token) {
        self.0.cvc.forget(tenant, token);
    }

    /// How many verification codes are held, for metrics.
    pub fn held_cvcs(&self) -> usize {
        self.0.cvc.count()
    }

    /// Whether cards can be sealed now: the HSM answers, is operational and has the three keys.
    ///
    /// # Errors
    /// [`VaultError::HsmUnavailable`] or [`VaultError::HsmRefused`].
    pub async fn prove(&self) -> Result<(), VaultError> {
        if !self.0.hsm.health().await?.operational {
            return Err(VaultError::HsmUnavailable);
        }
        for label in [KeyLabel::KEK_CARD, KeyLabel::MAC_PAN, KeyLabel::MAC_REQUEST] {
            self.0.names.current(&label).await?;
        }
        Ok(())
    }
}
