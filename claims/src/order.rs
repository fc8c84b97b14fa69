//! What a portal asks for, once it has been read and trusted: a payment by token. Nothing here can hold a card.

use crate::ids::{AccountId, StatementId};
use sha2::{Digest, Sha256};
use tokens::{Brand, ChargeId, Last4, Money, Principal, RefundId, RequestId, Tenant, Token};

/// Who sent a request, as the gateway vouches for it in its headers.
#[derive(Debug, Clone)]
pub struct Sender {
    /// Whose data may be touched.
    pub tenant: Tenant,
    /// Who acts.
    pub principal: Principal,
    /// The gateway's name for the request.
    pub request: RequestId,
    /// What makes a repeat the same act: the caller's key, or else the request's identifier.
    pub key: [u8; 32],
}

impl Sender {
    /// A sender whose repeats are told by `idempotency_key`, or by the request's identifier without one. The
    /// two kinds of key cannot be mistaken for each other, nor one principal's key for another's, and only their
    /// digest is kept.
    pub fn new(
        tenant: Tenant,
        principal: Principal,
        request: RequestId,
        idempotency_key: Option<&str>,
    ) -> Self {
        let key = match idempotency_key {
            Some(key) => digest(&[b"key", principal.as_str().as_bytes(), key.as_bytes()]),
            None => digest(&[b"request", request.as_str().as_bytes()]),
        };
        Sender { tenant, principal, request, key }
    }
}

/// A payment to be made.
#[derive(Debug, Clone)]
pub struct Order {
    /// The patient's account.
    pub account: AccountId,
    /// The statement to pay on.
    pub statement: StatementId,
    /// More than zero.
    pub money: Money,
    /// What stands for the card.
    pub token: Token,
    /// The card's network.
    pub brand: Brand,
    /// The card's last four.
    pub last4: Last4,
    /// The patient's words, up to 500 characters.
    pub note: Option<String>,
}

impl Order {
    /// What must be equal for a repeat to be a repeat: token, amount, currency, account, statement.
    pub fn digest(&self) -> [u8; 32] {
        digest(&[
            self.token.as_str().as_bytes(),
            self.money.to_string().as_bytes(),
            self.money.currency().code().as_bytes(),
            self.account.as_str().as_bytes(),
            self.statement.as_str().as_bytes(),
        ])
    }
}

/// Money that the gateway has sent back to a card.
#[derive(Debug, Clone)]
pub struct RefundNotice {
    /// The refund.
    pub refund: RefundId,
    /// The charge it goes back on.
    pub charge: ChargeId,
    /// More than zero.
    pub money: Money,
    /// Up to 200 characters.
    pub reason: String,
}

impl RefundNotice {
    /// What must be equal for a repeat to be a repeat.
    pub fn digest(&self) -> [u8; 32] {
        digest(&[
            self.charge.as_str().as_bytes(),
            self.money.to_string().as_bytes(),
            self.money.currency().code().as_bytes(),
            self.reason.as_bytes(),
        ])
    }
}

/// SHA-256 over the parts, each with its length in front, so that no two lists of parts read the same.
fn digest(parts: &[&[u8]]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        hash.update(part);
    }
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_never_equals_a_request_identifier_of_the_same_text() {
        let (tenant, principal) = (Tenant::parse("north").unwrap(), Principal::parse("portal").unwrap());
        let request = RequestId::mint().unwrap();

        let with_key =
            Sender::new(tenant.clone(), principal.clone(), request.clone(), Some(request.as_str()));
        let without = Sender::new(tenant, principal, request, None);

        assert_ne!(with_key.key, without.key);
    }

    #[test]
    fn the_key_of_another_principal_is_another_act() {
        let tenant = Tenant::parse("north").unwrap();
        let sender = |name| {
            let (principal, request) = (Principal::parse(name).unwrap(), RequestId::mint().unwrap());
            Sender::new(tenant.clone(), principal, request, Some("one"))
        };

        assert_eq!(sender("portal").key, sender("portal").key);
        assert_ne!(sender("portal").key, sender("portal-two").key);
    }

    #[test]
    fn parts_that_join_to_the_same_text_have_other_digests() {
        assert_ne!(digest(&[b"ab", b"c"]), digest(&[b"a", b"bc"]));
    }
}
