//! What a refund request may say: a charge, an amount in its currency, a reason of a closed list.

use super::rows::Refund;
use crate::payments::PaymentError;
use crate::payments::charge::Charge;
use sha2::{Digest, Sha256};
use tokens::{ChargeId, Currency, Money};

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident = $text:literal;)*) => {
        /// Why money goes back. The list is closed: no free text, so nothing about a patient or a card.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Reason { $($(#[$doc])* $name,)* }

        impl Reason {
            /// Every reason.
            pub const ALL: &'static [Reason] = &[$(Reason::$name,)*];

            /// The name in requests, answers and the database.
            pub fn as_str(self) -> &'static str {
                match self { $(Reason::$name => $text,)* }
            }

            /// The reason of that name.
            pub fn from_name(name: &str) -> Option<Reason> {
                match name { $($text => Some(Reason::$name),)* _ => None }
            }
        }
    };
}

reasons! {
    /// Charged twice.
    Duplicate = "duplicate";
    /// The insurance paid after the patient did.
    InsurancePaidLater = "insurance_paid_later";
    /// More was paid than was owed.
    Overpayment = "overpayment";
    /// The service was not given.
    ServiceNotRendered = "service_not_rendered";
    /// The bill was wrong.
    BillingError = "billing_error";
    /// A courtesy.
    Goodwill = "goodwill";
    /// A dispute was settled.
    DisputeSettlement = "dispute_settlement";
    /// Decided in a patient-provider dispute resolution.
    PpdrDecision = "ppdr_decision";
}

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefundRequest {
    /// The charge; the money goes back to its card and nowhere else.
    pub charge: ChargeId,
    /// A decimal text in the charge's currency; nothing means all that is left.
    pub amount: Option<String>,
    /// Must be the charge's, when it is given.
    pub currency: Option<Currency>,
    /// Why.
    pub reason: Reason,
}

impl RefundRequest {
    /// The amount in the charge's currency; more than zero unless nothing is left.
    pub(super) fn amount_of(&self, charge: &Charge, left: Money) -> Result<Money, PaymentError> {
        let currency = charge.amount.currency();
        if self.currency.is_some_and(|asked| asked != currency) {
            return Err(PaymentError::Currency);
        }
        let Some(text) = &self.amount else { return Ok(left) };
        let amount = Money::parse(text, currency).map_err(|_| PaymentError::Amount)?;
        if amount.is_zero() { Err(PaymentError::Amount) } else { Ok(amount) }
    }

    /// What a retry under the same key is compared with. A plain digest will do: the fields are typed, none can
    /// hold a card.
    pub(super) fn hash(&self) -> [u8; 32] {
        let currency = self.currency.map(Currency::code);
        digest(
            "pangate/refund-request/v1",
            &[Some(self.charge.as_str()), self.amount.as_deref(), currency, Some(self.reason.as_str())],
        )
    }
}

/// What a second person says yes to: this amount, on this charge, for this reason, for this tenant.
pub(super) fn act_hash(refund: &Refund) -> [u8; 32] {
    let amount = refund.amount.to_string();
    digest(
        "pangate/refund-act/v1",
        &[
            Some(refund.tenant.as_str()),
            Some(refund.id.as_str()),
            Some(refund.charge.as_str()),
            Some(&amount),
            Some(refund.amount.currency().code()),
            Some(refund.reason.as_str()),
            Some(refund.requested_by.as_str()),
        ],
    )
}

/// Each field behind its presence and length: without them two requests could be one text.
fn digest(domain: &str, fields: &[Option<&str>]) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(domain);
    for field in fields {
        let text = field.unwrap_or_default();
        hash.update([u8::from(field.is_some())]);
        hash.update(u64::try_from(text.len()).unwrap_or(u64::MAX).to_be_bytes());
        hash.update(text);
    }
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_is_found_by_its_name() {
        for reason in Reason::ALL {
            assert_eq!(Reason::from_name(reason.as_str()), Some(*reason));
        }
        assert_eq!(Reason::from_name("because"), None);
    }

    #[test]
    fn another_amount_reason_or_charge_is_another_request() {
        let charge = ChargeId::mint().unwrap();
        let request = |amount: Option<&str>, reason| RefundRequest {
            charge: charge.clone(),
            amount: amount.map(str::to_owned),
            currency: None,
            reason,
        };
        let one = request(Some("10.00"), Reason::Duplicate);
        assert_eq!(one.hash(), one.clone().hash());
        assert_ne!(one.hash(), request(Some("10.01"), Reason::Duplicate).hash());
        assert_ne!(one.hash(), request(Some("10.00"), Reason::Goodwill).hash());
        assert_ne!(one.hash(), request(None, Reason::Duplicate).hash());
        assert_ne!(request(Some(""), Reason::Duplicate).hash(), request(None, Reason::Duplicate).hash());
        let other = RefundRequest { charge: ChargeId::mint().unwrap(), ..one.clone() };
        assert_ne!(one.hash(), other.hash());
    }
}
