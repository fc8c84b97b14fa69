//! How many sessions the operator may have at once. The rest of the device's places are kept for officers and
//! auditors: a gateway gone wild must not keep out the people who have to see to it.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::Device;
use super::account::Role;

/// Places that the operator never gets.
const KEPT: usize = 2;

/// A session's place, given back when dropped.
pub struct Place<'a>(Option<&'a AtomicUsize>);

impl Device {
    /// A place for a session of this role, on a device with so many places in all; `None` when the role has none left.
    pub fn seat(&self, role: Role, places: usize) -> Option<Place<'_>> {
        if role != Role::Operator {
            return Some(Place(None));
        }
        let limit = places.saturating_sub(KEPT).max(1);
        let taken = self.operators.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |taken| {
            taken.checked_add(1).filter(|&after| after <= limit)
        });
        taken.ok().map(|_| Place(Some(&self.operators)))
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if let Some(count) = self.0 {
            count.fetch_sub(1, Ordering::SeqCst);
        }
    }
}
