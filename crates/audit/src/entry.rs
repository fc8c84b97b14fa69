//! One entry of the audit log: the six facts of PCI DSS 10.2.2 and where they came from. No free text anywhere.

use crate::{Action, ActorRole, KeyName, LogName, Outcome, Reason, RouteName};
use std::net::IpAddr;
use tokens::{ChargeId, Principal, RefundId, RequestId, Tenant, Token};

/// What happened, to what, by whom, when, from where, and how it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// When, in unix microseconds. A leaf carries years 0000 to 9999; a time beyond is written as the nearest.
    pub time_us: i64,
    /// The log that this entry belongs to.
    pub log: LogName,
    /// Who acted.
    pub actor: Actor,
    /// For which tenant, where that is known.
    pub tenant: Option<Tenant>,
    /// What was done or tried.
    pub action: Action,
    /// What it was done to.
    pub resource: Resource,
    /// How it ended.
    pub outcome: Outcome,
    /// Why, when it did not succeed or when the action needs a reason.
    pub reason: Option<Reason>,
    /// The request that caused it.
    pub request: Option<RequestId>,
    /// Where it came from.
    pub source: Source,
}

/// Who acted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor {
    /// In what capacity.
    pub role: ActorRole,
    /// Under which name; none for what is anonymous or the system's own.
    pub principal: Option<Principal>,
}

/// What an action was done to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resource {
    /// Nothing in particular.
    None,
    /// A token. Its card-shaped form is written in letters, so that no scanner takes it for a card.
    Token(Token),
    /// A charge.
    Charge(ChargeId),
    /// A refund.
    Refund(RefundId),
    /// A principal's credential.
    Credential(Principal),
    /// A version of an HSM key.
    Key {
        /// The key's label.
        label: KeyName,
        /// The key's version.
        version: u32,
    },
    /// A version of an HSM key that is gone, with what proves it.
    DestroyedKey {
        /// The key's label.
        label: KeyName,
        /// The key's version.
        version: u32,
        /// SHA-256 of the device's signed destruction record.
        evidence: [u8; 32],
    },
    /// A version of a signing key, with its public half: what it signed can be verified by the log alone.
    SigningKey {
        /// The key's label.
        label: KeyName,
        /// The key's version.
        version: u32,
        /// Its public half, Ed25519.
        public: [u8; 32],
    },
    /// The signed transcript of a key ceremony, by its SHA-256.
    Transcript([u8; 32]),
    /// A tenant's data key, by its identifier.
    DataKey([u8; 16]),
    /// A route or call.
    Route(RouteName),
    /// A rule of the policy, by its name.
    Rule(RouteName),
    /// The whole policy folder, by its SHA-256.
    Policy([u8; 32]),
    /// A log.
    Log(LogName),
}

/// Where an action came from (10.2.2: origination of event).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// A network peer.
    Ip(IpAddr),
    /// The command line on the host.
    Console,
    /// The gateway itself.
    Internal,
}
