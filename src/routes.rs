//! What is served: the fixed calls of the contract, and the routes of `policy/routes.toml`.

mod keys;
mod people;
mod policy;

pub use policy::RoutesError;

use audit::RouteName;
use http::Method;
use std::borrow::Cow;
use std::path::Path;
use vault::Shape;

/// A policy route: a request with a card in it, on its way to the companion.
#[derive(Debug)]
pub struct PassRoute {
    /// The policy's name for it.
    pub name: RouteName,
    method: Method,
    path: String,
    /// Its typed shape.
    pub shape: Shape,
}

/// The table of routes.
#[derive(Debug)]
pub struct Routes {
    pass: Vec<PassRoute>,
}

/// A request's route.
#[derive(Debug)]
pub enum Matched<'a> {
    /// `POST /v1/tokens`
    Tokens,
    /// `POST /v1/tokens/batch`
    TokensBatch,
    /// `GET /v1/tokens/{id}`
    Token(&'a str),
    /// `DELETE /v1/tokens/{id}`
    ShredToken(&'a str),
    /// `POST /v1/charges`
    CreateCharge,
    /// `GET /v1/charges`
    Charges,
    /// `GET /v1/charges/{id}`
    Charge(&'a str),
    /// `POST /v1/refunds`
    CreateRefund,
    /// `GET /v1/refunds`
    Refunds,
    /// `GET /v1/refunds/{id}`
    Refund(&'a str),
    /// `POST /v1/refunds/{id}/approve`
    ApproveRefund(&'a str),
    /// `GET /v1/keys`
    Keys,
    /// `POST /v1/keys/{name}/rotate`; names hold slashes.
    RotateKey(Cow<'a, str>),
    /// `POST /v1/keys/{name}/versions/{version}/retire`
    RetireKey(Cow<'a, str>, &'a str),
    /// `POST /v1/keys/{name}/versions/{version}/destroy`
    DestroyKey(Cow<'a, str>, &'a str),
    /// `POST /v1/keys/migrations`
    MigrateKeys,
    /// `POST /v1/keys/ceremonies`
    RecordCeremony,
    /// `POST /v1/tenants/{tenant}/rotate-data-key`
    RotateDataKey(&'a str),
    /// `POST /v1/tenants/{tenant}/shred`
    ShredTenant(&'a str),
    /// `GET /v1/approvals`
    Approvals,
    /// `GET /v1/approvals/{id}`
    Approval(&'a str),
    /// `POST /v1/approvals/{id}/approve`
    Approve(&'a str),
    /// `POST /v1/approvals/{id}/reject`
    Reject(&'a str),
    /// `GET /v1/jobs`
    Jobs,
    /// `GET /v1/jobs/{id}`
    Job(&'a str),
    /// `POST /v1/jobs/{id}/pause`
    PauseJob(&'a str),
    /// `POST /v1/jobs/{id}/resume`
    ResumeJob(&'a str),
    /// `POST /v1/sessions`: the one call that needs no credential, for it is where people get theirs.
    OpenSession,
    /// `GET /v1/sessions/current`
    CurrentSession,
    /// `DELETE /v1/sessions/current`
    EndSession,
    /// `POST /v1/account/password`
    ChangePassword,
    /// `POST /v1/account/factor`
    BeginFactor,
    /// `POST /v1/account/factor/confirm`
    ConfirmFactor,
    /// `GET /v1/people`
    People,
    /// `POST /v1/people`
    CreatePerson,
    /// `POST /v1/people/{name}/disable`
    DisablePerson(&'a str),
    /// `POST /v1/people/{name}/enable`
    EnablePerson(&'a str),
    /// `POST /v1/people/{name}/revoke-sessions`
    RevokeSessions(&'a str),
    /// `POST /v1/people/{name}/reset-password`
    ResetPassword(&'a str),
    /// `POST /v1/people/{name}/reset-factor`
    ResetFactor(&'a str),
    /// `GET /v1/audit/entries`
    AuditEntries,
    /// `GET /v1/device-log`
    DeviceLog,
    /// A policy route.
    Pass(&'a PassRoute),
}

/// The names of all routes, in the order of [`Matched`]. An API key can be bound to some of them; routes of the policy are
/// `pass`.
pub const LABELS: &[&str] = &[
    "tokens_create",
    "tokens_batch",
    "tokens_show",
    "tokens_shred",
    "charges_create",
    "charges_list",
    "charges_show",
    "refunds_create",
    "refunds_list",
    "refunds_show",
    "refunds_approve",
    "keys_list",
    "keys_rotate",
    "keys_retire",
    "keys_destroy",
    "keys_migrate",
    "keys_ceremony",
    "tenants_rotate_data_key",
    "tenants_shred",
    "approvals_list",
    "approvals_show",
    "approvals_approve",
    "approvals_reject",
    "jobs_list",
    "jobs_show",
    "jobs_pause",
    "jobs_resume",
    "sessions_open",
    "sessions_current",
    "sessions_end",
    "account_password",
    "account_factor",
    "account_factor_confirm",
    "people_list",
    "people_create",
    "people_disable",
    "people_enable",
    "people_revoke_sessions",
    "people_reset_password",
    "people_reset_factor",
    "audit_entries",
    "device_log_entries",
    "pass",
];

/// Why nothing matched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoRoute {
    /// Nothing at this path.
    Path,
    /// The path takes other methods.
    Method,
}

impl Matched<'_> {
    /// Whether it is open to a person who has yet to change the first password or to enrol a second factor.
    pub fn is_of_ones_own_account(&self) -> bool {
        matches!(
            self,
            Matched::CurrentSession
                | Matched::EndSession
                | Matched::ChangePassword
                | Matched::BeginFactor
                | Matched::ConfirmFactor
        )
    }

    /// The route's name in metrics and logs: ours, never the caller's text.
    pub fn label(&self) -> &'static str {
        match self {
            Matched::Tokens => "tokens_create",
            Matched::TokensBatch => "tokens_batch",
            Matched::Token(_) => "tokens_show",
            Matched::ShredToken(_) => "tokens_shred",
            Matched::CreateCharge => "charges_create",
            Matched::Charges => "charges_list",
            Matched::Charge(_) => "charges_show",
            Matched::CreateRefund => "refunds_create",
            Matched::Refunds => "refunds_list",
            Matched::Refund(_) => "refunds_show",
            Matched::ApproveRefund(_) => "refunds_approve",
            Matched::Keys => "keys_list",
            Matched::RotateKey(_) => "keys_rotate",
            Matched::RetireKey(..) => "keys_retire",
            Matched::DestroyKey(..) => "keys_destroy",
            Matched::MigrateKeys => "keys_migrate",
            Matched::RecordCeremony => "keys_ceremony",
            Matched::RotateDataKey(_) => "tenants_rotate_data_key",
            Matched::ShredTenant(_) => "tenants_shred",
            Matched::Approvals => "approvals_list",
            Matched::Approval(_) => "approvals_show",
            Matched::Approve(_) => "approvals_approve",
            Matched::Reject(_) => "approvals_reject",
            Matched::Jobs => "jobs_list",
            Matched::Job(_) => "jobs_show",
            Matched::PauseJob(_) => "jobs_pause",
            Matched::ResumeJob(_) => "jobs_resume",
            Matched::OpenSession => "sessions_open",
            Matched::CurrentSession => "sessions_current",
            Matched::EndSession => "sessions_end",
            Matched::ChangePassword => "account_password",
            Matched::BeginFactor => "account_factor",
            Matched::ConfirmFactor => "account_factor_confirm",
            Matched::People => "people_list",
            Matched::CreatePerson => "people_create",
            Matched::DisablePerson(_) => "people_disable",
            Matched::EnablePerson(_) => "people_enable",
            Matched::RevokeSessions(_) => "people_revoke_sessions",
            Matched::ResetPassword(_) => "people_reset_password",
            Matched::ResetFactor(_) => "people_reset_factor",
            Matched::AuditEntries => "audit_entries",
            Matched::DeviceLog => "device_log_entries",
            Matched::Pass(_) => "pass",
        }
    }
}

impl Routes {
    /// Reads `routes.toml` in the policy folder.
    ///
    /// # Errors
    /// [`RoutesError`], which names the file, the line or the route at fault.
    pub fn read(folder: &Path) -> Result<Routes, RoutesError> {
        let pass = policy::read(&folder.join("routes.toml"))?;
        let taken = |route: &&PassRoute| ours(&route.method, &route.path).is_ok();
        if let Some(taken) = pass.iter().find(taken) {
            return Err(RoutesError::Taken { route: taken.name.as_str().to_owned() });
        }
        Ok(Routes { pass })
    }

    /// The methods that a path takes, separated by commas.
    pub fn methods(&self, path: &str) -> String {
        let methods = [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE];
        let taken: Vec<&str> =
            methods.iter().filter(|m| self.find(m, path).is_ok()).map(Method::as_str).collect();
        taken.join(", ")
    }

    /// Finds the route of a request.
    ///
    /// # Errors
    /// [`NoRoute`] when there is none.
    pub fn find<'a>(&'a self, method: &Method, path: &'a str) -> Result<Matched<'a>, NoRoute> {
        let missing = match ours(method, path) {
            Ok(matched) => return Ok(matched),
            Err(missing) => missing,
        };
        let mut candidates = self.pass.iter().filter(|route| route.path == path).peekable();
        let named = candidates.peek().is_some();
        match candidates.find(|route| route.method == *method) {
            Some(route) => Ok(Matched::Pass(route)),
            None if named => Err(NoRoute::Method),
            None => Err(missing),
        }
    }
}

/// The calls that are not of the policy.
fn ours<'a>(method: &Method, path: &'a str) -> Result<Matched<'a>, NoRoute> {
    let named = keys::find(method, path).or_else(|| people::find(method, path));
    named.unwrap_or_else(|| fixed(method, &segments(path)))
}

fn segments(path: &str) -> Vec<&str> {
    path.trim_start_matches('/').split('/').collect()
}

/// The fixed calls of the contract.
fn fixed<'a>(method: &Method, segments: &[&'a str]) -> Result<Matched<'a>, NoRoute> {
    let verb = method.as_str();
    let matched = match (segments, verb) {
        (["v1", "tokens"], "POST") => Matched::Tokens,
        (["v1", "tokens", "batch"], "POST") => Matched::TokensBatch,
        (["v1", "tokens", "batch"], _) => return Err(NoRoute::Method),
        (["v1", "tokens", id], "GET") => Matched::Token(id),
        (["v1", "tokens", id], "DELETE") => Matched::ShredToken(id),
        (["v1", "charges"], "POST") => Matched::CreateCharge,
        (["v1", "charges"], "GET") => Matched::Charges,
        (["v1", "charges", id], "GET") => Matched::Charge(id),
        (["v1", "refunds"], "POST") => Matched::CreateRefund,
        (["v1", "refunds"], "GET") => Matched::Refunds,
        (["v1", "refunds", id], "GET") => Matched::Refund(id),
        (["v1", "refunds", id, "approve"], "POST") => Matched::ApproveRefund(id),
        (["v1", "audit", "entries"], "GET") => Matched::AuditEntries,
        (["v1", "device-log"], "GET") => Matched::DeviceLog,
        (
            ["v1", "tokens" | "charges" | "refunds"]
            | ["v1", "tokens" | "charges" | "refunds", _]
            | ["v1", "refunds", _, "approve"]
            | ["v1", "audit", "entries"]
            | ["v1", "device-log"],
            _,
        ) => return Err(NoRoute::Method),
        _ => return Err(NoRoute::Path),
    };
    Ok(matched)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_routes_name_is_in_the_list() {
        let source = include_str!("routes.rs");
        let body = source.split("pub fn label").nth(1).unwrap().split("impl Routes").next().unwrap();
        let named: Vec<&str> =
            body.lines().filter_map(|line| line.split("=> \"").nth(1)?.split('"').next()).collect();
        assert_eq!(named, LABELS);
    }

    #[test]
    fn a_path_with_another_method_is_told_apart_from_no_path() {
        let routes = Routes::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("policy")).unwrap();
        assert!(matches!(routes.find(&Method::POST, "/v1/tokens"), Ok(Matched::Tokens)));
        assert!(matches!(routes.find(&Method::POST, "/portal/payments"), Ok(Matched::Pass(_))));
        assert_eq!(routes.find(&Method::GET, "/portal/payments").unwrap_err(), NoRoute::Method);
        assert_eq!(routes.find(&Method::PUT, "/v1/tokens").unwrap_err(), NoRoute::Method);
        assert_eq!(routes.methods("/v1/charges"), "GET, POST");
        assert_eq!(routes.methods("/portal/payments"), "POST");
        assert_eq!(routes.find(&Method::GET, "/v1/token").unwrap_err(), NoRoute::Path);
        assert_eq!(routes.find(&Method::GET, "/").unwrap_err(), NoRoute::Path);
    }
}
