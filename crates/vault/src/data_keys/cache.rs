//! Opened data keys in memory: few, for minutes, for so many uses, wiped when they leave. A miss asks once, however
//! many wait.

use super::limits::DataKeyLimits;
use crate::clock::Clock;
use crate::error::VaultError;
use hsm::DataKey;
use std::collections::HashMap;
use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokens::Tenant;
use tokio::sync::OnceCell;

/// Most tenants whose active key is remembered.
const MOST_ACTIVE: usize = 1000;
/// A failed verification is remembered this long, so that a forged row cannot be used to flood the HSM.
const REFUSED_FOR: Duration = Duration::from_secs(1);
/// Which key is the active one is asked again after this long.
const ACTIVE_FOR: Duration = Duration::from_secs(60);

type Opened = Result<Arc<DataKey>, VaultError>;

/// Which opened keys to wipe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Purge {
    /// All of them.
    Everything,
    /// Those of one tenant.
    Tenant(Tenant),
}

/// The opened data keys in memory, for readiness and metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CacheState {
    /// Opened keys in memory now.
    pub entries: usize,
    /// Uses that were served from memory, since the start.
    pub hits: u64,
    /// Uses that had to ask the HSM, since the start.
    pub misses: u64,
    /// How often memory was wiped before its time, since the start.
    pub purges: u64,
    /// Since when the HSM is away, in unix microseconds: from then on keys in memory open cards until their time is
    /// over, and nothing new is sealed. None while the HSM answers.
    pub grace_since_us: Option<i64>,
}

#[derive(Default)]
struct Slot {
    cell: OnceCell<(Opened, Duration)>,
    uses: AtomicU64,
}

type Key = (Tenant, [u8; 16]);

#[derive(Default)]
struct ActiveKeys {
    known: HashMap<Tenant, ([u8; 16], Duration)>,
    /// How often something was forgotten: an answer that was asked for before is out of date.
    forgotten: u64,
}

/// Keyed by tenant and id: one tenant's key is never found under another's name.
pub(super) struct Cache {
    clock: Arc<dyn Clock>,
    limits: DataKeyLimits,
    keys: Mutex<HashMap<Key, Arc<Slot>>>,
    active: Mutex<ActiveKeys>,
    followed: AtomicU64,
    hits: AtomicU64,
    misses: AtomicU64,
    purges: AtomicU64,
}

impl Cache {
    pub(super) fn new(clock: Arc<dyn Clock>, limits: DataKeyLimits) -> Self {
        Cache {
            clock,
            limits,
            keys: Mutex::default(),
            active: Mutex::default(),
            followed: AtomicU64::new(0),
            hits: AtomicU64::new(0),
            misses: AtomicU64::new(0),
            purges: AtomicU64::new(0),
        }
    }

    /// The key, from memory or from `open`. All who wait get the same answer, a failure included; a failure is
    /// not kept, but for the second after a failed verification.
    pub(super) async fn get<F>(&self, tenant: &Tenant, id: [u8; 16], open: impl FnOnce() -> F) -> Opened
    where
        F: Future<Output = Result<DataKey, VaultError>>,
    {
        let key = (tenant.clone(), id);
        let slot = self.slot(&key);
        let mut asked = false;
        let (opened, _) = slot
            .cell
            .get_or_init(|| async {
                asked = true;
                let opened = open().await.map(Arc::new);
                let life = match &opened {
                    Ok(_) => spread(self.limits.lifetime),
                    Err(VaultError::Integrity) => REFUSED_FOR,
                    Err(_) => Duration::ZERO,
                };
                (opened, self.clock.elapsed().saturating_add(life))
            })
            .await;
        let counter = if asked { &self.misses } else { &self.hits };
        counter.fetch_add(1, Ordering::Relaxed);
        opened.clone()
    }

    /// The id of the tenant's active key, if it is remembered.
    pub(super) fn active(&self, tenant: &Tenant) -> Option<[u8; 16]> {
        let now = self.clock.elapsed();
        locked(&self.active).known.get(tenant).filter(|(_, until)| now < *until).map(|(id, _)| *id)
    }

    /// To be asked before the database is, and handed to [`Cache::set_active`] with its answer.
    pub(super) fn forgotten(&self) -> u64 {
        locked(&self.active).forgotten
    }

    /// Remembers the active key, unless something was forgotten since the database was asked: its answer may be from
    /// before the change that the forgetting was for, and would send a minute's cards to a key that has ended.
    pub(super) fn set_active(&self, tenant: &Tenant, id: [u8; 16], forgotten: u64) {
        let mut active = locked(&self.active);
        if active.forgotten != forgotten {
            return;
        }
        if active.known.len() >= MOST_ACTIVE {
            active.known.clear();
        }
        active.known.insert(tenant.clone(), (id, self.clock.elapsed().saturating_add(ACTIVE_FOR)));
    }

    pub(super) fn forget_active(&self, tenant: &Tenant) {
        let mut active = locked(&self.active);
        active.known.remove(tenant);
        active.forgotten = active.forgotten.wrapping_add(1);
    }

    /// Wipes everything when the HSM's keys have changed since the last call. Keys that a request holds right now
    /// are wiped when it ends.
    pub(super) fn follow(&self, changes: u64) {
        if self.followed.swap(changes, Ordering::AcqRel) != changes {
            self.purge(&Purge::Everything);
        }
    }

    pub(super) fn purge(&self, what: &Purge) {
        match what {
            Purge::Everything => {
                locked(&self.keys).clear();
                let mut active = locked(&self.active);
                active.known.clear();
                active.forgotten = active.forgotten.wrapping_add(1);
            }
            Purge::Tenant(tenant) => {
                locked(&self.keys).retain(|(owner, _), _| owner != tenant);
                self.forget_active(tenant);
            }
        }
        self.purges.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn state(&self) -> CacheState {
        let now = self.clock.elapsed();
        let opened =
            |slot: &Arc<Slot>| slot.cell.get().is_some_and(|(opened, until)| opened.is_ok() && now < *until);
        CacheState {
            entries: locked(&self.keys).values().filter(|slot| opened(slot)).count(),
            hits: self.hits.load(Ordering::Relaxed),
            misses: self.misses.load(Ordering::Relaxed),
            purges: self.purges.load(Ordering::Relaxed),
            grace_since_us: None,
        }
    }

    fn slot(&self, key: &Key) -> Arc<Slot> {
        let now = self.clock.elapsed();
        let mut keys = locked(&self.keys);
        // A slot that is still being filled has no end yet and is shared.
        let lives = |slot: &Slot| {
            slot.cell.get().is_none_or(|(_, until)| now < *until)
                && slot.uses.load(Ordering::Relaxed) < self.limits.uses
        };
        if let Some(slot) = keys.get(key).filter(|slot| lives(slot)) {
            slot.uses.fetch_add(1, Ordering::Relaxed);
            return Arc::clone(slot);
        }
        keys.remove(key);
        // What is over leaves memory at the next miss, whoever causes it.
        keys.retain(|_, slot| lives(slot));
        if keys.len() >= self.limits.entries {
            let first = keys.iter().find(|(_, slot)| slot.cell.initialized()).map(|(key, _)| key.clone());
            first.map(|first| keys.remove(&first));
        }
        let slot = Arc::new(Slot::default());
        slot.uses.store(1, Ordering::Relaxed);
        keys.insert(key.clone(), Arc::clone(&slot));
        slot
    }
}

/// That long, a fifth more or less, so that keys opened together do not all expire together.
fn spread(lifetime: Duration) -> Duration {
    let mut draw = [0; 1];
    let steps =
        getrandom::fill(&mut draw).map_or(0, |()| u32::from(draw.first().copied().unwrap_or(0) % 101));
    let fifth = lifetime / 5;
    lifetime.saturating_sub(fifth).saturating_add(fifth.saturating_mul(2).saturating_mul(steps) / 100)
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // The maps hold no state that a panic could leave half-changed.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

    #[derive(Default)]
    struct Hand(AtomicU64);

    impl Clock for Hand {
        fn now_us(&self) -> i64 {
            0
        }
        fn elapsed(&self) -> Duration {
            Duration::from_secs(self.0.load(Ordering::Relaxed))
        }
    }

    fn data_key() -> Result<DataKey, VaultError> {
        DataKey::fill_with(|bytes| {
            bytes.fill(7);
            Ok(())
        })
    }

    #[tokio::test]
    async fn a_hundred_that_miss_together_ask_once() {
        let cache = Arc::new(Cache::new(Arc::new(Hand::default()), DataKeyLimits::default()));
        let asked = Arc::new(AtomicUsize::new(0));
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..100 {
            let (cache, asked) = (Arc::clone(&cache), Arc::clone(&asked));
            tasks.spawn(async move {
                let tenant = Tenant::parse("clinic").unwrap();
                let open = || async {
                    asked.fetch_add(1, Ordering::Relaxed);
                    tokio::task::yield_now().await;
                    data_key()
                };
                cache.get(&tenant, [1; 16], open).await.is_ok()
            });
        }

        assert!(tasks.join_all().await.into_iter().all(|ok| ok));
        assert_eq!(asked.load(Ordering::Relaxed), 1);
    }

    #[tokio::test]
    async fn a_key_is_asked_for_again_after_its_time_and_a_failure_at_once() {
        let clock = Arc::new(Hand::default());
        let cache = Cache::new(clock.clone(), DataKeyLimits::default());
        let (asked, tenant) = (&AtomicUsize::new(0), Tenant::parse("clinic").unwrap());
        let ask = |answer: fn() -> Result<DataKey, VaultError>| {
            cache.get(&tenant, [1; 16], move || async move {
                asked.fetch_add(1, Ordering::Relaxed);
                answer()
            })
        };

        assert!(ask(|| Err(VaultError::HsmUnavailable)).await.is_err());
        assert!(ask(data_key).await.is_ok());
        assert!(ask(data_key).await.is_ok());
        assert_eq!(asked.load(Ordering::Relaxed), 2);

        clock.0.store(361, Ordering::Relaxed);
        assert!(ask(|| Err(VaultError::Integrity)).await.is_err());
        assert!(ask(data_key).await.is_err());
        assert_eq!(asked.load(Ordering::Relaxed), 3);
        clock.0.store(363, Ordering::Relaxed);
        assert!(ask(data_key).await.is_ok());
    }

    #[tokio::test]
    async fn one_tenants_key_is_not_found_under_anothers_name() {
        let cache = Cache::new(Arc::new(Hand::default()), DataKeyLimits::default());
        let (one, other) = (Tenant::parse("one").unwrap(), Tenant::parse("other").unwrap());

        assert!(cache.get(&one, [1; 16], || async { data_key() }).await.is_ok());
        assert!(cache.get(&other, [1; 16], || async { Err(VaultError::Integrity) }).await.is_err());
    }

    #[test]
    fn an_answer_from_before_a_change_is_not_remembered() {
        let cache = Cache::new(Arc::new(Hand::default()), DataKeyLimits::default());
        let tenant = Tenant::parse("clinic").unwrap();
        let asked = cache.forgotten();
        cache.purge(&Purge::Tenant(tenant.clone()));
        cache.set_active(&tenant, [1; 16], asked);
        assert_eq!(cache.active(&tenant), None);
        cache.set_active(&tenant, [2; 16], cache.forgotten());
        assert_eq!(cache.active(&tenant), Some([2; 16]));
    }

    #[tokio::test]
    async fn no_more_than_a_thousand_keys_are_held() {
        let cache = Cache::new(Arc::new(Hand::default()), DataKeyLimits::default());
        let tenant = Tenant::parse("clinic").unwrap();
        for number in 0..1100u128 {
            cache
                .get(&tenant, number.to_be_bytes(), || async { data_key() })
                .await
                .unwrap_or_else(|_| panic!());
        }
        assert_eq!(locked(&cache.keys).len(), 1000);
    }
}
