//! Why a card was declined: a closed list with stable names, so that no text of a processor's reaches an answer.

macro_rules! declines {
    ($($(#[$doc:meta])* $name:ident = $text:literal;)*) => {
        /// The processor's reason, as the contract names it.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum DeclineCode { $($(#[$doc])* $name,)* }

        impl DeclineCode {
            /// Every reason.
            pub const ALL: &'static [DeclineCode] = &[$(DeclineCode::$name,)*];

            /// The stable name in answers, in the database and in the audit log.
            pub fn as_str(self) -> &'static str {
                match self { $(DeclineCode::$name => $text,)* }
            }

            /// The reason of that name.
            pub fn from_name(name: &str) -> Option<DeclineCode> {
                match name { $($text => Some(DeclineCode::$name),)* _ => None }
            }
        }
    };
}

declines! {
    /// The issuer gives no reason.
    CardDeclined = "card_declined";
    /// Not enough money.
    InsufficientFunds = "insufficient_funds";
    /// Past its date.
    ExpiredCard = "expired_card";
    /// The verification code is wrong.
    IncorrectCvc = "incorrect_cvc";
    /// The number is no card.
    IncorrectNumber = "incorrect_number";
    /// The processor or issuer failed; another try may succeed.
    ProcessingError = "processing_error";
    /// Reported lost.
    LostCard = "lost_card";
    /// Reported stolen.
    StolenCard = "stolen_card";
    /// Held to be fraud.
    Fraudulent = "fraudulent";
    /// The issuer refuses without saying why.
    DoNotHonor = "do_not_honor";
    /// Too often or too much in a short time.
    CardVelocityExceeded = "card_velocity_exceeded";
    /// The cardholder has to confirm with the bank.
    AuthenticationRequired = "authentication_required";
    /// A card that is no test card met the test processor.
    TestmodeDecline = "testmode_decline";
    /// The processor never received it and nobody asked again; nothing was charged.
    NotProcessed = "not_processed";
    /// The processor refuses the refund.
    RefundRefused = "refund_refused";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_is_found_by_its_name() {
        for code in DeclineCode::ALL {
            assert_eq!(DeclineCode::from_name(code.as_str()), Some(*code));
        }
        assert_eq!(DeclineCode::from_name("anything"), None);
    }
}
