//! The rules, read, checked against the schema and asked.

mod check;

use crate::{Circumstances, Decision, Denial, Fault, Question, Relation, Why};
use cedar_policy::{
    AuthorizationError, Authorizer, Context, Entities, EntityId, EntityTypeName, EntityUid, PolicyId,
    PolicySet, Request, RestrictedExpression, Schema,
};
use std::collections::HashMap;

/// The words that whoever asks uses: what the schema must know, and all that it may know.
#[derive(Debug, Clone, Copy)]
pub struct Words<'a> {
    /// Kinds of callers, in small letters.
    pub kinds: &'a [&'a str],
    /// Acts that concern one tenant: for others than their own tenant nothing may allow them.
    pub on_one_tenant: &'a [&'a str],
    /// Acts on the installation.
    pub on_the_installation: &'a [&'a str],
}

/// A rule as denials name it.
#[derive(Debug)]
struct Rule {
    id: String,
    remedy: Option<String>,
}

/// A policy that was checked. Cheap to ask, never changed: a new one takes its place as a whole.
pub struct Policy {
    authorizer: Authorizer,
    rules: PolicySet,
    /// The hierarchy of actions, which rules may name by group.
    actions: Entities,
    /// Every rule by the engine's own name for it.
    names: HashMap<PolicyId, Rule>,
    kinds: HashMap<String, EntityTypeName>,
    acts: HashMap<String, EntityUid>,
    tenant: EntityTypeName,
    installation: EntityUid,
    /// The kinds that may do an act under the best circumstances, by act: what a denial can recommend.
    may: HashMap<String, Vec<String>>,
}

impl std::fmt::Debug for Policy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Policy").field("rules", &self.names.len()).finish_non_exhaustive()
    }
}

impl Policy {
    /// The file of the rules, in the policy folder.
    pub const RULES: &'static str = "access.cedar";
    /// The file of the schema.
    pub const SCHEMA: &'static str = "schema.cedarschema";

    /// Reads and checks the two texts, strictly: a rule that could not be evaluated, or that could never apply, is a
    /// fault.
    ///
    /// # Errors
    /// Every [`Fault`] that was found, with file, line and remedy.
    pub fn parse(rules: &str, schema: &str, words: &Words<'_>) -> Result<Policy, Vec<Fault>> {
        let schema = check::schema(schema)?;
        let mut policy = Policy {
            authorizer: Authorizer::new(),
            rules: PolicySet::new(),
            actions: schema.action_entities().map_err(|error| vec![check::of_schema(&error.to_string())])?,
            names: HashMap::new(),
            kinds: HashMap::new(),
            acts: HashMap::new(),
            tenant: check::type_name("Tenant")?,
            installation: EntityUid::from_type_name_and_id(
                check::type_name("Installation")?,
                EntityId::new("this"),
            ),
            may: HashMap::new(),
        };
        policy.take_words(words)?;
        policy.check_schema(&schema, words)?;
        let (set, names) = check::rules(rules, &schema)?;
        (policy.rules, policy.names) = (set, names);
        policy.may = policy.recommend(words);
        Ok(policy)
    }

    fn take_words(&mut self, words: &Words<'_>) -> Result<(), Vec<Fault>> {
        let action = check::type_name("Action")?;
        for kind in words.kinds {
            self.kinds.insert((*kind).to_owned(), check::type_name(&capitalised(kind))?);
        }
        for act in words.on_one_tenant.iter().chain(words.on_the_installation) {
            let uid = EntityUid::from_type_name_and_id(action.clone(), EntityId::new(act));
            self.acts.insert((*act).to_owned(), uid);
        }
        Ok(())
    }

    /// The schema has to know the words that are used here, no act more, and to fit what is really asked.
    fn check_schema(&self, schema: &Schema, words: &Words<'_>) -> Result<(), Vec<Fault>> {
        let mut faults = Vec::new();
        for action in schema.actions() {
            let name: &str = action.id().as_ref();
            if !self.acts.contains_key(name) && !check::GROUPS.contains(&name) {
                let problem = format!("pangate knows no act `{name}`");
                faults.push(Fault::new(Self::SCHEMA, problem, "remove it from the schema"));
            }
        }
        let circumstances = Circumstances {
            ineffective: Some("suspended"),
            mfa_age: Some(1),
            amount: Some((1, "USD".to_owned())),
            approvals: 0,
            source: Some(std::net::Ipv4Addr::LOCALHOST.into()),
            time: 0,
        };
        for kind in words.kinds {
            for action in words.on_one_tenant.iter().chain(words.on_the_installation) {
                for full in [true, false] {
                    let few = Circumstances::at(0);
                    let circumstances = if full { &circumstances } else { &few };
                    let tenant = full.then_some("north");
                    let relation = Relation::Own;
                    let asked = Question { kind, name: "x", action, tenant, relation, circumstances };
                    if let Some(Err(problem)) = self.request(&asked, Some(schema)) {
                        let remedy = "take the shipped schema and change only what rules do not need";
                        faults.push(Fault::new(Self::SCHEMA, problem, remedy));
                    }
                }
            }
        }
        faults.dedup();
        if faults.is_empty() { Ok(()) } else { Err(faults) }
    }

    /// Asks.
    pub fn decide(&self, question: &Question<'_>) -> Decision {
        let not_evaluated = |rule| {
            let remedy =
                "a rule of the policy cannot be evaluated; have it checked: pangate policy check".to_owned();
            Decision::Denied(Denial { why: Why::NotEvaluated { rule }, remedy })
        };
        let request = match self.request(question, None) {
            Some(Ok(request)) => request,
            Some(Err(_)) => return not_evaluated(None),
            None => return self.not_allowed(question),
        };
        let response = self.authorizer.is_authorized(&request, &self.rules, &self.actions);
        if let Some(error) = response.diagnostics().errors().next() {
            let AuthorizationError::PolicyEvaluationError(error) = error;
            return not_evaluated(self.names.get(error.policy_id()).map(|rule| rule.id.clone()));
        }
        let mut rules: Vec<&Rule> =
            response.diagnostics().reason().filter_map(|id| self.names.get(id)).collect();
        rules.sort_by(|one, other| one.id.cmp(&other.id));
        match (response.decision(), rules.first()) {
            (cedar_policy::Decision::Allow, Some(_)) => {
                Decision::Allowed { by: rules.iter().map(|rule| rule.id.clone()).collect() }
            }
            (cedar_policy::Decision::Deny, Some(rule)) => Decision::Denied(Denial {
                why: Why::Forbidden { rule: rule.id.clone() },
                remedy: rule.remedy.clone().unwrap_or_default(),
            }),
            (_, None) => self.not_allowed(question),
        }
    }

    /// The kinds of callers that may do an act, when nothing stands in their way.
    pub fn kinds_that_may(&self, action: &str) -> &[String] {
        self.may.get(action).map(Vec::as_slice).unwrap_or_default()
    }

    fn not_allowed(&self, question: &Question<'_>) -> Decision {
        let others: Vec<&str> = self
            .kinds_that_may(question.action)
            .iter()
            .map(String::as_str)
            .filter(|kind| *kind != question.kind)
            .collect();
        let remedy = if others.is_empty() {
            format!("no rule allows `{}` here", question.action)
        } else {
            format!(
                "no rule lets a {} credential do `{}`; use a credential of a role that may: {}",
                question.kind,
                question.action,
                others.join(", ")
            )
        };
        Decision::Denied(Denial { why: Why::NotAllowed, remedy })
    }

    /// `None` when a word of the question is not known at all.
    fn request(&self, question: &Question<'_>, schema: Option<&Schema>) -> Option<Result<Request, String>> {
        let principal = EntityUid::from_type_name_and_id(
            self.kinds.get(question.kind)?.clone(),
            EntityId::new(question.name),
        );
        let action = self.acts.get(question.action)?.clone();
        let resource = match question.tenant {
            Some(tenant) => EntityUid::from_type_name_and_id(self.tenant.clone(), EntityId::new(tenant)),
            None => self.installation.clone(),
        };
        let context = match context(question.relation, question.circumstances) {
            Ok(context) => context,
            Err(error) => return Some(Err(error)),
        };
        let request = Request::new(principal, action, resource, context, schema);
        Some(request.map_err(|error| error.to_string()))
    }

    fn recommend(&self, words: &Words<'_>) -> HashMap<String, Vec<String>> {
        let mut may = HashMap::new();
        let best = Circumstances { mfa_age: Some(0), approvals: 1, ..Circumstances::at(0) };
        for action in words.on_one_tenant.iter().chain(words.on_the_installation) {
            let allowed = |kind: &&&str| {
                let asked = Question {
                    kind,
                    name: "",
                    action,
                    tenant: Some(""),
                    relation: Relation::Own,
                    circumstances: &best,
                };
                self.decide(&asked).is_allowed()
            };
            let kinds = words.kinds.iter().filter(allowed).map(|kind| (*kind).to_owned()).collect();
            may.insert((*action).to_owned(), kinds);
        }
        may
    }
}

fn context(relation: Relation, circumstances: &Circumstances) -> Result<Context, String> {
    use RestrictedExpression as Value;
    let text = |word: &str| Value::new_string(word.to_owned());
    let mut pairs = Vec::with_capacity(9);
    let mut set = |key: &str, value| pairs.push((key.to_owned(), value));
    set("tenant", text(relation.as_str()));
    set("effective", Value::new_bool(circumstances.ineffective.is_none()));
    set("approvals", Value::new_long(circumstances.approvals));
    set("time", Value::new_long(circumstances.time));
    if let Some(code) = circumstances.ineffective {
        set("ineffective", text(code));
    }
    if let Some(age) = circumstances.mfa_age {
        set("mfa_age", Value::new_long(age));
    }
    if let Some((minor, currency)) = &circumstances.amount {
        set("amount", Value::new_long(*minor));
        set("currency", text(currency));
    }
    if let Some(source) = circumstances.source {
        set("source", Value::new_ip(source.to_string()));
    }
    Context::from_pairs(pairs).map_err(|error| error.to_string())
}

fn capitalised(kind: &str) -> String {
    let mut letters = kind.chars();
    letters.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(letters).collect()
}
