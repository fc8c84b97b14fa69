//! What the engine promises, on rules made for it and on the shipped ones.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot be set up must fail")]

use policy::{Circumstances, Decision, Policy, Question, Relation, Why, Words};

const SCHEMA: &str = "\
entity Staff; entity Admin; entity Tenant; entity Installation;
type Circumstances = { \"tenant\": String, \"effective\": Bool, \"ineffective\"?: String, \"mfa_age\"?: Long,
  \"amount\"?: Long, \"currency\"?: String, \"approvals\": Long, \"source\"?: ipaddr, \"time\": Long };
action \"on_one_tenant\"; action \"on_the_installation\";
action \"refund\" in [\"on_one_tenant\"] appliesTo
  { principal: [Staff, Admin], resource: [Tenant, Installation], context: Circumstances };
action \"look\" in [\"on_the_installation\"] appliesTo
  { principal: [Staff, Admin], resource: [Tenant, Installation], context: Circumstances };
";
const WORDS: Words<'static> =
    Words { kinds: &["staff", "admin"], on_one_tenant: &["refund"], on_the_installation: &["look"] };
const STAFF_REFUNDS: &str =
    "@id(\"staff-refunds\")\npermit (principal is Staff, action == Action::\"refund\", resource);\n";

fn decide(rules: &str, kind: &str, action: &str, circumstances: &Circumstances) -> Decision {
    let policy = Policy::parse(rules, SCHEMA, &WORDS).unwrap();
    let question = Question {
        kind,
        name: "anna",
        action,
        tenant: Some("north"),
        relation: Relation::Own,
        circumstances,
    };
    policy.decide(&question)
}

fn denial(rules: &str, kind: &str, action: &str, circumstances: &Circumstances) -> policy::Denial {
    match decide(rules, kind, action, circumstances) {
        Decision::Denied(denial) => denial,
        Decision::Allowed { by } => panic!("allowed by {by:?}"),
    }
}

#[test]
fn what_no_rule_allows_is_denied_and_says_who_may() {
    let now = Circumstances::at(0);
    assert_eq!(
        decide(STAFF_REFUNDS, "staff", "refund", &now),
        Decision::Allowed { by: vec!["staff-refunds".to_owned()] }
    );
    let denied = denial(STAFF_REFUNDS, "admin", "refund", &now);
    assert_eq!(denied.why, Why::NotAllowed);
    assert!(denied.remedy.ends_with("a role that may: staff"), "{}", denied.remedy);
    for (kind, action) in [("nobody", "refund"), ("staff", "nothing"), ("staff", "look")] {
        assert_eq!(denial(STAFF_REFUNDS, kind, action, &now).why, Why::NotAllowed, "{kind} {action}");
    }
    assert_eq!(denial("", "staff", "refund", &now).why, Why::NotAllowed);
}

#[test]
fn a_rule_that_forbids_wins_names_itself_and_says_what_would_satisfy_it() {
    let rules = format!(
        "{STAFF_REFUNDS}@id(\"fresh-factor\")\n@remedy(\"prove your second factor again\")\n\
         forbid (principal, action, resource) when {{ context has amount && context.amount > 50000 }}\n\
         unless {{ context has mfa_age && context.mfa_age <= 300 }};"
    );
    let large = Circumstances { amount: Some((50_001, "USD".to_owned())), ..Circumstances::at(0) };
    let denied = denial(&rules, "staff", "refund", &large);
    assert_eq!(denied.why, Why::Forbidden { rule: "fresh-factor".to_owned() });
    assert_eq!(denied.remedy, "prove your second factor again");
    let fresh = Circumstances { mfa_age: Some(300), ..large.clone() };
    assert!(decide(&rules, "staff", "refund", &fresh).is_allowed());
    let stale = Circumstances { mfa_age: Some(301), ..large.clone() };
    assert!(!decide(&rules, "staff", "refund", &stale).is_allowed());
    let small = Circumstances { amount: Some((50_000, "USD".to_owned())), ..large };
    assert!(decide(&rules, "staff", "refund", &small).is_allowed());
}

#[test]
fn the_source_network_counts() {
    let rules = format!(
        "{STAFF_REFUNDS}@id(\"office-only\")\n@remedy(\"call from the office's network\")\n\
         forbid (principal, action, resource)\n\
         unless {{ context has source && context.source.isInRange(ip(\"10.1.0.0/16\")) }};"
    );
    let from = |source: &str| Circumstances { source: Some(source.parse().unwrap()), ..Circumstances::at(0) };
    assert!(decide(&rules, "staff", "refund", &from("10.1.2.3")).is_allowed());
    for outside in ["10.2.0.1", "2001:db8::1", "127.0.0.1"] {
        assert_eq!(
            denial(&rules, "staff", "refund", &from(outside)).rule(),
            Some("office-only"),
            "{outside}"
        );
    }
    assert!(!decide(&rules, "staff", "refund", &Circumstances::at(0)).is_allowed());
}

/// The engine alone would skip a forbidding rule that fails, and allow.
#[test]
fn a_rule_that_cannot_be_evaluated_denies() {
    let rules = format!(
        "{STAFF_REFUNDS}@id(\"overflows\")\n@remedy(\"none\")\nforbid (principal, action, resource)\n\
         when {{ context.time * 9223372036854775807 < 0 }};"
    );
    assert!(decide(&rules, "staff", "refund", &Circumstances::at(1)).is_allowed());
    let denied = denial(&rules, "staff", "refund", &Circumstances::at(2));
    assert_eq!(denied.why, Why::NotEvaluated { rule: Some("overflows".to_owned()) });
}

#[test]
fn a_bad_rule_is_refused_with_its_line_and_a_remedy() {
    for (bad, line, said) in [
        ("permit (principal, action, resource)", Some(3), "unexpected end"),
        ("permit (principal, action, resource);", Some(3), "no name"),
        ("@id(\"Upper\")\npermit (principal, action, resource);", Some(4), "Upper"),
        ("@id(\"staff-refunds\")\npermit (principal, action, resource);", Some(4), "line 2 too"),
        ("@id(\"no-remedy\")\nforbid (principal, action, resource);", Some(4), "what would satisfy it"),
        ("@id(\"a\")\npermit (principal is Nurse, action, resource);", Some(4), "Nurse"),
        ("@id(\"a\")\npermit (principal, action == Action::\"fly\", resource);", Some(4), "fly"),
        ("@id(\"a\")\npermit (principal, action, resource)\nwhen { context.amount > 1 };", Some(5), "amount"),
        (
            "@id(\"a\")\npermit (principal, action, resource)\nwhen { context.colour == 1 };",
            Some(5),
            "colour",
        ),
        ("@id(\"a\")\npermit (principal == ?principal, action, resource);", None, "?slot"),
        ("@id(\"a\")\npermit (principal, action, resource)\nwhen { context.tenant == 1 };", Some(5), "type"),
        (
            "@id(\"a\")\npermit (principal is Staff, action, resource)\nwhen { principal is Admin };",
            Some(3),
            "rule `a`",
        ),
    ] {
        let faults = Policy::parse(&format!("{STAFF_REFUNDS}{bad}"), SCHEMA, &WORDS).unwrap_err();
        let found = faults.iter().any(|fault| {
            fault.file == "access.cedar"
                && fault.line == line
                && fault.problem.contains(said)
                && !fault.remedy.is_empty()
        });
        assert!(found, "{bad}\n{faults:#?}");
    }
}

#[test]
fn a_schema_that_does_not_fit_what_is_asked_is_refused() {
    for (from, to, said) in [
        ("entity Staff;", "entity Stuff;", "Staff"),
        ("\"approvals\": Long,", "", "approvals"),
        ("\"mfa_age\"?: Long", "\"mfa_age\": Long", "context"),
        ("action \"on_one_tenant\";", "action \"on_one_tenant\"; action \"fly\";", "fly"),
        ("entity Tenant;", "entity Tenant", "unexpected"),
    ] {
        let faults = Policy::parse("", &SCHEMA.replace(from, to), &WORDS).unwrap_err();
        let found =
            faults.iter().any(|fault| fault.file == "schema.cedarschema" && fault.problem.contains(said));
        assert!(found, "{to}\n{faults:#?}");
    }
}

#[test]
fn no_text_makes_it_panic() {
    let shipped = concat!(env!("CARGO_MANIFEST_DIR"), "/../../policy/access.cedar");
    let text = std::fs::read_to_string(shipped).unwrap();
    let places: Vec<usize> = text.char_indices().map(|(at, _)| at).step_by(97).collect();
    for at in places {
        let (head, tail) = text.split_at(at);
        let _ = Policy::parse(head, SCHEMA, &WORDS);
        let _ = Policy::parse(tail, SCHEMA, &WORDS);
        let _ = Policy::parse(&format!("{head}\u{0}é\"{tail}"), SCHEMA, &WORDS);
    }
}
