//! Verification codes: in memory only, for one charge, for a quarter of an hour at most (PCI DSS 3.3.1). Nothing
//! here can write one anywhere.

use crate::clock::Clock;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;
use tokens::{Brand, Tenant, Token};
use zeroize::{Zeroize, ZeroizeOnDrop};

/// The longest a code may be held, whatever the settings say.
pub(crate) const LONGEST: Duration = Duration::from_secs(15 * 60);

/// The text is no verification code of that brand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::clear) struct NoCvc;

/// One verification code: boxed, wiped, without a trait by which it could be shown.
pub(in crate::clear) struct Cvc(Box<Digits>);

#[derive(Zeroize, ZeroizeOnDrop)]
struct Digits {
    length: usize,
    bytes: [u8; 4],
}

impl Cvc {
    /// Exactly 3 ASCII digits, or 4 on American Express; blanks around are dropped.
    pub(in crate::clear) fn parse(text: &str, brand: Brand) -> Result<Cvc, NoCvc> {
        let text = text.trim_matches(' ').as_bytes();
        let length = if brand == Brand::Amex { 4 } else { 3 };
        if text.len() != length || !text.iter().all(u8::is_ascii_digit) {
            return Err(NoCvc);
        }
        let mut cvc = Cvc(Box::new(Digits { length, bytes: [0; 4] }));
        for (place, digit) in cvc.0.bytes.iter_mut().zip(text) {
            *place = *digit;
        }
        Ok(cvc)
    }

    /// The digits, ASCII.
    pub(in crate::clear) fn digits(&self) -> &[u8] {
        self.0.bytes.get(..self.0.length).unwrap_or_default()
    }
}

/// When a code is wiped at the latest, and its number.
type End = (Duration, u64);

/// A tenant's card, by a hash: many codes may wait, and names are longer than codes.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Key([u8; 16]);

impl Key {
    /// The first half of SHA-256: nobody chooses tokens, so 128 bits keep them apart.
    fn of(tenant: &Tenant, token: &Token) -> Key {
        let mut hash = Sha256::new();
        hash.update(tenant.as_str());
        // No name has a zero byte.
        hash.update([0]);
        hash.update(token.as_str());
        let mut key = [0; 16];
        key.iter_mut().zip(hash.finalize()).for_each(|(byte, hashed)| *byte = hashed);
        Key(key)
    }
}

/// The codes of one card, in the order in which they came: one for each payment that waits.
struct Codes {
    tenant: Arc<str>,
    kept: Vec<Kept>,
}

/// Payments with one card that may wait for their charges at once.
const MOST_OF_ONE_CARD: usize = 8;

struct Kept {
    cvc: Cvc,
    until: Duration,
    number: u64,
    /// The charge that used it first. From then on only that charge's retry sees it again.
    charge: Option<Box<str>>,
}

#[derive(Default)]
struct Shelf {
    cards: HashMap<Key, Codes>,
    /// Whose cards they are, each name once.
    tenants: HashSet<Arc<str>>,
    /// In the order of expiry.
    ends: BTreeMap<End, Key>,
    next: u64,
}

/// The codes that wait for their charge.
pub(crate) struct CvcHolder {
    shelf: Mutex<Shelf>,
    clock: Arc<dyn Clock>,
    lifetime: Duration,
    capacity: usize,
}

impl CvcHolder {
    /// A holder, and a thread that wipes what has expired within a second until the holder is dropped.
    pub(crate) fn start(clock: Arc<dyn Clock>, lifetime: Duration, capacity: usize) -> Arc<Self> {
        let holder =
            Arc::new(CvcHolder { shelf: Mutex::default(), clock, lifetime: lifetime.min(LONGEST), capacity });
        let weak = Arc::downgrade(&holder);
        // Without the thread codes would still never be given out late, but lie in memory until the next call.
        let _ = std::thread::Builder::new().name("cvc-wipe".to_owned()).spawn(move || wipe_until_gone(&weak));
        holder
    }

    /// Takes over the code of a card that was settled.
    pub(crate) fn hold(&self, tenant: &Tenant, token: &Token, held: super::settle::Held) {
        self.keep(tenant, token, held.0);
    }

    /// Keeps a code for its card, beside those of other payments with the same card.
    pub(in crate::clear) fn keep(&self, tenant: &Tenant, token: &Token, cvc: Cvc) {
        if self.capacity == 0 {
            return;
        }
        let now = self.clock.elapsed();
        let mut shelf = self.shelf();
        shelf.expire(now);
        let key = Key::of(tenant, token);
        let full = shelf.cards.get(&key).filter(|codes| codes.kept.len() >= MOST_OF_ONE_CARD);
        if let Some(end) = full.and_then(|codes| codes.kept.first()).map(|kept| (kept.until, kept.number)) {
            shelf.end(&end);
        }
        while shelf.ends.len() >= self.capacity {
            // A full holder loses the code that would expire first; its charge goes out without one.
            let Some(first) = shelf.ends.keys().next().copied() else { break };
            shelf.end(&first);
        }
        let (until, number) = (now.saturating_add(self.lifetime), shelf.next);
        shelf.next = shelf.next.wrapping_add(1);
        shelf.ends.insert((until, number), key);
        let kept = Kept { cvc, until, number, charge: None };
        if let Some(codes) = shelf.cards.get_mut(&key) {
            codes.kept.push(kept);
        } else {
            let codes = Codes { tenant: shelf.name(tenant), kept: vec![kept] };
            shelf.cards.insert(key, codes);
        }
    }

    /// Lends a code of the card to a charge: the first to ask binds it, later only the same charge (its retry) gets it.
    /// Another charge gets the code of another payment, the oldest first.
    pub(in crate::clear) fn lend<T>(
        &self,
        tenant: &Tenant,
        token: &Token,
        charge: &str,
        with: impl FnOnce(Option<&Cvc>) -> T,
    ) -> T {
        let now = self.clock.elapsed();
        let mut shelf = self.shelf();
        shelf.expire(now);
        let codes = shelf.cards.get_mut(&Key::of(tenant, token));
        let kept = codes.and_then(|Codes { kept, .. }| {
            let bound = kept.iter().position(|kept| kept.charge.as_deref() == Some(charge));
            let at = bound.or_else(|| kept.iter().position(|kept| kept.charge.is_none()))?;
            kept.get_mut(at)
        });
        with(kept.map(|kept| {
            kept.charge.get_or_insert_with(|| charge.into());
            &kept.cvc
        }))
    }

    /// Wipes the codes of that card that charges have had: their authorization is over.
    pub(crate) fn forget_used(&self, tenant: &Tenant, token: &Token) {
        let mut shelf = self.shelf();
        let used: Vec<End> = shelf.cards.get(&Key::of(tenant, token)).map_or_else(Vec::new, |codes| {
            let used = codes.kept.iter().filter(|kept| kept.charge.is_some());
            used.map(|kept| (kept.until, kept.number)).collect()
        });
        used.iter().for_each(|end| shelf.end(end));
    }

    /// Wipes every code of that card.
    pub(crate) fn forget(&self, tenant: &Tenant, token: &Token) {
        self.shelf().take(&Key::of(tenant, token));
    }

    /// Wipes the codes of all cards of a tenant.
    pub(crate) fn forget_tenant(&self, tenant: &Tenant) {
        let mut shelf = self.shelf();
        let theirs = shelf.cards.iter().filter(|(_, codes)| *codes.tenant == *tenant.as_str());
        let keys: Vec<Key> = theirs.map(|(key, _)| *key).collect();
        keys.iter().for_each(|key| shelf.take(key));
        shelf.tenants.remove(tenant.as_str());
    }

    /// How many codes are held.
    pub(crate) fn count(&self) -> usize {
        self.shelf().ends.len()
    }

    fn shelf(&self) -> MutexGuard<'_, Shelf> {
        // Every change below keeps the two maps in step before it can panic.
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shelf {
    fn take(&mut self, key: &Key) {
        for kept in self.cards.remove(key).into_iter().flat_map(|codes| codes.kept) {
            self.ends.remove(&(kept.until, kept.number));
        }
    }

    /// The tenant's name, which its cards share.
    fn name(&mut self, tenant: &Tenant) -> Arc<str> {
        if let Some(known) = self.tenants.get(tenant.as_str()) {
            return Arc::clone(known);
        }
        let name: Arc<str> = tenant.as_str().into();
        self.tenants.insert(Arc::clone(&name));
        name
    }

    /// Wipes one code.
    fn end(&mut self, end: &End) {
        let Some(key) = self.ends.remove(end) else { return };
        let Some(codes) = self.cards.get_mut(&key) else { return };
        codes.kept.retain(|kept| kept.number != end.1);
        if codes.kept.is_empty() {
            self.cards.remove(&key);
        }
    }

    fn expire(&mut self, now: Duration) {
        while let Some(first) = self.ends.keys().next().copied().filter(|(until, _)| *until <= now) {
            self.end(&first);
        }
    }
}

fn wipe_until_gone(holder: &Weak<CvcHolder>) {
    while let Some(holder) = holder.upgrade() {
        let now = holder.clock.elapsed();
        holder.shelf().expire(now);
        drop(holder);
        std::thread::sleep(Duration::from_millis(500));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU64, Ordering};

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

    fn holder(lifetime: u64, capacity: usize) -> (Arc<CvcHolder>, Arc<Hand>) {
        let clock = Arc::new(Hand::default());
        (CvcHolder::start(clock.clone(), Duration::from_secs(lifetime), capacity), clock)
    }

    fn card() -> (Tenant, Token) {
        (Tenant::parse("clinic").unwrap(), Token::mint(tokens::Realm::Test).unwrap())
    }

    fn has(holder: &CvcHolder, (tenant, token): &(Tenant, Token), charge: &str) -> bool {
        holder.lend(tenant, token, charge, |cvc| cvc.is_some_and(|cvc| cvc.digits() == b"123"))
    }

    fn keep(holder: &CvcHolder, (tenant, token): &(Tenant, Token)) {
        holder.keep(tenant, token, Cvc::parse("123", Brand::Visa).ok().unwrap());
    }

    #[test]
    fn a_code_has_three_digits_and_four_on_amex() {
        assert!(Cvc::parse(" 123 ", Brand::Visa).is_ok());
        assert!(Cvc::parse("1234", Brand::Amex).is_ok());
        for (text, brand) in
            [("1234", Brand::Visa), ("123", Brand::Amex), ("", Brand::Visa), ("12a", Brand::Visa)]
        {
            assert!(Cvc::parse(text, brand).is_err(), "{text}");
        }
    }

    #[test]
    fn the_first_charge_binds_the_code_and_only_its_retry_sees_it_again() {
        let (holder, _) = holder(900, 10);
        let card = card();
        keep(&holder, &card);

        assert!(has(&holder, &card, "ch-1"));
        assert!(has(&holder, &card, "ch-1"));
        assert!(!has(&holder, &card, "ch-2"));
    }

    #[test]
    fn two_payments_with_one_card_have_a_code_each() {
        let (holder, _) = holder(900, 10);
        let card = card();
        keep(&holder, &card);
        keep(&holder, &card);

        assert!(has(&holder, &card, "ch-1") && has(&holder, &card, "ch-2") && !has(&holder, &card, "ch-3"));
        keep(&holder, &card);
        holder.forget_used(&card.0, &card.1);
        assert_eq!(holder.count(), 1);
        assert!(has(&holder, &card, "ch-3") && !has(&holder, &card, "ch-1"));
        for _ in 0..20 {
            keep(&holder, &card);
        }
        assert_eq!(holder.count(), MOST_OF_ONE_CARD);
    }

    #[test]
    fn another_tenant_does_not_get_the_code() {
        let (holder, _) = holder(900, 10);
        let card = card();
        keep(&holder, &card);

        assert!(!has(&holder, &(Tenant::parse("other").unwrap(), card.1.clone()), "ch-1"));
        assert!(has(&holder, &card, "ch-1"));
    }

    #[test]
    fn a_code_is_wiped_after_fifteen_minutes_whatever_was_configured() {
        let (holder, clock) = holder(10_000, 10);
        let card = card();
        keep(&holder, &card);

        clock.0.store(899, Ordering::Relaxed);
        assert!(has(&holder, &card, "ch-1"));
        clock.0.store(900, Ordering::Relaxed);
        assert!(!has(&holder, &card, "ch-1"));
        assert_eq!(holder.count(), 0);
    }

    #[test]
    fn an_expired_code_is_wiped_without_anybody_asking() {
        let (holder, clock) = holder(900, 10);
        keep(&holder, &card());
        clock.0.store(901, Ordering::Relaxed);

        for _ in 0..50 {
            if holder.count() == 0 {
                return;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        panic!("still there after five seconds");
    }

    #[test]
    fn a_full_holder_drops_the_oldest_and_forgetting_wipes() {
        let (holder, clock) = holder(900, 2);
        let cards = [card(), card(), card()];
        for (second, card) in cards.iter().enumerate() {
            clock.0.store(second as u64, Ordering::Relaxed);
            keep(&holder, card);
        }
        assert_eq!(holder.count(), 2);
        assert!(!has(&holder, &cards[0], "ch"));
        assert!(has(&holder, &cards[2], "ch"));
        holder.forget(&cards[2].0, &cards[2].1);
        assert!(!has(&holder, &cards[2], "ch"));
    }
}

static_assertions::assert_not_impl_any!(
    Cvc: std::fmt::Debug, std::fmt::Display, Clone, Copy, PartialEq, serde::Serialize, AsRef<[u8]>, Into<String>
);
