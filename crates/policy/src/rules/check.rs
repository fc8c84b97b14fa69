//! Reads the two texts. What the engine only warns of is a fault here: a rule that never applies is a mistake.

use super::{Policy, Rule};
use crate::{Fault, line_of};
use cedar_policy::{Effect, EntityTypeName, PolicyId, PolicySet, Schema, ValidationMode, Validator};
use miette::Diagnostic;
use std::collections::{BTreeMap, HashMap};
use std::str::FromStr;

/// The groups of acts that the schema may name besides the acts.
pub(super) const GROUPS: [&str; 2] = ["on_one_tenant", "on_the_installation"];

/// A name of the engine's for a type of ours.
pub(super) fn type_name(name: &str) -> Result<EntityTypeName, Vec<Fault>> {
    EntityTypeName::from_str(name).map_err(|error| vec![of_schema(&error.to_string())])
}

pub(super) fn of_schema(problem: &str) -> Fault {
    Fault::new(Policy::SCHEMA, problem, "compare it with the shipped schema")
}

/// Parses the schema.
pub(super) fn schema(text: &str) -> Result<Schema, Vec<Fault>> {
    match Schema::from_cedarschema_str(text) {
        Ok((schema, _warnings)) => Ok(schema),
        Err(error) => Err(vec![of_schema(&whole(&error)).at(line(text, &error))]),
    }
}

/// Parses and checks the rules; gives them with what denials say of each.
pub(super) fn rules(text: &str, schema: &Schema) -> Result<(PolicySet, HashMap<PolicyId, Rule>), Vec<Fault>> {
    let fault = |problem: String, remedy: &str| Fault::new(Policy::RULES, problem, remedy);
    let set = PolicySet::from_str(text).map_err(|errors| {
        let remedy = "correct the line; https://docs.cedarpolicy.com explains the language";
        errors.iter().map(|error| fault(whole(error), remedy).at(line(text, error))).collect::<Vec<_>>()
    })?;
    let mut faults = Vec::new();
    if set.templates().next().is_some() {
        faults.push(fault("a rule has a ?slot".to_owned(), "write the rule out: templates are not used"));
    }
    let starts = starts(text);
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    let mut names = HashMap::new();
    for policy in set.policies() {
        // The engine counts the rules of a text from 0.
        let number = policy.id().to_string().trim_start_matches("policy").parse::<usize>().ok();
        let at = number.and_then(|number| starts.get(number).copied());
        match named(policy, &seen) {
            Ok(rule) => {
                seen.insert(rule.id.clone(), at.unwrap_or_default());
                names.insert(policy.id().clone(), rule);
            }
            Err((problem, remedy)) => faults.push(fault(problem, remedy).at(at)),
        }
    }
    let checked = Validator::new(schema.clone()).validate(&set, ValidationMode::Strict);
    let remedy = "use the words of schema.cedarschema, and guard what may be missing with `context has …`";
    let ours = |said: String| {
        names.iter().fold(said, |said, (engine, rule): (&PolicyId, &Rule)| {
            said.replace(&format!("for policy `{engine}`, "), &format!("rule `{}`: ", rule.id))
        })
    };
    for error in checked.validation_errors() {
        faults.push(fault(ours(whole(error)), remedy).at(line(text, error)));
    }
    for warning in checked.validation_warnings() {
        faults.push(fault(ours(whole(warning)), remedy).at(line(text, warning)));
    }
    faults.sort_by_key(|fault| fault.line);
    if faults.is_empty() { Ok((set, names)) } else { Err(faults) }
}

/// What denials say of a rule: its name, and of one that forbids, what would satisfy it.
fn named(
    policy: &cedar_policy::Policy,
    seen: &BTreeMap<String, usize>,
) -> Result<Rule, (String, &'static str)> {
    let annotation = |key| policy.annotation(key).map(str::trim).filter(|text| !text.is_empty());
    let id = annotation("id")
        .ok_or_else(|| ("a rule has no name".to_owned(), "write @id(\"a-short-name\") above it"))?;
    let plain = |b: u8| b.is_ascii_lowercase() || b == b'-';
    if id.len() > 48 || !id.starts_with(|c: char| c.is_ascii_lowercase()) || !id.bytes().all(plain) {
        return Err((format!("the name `{id}` is not one"), "use up to 48 of a-z and -, a letter first"));
    }
    if let Some(line) = seen.get(id) {
        return Err((format!("the name `{id}` stands at line {line} too"), "give each rule its own name"));
    }
    let remedy = annotation("remedy").map(str::to_owned);
    if policy.effect() == Effect::Forbid && remedy.is_none() {
        return Err((
            format!("the rule `{id}` forbids and does not say what would satisfy it"),
            "write @remedy(\"what to do\") above it",
        ));
    }
    Ok(Rule { id: id.to_owned(), remedy })
}

/// The lines at which rules begin.
fn starts(text: &str) -> Vec<usize> {
    let begins = |line: &str| {
        let rest = line.strip_prefix("permit").or_else(|| line.strip_prefix("forbid"));
        rest.is_some_and(|rest| rest.trim_start().starts_with('(') || rest.trim().is_empty())
    };
    text.lines().enumerate().filter(|(_, line)| begins(line.trim_start())).map(|(at, _)| at + 1).collect()
}

/// The line that a diagnostic of the engine points to.
fn line(text: &str, error: &dyn Diagnostic) -> Option<usize> {
    let label = error.labels().and_then(|mut labels| labels.next());
    match label {
        Some(label) => Some(line_of(text, label.offset())),
        None => error.diagnostic_source().and_then(|source| line(text, source)),
    }
}

/// The diagnostic in one line, with its help.
fn whole(error: &(impl Diagnostic + ?Sized)) -> String {
    let said = match error.help() {
        Some(help) => format!("{error} ({help})"),
        None => error.to_string(),
    };
    said.split_whitespace().collect::<Vec<_>>().join(" ")
}
