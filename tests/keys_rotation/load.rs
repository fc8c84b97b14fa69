//! Patients pay: lanes that make tokens and charge known ones until they are told to stop.

use crate::support::System;
use crate::support::cards::generated;
use crate::support::wire::Answer;
use serde_json::json;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;

/// The lanes at work.
pub(crate) struct Load {
    lanes: Vec<JoinHandle<Lane>>,
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicU64>,
}

/// What came of one lane.
#[derive(Default)]
struct Lane {
    failed: Vec<String>,
    cards: BTreeSet<u64>,
}

/// What came of it.
pub(crate) struct Told {
    /// Requests that were answered.
    pub(crate) answered: u64,
    /// What every other one got instead.
    pub(crate) failed: Vec<String>,
    /// The cards that were sent, as [`generated`] numbers them.
    #[allow(dead_code, clippy::allow_attributes, reason = "each test program uses the part that it needs")]
    pub(crate) cards: BTreeSet<u64>,
}

impl Load {
    /// Four lanes that make tokens, every third card again and again with `reuse`; two that charge `known` tokens.
    pub(crate) fn begin(system: &System, known: Vec<String>) -> Load {
        let (stop, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let serial = Arc::new(AtomicU64::new(1));
        // One load's requests are no retries of another's.
        let run = tokens::random_letters(8).unwrap();
        let lanes = (0..6)
            .map(|lane| {
                let (client, url) = (system.client(), system.url.clone());
                let key = system.key(if lane < 4 { "portal" } else { "staff" }).to_owned();
                let (stop, answered, serial, known, run) =
                    (stop.clone(), answered.clone(), serial.clone(), known.clone(), run.clone());
                tokio::spawn(async move {
                    let Lane { mut failed, mut cards } = Lane::default();
                    while !stop.load(Ordering::Relaxed) {
                        let n = serial.fetch_add(1, Ordering::Relaxed);
                        let (path, body) = if lane < 4 {
                            let card = if n % 3 == 0 { n % 17 } else { 100 + n };
                            cards.insert(card);
                            let number = generated(card);
                            let card =
                                json!({ "number": number, "exp_month": 12, "exp_year": 2034, "cvc": "737" });
                            ("/v1/tokens", json!({ "card": card, "reuse": n % 3 == 0 }))
                        } else {
                            let token = &known[usize::try_from(n).unwrap() % known.len()];
                            ("/v1/charges", json!({ "token": token, "amount": "1.00", "currency": "USD" }))
                        };
                        let request = client.post(format!("{url}{path}")).bearer_auth(&key).json(&body);
                        match Answer::try_of(request.header("Idempotency-Key", format!("load-{run}-{n}")))
                            .await
                        {
                            Ok(answer) if answer.status == 201 => {
                                answered.fetch_add(1, Ordering::Relaxed);
                            }
                            Ok(answer) => failed.push(format!("{path} {} {}", answer.status, answer.text)),
                            Err(error) => failed.push(format!("{path} {error}")),
                        }
                    }
                    Lane { failed, cards }
                })
            })
            .collect();
        Load { lanes, stop, answered }
    }

    /// Waits until that many more were answered.
    pub(crate) async fn answered(&self, more: u64) {
        let (wanted, until) =
            (self.answered.load(Ordering::Relaxed) + more, Instant::now() + Duration::from_secs(60));
        while self.answered.load(Ordering::Relaxed) < wanted && Instant::now() < until {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Stops all lanes.
    pub(crate) async fn end(self) -> Told {
        self.stop.store(true, Ordering::Relaxed);
        let mut told = Told { answered: 0, failed: Vec::new(), cards: BTreeSet::new() };
        for lane in self.lanes {
            let lane = lane.await.unwrap();
            told.failed.extend(lane.failed);
            told.cards.extend(lane.cards);
        }
        told.answered = self.answered.load(Ordering::Relaxed);
        told
    }
}
