//! How much anybody may ask: a bucket for each principal, tenant and stranger's address that fills at its rate, and a
//! count for each day. In memory, bounded, and cheap: a lock and a look.

use crate::caller::Caller;
use crate::settings::RateLimits;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

const MINUTE: Duration = Duration::from_secs(60);
const DAY_US: i64 = 24 * 3600 * 1_000_000;
/// Most of one kind that are told apart. Beyond it, those that rest are forgotten; when all are busy, newcomers share one.
const MOST: usize = 10_000;

/// Whose limit it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scope {
    /// One principal's.
    Principal,
    /// One tenant's.
    Tenant,
    /// One address's, of callers that are not known.
    Address,
}

impl Scope {
    /// The stable name, for metrics and answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Scope::Principal => "principal",
            Scope::Tenant => "tenant",
            Scope::Address => "address",
        }
    }
}

/// More than is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exceeded {
    /// Whose limit.
    pub scope: Scope,
    /// After how many seconds another request is taken.
    pub retry_after: u32,
    /// Whether it is the first of a row: that one is recorded, the others are counted.
    pub first: bool,
}

/// All limits of one gateway.
pub struct Rates {
    limits: RateLimits,
    principals: Mutex<Table>,
    tenants: Mutex<Table>,
    addresses: Mutex<Table>,
}

/// What one caller has left.
#[derive(Debug, Clone, Copy)]
struct Account {
    /// Requests that may come now, in millionths.
    left: u64,
    filled: Instant,
    day: i64,
    today: u32,
    refused: bool,
}

#[derive(Default)]
struct Table(HashMap<String, Account>);

impl Rates {
    /// With these limits, everything full.
    pub fn new(limits: RateLimits) -> Rates {
        Rates { limits, principals: Mutex::default(), tenants: Mutex::default(), addresses: Mutex::default() }
    }

    /// Takes a request of somebody who is known.
    ///
    /// # Errors
    /// [`Exceeded`] when the principal's or the tenant's limit is reached.
    pub fn known(&self, caller: &Caller, now_us: i64) -> Result<(), Exceeded> {
        let RateLimits { principal_per_minute, tenant_per_minute, principal_per_day, tenant_per_day, .. } =
            self.limits;
        let now = (Instant::now(), now_us);
        if principal_per_minute != 0 || principal_per_day != 0 {
            let mut table = self.principals.lock().unwrap_or_else(PoisonError::into_inner);
            let limits = (principal_per_minute, principal_per_day);
            table.take(caller.principal().as_str(), limits, now, Scope::Principal)?;
        }
        let Some(tenant) = caller.tenant() else { return Ok(()) };
        if tenant_per_minute != 0 || tenant_per_day != 0 {
            let mut table = self.tenants.lock().unwrap_or_else(PoisonError::into_inner);
            table.take(tenant.as_str(), (tenant_per_minute, tenant_per_day), now, Scope::Tenant)?;
        }
        Ok(())
    }

    /// Takes a request of somebody who is not known, or a sign-in.
    ///
    /// # Errors
    /// [`Exceeded`] when the address's limit is reached.
    pub fn stranger(&self, from: Option<IpAddr>, now_us: i64) -> Result<(), Exceeded> {
        let (Some(from), true) = (from, self.limits.stranger_per_minute != 0) else { return Ok(()) };
        let mut table = self.addresses.lock().unwrap_or_else(PoisonError::into_inner);
        let limits = (self.limits.stranger_per_minute, 0);
        table.take(&network(from), limits, (Instant::now(), now_us), Scope::Address)
    }

    /// How many addresses are told apart now, for metrics.
    pub fn addresses(&self) -> usize {
        self.addresses.lock().unwrap_or_else(PoisonError::into_inner).0.len()
    }
}

/// An IPv4 address, or the /64 that one host of IPv6 has to itself.
fn network(from: IpAddr) -> String {
    match from.to_canonical() {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).to_string()
        }
    }
}

impl Table {
    fn take(
        &mut self,
        name: &str,
        (per_minute, per_day): (u32, u32),
        (now, now_us): (Instant, i64),
        scope: Scope,
    ) -> Result<(), Exceeded> {
        // No name is empty: that one is shared by those for whom there is no room.
        let name = if self.has_room_for(name, per_minute, now) { name } else { "" };
        let full = u64::from(per_minute) * 1_000_000;
        let day = now_us.div_euclid(DAY_US);
        let fresh = Account { left: full, filled: now, day, today: 0, refused: false };
        if !self.0.contains_key(name) {
            self.0.insert(name.to_owned(), fresh);
        }
        let Some(account) = self.0.get_mut(name) else { return Ok(()) };
        account.fill(full, now);
        if account.day != day {
            (account.day, account.today, account.refused) = (day, 0, false);
        }
        let wait = if per_day != 0 && account.today >= per_day {
            // Until the day is over.
            u32::try_from((DAY_US - now_us.rem_euclid(DAY_US)) / 1_000_000 + 1).unwrap_or(u32::MAX)
        } else if per_minute != 0 && account.left < 1_000_000 {
            let missing = (1_000_000 - account.left) * 60 / full.max(1);
            u32::try_from(missing + 1).unwrap_or(u32::MAX)
        } else {
            account.left = account.left.saturating_sub(1_000_000);
            account.today = account.today.saturating_add(1);
            // Half a minute's rest ends a row of refusals: a flood that goes on is one row.
            account.refused &= account.left < full / 2;
            return Ok(());
        };
        let first = !std::mem::replace(&mut account.refused, true);
        Err(Exceeded { scope, retry_after: wait, first })
    }

    fn has_room_for(&mut self, name: &str, per_minute: u32, now: Instant) -> bool {
        if self.0.contains_key(name) || self.0.len() < MOST {
            return true;
        }
        let full = u64::from(per_minute) * 1_000_000;
        self.0.retain(|_, account| {
            account.fill(full, now);
            account.left < full || per_minute == 0
        });
        self.0.len() < MOST
    }
}

impl Account {
    fn fill(&mut self, full: u64, now: Instant) {
        let elapsed = now.saturating_duration_since(self.filled).min(MINUTE).as_micros();
        let more = u64::try_from(elapsed).unwrap_or(0).saturating_mul(full) / 60_000_000;
        if more > 0 {
            self.left = self.left.saturating_add(more).min(full);
            self.filled = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(table: &mut Table, name: &str, limits: (u32, u32), at: (Instant, i64)) -> Result<(), Exceeded> {
        table.take(name, limits, at, Scope::Address)
    }

    #[test]
    fn a_bucket_gives_its_minute_at_once_and_then_its_rate() {
        let (mut table, start) = (Table::default(), Instant::now());
        for _ in 0..60 {
            assert_eq!(take(&mut table, "a", (60, 0), (start, 0)), Ok(()));
        }
        let refused = take(&mut table, "a", (60, 0), (start, 0)).unwrap_err();
        assert!(refused.first && refused.retry_after <= 2, "{refused:?}");
        assert!(!take(&mut table, "a", (60, 0), (start, 0)).unwrap_err().first);
        assert_eq!(take(&mut table, "b", (60, 0), (start, 0)), Ok(()), "another is not touched");
        let later = start + Duration::from_secs(2);
        for _ in 0..2 {
            assert_eq!(take(&mut table, "a", (60, 0), (later, 0)), Ok(()));
        }
        assert!(!take(&mut table, "a", (60, 0), (later, 0)).unwrap_err().first, "the flood goes on");
        let long_after = start + Duration::from_secs(3600);
        let taken = (0..100).filter(|_| take(&mut table, "a", (60, 0), (long_after, 0)).is_ok()).count();
        assert_eq!(taken, 60, "a long rest saves up one minute and no more");
        let again = long_after + Duration::from_secs(50);
        let refused = (0..100).filter_map(|_| take(&mut table, "a", (60, 0), (again, 0)).err());
        assert_eq!(refused.filter(|exceeded| exceeded.first).count(), 1);
    }

    #[test]
    fn a_days_quota_is_new_on_the_next_day() {
        let (mut table, now) = (Table::default(), Instant::now());
        for _ in 0..3 {
            assert_eq!(take(&mut table, "a", (0, 3), (now, DAY_US - 10_000_000)), Ok(()));
        }
        let refused = take(&mut table, "a", (0, 3), (now, DAY_US - 10_000_000)).unwrap_err();
        assert_eq!(refused.retry_after, 11);
        assert_eq!(take(&mut table, "a", (0, 3), (now, DAY_US + 1)), Ok(()));
    }

    #[test]
    fn memory_is_bounded_and_those_without_room_share_one_bucket() {
        let (mut table, now) = (Table::default(), Instant::now());
        for n in 0..MOST {
            assert_eq!(take(&mut table, &format!("address {n}"), (60, 0), (now, 0)), Ok(()));
        }
        let taken =
            (0..200).filter(|n| take(&mut table, &format!("late {n}"), (60, 0), (now, 0)).is_ok()).count();
        assert_eq!(taken, 60);
        assert!(table.0.len() <= MOST + 1);
        // Those that rested are forgotten.
        let later = now + Duration::from_secs(61);
        assert_eq!(take(&mut table, "later", (60, 0), (later, 0)), Ok(()));
        assert!(table.0.len() < 10);
    }

    #[test]
    fn a_host_of_ipv6_has_one_bucket_for_all_its_addresses() {
        let of = |text: &str| network(text.parse().unwrap());
        assert_eq!(of("2001:db8:1:2::1"), of("2001:db8:1:2:ffff::9"));
        assert_ne!(of("2001:db8:1:2::1"), of("2001:db8:1:3::1"));
        assert_eq!(of("::ffff:192.0.2.7"), of("192.0.2.7"));
    }
}
