//! `pangate demo`: three real processes on loopback, one journey of a card, and what each party saw of it. Here is the
//! order of things; the rooms below make the folder, start and stop the processes, and play the journey.

mod attached;
mod folder;
mod ground;
mod journey;
mod process;
mod rotation;
mod table;
mod vkey;
mod witness;

use super::{Format, fail, say};
use clap::Args;
use folder::Folder;
use ground::Ground;
use process::Processes;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use table::Table;
use tokio::signal::unix::{Signal, SignalKind, signal};

const EXPLAINED: &str = "\
Starts hsm-sim, the gateway and the companion as three real processes on loopback, with fresh certificates, keys and
credentials, and plays the journey of a card: a portal pays a statement by card, staff refunds a part of it, an auditor
lists the keys and rotates two of them with an administrator, reads the log and verifies it, and in the end every file that the processes wrote is searched for card
numbers. Then the demo keeps serving until it is interrupted. DIR/demo.env holds what is needed to go on by hand, as
KEY=value for a shell.

Everything is in the test realm: only published test cards, and no money moves.

Exit status: 0 when every step held; 1 when one did not, or a process ended by itself; 2 when the demo could not start.";

/// Arguments of `pangate demo`.
#[derive(Debug, Args)]
#[command(after_long_help = EXPLAINED)]
pub struct Arguments {
    /// Folder for everything that is made; a folder of an earlier demo is replaced, any other must be empty.
    #[arg(long, default_value = "./pangate-demo")]
    dir: PathBuf,
    /// Loopback address of the gateway; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:8443")]
    listen: SocketAddr,
    /// Stop after the journey; exit 0 only if every step held.
    #[arg(long)]
    once: bool,
    /// Becomes the program that follows, and ends when the process of this id ends. For the demo's own use.
    #[arg(long, hide = true, requires = "program")]
    attached_to: Option<i32>,
    /// The program to become.
    #[arg(last = true, hide = true, requires = "attached_to")]
    program: Vec<OsString>,
}

/// Runs the demo.
pub async fn run(arguments: Arguments, format: Format) -> ExitCode {
    if let Some(parent) = arguments.attached_to {
        return fail(format, &attached::become_program(parent, &arguments.program), 2);
    }
    let folder = match Folder::prepare(&arguments.dir) {
        Ok(folder) => folder,
        Err(error) => return fail(format, &error.to_string(), 2),
    };
    let mut stop = match Stop::listen() {
        Ok(stop) => stop,
        Err(error) => return fail(format, &format!("signals: {error}"), 2),
    };
    let mut processes = Processes::default();
    let ended = tokio::select! {
        ended = play(&arguments, format, &folder, &mut processes) => ended,
        () = stop.asked() => Ended::Stopped,
    };
    let (status, message) = match ended {
        Ended::Failed(message) => (2, Some(message)),
        Ended::Stopped => (1, Some("stopped before the journey was over".to_owned())),
        Ended::Played { held } if arguments.once => (u8::from(!held), None),
        Ended::Played { held } => {
            tokio::select! {
                name = processes.any_ends() => (1, Some(format!("{name} ended by itself; see {}", folder.logs().display()))),
                () = stop.asked() => (u8::from(!held), None),
            }
        }
    };
    processes.stop().await;
    match message {
        Some(message) => fail(format, &message, status),
        None => ExitCode::from(status),
    }
}

enum Ended {
    Played { held: bool },
    Failed(String),
    Stopped,
}

async fn play(arguments: &Arguments, format: Format, folder: &Folder, processes: &mut Processes) -> Ended {
    let ground = match Ground::lay(folder, arguments.listen, processes).await {
        Ok(ground) => ground,
        Err(message) => return Ended::Failed(message),
    };
    let mut table = Table::new(format);
    let journey = journey::play(&ground, folder, &mut table).await;
    match journey {
        Ok(charge) => {
            if let Err(error) = ground.add_charge(folder, &charge) {
                return Ended::Failed(error);
            }
        }
        Err(step) => table.broken(&step),
    }
    let held = table.all_held();
    conclude(arguments, format, folder, &ground, held);
    Ended::Played { held }
}

fn conclude(arguments: &Arguments, format: Format, folder: &Folder, ground: &Ground, held: bool) {
    let env = folder.env();
    if format == Format::Json {
        return say(
            &serde_json::json!({ "held": held, "env": env, "url": ground.url, "serving": !arguments.once })
                .to_string(),
        );
    }
    say(if held { "every step held" } else { "NOT every step held; the steps marked ✘ say which" });
    if !arguments.once {
        say(&format!("serving on {} until interrupted; go on by hand with:", ground.url));
        say(&format!("  set -a; . {}; set +a", env.display()));
        say(
            "  curl --cacert \"$PANGATE_CA\" -H \"Authorization: Bearer $PANGATE_AUDITOR_TOKEN\" \"$PANGATE_URL/v1/audit/entries\"",
        );
    }
}

/// The signals that end the demo.
struct Stop([Signal; 3]);

impl Stop {
    fn listen() -> std::io::Result<Stop> {
        Ok(Stop([
            signal(SignalKind::interrupt())?,
            signal(SignalKind::terminate())?,
            signal(SignalKind::hangup())?,
        ]))
    }

    async fn asked(&mut self) {
        let [interrupt, terminate, hangup] = &mut self.0;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
    }
}
