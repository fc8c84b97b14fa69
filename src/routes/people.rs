//! The calls of people: sessions, their own accounts, and the accounts of others.

use super::{Matched, NoRoute};
use http::Method;

/// The route, if the path is one of these; `Some(Err)` when it takes other methods.
pub(super) fn find<'a>(method: &Method, path: &'a str) -> Option<Result<Matched<'a>, NoRoute>> {
    let segments: Vec<&str> = path.strip_prefix("/v1/")?.split('/').collect();
    let takes = |taken: Method, matched| if *method == taken { Ok(matched) } else { Err(NoRoute::Method) };
    Some(match segments.as_slice() {
        ["sessions"] => takes(Method::POST, Matched::OpenSession),
        ["sessions", "current"] => match *method {
            Method::GET => Ok(Matched::CurrentSession),
            Method::DELETE => Ok(Matched::EndSession),
            _ => Err(NoRoute::Method),
        },
        ["account", "password"] => takes(Method::POST, Matched::ChangePassword),
        ["account", "factor"] => takes(Method::POST, Matched::BeginFactor),
        ["account", "factor", "confirm"] => takes(Method::POST, Matched::ConfirmFactor),
        ["people"] => match *method {
            Method::GET => Ok(Matched::People),
            Method::POST => Ok(Matched::CreatePerson),
            _ => Err(NoRoute::Method),
        },
        ["people", name, "disable"] => takes(Method::POST, Matched::DisablePerson(name)),
        ["people", name, "enable"] => takes(Method::POST, Matched::EnablePerson(name)),
        ["people", name, "revoke-sessions"] => takes(Method::POST, Matched::RevokeSessions(name)),
        ["people", name, "reset-password"] => takes(Method::POST, Matched::ResetPassword(name)),
        ["people", name, "reset-factor"] => takes(Method::POST, Matched::ResetFactor(name)),
        _ => return None,
    })
}
