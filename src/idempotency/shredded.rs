//! What stored answers still say of cards that were shredded: the caller's metadata goes from them with the card.

use serde_json::Value as Json;
use store::{StoreError, Value, Work};
use tokens::{Tenant, Token};

/// Takes a shredded card's metadata out of the stored answers that gave out its token. The answers stay: a retry must
/// not put the card down anew.
///
/// # Errors
/// The store's error.
pub async fn forget_metadata(work: &mut Work<'_>, tenant: &Tenant, token: &Token) -> Result<(), StoreError> {
    let sql = work.dialect().of(
        "SELECT principal, endpoint, idempotency_key, body FROM idempotency WHERE tenant = $1 \
         AND endpoint IN ('tokens', 'tokens_batch') AND state = 'done' \
         AND instr(body, CAST($2 AS BLOB)) > 0 AND instr(body, CAST('\"metadata\"' AS BLOB)) > 0",
        "SELECT principal, endpoint, idempotency_key, body FROM idempotency WHERE tenant = $1 \
         AND endpoint IN ('tokens', 'tokens_batch') AND state = 'done' \
         AND position(convert_to($2, 'UTF8') IN body) > 0 AND position('\"metadata\"'::bytea IN body) > 0",
    );
    let rows = work.fetch_all(sql, vec![tenant.as_str().into(), token.as_str().into()]).await?;
    for row in rows {
        let mut answer: Json = serde_json::from_slice(&row.bytes("body")?)
            .map_err(|_| StoreError::Corrupt { column: "body" })?;
        strip(&mut answer, token);
        work.execute(
            "UPDATE idempotency SET body = $5 WHERE tenant = $1 AND principal = $2 AND endpoint = $3 \
             AND idempotency_key = $4",
            vec![
                tenant.as_str().into(),
                row.text("principal")?.into(),
                row.text("endpoint")?.into(),
                row.text("idempotency_key")?.into(),
                Value::from(answer.to_string().into_bytes()),
            ],
        )
        .await?;
    }
    Ok(())
}

/// Forgets the answers that gave out a tenant's tokens, once the tenant is shredded.
///
/// # Errors
/// The store's error.
pub async fn forget_tokens(work: &mut Work<'_>, tenant: &Tenant) -> Result<u64, StoreError> {
    work.execute(
        "DELETE FROM idempotency WHERE tenant = $1 AND endpoint IN ('tokens', 'tokens_batch') AND state = 'done'",
        vec![tenant.as_str().into()],
    )
    .await
}

/// One token, or the lines of a batch.
fn strip(answer: &mut Json, token: &Token) {
    if answer.get("id").and_then(Json::as_str) == Some(token.as_str())
        && let Some(fields) = answer.as_object_mut()
    {
        fields.remove("metadata");
    }
    for line in answer.get_mut("data").and_then(Json::as_array_mut).into_iter().flatten() {
        strip(line, token);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use tokens::Realm;

    #[test]
    fn only_the_shredded_cards_metadata_goes() {
        let (gone, stays) = (Token::mint(Realm::Test).unwrap(), Token::mint(Realm::Test).unwrap());
        let line = |token: &Token| json!({ "id": token.as_str(), "metadata": { "patient": "p-1" } });
        let mut one = line(&gone);
        strip(&mut one, &gone);
        assert_eq!(one, json!({ "id": gone.as_str() }));
        let mut batch = json!({ "data": [line(&stays), line(&gone), { "code": "invalid_card" }] });
        strip(&mut batch, &gone);
        assert_eq!(
            batch,
            json!({ "data": [line(&stays), { "id": gone.as_str() }, { "code": "invalid_card" }] })
        );
    }
}
