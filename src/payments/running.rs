//! Which requests this process works on: a concurrent twin is told to wait instead of racing.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

/// The keys at work. Clones share one set.
#[derive(Clone, Default)]
pub(super) struct Running(Arc<Mutex<HashSet<String>>>);

/// One key at work, until dropped.
pub(super) struct AtWork {
    running: Running,
    key: String,
}

impl Running {
    /// Takes the key, or `None` when a twin holds it.
    pub(super) fn enter(&self, key: String) -> Option<AtWork> {
        let fresh = self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(key.clone());
        fresh.then(|| AtWork { running: self.clone(), key })
    }
}

impl Drop for AtWork {
    fn drop(&mut self) {
        self.running.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_twin_waits_until_the_first_is_done() {
        let running = Running::default();
        let first = running.enter("key".to_owned());
        assert!(first.is_some());
        assert!(running.enter("key".to_owned()).is_none());
        assert!(running.enter("other".to_owned()).is_some());
        drop(first);
        assert!(running.enter("key".to_owned()).is_some());
    }
}
