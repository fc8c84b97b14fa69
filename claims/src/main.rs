//! The command line of the companion. Exit 0 on success, 1 on failure, 2 on misuse.

use claims::access::Expected;
use claims::database::Database;
use claims::demo_data;
use claims::door::Door;
use claims::gateway::Gateway;
use claims::payment::Cashier;
use claims::routes::Desk;
use claims::settings::{self, Settings, SettingsError};
use clap::{Parser, Subcommand, ValueEnum};
use serde_json::json;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use tokens::Tenant;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::task::TaskTracker;

/// The companion of pangate: accounts, statements and a ledger, by token only.
///
/// Settings are one TOML file; each is overridable by an environment variable CLAIMS_SECTION__KEY, for example
/// CLAIMS_SERVER__LISTEN. Secrets are given by file.
///
/// [server] listen, tls_cert, tls_key
/// [store] url = "sqlite:PATH"
/// [gateway] url, ca, key_file, timeout_ms (default 10000)
/// [access] gateway_token_file, reader_token_file
///
/// Relative paths are taken from the settings file's folder.
#[derive(Parser)]
#[command(name = "claims", version, verbatim_doc_comment)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Create the database, or bring an existing one up to date.
    Init {
        /// The settings file.
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        /// How to print the outcome.
        #[arg(long, value_enum, default_value_t = Format::Text)]
        format: Format,
    },
    /// Serve until SIGTERM or SIGINT. Prints one JSON line on standard output when ready; logs go to standard error.
    Serve {
        /// The settings file.
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
    },
    /// Open a demonstration account with one statement of 48200.00 USD for a tenant.
    Seed {
        /// The settings file.
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        /// Whose account: a-z, 0-9 and -, starting with a letter.
        #[arg(long, value_parser = |name: &str| Tenant::parse(name))]
        tenant: Tenant,
        /// How to print the identifiers.
        #[arg(long, value_enum, default_value_t = Format::Text)]
        format: Format,
    },
}

#[derive(Clone, Copy, ValueEnum)]
enum Format {
    Text,
    Json,
}

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let code = if error.use_stderr() { 2 } else { 0 };
            let _ = error.print();
            return ExitCode::from(code);
        }
    };
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "claims: {error}");
            let misuse = error.downcast_ref::<SettingsError>().is_some();
            ExitCode::from(if misuse { 2 } else { 1 })
        }
    }
}

type Failure = Box<dyn std::error::Error>;

fn run(cli: Cli) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    match cli.command {
        Command::Init { config, format } => runtime.block_on(init(&read(&config)?, format)),
        Command::Serve { config } => runtime.block_on(serve(&read(&config)?)),
        Command::Seed { config, tenant, format } => runtime.block_on(seed(&read(&config)?, &tenant, format)),
    }
}

fn read(config: &std::path::Path) -> Result<Settings, SettingsError> {
    let variables = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    Settings::read(config, variables)
}

async fn init(settings: &Settings, format: Format) -> Result<(), Failure> {
    Database::create(&settings.database).await?.close().await;
    match format {
        Format::Text => say("The database is ready.")?,
        Format::Json => say(&json!({ "initialized": true }).to_string())?,
    }
    Ok(())
}

async fn seed(settings: &Settings, tenant: &Tenant, format: Format) -> Result<(), Failure> {
    let database = Database::open(&settings.database).await?;
    let seeded = demo_data::seed(&database, tenant).await?;
    database.close().await;
    match format {
        Format::Text => say(&format!(
            "tenant     {tenant}\naccount    {}\nstatement  {}\nbalance    {} {}",
            seeded.account,
            seeded.statement,
            seeded.balance,
            seeded.balance.currency()
        ))?,
        Format::Json => say(&json!({
            "tenant": tenant.as_str(),
            "account": seeded.account.as_str(),
            "statement": seeded.statement.as_str(),
            "balance": seeded.balance.to_string(),
            "currency": seeded.balance.currency().code(),
        })
        .to_string())?,
    }
    Ok(())
}

async fn serve(settings: &Settings) -> Result<(), Failure> {
    tracing_subscriber::fmt()
        .json()
        .with_writer(std::io::stderr)
        .with_env_filter(tracing_subscriber::EnvFilter::new("warn,claims=info"))
        .init();
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;

    let credential = settings::credential("gateway.key_file", &settings.gateway_key_file)?;
    let authority = settings::certificates("gateway.ca", &settings.gateway_ca)?;
    let gateway = Gateway::new(&settings.gateway_url, authority, &credential, settings.gateway_timeout)?;
    let expected = |key, file| Ok::<_, SettingsError>(Expected::new(&settings::credential(key, file)?));
    let gateway_access = expected("access.gateway_token_file", &settings.gateway_token_file)?;
    let reader_access = expected("access.reader_token_file", &settings.reader_token_file)?;
    let certificates = settings::certificates("server.tls_cert", &settings.tls_cert)?;
    let key = settings::private_key("server.tls_key", &settings.tls_key)?;

    let database = Database::open(&settings.database).await?;
    let cashier = Cashier::new(database.clone(), gateway);
    let desk = Desk { database, cashier, gateway_access, reader_access, under_way: TaskTracker::new() };
    let door = Door::open(settings.listen, certificates, key).await?;
    say(&json!({ "ready": true, "listen": door.address().to_string() }).to_string())?;
    tracing::info!(event = "serving", listen = %door.address());
    let stop = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    let desk = Arc::new(desk);
    let rounds = tokio::spawn(finish_left_behind(Arc::clone(&desk)));
    door.serve(desk, stop).await;
    rounds.abort();
    tracing::info!(event = "stopped");
    Ok(())
}

/// Every few seconds: payments that a crash or a lost answer left half done.
async fn finish_left_behind(desk: Arc<Desk>) {
    let mut rounds = tokio::time::interval(Duration::from_secs(5));
    loop {
        rounds.tick().await;
        if let Err(error) = desk.cashier.finish_left_behind().await {
            tracing::warn!(event = "left_behind_not_read", what = %error);
        }
    }
}

/// One line on standard output, sent at once: whoever started this process may be waiting for it.
fn say(line: &str) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()
}
