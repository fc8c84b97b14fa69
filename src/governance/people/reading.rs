//! Reads and checks the files of `policy/people/`.

use super::{Needs, People, Person, REQUIREMENTS};
use crate::caller::Role;
use crate::governance::Folder;
use crate::governance::folder::hex;
use crate::governance::record::{self, Day};
use policy::Fault;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use tokens::Principal;
use toml::Spanned;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Requirements {
    recertify_every_days: u16,
    warn_before_days: u16,
    #[serde(default)]
    course: BTreeMap<String, Course>,
    #[serde(default)]
    text: BTreeMap<String, Text>,
    #[serde(default)]
    role: BTreeMap<Spanned<String>, RoleNeeds>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Course {
    #[serde(rename = "title")]
    _title: String,
    renew: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Text {
    file: Spanned<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RoleNeeds {
    courses: Vec<Spanned<String>>,
    texts: Vec<Spanned<String>>,
    must_be_listed: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PersonFile {
    principal: Spanned<String>,
    roles: Vec<Spanned<String>>,
    suspended: Option<String>,
    #[serde(default)]
    training: Vec<Training>,
    #[serde(default)]
    attestation: Vec<Attestation>,
    review: Option<Review>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Training {
    course: Spanned<String>,
    completed: Day,
    expires: Spanned<Day>,
    evidence_sha256: Option<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Attestation {
    text: Spanned<String>,
    sha256: Spanned<String>,
    #[serde(rename = "signed")]
    _signed: Day,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Review {
    by: Spanned<String>,
    on: Day,
}

/// Reads all of them.
pub(super) fn people(folder: &Folder) -> Result<People, Vec<Fault>> {
    let text = folder.text(REQUIREMENTS).map_err(|fault| vec![fault])?;
    let requirements: Requirements = record::parse(REQUIREMENTS, text).map_err(|fault| vec![fault])?;
    let mut faults = Vec::new();
    let needs = needs(text, &requirements, &mut faults);
    let texts = texts(folder, text, &requirements, &mut faults);
    let mut by_name: BTreeMap<String, Person> = BTreeMap::new();
    for (file, text) in folder.below("people/") {
        if file == REQUIREMENTS || !file.ends_with(".toml") {
            continue;
        }
        let person = match record::parse::<PersonFile>(file, text) {
            Ok(person) => person,
            Err(fault) => {
                faults.push(fault);
                continue;
            }
        };
        let at = |span: std::ops::Range<usize>, problem: String, remedy: &str| {
            Fault::new(file, problem, remedy).at(policy::line_of(text, span.start))
        };
        if let Some(other) = by_name.get(person.principal.get_ref()) {
            let problem = format!("`{}` has a file already: {}", person.principal.get_ref(), other.file);
            faults.push(at(person.principal.span(), problem, "keep one file a person"));
        }
        let name = person.principal.get_ref().clone();
        by_name.insert(name, check(file, person, &requirements, &at, &mut faults));
    }
    if !faults.is_empty() {
        return Err(faults);
    }
    Ok(People {
        by_name,
        needs,
        texts,
        renewals: requirements.course.into_iter().map(|(name, course)| (name, course.renew)).collect(),
        recertify_every_days: requirements.recertify_every_days,
        warn_before_days: requirements.warn_before_days,
    })
}

fn needs(text: &str, requirements: &Requirements, faults: &mut Vec<Fault>) -> BTreeMap<&'static str, Needs> {
    let mut known = BTreeMap::new();
    let mut fault = |at: usize, problem: String, remedy: &str| {
        faults.push(Fault::new(REQUIREMENTS, problem, remedy).at(policy::line_of(text, at)));
    };
    for (name, needs) in &requirements.role {
        for course in
            needs.courses.iter().filter(|course| !requirements.course.contains_key(course.get_ref()))
        {
            fault(
                course.span().start,
                format!("there is no course `{}`", course.get_ref()),
                "add [course.…]",
            );
        }
        for text in needs.texts.iter().filter(|text| !requirements.text.contains_key(text.get_ref())) {
            fault(text.span().start, format!("there is no text `{}`", text.get_ref()), "add [text.…]");
        }
        let names = |list: &[Spanned<String>]| list.iter().map(|name| name.get_ref().clone()).collect();
        match Role::from_name(name.get_ref()) {
            Some(role) => {
                let needs = Needs {
                    courses: names(&needs.courses),
                    texts: names(&needs.texts),
                    must_be_listed: needs.must_be_listed,
                };
                known.insert(role.as_str(), needs);
            }
            None => fault(name.span().start, format!("there is no role `{}`", name.get_ref()), ROLES),
        }
    }
    known
}

const ROLES: &str = "use portal, staff, auditor, admin or companion";

fn texts(
    folder: &Folder,
    whole: &str,
    requirements: &Requirements,
    faults: &mut Vec<Fault>,
) -> BTreeMap<String, String> {
    let mut hashes = BTreeMap::new();
    for (name, text) in &requirements.text {
        match folder.text(text.file.get_ref()) {
            Ok(content) => drop(hashes.insert(name.clone(), hex(&Sha256::digest(content.as_bytes())))),
            Err(_) => {
                let problem = format!("the text `{}` is not in the policy folder", text.file.get_ref());
                let line = policy::line_of(whole, text.file.span().start);
                faults.push(Fault::new(REQUIREMENTS, problem, "put it there").at(line));
            }
        }
    }
    hashes
}

fn check(
    file: &str,
    person: PersonFile,
    requirements: &Requirements,
    at: &impl Fn(std::ops::Range<usize>, String, &str) -> Fault,
    faults: &mut Vec<Fault>,
) -> Person {
    let name = person.principal.get_ref();
    if Principal::parse(name).is_err() {
        let remedy = "write it as `pangate user list` shows it";
        faults.push(at(person.principal.span(), format!("`{name}` is no principal"), remedy));
    }
    let mut roles = Vec::new();
    for role in &person.roles {
        match Role::from_name(role.get_ref()) {
            Some(role) => roles.push(role),
            None => faults.push(at(role.span(), format!("there is no role `{}`", role.get_ref()), ROLES)),
        }
    }
    let mut courses = BTreeMap::new();
    for training in person.training {
        let (course, until) = (training.course.get_ref(), training.expires.get_ref().0);
        if !requirements.course.contains_key(course) {
            let remedy = "use one of people/requirements.toml, or add it there";
            faults.push(at(training.course.span(), format!("there is no course `{course}`"), remedy));
        }
        if until < training.completed.0 {
            let problem = "the training expires before it was completed".to_owned();
            faults.push(at(training.expires.span(), problem, "correct the dates"));
        }
        if let Some(hash) = training.evidence_sha256.filter(|hash| !record::is_sha256(hash.get_ref())) {
            faults.push(at(hash.span(), "the evidence is no SHA-256".to_owned(), record::SHA256));
        }
        let best = courses.entry(course.clone()).or_insert(until);
        *best = until.max(*best);
    }
    let mut texts: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for attestation in person.attestation {
        let (text, hash) = (attestation.text.get_ref(), attestation.sha256.get_ref());
        if !requirements.text.contains_key(text) {
            let remedy = "use one of people/requirements.toml, or add it there";
            faults.push(at(attestation.text.span(), format!("there is no text `{text}`"), remedy));
        }
        if !record::is_sha256(hash) {
            faults.push(at(attestation.sha256.span(), "the hash is no SHA-256".to_owned(), record::SHA256));
        }
        texts.entry(text.clone()).or_default().push(hash.clone());
    }
    if let Some(review) = person.review.as_ref().filter(|review| review.by.get_ref() == name) {
        let problem = "nobody reviews their own access".to_owned();
        faults.push(at(review.by.span(), problem, "let another person confirm it"));
    }
    Person {
        file: file.to_owned(),
        roles,
        suspended: person.suspended.is_some(),
        courses,
        texts,
        reviewed: person.review.map(|review| review.on.0),
    }
}
