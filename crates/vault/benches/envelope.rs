//! What sealing and opening cost, beside AES-GCM alone in the same run: `cargo bench -p vault`.
//!
//! `aes-gcm` encrypts one block under one key. `envelope` does what a stored record needs: derive its key and
//! commitment, then encrypt. `draft` is the vault's whole work on a card of a batch of 256: parse, check, sweep,
//! mint, seal. `reveal` is its way back, with the row read from SQLite. The HSM is a real daemon; its data key is
//! opened once, as in the gateway.

#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::float_arithmetic,
    reason = "a measurement"
)]

#[expect(dead_code, reason = "the tests use more of it")]
#[path = "../tests/room/support.rs"]
mod support;

use aes_gcm::aead::{AeadInOut, KeyInit};
use aes_gcm::{Aes256Gcm, Key, Nonce};
use hkdf::Hkdf;
use sha2::Sha256;
use std::hint::black_box;
use std::time::{Duration, Instant};
use support::{House, card, json, tenant};
use vault::CardsShape;

const RUN: Duration = Duration::from_secs(2);

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    println!("{:<10} {:>12} {:>10}", "", "per second", "µs each");
    report("aes-gcm", timed(|| aes_gcm_alone(&[7; 32])));
    report("envelope", timed(envelope));
    runtime.block_on(through_the_vault());
}

fn aes_gcm_alone(key: &[u8; 32]) -> u64 {
    let cipher = Aes256Gcm::new(<&Key<Aes256Gcm>>::from(black_box(key)));
    let mut block = [1; 24];
    let nonce = <Nonce<_>>::from([2; 12]);
    black_box(
        cipher.encrypt_inout_detached(&nonce, &[3; 170], block.as_mut_slice().into()).expect("encrypts"),
    );
    1
}

fn envelope() -> u64 {
    let mut draw = [0; 28];
    getrandom::fill(&mut draw).expect("random bytes");
    let keys = Hkdf::<Sha256>::new(draw.first_chunk::<16>().map(<[u8; 16]>::as_slice), black_box(&[7; 32]));
    let (mut key, mut commitment) = ([0; 32], [0; 32]);
    keys.expand(&[4; 34], &mut key).expect("fits");
    keys.expand(&[5; 37], &mut commitment).expect("fits");
    black_box(commitment);
    aes_gcm_alone(&key)
}

async fn through_the_vault() {
    let house = House::open().await;
    let clinic = tenant("clinic");
    let settled = house.token(&clinic, &card("4242424242424242", "")).await.unwrap();
    let body = format!(r#"{{"cards":[{}]}}"#, vec![card("4242424242424242", ""); 256].join(","));

    let (start, mut count) = (Instant::now(), 0);
    while start.elapsed() < RUN {
        let intake = json(&house.vault, &body).await.unwrap();
        black_box(house.vault.draft_cards(&clinic, intake, CardsShape::Batch).await.unwrap());
        count += 256;
    }
    report("draft", (count, start.elapsed()));

    let (start, mut count) = (Instant::now(), 0);
    while start.elapsed() < RUN {
        black_box(house.vault.reveal(&clinic, &settled.token, "ch").await.unwrap());
        count += 1;
    }
    report("reveal", (count, start.elapsed()));
}

fn timed(mut act: impl FnMut() -> u64) -> (u64, Duration) {
    let (start, mut count) = (Instant::now(), 0);
    while start.elapsed() < RUN {
        for _ in 0..100 {
            count += act();
        }
    }
    (count, start.elapsed())
}

fn report(name: &str, (count, time): (u64, Duration)) {
    let count = f64::from(u32::try_from(count).unwrap_or(u32::MAX));
    println!("{name:<10} {:>12.0} {:>10.2}", count / time.as_secs_f64(), time.as_secs_f64() * 1e6 / count);
}
