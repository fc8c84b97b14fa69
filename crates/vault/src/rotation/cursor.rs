//! Where a batch ended, as text that can be stored: fields between slashes. Ids are written in hexadecimal; names
//! of tenants and tokens hold no slash.

use crate::error::VaultError;

/// Fields into a cursor.
pub(super) fn join(fields: &[&str]) -> String {
    fields.join("/")
}

/// The `N` fields of a cursor; empty ones for no cursor, which sort before everything.
pub(super) fn split<const N: usize>(cursor: Option<&str>) -> Result<[&str; N], VaultError> {
    let Some(cursor) = cursor else { return Ok([""; N]) };
    let fields: Vec<&str> = cursor.split('/').collect();
    <[&str; N]>::try_from(fields).map_err(|_| VaultError::Integrity)
}

/// Bytes as hexadecimal digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Hexadecimal digits as bytes; none for an empty field.
pub(super) fn unhex(text: &str) -> Result<Vec<u8>, VaultError> {
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if !rest.is_empty() {
        return Err(VaultError::Integrity);
    }
    pairs
        .iter()
        .map(|pair| {
            let digits = std::str::from_utf8(pair).map_err(|_| VaultError::Integrity)?;
            u8::from_str_radix(digits, 16).map_err(|_| VaultError::Integrity)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_was_joined_splits_into_the_same_fields(id in any::<[u8; 16]>(), name in "[a-z0-9_-]{1,40}") {
            let text = join(&[&hex(&id), &name]);
            let [one, two] = split::<2>(Some(&text)).unwrap();
            prop_assert_eq!(unhex(one).unwrap(), id.to_vec());
            prop_assert_eq!(two, name);
        }

        #[test]
        fn any_text_is_a_cursor_or_is_refused_without_a_panic(text in ".{0,60}") {
            if let Ok([one, _, _]) = split::<3>(Some(&text)) {
                let _ = unhex(one);
            }
        }
    }
}
