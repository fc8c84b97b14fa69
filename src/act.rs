//! The acts that a permit can be for, and how far each reaches. The policy knows each by its name.

use crate::caller::Caller;
use tokens::Tenant;

mod sealed {
    pub trait Sealed {}
}

/// How far an act reaches.
pub trait Scope: sealed::Sealed + Sized {
    /// Whether the act concerns one tenant's data, and no act without one.
    const ONE_TENANT: bool;

    /// The caller's reach, or `None` when its credential reaches too far or not far enough for this scope.
    fn of(caller: &Caller) -> Option<Self>;
}

/// One tenant's data.
#[derive(Debug)]
pub struct OneTenant(Tenant);

/// The installation, or the part of it that belongs to the caller's tenant.
#[derive(Debug)]
pub struct Installation(Option<Tenant>);

impl OneTenant {
    /// The tenant.
    pub fn tenant(&self) -> &Tenant {
        &self.0
    }
}

impl Installation {
    /// The tenant that limits the view; `None` sees all.
    pub fn tenant(&self) -> Option<&Tenant> {
        self.0.as_ref()
    }
}

impl sealed::Sealed for OneTenant {}
impl sealed::Sealed for Installation {}

impl Scope for OneTenant {
    const ONE_TENANT: bool = true;

    fn of(caller: &Caller) -> Option<Self> {
        caller.tenant().cloned().map(OneTenant)
    }
}

impl Scope for Installation {
    const ONE_TENANT: bool = false;

    fn of(caller: &Caller) -> Option<Self> {
        Some(Installation(caller.tenant().cloned()))
    }
}

/// A kind of act. Closed: the policy's schema knows them all.
pub trait Act: sealed::Sealed {
    /// How far it reaches.
    type Scope: Scope;
    /// Its name in the policy.
    const NAME: &'static str;
}

macro_rules! acts {
    ($($(#[$doc:meta])* $name:ident: $scope:ident = $text:literal;)*) => {
        $(
            $(#[$doc])*
            #[derive(Debug)]
            pub enum $name {}
            impl sealed::Sealed for $name {}
            impl Act for $name {
                type Scope = $scope;
                const NAME: &'static str = $text;
            }
        )*

        /// The name of every act, and whether it concerns one tenant.
        pub const ALL: &[(&str, bool)] = &[$(($text, <$scope as Scope>::ONE_TENANT),)*];
    };
}

acts! {
    /// A card in, a token out.
    Tokenize: OneTenant = "tokenize";
    /// A token's masked metadata.
    ReadToken: OneTenant = "read_token";
    /// A message with a card, swapped and forwarded to the companion.
    Pass: OneTenant = "pass";
    /// A charge by token.
    Charge: OneTenant = "charge";
    /// Charges and refunds as they stand.
    ReadCharge: OneTenant = "read_charge";
    /// Money back on a charge; also the second person's approval.
    Refund: OneTenant = "refund";
    /// A card destroyed.
    Shred: OneTenant = "shred";
    /// The audit log.
    ReadAudit: Installation = "read_audit";
    /// What the HSM wrote down itself.
    ReadDeviceLog: Installation = "read_device_log";
    /// The key inventory, approvals and jobs as they stand.
    ListKeys: Installation = "list_keys";
    /// An act on keys asked for or agreed to, a job halted; who does both is judged by the keys themselves.
    ManageKeys: Installation = "manage_keys";
    /// One's own session, password and second factor.
    OwnAccount: Installation = "own_account";
    /// The accounts of people as they stand.
    ListPeople: Installation = "list_people";
    /// Accounts made, disabled and enabled, sessions ended, a first password given, a factor's reset asked for.
    ManagePeople: Installation = "manage_people";
}
