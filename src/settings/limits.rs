//! `[limits]`: how much is taken from one caller. Zero is no limit.

use serde::Deserialize;

/// `[limits]`. Each gateway counts by itself, from its own start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RateLimits {
    /// Requests of one principal in a minute; as many may come at once.
    pub principal_per_minute: u32,
    /// Requests of one tenant's principals together in a minute.
    pub tenant_per_minute: u32,
    /// Requests of one principal in a day of UTC.
    pub principal_per_day: u32,
    /// Requests of one tenant's principals together in a day of UTC.
    pub tenant_per_day: u32,
    /// Requests without a valid credential, and sign-ins, from one address (of IPv6: one /64) in a minute.
    pub stranger_per_minute: u32,
}

impl Default for RateLimits {
    /// Callers that are known are not limited; strangers at a rate that no honest mistake reaches.
    fn default() -> Self {
        RateLimits {
            principal_per_minute: 0,
            tenant_per_minute: 0,
            principal_per_day: 0,
            tenant_per_day: 0,
            stranger_per_minute: 6000,
        }
    }
}
