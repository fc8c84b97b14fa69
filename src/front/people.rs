//! The calls of people: sign-in, their own accounts, and the accounts of others.

use super::{Asker, json_or_nothing, plain_json};
use crate::actions::{self, Acted, Context, Refusal};
use crate::answer::{Code, Problem};
use crate::caller::Duty;
use crate::edge::Inbound;
use crate::gateway::Gateway;
use crate::people::Change;
use crate::record::Origin;
use crate::routes::Matched;
use audit::Action;
use http::request::Parts;

/// The one call without a credential.
pub(super) async fn sign_in(gateway: &Gateway, parts: &Parts, body: Inbound, origin: &Origin) -> Acted {
    let request = origin.request.clone();
    let request = request.ok_or_else(|| {
        let problem = Problem::new(Code::Internal, "The request has no id; report this");
        Refusal::new(Action::CredentialRefuse, problem)
    })?;
    let context = Context { request, origin: origin.clone(), idempotency_key: None };
    let body = plain_json(gateway, &parts.headers, body, Action::CredentialRefuse).await?;
    actions::sessions::open(gateway, &context, &body).await
}

/// What a person has to do before anything else.
pub(super) fn first_of_all(duty: Duty) -> Problem {
    match duty {
        Duty::ChangePassword => Problem::new(
            Code::PasswordChangeRequired,
            "Choose a password of your own with POST /v1/account/password",
        ),
        Duty::EnrolFactor => Problem::new(
            Code::SecondFactorRequired,
            "Enrol an authenticator app with POST /v1/account/factor and POST /v1/account/factor/confirm",
        ),
    }
}

/// Sessions and one's own account.
pub(super) async fn act_on_own_account(
    gateway: &Gateway,
    context: &Context,
    asker: &Asker,
    matched: Matched<'_>,
    parts: &Parts,
    body: Inbound,
) -> Acted {
    use actions::sessions;
    match matched {
        Matched::CurrentSession => return sessions::show(gateway, context, asker.permit()?).await,
        Matched::EndSession => return sessions::end(gateway, context, asker.permit()?).await,
        _ => {}
    }
    let permit = asker.permit()?;
    let body = plain_json(gateway, &parts.headers, body, Action::CredentialChange).await?;
    match matched {
        Matched::ChangePassword => sessions::password(gateway, context, permit, &body).await,
        Matched::BeginFactor => sessions::factor(gateway, context, permit, &body).await,
        Matched::ConfirmFactor => sessions::confirm(gateway, context, permit, &body).await,
        _ => Err(Refusal::new(Action::AccessRefuse, Problem::new(Code::UnknownRoute, "Check the path"))),
    }
}

/// The accounts of people.
pub(super) async fn act_on_people(
    gateway: &Gateway,
    context: &Context,
    asker: &Asker,
    matched: Matched<'_>,
    parts: &Parts,
    body: Inbound,
) -> Acted {
    use actions::people;
    if let Matched::People = matched {
        return people::list(gateway, context, asker.permit()?).await;
    }
    let permit = asker.permit()?;
    let body = json_or_nothing(gateway, &parts.headers, body, Action::CredentialChange).await?;
    match matched {
        Matched::CreatePerson => people::create(gateway, context, permit, &body).await,
        Matched::DisablePerson(name) => people::change(gateway, context, permit, name, Change::Disable).await,
        Matched::EnablePerson(name) => people::change(gateway, context, permit, name, Change::Enable).await,
        Matched::RevokeSessions(name) => {
            people::change(gateway, context, permit, name, Change::RevokeSessions).await
        }
        Matched::ResetPassword(name) => people::reset_password(gateway, context, permit, name).await,
        Matched::ResetFactor(name) => people::reset_factor(gateway, context, permit, name, &body).await,
        _ => Err(Refusal::new(Action::AccessRefuse, Problem::new(Code::UnknownRoute, "Check the path"))),
    }
}
