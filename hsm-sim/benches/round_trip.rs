//! What one call to the device costs: a MAC and a new data key over the real daemon's socket, beside the bare round
//! trip of the same protocol (`hello`) in the same run, one caller and then several through the queue.
//!
//! Run with `cargo bench -p hsm-sim`. Prints a table; asserts nothing.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a bench: a failure must stop it, a table is its product"
)]

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use hsm::{Context, Hsm, HsmQueue, KeyLabel, KeyRef, KeyVersion, QueueSettings, Realm, WrapSuite};
use hsm_sim::client::SimClient;
use hsm_sim::device::Device;
use secrecy::SecretString;

const PIN: &str = "135790";
const PROGRAM: &str = env!("CARGO_BIN_EXE_hsm-sim");
const RUN: Duration = Duration::from_secs(2);

fn main() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("run/hsm.sock");
    let mut daemon = start(dir.path(), &socket);
    println!("{:<44} {:>10} {:>9} {:>9}", "call", "per second", "p50 us", "p99 us");

    let client = SimClient::connect(&socket, SecretString::from(PIN));
    let (kek, mac) = (first(KeyLabel::KEK_CARD), first(KeyLabel::MAC_PAN));
    let suite = WrapSuite::Aes256GcmData;
    let context = Context::data_key(Realm::Test, &kek, suite, [7; 16], "bench", "card", 1).unwrap();
    let message = [0x42; 48];
    let batch: Vec<&[u8]> = vec![&message; 64];
    let inside = Device::in_memory(Realm::Test).unwrap();

    row("mac, no socket (device in process)", 1, || inside.mac(&mac, &message).map(drop).unwrap());
    row("new data key, no socket", 1, || inside.new_data_key(&kek, &context).map(drop).unwrap());
    row("hello (bare round trip)", 1, || client.hello().unwrap());
    row("mac", 1, || client.mac(&mac, &message).map(drop).unwrap());
    row("mac_many of 64 (counted per MAC)", 64, || client.mac_many(&mac, &batch).map(drop).unwrap());
    row("new data key", 1, || client.new_data_key(&kek, &context).map(drop).unwrap());
    let (_, sealed) = client.new_data_key(&kek, &context).unwrap();
    row("open data key", 1, || client.open_data_key(&sealed, &context).map(drop).unwrap());
    row("sign 200 bytes", 1, || {
        client.sign(&first(KeyLabel::SIGN_AUDIT), &[1; 200]).map(drop).unwrap();
    });
    for callers in [1, 16, 64] {
        queued(&socket, &mac, callers);
    }
    daemon.kill().unwrap();
    daemon.wait().unwrap();
}

fn row(name: &str, weight: u64, mut call: impl FnMut()) {
    for _ in 0..200 {
        call();
    }
    let mut times = Vec::new();
    let begun = Instant::now();
    while begun.elapsed() < RUN {
        let one = Instant::now();
        call();
        times.push(one.elapsed());
    }
    print(name, weight, begun.elapsed(), times);
}

fn queued(socket: &Path, mac: &KeyRef, callers: usize) {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_time().build().unwrap();
    let factory = SimClient::factory(socket, SecretString::from(PIN));
    let queue = HsmQueue::start(QueueSettings { workers: 2, ..QueueSettings::default() }, factory).unwrap();
    let begun = Instant::now();
    let times = runtime.block_on(async {
        let tasks: Vec<_> = (0..callers)
            .map(|_| {
                let (queue, mac) = (queue.clone(), mac.clone());
                tokio::spawn(async move {
                    let mut times = Vec::new();
                    while begun.elapsed() < RUN {
                        let one = Instant::now();
                        queue.mac(mac.clone(), vec![0x42; 48].into()).await.unwrap();
                        times.push(one.elapsed());
                    }
                    times
                })
            })
            .collect();
        let mut all = Vec::new();
        for task in tasks {
            all.extend(task.await.unwrap());
        }
        all
    });
    print(&format!("mac through the queue, {callers} callers"), 1, begun.elapsed(), times);
}

fn print(name: &str, weight: u64, took: Duration, mut times: Vec<Duration>) {
    times.sort_unstable();
    let calls = u64::try_from(times.len()).unwrap() * weight;
    let rate = u128::from(calls) * 1_000_000 / took.as_micros().max(1);
    let at = |percent: usize| {
        let nanos = times.get((times.len() - 1) * percent / 100).unwrap().as_nanos();
        format!("{}.{}", nanos / 1000, nanos % 1000 / 100)
    };
    println!("{name:<44} {rate:>10} {:>9} {:>9}", at(50), at(99));
}

fn start(dir: &Path, socket: &Path) -> Child {
    let (state, pin) = (dir.join("state"), dir.join("pin"));
    std::fs::write(&pin, PIN).unwrap();
    let init = Command::new(PROGRAM)
        .args(["init", "--realm", "test", "--state"])
        .arg(&state)
        .arg("--pin-file")
        .arg(&pin)
        .stdout(Stdio::null())
        .status();
    assert!(init.unwrap().success());
    let mut serve = Command::new(PROGRAM);
    serve.args(["serve", "--state"]).arg(&state).arg("--socket").arg(socket).stdout(Stdio::piped());
    let mut daemon = serve.spawn().unwrap();
    BufReader::new(daemon.stdout.take().unwrap()).read_line(&mut String::new()).unwrap();
    daemon
}

fn first(label: KeyLabel) -> KeyRef {
    label.at(KeyVersion::FIRST)
}
