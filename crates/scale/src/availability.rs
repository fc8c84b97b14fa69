//! Minutes a year without service: what happens how often, and for how long nobody is served. The frequencies are
//! assumptions; the durations rest on what the failover tests see and on what the operator's tools are set to.

use crate::demand::Demand;

/// Something after which some requests are not served for a while.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Outage {
    /// What happens.
    pub what: &'static str,
    /// How often in a year.
    pub a_year: f64,
    /// Seconds until all is served again.
    pub seconds: f64,
    /// The share of requests that is not served meanwhile.
    pub share: f64,
    /// What the figures rest on.
    pub because: &'static str,
}

/// The year.
#[derive(Debug, Clone, PartialEq)]
pub struct Availability {
    /// What is counted.
    pub outages: Vec<Outage>,
    /// Minutes without service in a year.
    pub minutes: f64,
    /// Minutes that the promise leaves.
    pub allowed: f64,
}

impl Availability {
    /// With so many gateways and databases.
    #[must_use]
    pub fn of(demand: &Demand, gateways: f64, databases: f64) -> Availability {
        let each = |count: f64| 1.0 / count;
        let outages = vec![
            Outage {
                what: "a gateway's host dies",
                a_year: 2.0 * gateways,
                seconds: 10.0,
                share: each(gateways),
                because: "the balancer asks `/readyz` every 3 s and takes it out after 3 failures",
            },
            Outage {
                what: "a release: gateways one after the other",
                a_year: 24.0 * gateways,
                seconds: 0.0,
                share: each(gateways),
                because: "taken out of the balancer, drained (`server.drain_seconds`), started anew",
            },
            Outage {
                what: "a primary dies",
                a_year: 2.0 * databases,
                seconds: 45.0,
                share: each(databases),
                because: "Patroni's `ttl` of 30 s, promotion, 0.1 s until the gateways have found it",
            },
            Outage {
                what: "a switchover: maintenance, minor releases",
                a_year: 12.0 * databases,
                seconds: 10.0,
                share: each(databases),
                because: "the old primary stops in order, the standby is level",
            },
            Outage {
                what: "an HSM dies",
                a_year: 1.0,
                seconds: 15.0,
                share: 0.5,
                because: "its client goes to the other one; data keys in memory go on opening cards",
            },
            Outage {
                what: "the region's network or power",
                a_year: 1.0,
                seconds: 900.0,
                share: 1.0,
                because: "the whole region: what is left of the promise after everything above is for this",
            },
        ];
        let minutes =
            outages.iter().map(|outage| outage.a_year * outage.seconds * outage.share).sum::<f64>() / 60.0;
        let allowed = (1.0 - demand.availability) * 365.25 * 24.0 * 60.0;
        Availability { outages, minutes, allowed }
    }
}
