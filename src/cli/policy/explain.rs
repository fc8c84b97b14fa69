//! `pangate policy explain`: one question, the decision, the rule, and what would satisfy it.

use crate::act;
use crate::caller::Role;
use crate::cli::{Format, fail, say};
use crate::governance::{Bundle, Circumstances, Decided, Decision, Ineffective, Relation, Why};
use crate::record::now_us;
use clap::{Args, ValueEnum};
use serde_json::json;
use std::net::IpAddr;
use std::process::ExitCode;
use tokens::{Currency, Money, Principal};

/// One question to the policy.
#[derive(Debug, Args)]
pub(super) struct Question {
    /// Who: a role, or a role and a name, for instance staff:anna.
    #[arg(long = "as", value_name = "ROLE[:NAME]")]
    who: String,
    /// The act, for instance refund; one that is not known is answered with the list.
    #[arg(long)]
    action: String,
    /// How the credential stands to the tenant that the act concerns.
    #[arg(long, value_enum, default_value_t = Tenancy::Own)]
    tenant: Tenancy,
    /// The amount of money that the act moves, as a decimal number.
    #[arg(long)]
    amount: Option<String>,
    /// The amount's currency.
    #[arg(long, default_value = "USD")]
    currency: String,
    /// Seconds since the second factor was proven; without it, none was.
    #[arg(long, value_name = "SECONDS")]
    mfa_age: Option<u32>,
    /// How many other people agreed.
    #[arg(long, default_value_t = 0)]
    approvals: u32,
    /// The network address that the request comes from.
    #[arg(long, value_name = "ADDRESS")]
    source: Option<IpAddr>,
    /// When, in unix seconds; now, if it is not given.
    #[arg(long, value_name = "SECONDS")]
    time: Option<i64>,
}

/// A relation to a tenant, as the command line spells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Tenancy {
    /// The credential is bound to the tenant.
    Own,
    /// The credential is bound to another tenant.
    Other,
    /// The credential is of the whole installation.
    None,
}

pub(super) fn run(question: &Question, bundle: &Bundle, format: Format) -> ExitCode {
    match ask(question, bundle) {
        Ok(decision) => report(question, &decision, format),
        Err(message) => fail(format, &message, 2),
    }
}

fn ask(question: &Question, bundle: &Bundle) -> Result<Decided, String> {
    let (role, name) = question.who.split_once(':').unwrap_or((&question.who, "somebody"));
    let role = Role::from_name(role).ok_or_else(|| {
        format!("there is no role `{role}`; use one of {}", Role::ALL.map(Role::as_str).join(", "))
    })?;
    let name = Principal::parse(name).map_err(|error| error.to_string())?;
    if !act::ALL.iter().any(|(known, _)| *known == question.action) {
        let known: Vec<&str> = act::ALL.iter().map(|(known, _)| *known).collect();
        return Err(format!("there is no act `{}`; use one of {}", question.action, known.join(", ")));
    }
    let relation = match question.tenant {
        Tenancy::Own => Relation::Own,
        Tenancy::Other => Relation::Other,
        Tenancy::None => Relation::None,
    };
    let circumstances = Circumstances {
        mfa_age: question.mfa_age.map(i64::from),
        amount: amount(question)?,
        approvals: question.approvals.into(),
        source: question.source,
        ..Circumstances::at(question.time.unwrap_or_else(|| now_us().div_euclid(1_000_000)))
    };
    Ok(bundle.ask(role, name.as_str(), &question.action, relation, &circumstances))
}

fn amount(question: &Question) -> Result<Option<(i64, String)>, String> {
    let Some(text) = &question.amount else { return Ok(None) };
    let currency = Currency::parse(&question.currency).map_err(|error| error.to_string())?;
    let money = Money::parse(text, currency).map_err(|error| error.to_string())?;
    Ok(Some((money.minor(), money.currency().to_string())))
}

fn report(question: &Question, decided: &Decided, format: Format) -> ExitCode {
    let decision = &decided.decision;
    let because = decided.because.as_ref();
    let told = match decision {
        Decision::Allowed { by } => json!({ "allowed": true, "rules": by }),
        Decision::Denied(denial) => json!({
            "allowed": false,
            "why": match denial.why {
                Why::Forbidden { .. } => "forbidden",
                Why::NotAllowed => "not_allowed",
                Why::NotEvaluated { .. } => "not_evaluated",
            },
            "rules": denial.rule().into_iter().collect::<Vec<_>>(),
            "remedy": because.map_or_else(|| denial.remedy.clone(), ToString::to_string),
            "ineffective": because.map(Ineffective::code),
        }),
    };
    match (format, decision) {
        (Format::Json, _) => say(&told.to_string()),
        (Format::Text, Decision::Allowed { by }) => {
            say(&format!("{} may {}: allowed by {}", question.who, question.action, by.join(", ")));
        }
        (Format::Text, Decision::Denied(denial)) => {
            let rule = match &denial.why {
                Why::Forbidden { rule } => format!("the rule {rule} forbids it"),
                Why::NotAllowed => "no rule allows it".to_owned(),
                Why::NotEvaluated { rule } => {
                    format!("the rule {} cannot be evaluated", rule.as_deref().unwrap_or("(unknown)"))
                }
            };
            say(&format!("{} may not {}: {rule}", question.who, question.action));
            let remedy = because.map_or_else(|| denial.remedy.clone(), ToString::to_string);
            say(&format!("what would satisfy it: {remedy}"));
        }
    }
    ExitCode::from(u8::from(!decision.is_allowed()))
}
