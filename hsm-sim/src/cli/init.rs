//! `hsm-sim init`: makes a device.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use hsm::Realm;
use hsm_sim::ceremony::to_hex;
use hsm_sim::daemon::harden_process;
use hsm_sim::device::primitives::public_key;
use hsm_sim::device::{Founding, Role};
use hsm_sim::log::LogPolicy;
use hsm_sim::state::{Home, Periods, State};
use secrecy::ExposeSecret;

use super::people::Person;
use super::{Failure, Format, RealmName, read_pin, say, say_json};

#[derive(Args)]
pub(super) struct Arguments {
    /// Directory for the state and the root key; made with mode 0700 when absent
    #[arg(long, value_name = "DIR")]
    state: PathBuf,
    /// File that holds the PIN, 6 to 128 bytes
    #[arg(long, value_name = "FILE")]
    pin_file: PathBuf,
    /// How to print
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
    /// Second place for the state's generation, best on another mount; `serve` must then name it too
    #[arg(long, value_name = "PATH")]
    nv: Option<PathBuf>,
    /// Which money the device is for; enters everything it seals and cannot be changed later
    #[arg(long, value_enum)]
    realm: RealmName,
    /// A security officer and the file that holds the officer's PIN; repeat for more. Keys change only when two
    /// officers agree, so name at least two
    #[arg(long, value_name = "NAME=FILE")]
    officer: Vec<Person>,
    /// An auditor, who takes the device's log away, and the file that holds the auditor's PIN; repeat for more
    #[arg(long, value_name = "NAME=FILE")]
    auditor: Vec<Person>,
    /// Days a new KEK may seal, 0 for ever; what it sealed it opens after that too
    #[arg(long, value_name = "DAYS", default_value_t = 730)]
    kek_days: u32,
    /// Days a new fingerprint key may be used, 0 for ever: lookups under it end with it
    #[arg(long, value_name = "DAYS", default_value_t = 0)]
    mac_days: u32,
    /// Days a new signing key may sign, 0 for ever
    #[arg(long, value_name = "DAYS", default_value_t = 1095)]
    sign_days: u32,
    /// Entries of the device's log that wait to be taken away
    #[arg(long, value_name = "N", default_value_t = 1024,
        value_parser = clap::value_parser!(u16).range(i64::from(LogPolicy::MIN_CAPACITY)..=i64::from(LogPolicy::MAX_CAPACITY)))]
    log_entries: u16,
    /// When the log is full, drop its oldest entries instead of refusing to work
    #[arg(long)]
    log_overwrites: bool,
    /// Let auditors alone take the log away, and not the operator
    #[arg(long, requires = "auditor")]
    log_auditor_only: bool,
}

pub(super) fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let _ = harden_process();
    let pin = read_pin(&arguments.pin_file)?;
    let realm = Realm::from(arguments.realm);
    let mut founding =
        Founding::with_operator(realm, pin.expose_secret().as_bytes()).map_err(Failure::new)?;
    for (list, role) in [(&arguments.officer, Role::Officer), (&arguments.auditor, Role::Auditor)] {
        for person in list {
            let pin = read_pin(&person.pin_file)?;
            founding.add(&person.name, role, pin.expose_secret().as_bytes()).map_err(Failure::new)?;
        }
    }
    let days = |days: u32| (days > 0).then(|| u64::from(days) * 24 * 60 * 60);
    founding.periods = Periods {
        kek: days(arguments.kek_days),
        mac: days(arguments.mac_days),
        sign: days(arguments.sign_days),
    };
    founding.log.capacity = arguments.log_entries;
    founding.log.blocks = !arguments.log_overwrites;
    founding.log.operator_drains = !arguments.log_auditor_only;
    founding.firmware = Some(super::firmware::running()?);
    let mut home = Home::open(&arguments.state).map_err(Failure::new)?;
    if let Some(nv) = &arguments.nv {
        home = home.guarded_by(nv);
    }
    home.initialise(founding).map_err(Failure::new)?;
    let made = home.root_key().and_then(|root| home.load(&root)).map_err(Failure::new)?;
    report(&made, arguments.format)?;
    Ok(ExitCode::SUCCESS)
}

/// What to note down elsewhere: with the device's public key its log and its ceremonies are checked later.
fn report(made: &State, format: Format) -> Result<(), Failure> {
    let (serial, key) = (to_hex(&made.serial), to_hex(&public_key(made.secrets.identity.expose())));
    if format == Format::Json {
        let keys = made.objects.iter().map(|object| {
            serde_json::json!({ "key": object.facts.key.to_string(), "kcv": object.facts.kcv.to_string() })
        });
        return say_json(&serde_json::json!({
            "device": serial, "realm": made.realm.as_str(), "device_key": key, "keys": keys.collect::<Vec<_>>(),
        }));
    }
    say("device made: kek/card#1 mac/pan#1 mac/request#1 sign/audit#1")?;
    say(&format!("note down elsewhere: device {serial}, its public key {key}"))?;
    if made.accounts.iter().filter(|account| account.role == Role::Officer).count() < 2 {
        say(
            "no two officers were named (--officer), so no key of this device can ever be rotated or destroyed",
        )?;
    }
    say("back up the state directory; without root.key and state.bin together its keys are gone")
}
