use super::*;
use crate::act;
use crate::governance::{Bundle, Folder};
use std::path::Path;

/// The policy as a picture: a rule change shows its effect here.
const MATRIX: &str = "\
           tokenize read_token pass charge read_charge refund shred read_audit read_device_log list_keys manage_keys own_account list_people manage_people
portal        ✔         ✔       ✔     ✘         ✘        ✘     ✘       ✘             ✘            ✘          ✘          ✘           ✘            ✘
staff         ✘         ✔       ✘     ✔         ✔        ✔     ✘       ✘             ✘            ✘          ✘          ✔           ✘            ✘
auditor       ✘         ✘       ✘     ✘         ✔        ✘     ✘       ✔             ✔            ✔          ✔          ✔           ✔            ✘
admin         ✘         ✘       ✘     ✘         ✘        ✘     ✔       ✘             ✔            ✔          ✔          ✔           ✔            ✔
companion     ✘         ✔       ✘     ✔         ✔        ✘     ✘       ✘             ✘            ✘          ✘          ✘           ✘            ✘";

fn shipped() -> Arc<Bundle> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("policy");
    Arc::new(Bundle::of(&Folder::read(&folder).unwrap()).unwrap())
}

fn staff() -> Caller {
    Caller::proven(Role::Staff, name(), Some(Tenant::parse("north").unwrap()))
}

pub(crate) fn refund_judge() -> Judge {
    ask::<Refund>(&shipped(), &staff(), 0).unwrap().judge()
}

pub(crate) fn charge_judge() -> Judge {
    ask::<Charge>(&shipped(), &staff(), 0).unwrap().judge()
}

fn name() -> Principal {
    Principal::parse("anna").unwrap()
}

#[test]
fn the_matrix_is_the_policy() {
    let bundle = shipped();
    let mut lines = MATRIX.lines();
    let acts: Vec<&str> = lines.next().unwrap().split_whitespace().collect();
    assert!(act::ALL.iter().map(|(name, _)| *name).eq(acts.iter().copied()));
    for (line, role) in lines.zip(Role::ALL) {
        let mut cells = line.split_whitespace();
        assert_eq!(cells.next(), Some(role.as_str()));
        let caller = Caller::proven(role, name(), Some(Tenant::parse("north").unwrap()));
        for (act, cell) in acts.iter().zip(cells) {
            let decided = bundle.decide(&caller, act, Relation::Own, &Circumstances::at(0)).decision;
            assert_eq!(decided.is_allowed(), cell == "✔", "{role} {act} {decided:?}");
        }
    }
}

#[test]
fn an_act_on_one_tenant_needs_a_credential_of_that_tenant() {
    let bundle = shipped();
    let nowhere = Caller::proven(Role::Staff, name(), None);
    let denied = ask::<Refund>(&bundle, &nowhere, 0).unwrap_err();
    assert_eq!(denied.rule(), Some("one-tenant-needs-its-credential"));
    let tenant = Tenant::parse("north").unwrap();
    let staff = Caller::proven(Role::Staff, name(), Some(tenant.clone()));
    assert_eq!(ask::<Refund>(&bundle, &staff, 0).unwrap().tenant(), &tenant);
    let denied = ask::<Tokenize>(&bundle, &staff, 0).unwrap_err();
    assert_eq!(denied.rule(), None);
    assert!(denied.remedy().ends_with("a role that may: portal"), "{denied}");
    let chief = Caller::proven(Role::Auditor, name(), None);
    assert_eq!(ask::<ReadAudit>(&bundle, &chief, 0).unwrap().scope().tenant(), None);
}

#[test]
fn a_rule_on_amounts_binds_once_the_amount_is_known_and_a_fresh_factor_satisfies_it() {
    let folder = tempfile::tempdir().unwrap();
    crate::governance::write_missing(folder.path()).unwrap();
    let file = folder.path().join("access.cedar");
    let rule = "\n@id(\"large-refunds\")\n@remedy(\"prove your second factor again\")\n\
                forbid (principal, action == Action::\"refund\", resource)\n\
                when { context has amount && context.amount > 10000 && context.approvals == 0 }\n\
                unless { context has mfa_age && context.mfa_age <= 300 };\n";
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text + rule).unwrap();
    let bundle = Arc::new(Bundle::of(&Folder::read(folder.path()).unwrap()).unwrap());
    let usd = |amount| Money::parse(amount, tokens::Currency::Usd).unwrap();

    let judge = ask::<Refund>(&bundle, &staff(), 1_000_000_000).unwrap().judge();
    assert!(judge.allows(usd("100.00")).is_ok());
    let denied = judge.allows(usd("100.01")).unwrap_err();
    assert_eq!(
        (denied.rule(), denied.remedy()),
        (Some("large-refunds"), "prove your second factor again".to_owned())
    );
    assert!(judge.allows_approved(usd("100.01"), 1).is_ok());
    for (proven_at, allowed) in [(700_000_000, true), (699_000_000, false)] {
        let caller = staff().with_second_factor_at(proven_at);
        let judge = ask::<Refund>(&bundle, &caller, 1_000_000_000).unwrap().judge();
        assert_eq!(judge.allows(usd("100.01")).is_ok(), allowed, "{proven_at}");
    }
}
