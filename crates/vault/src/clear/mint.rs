//! Draws the token of a card. Opaque tokens hold no digit; card-shaped ones are all digits, which can read like a
//! card number by chance, alone or beside their neighbours: those are drawn again, so that a token that was given out
//! passes every sweep.

use super::card::Request;
use crate::error::VaultError;
use sweep::{FieldContext, Limits, Verdict, sweep_body, sweep_head, sweep_line, sweep_text};
use tokens::{Format, Last4, Realm, Token};

/// At worst one card-shaped token in four is drawn again (19 digits), so that 64 in a row mean that nothing fits.
const MOST_DRAWS: usize = 64;

/// A card with the token that it will have.
pub(in crate::clear) struct Drawn {
    pub(in crate::clear) request: Request,
    pub(in crate::clear) token: Token,
    pub(in crate::clear) last4: Last4,
}

/// Draws a token that reads like no card number, nor does it where it will stand: `suits` is asked for each
/// card-shaped one.
///
/// # Errors
/// [`VaultError::NoShapedToken`] when none of 64 suits; whatever `suits` fails with.
pub(in crate::clear) fn draw(
    realm: Realm,
    request: Request,
    mut suits: impl FnMut(&Token, &Last4, &Request) -> Result<bool, VaultError>,
) -> Result<Drawn, VaultError> {
    let last4 = request.pan.last4().map_err(|_| VaultError::Integrity)?;
    if request.format == Format::Opaque {
        return Ok(Drawn { token: Token::mint(realm)?, request, last4 });
    }
    for _ in 0..MOST_DRAWS {
        let token = Token::mint_card_shaped(request.pan.length(), &last4)?.ok_or(VaultError::Integrity)?;
        let card = Beside { last4: &last4, month: request.expiry.month(), year: request.expiry.year() };
        if reads_as_no_card(token.as_str(), &card) && suits(&token, &last4, &request)? {
            return Ok(Drawn { token, request, last4 });
        }
    }
    Err(VaultError::NoShapedToken)
}

/// What tells of a card and often stands beside its number.
struct Beside<'a> {
    last4: &'a Last4,
    month: u8,
    year: u16,
}

/// Whether the sweep finds nothing in a token wherever a caller may keep it: alone, in a field named as a card, as a
/// JSON number, in forms, paths, headers and log lines, before and after the other members of a card.
fn reads_as_no_card(token: &str, card: &Beside<'_>) -> bool {
    let Beside { last4, month, year } = card;
    let last4 = last4.as_str();
    let alone = [FieldContext::Plain, FieldContext::FreeText, FieldContext::Card]
        .into_iter()
        .all(|context| sweep_text(token, context).is_clean());
    let json = [
        format!(r#"{{"card":{token}}}"#),
        format!(
            r#"{{"card":{{"number":"{token}","last4":"{last4}","exp_month":{month},"exp_year":{year}}}}}"#
        ),
        format!(r#"{{"card":{{"number":"{token}","exp_month":"{month:02}","exp_year":"{year}"}}}}"#),
        format!(
            r#"{{"card":{{"exp_month":{month},"exp_year":{year},"number":"{token}","last4":"{last4}"}}}}"#
        ),
        format!(r#"{{"card":{{"last4":"{last4}","number":"{token}"}},"cards":["{token}","{token}"]}}"#),
    ];
    let form = [
        format!("card[number]={token}&card[exp_month]={month}&card[exp_year]={year}&card[last4]={last4}"),
        format!("card_number={token}&exp_month={month:02}&exp_year={year}"),
    ];
    let clean = |content_type, body: &String| {
        matches!(sweep_body(Some(content_type), body.as_bytes(), &Limits::default()), Ok(Verdict::Clean))
    };
    alone
        && json.iter().all(|body| clean("application/json", body) && sweep_line(body.as_bytes()).is_clean())
        && form.iter().all(|body| clean("application/x-www-form-urlencoded", body))
        && sweep_line(format!("card={token} exp={month}/{year}").as_bytes()).is_clean()
        && sweep_head(&format!("/cards/{token}?card={token}"), [("x-card", token.as_bytes())]).is_clean()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_that_reads_like_a_card_number_by_chance_is_told_from_one_that_does_not() {
        let last4 = Last4::parse("0005").unwrap();
        let card = Beside { last4: &last4, month: 12, year: 2030 };
        // Fifteen digits of it are a card of American Express: found wherever the field is named as a card.
        assert!(!reads_as_no_card("9378282246310005", &card));
        assert!(reads_as_no_card("9000000000000005", &card));
    }

    #[test]
    fn two_card_shaped_tokens_in_three_suit_at_once_whatever_their_length() {
        for length in 12..=19 {
            let suit = (0..300)
                .filter(|n| {
                    let last4 = Last4::parse(&format!("{:04}", n * 31)).unwrap();
                    let card = Beside { last4: &last4, month: 1 + u8::try_from(n % 12).unwrap(), year: 2030 };
                    let token = Token::mint_card_shaped(length, &last4).unwrap().unwrap();
                    reads_as_no_card(token.as_str(), &card)
                })
                .count();
            assert!(suit > 180, "{suit} of 300 with {length} digits");
        }
    }
}
