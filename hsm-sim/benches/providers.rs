//! What a call costs on each provider, in one run on one machine: the simulator over its daemon's real socket, and
//! SoftHSM2 through its PKCS#11 library. A tokenize needs one MAC (its card's fingerprint); a charge in a fresh gateway
//! opens one data key first. One caller, then sixteen through the queue.
//!
//! Run with `cargo bench -p hsm-sim --bench providers`; needs softhsm2. Prints a table; asserts nothing.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a bench: a failure must stop it, a table is its product"
)]

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use hsm::pkcs11::{Pkcs11, Pkcs11Settings};
use hsm::{
    Context, Hsm, HsmError, HsmQueue, KeyKind, KeyLabel, KeyRef, KeyVersion, QueueSettings, Realm, WrapSuite,
};
use hsm_sim::client::SimClient;
use secrecy::SecretString;

const PIN: &str = "13579024";
const PROGRAM: &str = env!("CARGO_BIN_EXE_hsm-sim");
const MODULE: &str = "/usr/lib/softhsm/libsofthsm2.so";
const RUN: Duration = Duration::from_secs(2);

type Sessions = Box<dyn Fn() -> Result<Box<dyn Hsm>, HsmError> + Send + Sync>;

fn main() {
    // The library takes its settings from the environment, which a process does not change for itself.
    let Some(dir) = std::env::var_os("PANGATE_BENCH_DIR").map(PathBuf::from) else {
        let dir = tempfile::tempdir().unwrap();
        let mut again = Command::new(std::env::current_exe().unwrap());
        again.env("PANGATE_BENCH_DIR", dir.path()).env("SOFTHSM2_CONF", dir.path().join("softhsm2.conf"));
        assert!(again.status().unwrap().success());
        return;
    };
    println!("{:<12} {:<34} {:>10} {:>9} {:>9}", "provider", "call", "per second", "p50 us", "p99 us");
    let mut daemon = start(&dir);
    let socket = dir.join("run/hsm.sock");
    measure("simulator", || Box::new(SimClient::factory(&socket, SecretString::from(PIN))));
    daemon.kill().unwrap();
    daemon.wait().unwrap();
    let token = token(&dir);
    measure("softhsm2", || Box::new(token.clone().sessions()));
}

fn measure(provider: &str, sessions: impl Fn() -> Sessions) {
    let (kek, mac, sign) = (first(KeyLabel::KEK_CARD), first(KeyLabel::MAC_PAN), first(KeyLabel::SIGN_AUDIT));
    let context =
        Context::data_key(Realm::Test, &kek, WrapSuite::Aes256GcmData, [7; 16], "bench", "card", 1).unwrap();
    let session = sessions()().unwrap();
    let message = [0x42; 48];
    let batch: Vec<&[u8]> = vec![&message; 64];
    let (_, sealed) = session.new_data_key(&kek, &context).unwrap();
    let row = |name: &str, weight: u64, call: &dyn Fn()| {
        for _ in 0..100 {
            call();
        }
        let (mut times, begun) = (Vec::new(), Instant::now());
        while begun.elapsed() < RUN {
            let one = Instant::now();
            call();
            times.push(one.elapsed());
        }
        print(provider, name, weight, begun.elapsed(), times);
    };
    row("MAC", 1, &|| session.mac(&mac, &message).map(drop).unwrap());
    row("MAC, of 64 at once", 64, &|| session.mac_many(&mac, &batch).map(drop).unwrap());
    row("data key, made", 1, &|| session.new_data_key(&kek, &context).map(drop).unwrap());
    row("data key, opened", 1, &|| session.open_data_key(&sealed, &context).map(drop).unwrap());
    row("data key, resealed", 1, &|| {
        session.reseal_data_key(&sealed, &context, &kek, &context).map(drop).unwrap();
    });
    row("signature of 200 bytes", 1, &|| session.sign(&sign, &[1; 200]).map(drop).unwrap());
    queued(provider, sessions(), &mac);
}

fn queued(provider: &str, sessions: Sessions, mac: &KeyRef) {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_time().build().unwrap();
    let queue = HsmQueue::start(QueueSettings { workers: 2, ..QueueSettings::default() }, sessions).unwrap();
    let begun = Instant::now();
    let times = runtime.block_on(async {
        let tasks: Vec<_> = (0..16)
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
    print(provider, "MAC, queue of 2, 16 callers", 1, begun.elapsed(), times);
}

fn print(provider: &str, name: &str, weight: u64, took: Duration, mut times: Vec<Duration>) {
    times.sort_unstable();
    let calls = u64::try_from(times.len()).unwrap() * weight;
    let rate = u128::from(calls) * 1_000_000 / took.as_micros().max(1);
    let at = |percent: usize| {
        let nanos = times.get((times.len() - 1) * percent / 100).unwrap().as_nanos();
        format!("{}.{}", nanos / 1000, nanos % 1000 / 100)
    };
    println!("{provider:<12} {name:<34} {rate:>10} {:>9} {:>9}", at(50), at(99));
}

fn start(dir: &Path) -> Child {
    let (state, pin) = (dir.join("state"), dir.join("pin"));
    std::fs::write(&pin, PIN).unwrap();
    let mut init = Command::new(PROGRAM);
    init.args(["init", "--realm", "test", "--state"]).arg(&state).arg("--pin-file").arg(&pin);
    assert!(init.stdout(Stdio::null()).status().unwrap().success());
    let mut serve = Command::new(PROGRAM);
    serve.args(["serve", "--state"]).arg(&state).arg("--socket").arg(dir.join("run/hsm.sock"));
    let mut daemon = serve.stdout(Stdio::piped()).spawn().unwrap();
    BufReader::new(daemon.stdout.take().unwrap()).read_line(&mut String::new()).unwrap();
    daemon
}

fn token(dir: &Path) -> Pkcs11 {
    std::fs::create_dir(dir.join("tokens")).unwrap();
    let settings = format!("directories.tokendir = {}/tokens/\nlog.level = ERROR\n", dir.display());
    std::fs::write(dir.join("softhsm2.conf"), settings).unwrap();
    let mut init = Command::new("softhsm2-util");
    init.args(["--init-token", "--free", "--label", "bench", "--so-pin", "12345678", "--pin", PIN]);
    assert!(init.stdout(Stdio::null()).status().unwrap().success());
    let module = PathBuf::from(MODULE);
    let (token_label, pin) = ("bench".to_owned(), SecretString::from(PIN));
    let token = Pkcs11::new(Pkcs11Settings { module, token_label, pin, realm: Realm::Test }).unwrap();
    let keys = [
        (KeyLabel::KEK_CARD, KeyKind::Kek256),
        (KeyLabel::MAC_PAN, KeyKind::Mac256),
        (KeyLabel::SIGN_AUDIT, KeyKind::SignEd25519),
    ];
    token.prepare(&keys).unwrap();
    token
}

fn first(label: KeyLabel) -> KeyRef {
    label.at(KeyVersion::FIRST)
}
