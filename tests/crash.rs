//! `kill -9` under load: what was acknowledged is there and whole, and nothing happens twice (P4, P5, P8).
#![expect(clippy::unwrap_used, reason = "a test that cannot be set up must fail")]

mod support;

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use support::orders::{Acknowledged, load, nothing_is_lost_or_torn, retry, some_time, until};
use support::{System, charges};

const ROUNDS: usize = 10;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Victim {
    Gateway,
    Hsm,
}

async fn rounds_of_kill_9(victim: Victim) {
    let mut system = System::start().await;
    let (next, mut told) = (AtomicU64::new(0), Acknowledged::default());
    let mut interrupted = 0;
    for round in 0..ROUNDS {
        let before = told.tokens.len();
        let pid = match victim {
            Victim::Gateway => system.gateway().id(),
            Victim::Hsm => system.hsm().id(),
        };
        let stop = AtomicBool::new(false);
        let shared = Mutex::new(told);
        let accident = async {
            // The load is up once something was acknowledged; a kill before that would try nothing.
            until(|| shared.lock().unwrap().tokens.len() > before).await;
            tokio::time::sleep(some_time()).await;
            support::process::kill_9_by_id(pid);
            tokio::time::sleep(Duration::from_millis(20)).await;
            stop.store(true, Ordering::Relaxed);
        };
        tokio::join!(load(&system, &next, &stop, &shared), accident);
        told = shared.into_inner().unwrap();
        match victim {
            Victim::Gateway => {
                system.gateway().kill_9();
                system.start_gateway();
            }
            Victim::Hsm => {
                system.hsm().kill_9();
                system.start_hsm();
            }
        }
        system.wait_ready().await;
        interrupted += retry(&system, &mut told).await;
        nothing_is_lost_or_torn(&system, &told).await;
        charges::a_sample_can_be_charged(&system, &told, round).await;
        system.audit_log_is_whole();
    }
    assert!(interrupted > 0, "no request was under way at any kill");
}

#[tokio::test(flavor = "multi_thread")]
async fn p4_acknowledged_tokens_survive_kill_9_of_the_gateway() {
    rounds_of_kill_9(Victim::Gateway).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn p4_acknowledged_tokens_survive_kill_9_of_the_hsm() {
    rounds_of_kill_9(Victim::Hsm).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn p8_a_charge_in_flight_at_kill_9_is_charged_once() {
    let mut system = System::start().await;
    let tokens = charges::four_cards(&system).await;
    let next = AtomicU64::new(0);
    let mut charged: BTreeMap<String, String> = BTreeMap::new();
    let mut interrupted = 0;
    for _ in 0..ROUNDS {
        let pid = system.gateway().id();
        let stop = AtomicBool::new(false);
        let answered = AtomicBool::new(false);
        let accident = async {
            until(|| answered.load(Ordering::Relaxed)).await;
            tokio::time::sleep(some_time()).await;
            support::process::kill_9_by_id(pid);
            stop.store(true, Ordering::Relaxed);
        };
        let load = charges::charge_all(&system, &tokens, &next, &stop, &answered);
        let (sent, ()) = tokio::join!(load, accident);
        system.gateway().kill_9();
        system.start_gateway();
        system.wait_ready().await;
        interrupted += charges::charge_again(&system, sent, &mut charged).await;
    }
    assert!(interrupted > 0, "no charge was under way at any kill");
    charges::books_agree(&system, &charged).await;
    system.audit_log_is_whole();
}
