//! What is asked of an installation, and what its hosts can do: everything here is an assumption that a planner sets.

use clap::Args;

/// What is asked of one region.
#[derive(Debug, Clone, PartialEq, Args)]
pub struct Demand {
    /// Cards in the vault
    #[arg(long, default_value_t = 200e6)]
    pub cards: f64,
    /// New tokens a second in the busiest minute
    #[arg(long, default_value_t = 5000.0)]
    pub tokens: f64,
    /// The share of cards and new tokens that are for `reuse`, which need a fingerprint
    #[arg(long, default_value_t = 0.5)]
    pub reuse: f64,
    /// Tokens that are looked up a second in the busiest minute
    #[arg(long, default_value_t = 5000.0)]
    pub reads: f64,
    /// The share of the busiest minute's load that a whole year averages
    #[arg(long, default_value_t = 0.05)]
    pub average: f64,
    /// The share of the time that service is promised
    #[arg(long, default_value_t = 0.9999)]
    pub availability: f64,
}

impl Default for Demand {
    fn default() -> Demand {
        Demand {
            cards: 200e6,
            tokens: 5000.0,
            reuse: 0.5,
            reads: 5000.0,
            average: 0.05,
            availability: 0.9999,
        }
    }
}

/// What hosts can do, and how far they are to be loaded.
#[derive(Debug, Clone, PartialEq, Args)]
pub struct Host {
    /// The share of a part's capacity that the busiest minute may take
    #[arg(long, default_value_t = 0.6)]
    pub utilisation: f64,
    /// Processor cores of a gateway's host
    #[arg(long, default_value_t = 8.0)]
    pub gateway_cores: f64,
    /// Processor cores of a database server
    #[arg(long, default_value_t = 32.0)]
    pub database_cores: f64,
    /// Memory of a database server, in GiB
    #[arg(long, default_value_t = 256.0)]
    pub database_gib: f64,
    /// What the disk under the write-ahead log takes, and the line to the standby, in MiB a second
    #[arg(long, default_value_t = 500.0)]
    pub wal_mib: f64,
    /// Key uses a second of one HSM
    #[arg(long, default_value_t = 20000.0)]
    pub hsm_operations: f64,
    /// `max_connections` of a database server
    #[arg(long, default_value_t = 500.0)]
    pub database_connections: f64,
    /// Seconds from one checkpoint of the database to the next
    #[arg(long, default_value_t = 1800.0)]
    pub checkpoint_seconds: f64,
}

impl Default for Host {
    fn default() -> Host {
        Host {
            utilisation: 0.6,
            gateway_cores: 8.0,
            database_cores: 32.0,
            database_gib: 256.0,
            wal_mib: 500.0,
            hsm_operations: 20000.0,
            database_connections: 500.0,
            checkpoint_seconds: 1800.0,
        }
    }
}
