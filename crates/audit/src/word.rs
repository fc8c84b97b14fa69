//! The closed word lists of an entry: who may act, what may happen, how it ended.
//!
//! The actions cover the seven families of PCI DSS 4.0.1 requirement 10.2.1. A word is never renamed or given
//! another meaning: entries of any age must parse.

use std::fmt;

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$word_doc:meta])* $word:ident = $text:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $name {
            $($(#[$word_doc])* $word,)+
        }

        impl $name {
            /// Every word, in order.
            pub const ALL: &'static [$name] = &[$($name::$word,)+];

            /// The word as entries carry it.
            pub fn as_str(self) -> &'static str {
                match self {
                    $($name::$word => $text,)+
                }
            }

            /// The word of that text.
            pub fn from_word(text: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|word| word.as_str() == text)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

words! {
    /// In what capacity somebody acted.
    ActorRole {
        /// A patient portal.
        Portal = "portal",
        /// Billing staff.
        Staff = "staff",
        /// An auditor.
        Auditor = "auditor",
        /// An administrator.
        Admin = "admin",
        /// The claims-and-statements service.
        Companion = "companion",
        /// Pangate itself.
        System = "system",
        /// Nobody that could be identified.
        Anonymous = "anonymous",
    }
}

words! {
    /// What was done or tried. The outcome says which.
    Action {
        /// A card became a token (10.2.1.1).
        TokenCreate = "token_create",
        /// A card was recognised and its existing token given again (10.2.1.1).
        TokenReuse = "token_reuse",
        /// Masked metadata of a token was read.
        TokenRead = "token_read",
        /// A token's record was destroyed (10.2.1.7).
        TokenShred = "token_shred",
        /// A card number was shown (10.2.1.1).
        TokenReveal = "token_reveal",
        /// A swapped and swept message went to the companion.
        MessageForward = "message_forward",
        /// The companion's answer to a forwarded message was swept and given on.
        MessageAnswer = "message_answer",
        /// A message was refused before it left.
        MessageRefuse = "message_refuse",
        /// A message with a card filled in went to an allowed vendor (10.2.1.1).
        MessageRelay = "message_relay",
        /// An answer with something card-like in it was replaced.
        AnswerReplace = "answer_replace",
        /// A charge was begun (10.2.1.1).
        ChargeCreate = "charge_create",
        /// The processor's answer to a charge was booked.
        ChargeSettle = "charge_settle",
        /// Charges were read.
        ChargeRead = "charge_read",
        /// A refund was begun.
        RefundCreate = "refund_create",
        /// The processor's answer to a refund was booked.
        RefundSettle = "refund_settle",
        /// A second person approved a refund (10.2.1.2).
        RefundApprove = "refund_approve",
        /// A second person rejected a refund (10.2.1.2).
        RefundReject = "refund_reject",
        /// Refunds were read.
        RefundRead = "refund_read",
        /// A credential was made (10.2.1.5).
        CredentialCreate = "credential_create",
        /// A credential's rights or lifetime changed (10.2.1.5).
        CredentialChange = "credential_change",
        /// A credential was revoked (10.2.1.5).
        CredentialRevoke = "credential_revoke",
        /// A credential was missing, unknown, expired or revoked (10.2.1.4).
        CredentialRefuse = "credential_refuse",
        /// A person signed in, or got a new session after a change of password or factor (10.2.1.5).
        SessionOpen = "session_open",
        /// A person's session was ended (10.2.1.5).
        SessionEnd = "session_end",
        /// Accounts of people were read.
        AccountRead = "account_read",
        /// A known principal was refused by policy (10.2.1.4).
        AccessRefuse = "access_refuse",
        /// The key inventory was read (10.2.1.2).
        KeyList = "key_list",
        /// A key was made in the HSM (10.2.1.7).
        KeyCreate = "key_create",
        /// A key was given a new version (10.2.1.2).
        KeyRotate = "key_rotate",
        /// A key's status changed (10.2.1.2).
        KeyStatus = "key_status",
        /// A key was destroyed in the HSM (10.2.1.7).
        KeyDestroy = "key_destroy",
        /// The public half of a signing key's version was seen first, or another than the one seen first (10.2.1.7).
        SigningKeySeen = "signing_key_seen",
        /// A key was found to be past its cryptoperiod or its uses (10.2.1.2).
        KeyOverdue = "key_overdue",
        /// Entries of the HSM's own log were taken away by somebody else before they were stored (10.2.1.3).
        DeviceLogGap = "device_log_gap",
        /// The HSM's own log does not follow what was taken from it before (10.2.1.3).
        DeviceLogBroken = "device_log_broken",
        /// The HSM's own log ends before what was taken of it: the device's state was set back (10.2.1.3).
        DeviceLogSetBack = "device_log_set_back",
        /// The stored log of the HSM was read (10.2.1.3).
        DeviceLogRead = "device_log_read",
        /// An act on keys was asked for and waits for a second person (10.2.1.2).
        KeyApprovalOpen = "key_approval_open",
        /// A second person agreed to an act on keys (10.2.1.2).
        KeyApprove = "key_approve",
        /// A second person rejected an act on keys (10.2.1.2).
        KeyReject = "key_reject",
        /// Nobody agreed to an act on keys in time (10.2.1.2).
        KeyApprovalExpire = "key_approval_expire",
        /// Acts on keys that wait for a second person were read.
        KeyApprovalRead = "key_approval_read",
        /// Keys began to move to another device (10.2.1.2).
        KeyMigrate = "key_migrate",
        /// Two people put the transcript of a key ceremony into the log (10.2.1.2).
        KeyCeremony = "key_ceremony",
        /// Work on keys began (10.2.1.2).
        JobStart = "job_start",
        /// Work on keys went on.
        JobProgress = "job_progress",
        /// Work on keys ended (10.2.1.2).
        JobEnd = "job_end",
        /// Work on keys was halted or taken up again by somebody (10.2.1.2).
        JobChange = "job_change",
        /// Work on keys was looked at.
        JobRead = "job_read",
        /// Every card and data key of a tenant was destroyed (10.2.1.7).
        TenantShred = "tenant_shred",
        /// A tenant's data key was replaced by a new one (10.2.1.2).
        DataKeyRotate = "data_key_rotate",
        /// A tenant's data key was made (10.2.1.7).
        DataKeyCreate = "data_key_create",
        /// A tenant's data key was opened by the HSM (10.2.1.1).
        DataKeyOpen = "data_key_open",
        /// A tenant's data key was sealed under another version of its KEK (10.2.1.2).
        DataKeyReseal = "data_key_reseal",
        /// A tenant's data key was destroyed (10.2.1.7).
        DataKeyDestroy = "data_key_destroy",
        /// The audit log was read (10.2.1.3).
        AuditRead = "audit_read",
        /// The audit log was verified (10.2.1.3).
        AuditVerify = "audit_verify",
        /// A head of the log was signed and exported (10.2.1.3).
        CheckpointSign = "checkpoint_sign",
        /// This log began (10.2.1.6).
        LogStart = "log_start",
        /// This log was stopped (10.2.1.6).
        LogStop = "log_stop",
        /// This log was paused (10.2.1.6).
        LogPause = "log_pause",
        /// The gateway started (10.2.1.6).
        ServiceStart = "service_start",
        /// The gateway stopped (10.2.1.6).
        ServiceStop = "service_stop",
        /// A part that the gateway needs went away.
        DependencyDown = "dependency_down",
        /// A part that the gateway needs came back.
        DependencyUp = "dependency_up",
        /// Settings were changed or reloaded (10.2.1.2).
        ConfigChange = "config_change",
        /// Policy was changed or reloaded (10.2.1.2).
        PolicyChange = "policy_change",
        /// The database's schema was changed (10.2.1.7).
        SchemaChange = "schema_change",
        /// A backup was taken (10.2.1.2).
        Backup = "backup",
        /// A backup was restored (10.2.1.2).
        Restore = "restore",
        /// The vault moved to another database (10.2.1.7).
        StoreMigrate = "store_migrate",
        /// Files or databases were searched for card numbers.
        Scan = "scan",
        /// The compliance checks ran.
        ComplianceCheck = "compliance_check",
        /// An incident was opened (10.2.1.2).
        IncidentOpen = "incident_open",
        /// An incident was closed (10.2.1.2).
        IncidentClose = "incident_close",
    }
}

words! {
    /// How it ended (10.2.2: success or failure indication).
    Outcome {
        /// It was done.
        Success = "success",
        /// Rules forbade it.
        Refused = "refused",
        /// It was allowed and did not work.
        Failed = "failed",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_actions_share_a_word_and_none_holds_a_digit() {
        for (place, action) in Action::ALL.iter().enumerate() {
            assert_eq!(Action::from_word(action.as_str()), Some(*action));
            assert!(action.as_str().bytes().all(|b| b.is_ascii_lowercase() || b == b'_'));
            assert!(Action::ALL[..place].iter().all(|earlier| earlier.as_str() != action.as_str()));
        }
        assert_eq!(Action::from_word("token_steal"), None);
    }
}
