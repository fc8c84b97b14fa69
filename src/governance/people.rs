//! `policy/people/`: who holds which role, and what keeps a role from being effective: a training that ran out, a text
//! that changed since it was read, a suspension. HIPAA 45 CFR 164.308(a)(5), 164.530(b); PCI DSS 4.0.1, 7.2.4, 12.6.

mod reading;

use super::Folder;
use crate::caller::Role;
use policy::Fault;
use std::collections::BTreeMap;
use std::fmt;
use time::Date;

/// The file with the requirements.
const REQUIREMENTS: &str = "people/requirements.toml";

/// Why a role is not effective. The reasons are ours, the names the policy's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ineffective {
    /// A training that the role requires ran out.
    TrainingExpired {
        /// The course.
        course: String,
        /// The last day on which it counted.
        expired: Date,
        /// How to renew it.
        renew: String,
    },
    /// A training that the role requires is not recorded.
    TrainingMissing {
        /// The course.
        course: String,
        /// How to come by it.
        renew: String,
    },
    /// A text that the role requires was not attested to.
    AttestationMissing {
        /// The text's name.
        text: String,
    },
    /// A text changed since it was attested to.
    AttestationStale {
        /// The text's name.
        text: String,
    },
    /// The person has no file, and the role requires one.
    NotListed,
    /// The person's file does not name the role.
    RoleNotGranted,
    /// The person is suspended.
    Suspended,
}

impl Ineffective {
    /// The stable code, as rules and answers carry it.
    pub fn code(&self) -> &'static str {
        match self {
            Ineffective::TrainingExpired { .. } => "training_expired",
            Ineffective::TrainingMissing { .. } => "training_missing",
            Ineffective::AttestationMissing { .. } => "attestation_missing",
            Ineffective::AttestationStale { .. } => "attestation_stale",
            Ineffective::NotListed => "not_listed",
            Ineffective::RoleNotGranted => "role_not_granted",
            Ineffective::Suspended => "suspended",
        }
    }

    /// The course at fault, where it is one.
    pub fn course(&self) -> Option<&str> {
        match self {
            Ineffective::TrainingExpired { course, .. } | Ineffective::TrainingMissing { course, .. } => {
                Some(course)
            }
            _ => None,
        }
    }

    /// How to renew the course at fault, where it is one.
    pub fn renew(&self) -> Option<&str> {
        match self {
            Ineffective::TrainingExpired { renew, .. } | Ineffective::TrainingMissing { renew, .. } => {
                Some(renew)
            }
            _ => None,
        }
    }

    /// The last day on which the course at fault counted.
    pub fn expired(&self) -> Option<Date> {
        match self {
            Ineffective::TrainingExpired { expired, .. } => Some(*expired),
            _ => None,
        }
    }
}

impl fmt::Display for Ineffective {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Ineffective::TrainingExpired { course, expired, renew } => {
                write!(f, "the training {course} counted until {expired}; {renew}")
            }
            Ineffective::TrainingMissing { course, renew } => {
                write!(f, "the training {course} is not recorded; {renew}")
            }
            Ineffective::AttestationMissing { text } => {
                write!(f, "the text {text} has to be read and attested to; the record goes to policy/people")
            }
            Ineffective::AttestationStale { text } => write!(
                f,
                "the text {text} changed since it was attested to; read it again, and have the attestation recorded"
            ),
            Ineffective::NotListed => {
                f.write_str("the role requires a record in policy/people, and there is none of this name")
            }
            Ineffective::RoleNotGranted => {
                f.write_str("the record in policy/people does not grant this role; ask whoever keeps it")
            }
            Ineffective::Suspended => {
                f.write_str("access is suspended in policy/people; ask whoever keeps it")
            }
        }
    }
}

/// Something that people should look at in time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// The stable code.
    pub code: &'static str,
    /// The file.
    pub file: String,
    /// About whom or what.
    pub subject: String,
    /// What is to be done.
    pub text: String,
}

/// One person, as their file says.
#[derive(Debug)]
struct Person {
    file: String,
    roles: Vec<Role>,
    suspended: bool,
    /// The last day on which each course counts.
    courses: BTreeMap<String, Date>,
    /// What was attested to: the hashes of each text.
    texts: BTreeMap<String, Vec<String>>,
    /// When another person last confirmed the access.
    reviewed: Option<Date>,
}

/// What a role requires.
#[derive(Debug, Default)]
struct Needs {
    courses: Vec<String>,
    texts: Vec<String>,
    must_be_listed: bool,
}

/// The people and what is required of them.
#[derive(Debug)]
pub struct People {
    by_name: BTreeMap<String, Person>,
    needs: BTreeMap<&'static str, Needs>,
    /// How each course is renewed.
    renewals: BTreeMap<String, String>,
    /// The hash of each text as it is now.
    texts: BTreeMap<String, String>,
    recertify_every_days: u16,
    warn_before_days: u16,
}

impl People {
    /// Reads the records.
    ///
    /// # Errors
    /// Every fault that was found.
    pub fn of(folder: &Folder) -> Result<People, Vec<Fault>> {
        reading::people(folder)
    }

    /// Why the role of somebody is not effective on that day; `None` when it is.
    pub fn ineffective(&self, role: Role, name: &str, today: Date) -> Option<Ineffective> {
        let needs = self.needs.get(role.as_str())?;
        let Some(person) = self.by_name.get(name) else {
            return needs.must_be_listed.then_some(Ineffective::NotListed);
        };
        if person.suspended {
            return Some(Ineffective::Suspended);
        }
        if !person.roles.contains(&role) {
            return Some(Ineffective::RoleNotGranted);
        }
        let training = needs.courses.iter().find_map(|course| self.training(person, course, today));
        training.or_else(|| needs.texts.iter().find_map(|text| self.attestation(person, text)))
    }

    fn training(&self, person: &Person, course: &str, today: Date) -> Option<Ineffective> {
        let renew = self.renewals.get(course).cloned().unwrap_or_default();
        let course = course.to_owned();
        match person.courses.get(&course) {
            Some(until) if *until >= today => None,
            Some(until) => Some(Ineffective::TrainingExpired { course, expired: *until, renew }),
            None => Some(Ineffective::TrainingMissing { course, renew }),
        }
    }

    fn attestation(&self, person: &Person, text: &str) -> Option<Ineffective> {
        let text = text.to_owned();
        match person.texts.get(&text) {
            Some(hashes) if self.texts.get(&text).is_some_and(|now| hashes.contains(now)) => None,
            Some(_) => Some(Ineffective::AttestationStale { text }),
            None => Some(Ineffective::AttestationMissing { text }),
        }
    }

    /// So many days before something runs out it is told.
    pub fn warn_before_days(&self) -> u16 {
        self.warn_before_days
    }

    /// What is due on that day: roles that are not effective, trainings that are about to run out, reviews of access.
    pub fn notices(&self, today: Date) -> Vec<Notice> {
        self.by_name.iter().flat_map(|(name, person)| self.notices_of(name, person, today)).collect()
    }

    fn notices_of(&self, name: &str, person: &Person, today: Date) -> Vec<Notice> {
        let notice =
            |code, text: String| Notice { code, file: person.file.clone(), subject: name.to_owned(), text };
        let mut notices = Vec::new();
        if person.suspended {
            return notices;
        }
        for role in &person.roles {
            if let Some(why) = self.ineffective(*role, name, today) {
                notices.push(notice(why.code(), format!("the role {role} is not effective: {why}")));
            }
        }
        let soon = today.saturating_add(time::Duration::days(self.warn_before_days.into()));
        let required: Vec<&String> = person
            .roles
            .iter()
            .filter_map(|role| self.needs.get(role.as_str()))
            .flat_map(|needs| &needs.courses)
            .collect();
        for (course, until) in &person.courses {
            if *until >= today && *until <= soon && required.contains(&course) {
                notices
                    .push(notice("training_expires", format!("the training {course} counts until {until}")));
            }
        }
        let every = time::Duration::days(self.recertify_every_days.into());
        if person.reviewed.is_none_or(|on| on.saturating_add(every) < today) {
            let text = "another person has to confirm that the access is needed: [review] in the file";
            notices.push(notice("recertification_overdue", text.to_owned()));
        }
        notices
    }
}

#[cfg(test)]
mod tests;
