//! Opened data keys in memory: few, for minutes, wiped when they leave. A miss asks once, however many wait.

use crate::clock::Clock;
use crate::error::VaultError;
use hsm::DataKey;
use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokens::Tenant;
use tokio::sync::OnceCell;

/// Most keys in memory, and most tenants whose active key is remembered.
const MOST: usize = 1000;
/// A failed verification is remembered this long, so that a forged row cannot be used to flood the HSM.
const REFUSED_FOR: Duration = Duration::from_secs(1);
/// Which key is the active one is asked again after this long.
const ACTIVE_FOR: Duration = Duration::from_secs(60);

type Opened = Result<Arc<DataKey>, VaultError>;

#[derive(Default)]
struct Slot {
    cell: OnceCell<(Opened, Duration)>,
}

type Key = (Tenant, [u8; 16]);

/// Keyed by tenant and id: one tenant's key is never found under another's name.
pub(super) struct Cache {
    clock: Arc<dyn Clock>,
    keys: Mutex<HashMap<Key, Arc<Slot>>>,
    active: Mutex<HashMap<Tenant, ([u8; 16], Duration)>>,
}

impl Cache {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        Cache { clock, keys: Mutex::default(), active: Mutex::default() }
    }

    /// The key, from memory or from `open`. All who wait get the same answer, a failure included; a failure is
    /// not kept, but for the second after a failed verification.
    pub(super) async fn get<F>(&self, tenant: &Tenant, id: [u8; 16], open: impl FnOnce() -> F) -> Opened
    where
        F: Future<Output = Result<DataKey, VaultError>>,
    {
        let key = (tenant.clone(), id);
        let slot = self.slot(&key);
        let (opened, _) = slot
            .cell
            .get_or_init(|| async {
                let opened = open().await.map(Arc::new);
                let life = match &opened {
                    Ok(_) => lifetime(),
                    Err(VaultError::Integrity) => REFUSED_FOR,
                    Err(_) => Duration::ZERO,
                };
                (opened, self.clock.elapsed().saturating_add(life))
            })
            .await;
        opened.clone()
    }

    pub(super) fn active(&self, tenant: &Tenant) -> Option<[u8; 16]> {
        let now = self.clock.elapsed();
        locked(&self.active).get(tenant).filter(|(_, until)| now < *until).map(|(id, _)| *id)
    }

    pub(super) fn set_active(&self, tenant: &Tenant, id: [u8; 16]) {
        let mut active = locked(&self.active);
        if active.len() >= MOST {
            active.clear();
        }
        active.insert(tenant.clone(), (id, self.clock.elapsed().saturating_add(ACTIVE_FOR)));
    }

    fn slot(&self, key: &Key) -> Arc<Slot> {
        let now = self.clock.elapsed();
        let mut keys = locked(&self.keys);
        // A slot that is still being filled has no end yet and is shared.
        let lives = |slot: &Slot| slot.cell.get().is_none_or(|(_, until)| now < *until);
        if let Some(slot) = keys.get(key).filter(|slot| lives(slot)) {
            return Arc::clone(slot);
        }
        keys.remove(key);
        if keys.len() >= MOST {
            keys.retain(|_, slot| lives(slot));
        }
        if keys.len() >= MOST {
            let first = keys.iter().find(|(_, slot)| slot.cell.initialized()).map(|(key, _)| key.clone());
            first.map(|first| keys.remove(&first));
        }
        let slot = Arc::new(Slot::default());
        keys.insert(key.clone(), Arc::clone(&slot));
        slot
    }
}

/// 300 seconds, a fifth more or less, so that keys opened together do not all expire together.
fn lifetime() -> Duration {
    let mut draw = [0; 1];
    let spread =
        getrandom::fill(&mut draw).map_or(60, |()| u64::from(draw.first().copied().unwrap_or(60) % 121));
    Duration::from_secs(240 + spread)
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
        let cache = Arc::new(Cache::new(Arc::new(Hand::default())));
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
        let cache = Cache::new(clock.clone());
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
        let cache = Cache::new(Arc::new(Hand::default()));
        let (one, other) = (Tenant::parse("one").unwrap(), Tenant::parse("other").unwrap());

        assert!(cache.get(&one, [1; 16], || async { data_key() }).await.is_ok());
        assert!(cache.get(&other, [1; 16], || async { Err(VaultError::Integrity) }).await.is_err());
    }

    #[tokio::test]
    async fn no_more_than_a_thousand_keys_are_held() {
        let cache = Cache::new(Arc::new(Hand::default()));
        let tenant = Tenant::parse("clinic").unwrap();
        for number in 0..1100u128 {
            cache
                .get(&tenant, number.to_be_bytes(), || async { data_key() })
                .await
                .unwrap_or_else(|_| panic!());
        }
        assert_eq!(locked(&cache.keys).len(), MOST);
    }
}
