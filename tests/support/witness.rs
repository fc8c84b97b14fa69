//! What the others saw: the companion's requests, the audit log, and every file, searched for what must not be there.

use super::System;
use serde_json::Value;

impl System {
    /// How many messages of the portal's the companion was handed so far, by its own log.
    pub fn companion_messages(&self) -> usize {
        let log = std::fs::read_to_string(self.path("logs/claims.log")).unwrap_or_default();
        log.lines().filter(|line| line.contains("\"/portal/payments\"")).count()
    }

    /// How many payments the companion has posted to the seeded account.
    pub async fn posted_payments(&self) -> usize {
        let account = self.claims_get(&format!("/v1/accounts/{}", self.account)).await;
        account.json()["payments"].as_array().map_or(0, Vec::len)
    }

    /// Every entry of the audit log, oldest first, as an auditor of the whole installation reads it.
    pub async fn entries(&self) -> Vec<Value> {
        let (mut entries, mut after) = (Vec::new(), String::new());
        loop {
            let page = self.get("chief-auditor", &format!("/v1/audit/entries?limit=500{after}")).await;
            assert_eq!(page.status, 200, "{}", page.text);
            let page = page.json();
            entries.extend(page["data"].as_array().expect("a page").iter().map(|line| line["entry"].clone()));
            match page["next"].as_str() {
                Some(next) => after = format!("&after={next}"),
                None => return entries,
            }
        }
    }

    /// The entry of a request, by the id that its answer bore, with this reason.
    pub async fn recorded(&self, request: &str, reason: &str) -> bool {
        self.entries().await.iter().any(|entry| entry["request"] == request && entry["reason"] == reason)
    }

    /// Files of the three processes in which one of these texts stands.
    pub fn files_with(&self, texts: &[&str]) -> Vec<String> {
        let mut found = Vec::new();
        for file in self.files() {
            let bytes = std::fs::read(&file).unwrap_or_default();
            for text in texts {
                if bytes.windows(text.len()).any(|window| window == text.as_bytes()) {
                    found.push(format!("{} holds …{}", file.display(), super::cards::last4(text)));
                }
            }
        }
        found
    }
}
