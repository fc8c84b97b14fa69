//! expect: E0451
//! Only the card room makes a `Revealed`, out of an envelope that opened.

fn main() {
    let _ = vault::Revealed { wire: Default::default(), has_cvc: false };
}
