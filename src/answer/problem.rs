//! A problem document: what went wrong and what to do, without a word of what was sent.

use super::Code;
use http::StatusCode;
use serde::Serialize;
use std::borrow::Cow;
use tokens::RequestId;

/// One refusal. `place` names a field or header of the request, never its contents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    code: Code,
    reason: Option<&'static str>,
    detail: Cow<'static, str>,
    place: Option<String>,
    retry_after: Option<u32>,
    charge: Option<String>,
    allow: Option<String>,
    denied: Option<Box<DeniedBy>>,
}

/// What in the policy stands in the way.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct DeniedBy {
    rule: Option<String>,
    missing: Option<Missing>,
}

/// What a role lacks to be effective, in the policy's own words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Missing {
    /// The stable code of the reason.
    pub(super) reason: &'static str,
    /// The course.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) course: Option<String>,
    /// The last day on which it counted, as 2027-11-02.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) expired: Option<String>,
    /// How to renew it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) renew: Option<String>,
}

/// The wire form.
#[derive(Serialize)]
pub(super) struct Document<'a> {
    r#type: String,
    title: &'static str,
    status: u16,
    detail: &'a str,
    code: &'static str,
    request_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    place: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    charge: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rule: Option<&'a str>,
    #[serde(flatten)]
    missing: Option<&'a Missing>,
}

impl Problem {
    /// A problem with a sentence that says what to do.
    pub fn new(code: Code, detail: impl Into<Cow<'static, str>>) -> Problem {
        let retry_after = (code.status() == StatusCode::SERVICE_UNAVAILABLE).then_some(1);
        Problem {
            code,
            reason: None,
            detail: detail.into(),
            place: None,
            retry_after,
            charge: None,
            allow: None,
            denied: None,
        }
    }

    /// Names the rule of the policy that stands in the way.
    #[must_use]
    pub fn by_rule(mut self, rule: Option<&str>) -> Problem {
        if let Some(rule) = rule {
            self.denied.get_or_insert_default().rule = Some(rule.to_owned());
        }
        self
    }

    /// Says what the role lacks to be effective.
    #[must_use]
    pub(super) fn because(mut self, missing: Missing) -> Problem {
        self.denied.get_or_insert_default().missing = Some(missing);
        self
    }

    /// The rule of the policy that stands in the way, where it is one.
    pub fn rule(&self) -> Option<&str> {
        self.denied.as_ref().and_then(|denied| denied.rule.as_deref())
    }

    /// Names the field, header or part at fault. The caller passes names only, never contents.
    #[must_use]
    pub fn at(mut self, place: impl Into<String>) -> Problem {
        self.place = Some(place.into());
        self
    }

    /// A decline: the processor's reason becomes the `code`.
    #[must_use]
    pub fn declined(reason: &'static str, charge: &tokens::ChargeId) -> Problem {
        let mut problem = Problem::new(
            Code::Declined,
            "The card's issuer declined the charge; ask the patient for another card or to call their bank",
        );
        problem.reason = Some(reason);
        problem.charge = Some(charge.as_str().to_owned());
        problem
    }

    /// The methods that the path takes, for the `Allow` header (RFC 9110 §15.5.6).
    #[must_use]
    pub fn allowing(mut self, methods: String) -> Problem {
        self.allow = Some(methods);
        self
    }

    /// The value of the `Allow` header, where there is one.
    pub fn allow(&self) -> Option<&str> {
        self.allow.as_deref()
    }

    /// Seconds after which a retry makes sense.
    #[must_use]
    pub fn retry_in(mut self, seconds: u32) -> Problem {
        self.retry_after = Some(seconds);
        self
    }

    /// The code of the table.
    pub fn code(&self) -> Code {
        self.code
    }

    /// The stable code as it stands in the document.
    pub fn code_text(&self) -> &'static str {
        self.reason.unwrap_or_else(|| self.code.as_str())
    }

    /// The status.
    pub fn status(&self) -> StatusCode {
        self.code.status()
    }

    /// The sentence that says what to do.
    pub fn detail(&self) -> &str {
        &self.detail
    }

    /// Seconds for `Retry-After`, where a retry helps.
    pub fn retry_after(&self) -> Option<u32> {
        self.retry_after
    }

    pub(super) fn document<'a>(&'a self, request: &'a RequestId) -> Document<'a> {
        Document {
            r#type: format!("urn:pangate:problem:{}", self.code_text()),
            title: self.code.title(),
            status: self.code.status().as_u16(),
            detail: &self.detail,
            code: self.code_text(),
            request_id: request.as_str(),
            place: self.place.as_deref(),
            charge: self.charge.as_deref(),
            rule: self.rule(),
            missing: self.denied.as_ref().and_then(|denied| denied.missing.as_ref()),
        }
    }
}
