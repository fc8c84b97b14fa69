//! The calls on keys, approvals and jobs. A key's name holds a slash; written plainly or as `%2F` it is the same name.

use super::{Matched, NoRoute};
use http::Method;
use std::borrow::Cow;

/// The route, if the path is one of these; `Some(Err)` when it takes other methods.
pub(super) fn find<'a>(method: &Method, path: &'a str) -> Option<Result<Matched<'a>, NoRoute>> {
    let rest = path.strip_prefix("/v1/")?;
    let (matched, takes) = match rest.split_once('/') {
        Some(("keys", rest)) => (key(rest)?, Method::POST),
        Some(("tenants", rest)) => (tenant(rest)?, Method::POST),
        Some(("approvals", rest)) => approval(rest)?,
        Some(("jobs", rest)) => job(rest)?,
        None if rest == "keys" => (Matched::Keys, Method::GET),
        None if rest == "approvals" => (Matched::Approvals, Method::GET),
        None if rest == "jobs" => (Matched::Jobs, Method::GET),
        _ => return None,
    };
    Some(if *method == takes { Ok(matched) } else { Err(NoRoute::Method) })
}

fn key(rest: &str) -> Option<Matched<'_>> {
    if rest == "migrations" {
        return Some(Matched::MigrateKeys);
    }
    if rest == "ceremonies" {
        return Some(Matched::RecordCeremony);
    }
    if let Some(name) = rest.strip_suffix("/rotate") {
        return Some(Matched::RotateKey(plain(name)));
    }
    let (rest, verb) = rest.rsplit_once('/')?;
    let (name, version) = rest.rsplit_once('/')?;
    let name = plain(name.strip_suffix("/versions")?);
    match verb {
        "retire" => Some(Matched::RetireKey(name, version)),
        "destroy" => Some(Matched::DestroyKey(name, version)),
        _ => None,
    }
}

fn tenant(rest: &str) -> Option<Matched<'_>> {
    match rest.split_once('/')? {
        (tenant, "rotate-data-key") => Some(Matched::RotateDataKey(tenant)),
        (tenant, "shred") => Some(Matched::ShredTenant(tenant)),
        _ => None,
    }
}

fn approval(rest: &str) -> Option<(Matched<'_>, Method)> {
    match rest.split_once('/') {
        None => Some((Matched::Approval(rest), Method::GET)),
        Some((id, "approve")) => Some((Matched::Approve(id), Method::POST)),
        Some((id, "reject")) => Some((Matched::Reject(id), Method::POST)),
        Some(_) => None,
    }
}

fn job(rest: &str) -> Option<(Matched<'_>, Method)> {
    match rest.split_once('/') {
        None => Some((Matched::Job(rest), Method::GET)),
        Some((id, "pause")) => Some((Matched::PauseJob(id), Method::POST)),
        Some((id, "resume")) => Some((Matched::ResumeJob(id), Method::POST)),
        Some(_) => None,
    }
}

/// A key's name with its slashes as they are.
fn plain(name: &str) -> Cow<'_, str> {
    if name.contains('%') {
        Cow::Owned(name.replace("%2F", "/").replace("%2f", "/"))
    } else {
        Cow::Borrowed(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_a_slash_is_found_plain_and_escaped() {
        for path in ["/v1/keys/kek/card/rotate", "/v1/keys/kek%2Fcard/rotate", "/v1/keys/kek%2fcard/rotate"] {
            let found = find(&Method::POST, path).unwrap().unwrap();
            assert!(matches!(found, Matched::RotateKey(ref name) if name == "kek/card"), "{path}: {found:?}");
            assert_eq!(find(&Method::GET, path).unwrap().unwrap_err(), NoRoute::Method);
        }
        let found = find(&Method::POST, "/v1/keys/mac/pan/versions/12/retire").unwrap().unwrap();
        assert!(matches!(found, Matched::RetireKey(ref name, "12") if name == "mac/pan"), "{found:?}");
        assert!(matches!(find(&Method::POST, "/v1/keys/migrations"), Some(Ok(Matched::MigrateKeys))));
        assert!(find(&Method::POST, "/v1/keys/kek/card").is_none());
        assert!(find(&Method::POST, "/v1/keysx/rotate").is_none());
        assert!(find(&Method::GET, "/v1/tokens/x").is_none());
    }
}
