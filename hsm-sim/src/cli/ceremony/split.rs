//! `hsm-sim ceremony split`.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, BufRead, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use hsm::Approval;
use hsm_sim::ceremony::{Custodian, Custody, Share, Transcript, to_hex, write_share};
use hsm_sim::daemon::harden_process;
use hsm_sim::state::{Home, Officers, StateError};
use zeroize::Zeroizing;

use super::super::people::{Person, officers_by_pin};
use super::super::{Failure, Format, read_ticket, say, say_json, stopped};

#[derive(Args)]
pub(in crate::cli) struct Arguments {
    /// Directory of the device; its daemon must be stopped
    #[arg(long, value_name = "DIR")]
    state: PathBuf,
    /// Second place of the state's generation, where the device has one
    #[arg(long, value_name = "PATH")]
    nv: Option<PathBuf>,
    /// How many custodians open the device together
    #[arg(long, value_name = "M", default_value_t = 3)]
    threshold: u8,
    /// How many shares; checked against the custodians that are named [default: as many]
    #[arg(long, value_name = "N")]
    shares: Option<u8>,
    /// A custodian: 1 to 32 of a-z, 0-9, dot and hyphen; repeat for each, up to 16
    #[arg(long, value_name = "NAME", required = true)]
    custodian: Vec<Custodian>,
    /// Directory for one file a custodian (0600) and the transcript; made with mode 0700 when absent. Without it each
    /// share is shown on the screen, one after the other
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Where the signed transcript goes [default: transcript.txt in --out, else in the current directory]
    #[arg(long, value_name = "FILE")]
    transcript: Option<PathBuf>,
    /// One of two officers and the file with the officer's PIN; repeat for the second
    #[arg(long, value_name = "NAME=FILE", conflicts_with = "ticket")]
    officer: Vec<Person>,
    /// Instead of PINs: a file with an officer's ticket for `export-shares` (`hsm-sim approve`); repeat for the second
    #[arg(long, value_name = "FILE")]
    ticket: Vec<PathBuf>,
    /// Of a device that is split already: a share file to open it with; repeat until there are enough
    #[arg(long, value_name = "FILE")]
    share_file: Vec<PathBuf>,
    /// How to print
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

pub(super) fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let _ = harden_process();
    if arguments.shares.is_some_and(|count| usize::from(count) != arguments.custodian.len()) {
        return Err(Failure::new(
            "--shares must be the number of custodians named: everybody holds one share",
        ));
    }
    let mut home = stopped::take(&arguments.state, arguments.nv.as_deref(), &arguments.share_file)?;
    let root = home.root_key().map_err(Failure::new)?;
    let mut state = home.load(&root).map_err(Failure::new)?;
    if state.latched.is_some() {
        return Err(Failure::new(StateError::Zeroised));
    }

    let names = agreed(arguments, &home, &mut state, &root)?;
    let what = format!("split {} of {}", arguments.threshold, arguments.custodian.len());
    Home::note_ceremony(&mut state, None, &what);
    let identity = Zeroizing::new(*state.secrets.identity.expose());
    let out = arguments.out.as_deref();
    let custody =
        home.split_root(&mut state, arguments.threshold, &arguments.custodian, |_, shares| match out {
            Some(dir) => to_files(dir, shares),
            None => to_screen(shares),
        })?;
    let transcript = Transcript::of_split(&custody, &names, "device", &identity);
    let fallback = out.unwrap_or(Path::new(".")).join("transcript.txt");
    let path = arguments.transcript.as_ref().unwrap_or(&fallback);
    write_private(path, transcript.write().as_bytes())?;
    report(arguments, &custody, path, &transcript)?;
    Ok(ExitCode::SUCCESS)
}

fn agreed(
    arguments: &Arguments,
    home: &Home,
    state: &mut hsm_sim::state::State,
    root: &hsm_sim::state::RootKey,
) -> Result<Vec<String>, Failure> {
    let names = if let [first, second] = arguments.ticket.as_slice() {
        let approval = Approval::Tickets { first: read_ticket(first)?, second: read_ticket(second)? };
        home.officers_agree(state, root, &Officers::Tickets(&approval))
    } else {
        let pins = officers_by_pin(&arguments.officer)?;
        home.officers_agree(state, root, &Officers::Pins(pins.borrow()))
    };
    names.map_err(Failure::new)
}

fn to_files(dir: &Path, shares: Vec<Share>) -> Result<(), Failure> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(dir);
    made.map_err(|error| Failure::new(format!("cannot make {}: {error}", dir.display())))?;
    for share in shares {
        write_private(&dir.join(format!("share-{}.txt", share.custodian())), write_share(&share).as_bytes())?;
    }
    File::open(dir)
        .and_then(|dir| dir.sync_all())
        .map_err(|error| Failure::new(format!("cannot sync {}: {error}", dir.display())))
}

/// Each custodian alone before the screen; what was shown is cleared before the next one comes.
fn to_screen(shares: Vec<Share>) -> Result<(), Failure> {
    for share in shares {
        say(&format!("{}: come alone, and press Enter to see your share.", share.custodian()))?;
        pause()?;
        say(&write_share(&share))?;
        say("Copy every line, compare the check value, and press Enter; the screen is cleared.")?;
        pause()?;
        // Clear the scroll-back, the screen, and go home (ECMA-48).
        say("\u{1b}[3J\u{1b}[2J\u{1b}[H")?;
    }
    Ok(())
}

fn pause() -> Result<(), Failure> {
    let mut line = String::new();
    match io::stdin().lock().read_line(&mut line) {
        Ok(0) => Err(Failure::new("the input ended before every custodian had a share; nothing was changed")),
        Ok(_) => Ok(()),
        Err(error) => Err(Failure::new(error)),
    }
}

/// Never over a file that is there: it may be somebody's only share of an earlier set.
fn write_private(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let mut options = OpenOptions::new();
    options.create_new(true).write(true).mode(0o600);
    let written =
        options.open(path).and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()));
    written.map_err(|error| Failure::new(format!("cannot write {}: {error}", path.display())))
}

fn report(
    arguments: &Arguments,
    custody: &Custody,
    path: &Path,
    transcript: &Transcript,
) -> Result<(), Failure> {
    let set = &custody.set;
    if arguments.format == Format::Json {
        let holders = custody.holders.iter();
        let holders = holders.map(
            |(name, check)| serde_json::json!({ "custodian": name.as_str(), "check": check.to_string() }),
        );
        return say_json(&serde_json::json!({
            "set": to_hex(&set.id), "device": to_hex(&set.serial), "realm": set.realm.as_str(),
            "threshold": set.threshold, "shares": holders.collect::<Vec<_>>(),
            "root_check": set.root_kcv.to_string(), "transcript": path.display().to_string(),
            "signer": to_hex(&transcript.public()),
        }));
    }
    say(transcript.body().trim_end())?;
    say(&format!("transcript in {}; root.key is gone", path.display()))?;
    say(
        "every custodian takes one share, alone; keep no copy here. Older copies of root.key open older states only",
    )
}
