//! A script of faults: rules over requests, decided by counting and by a seed, so that the same script over the same
//! requests does the same again.

use std::time::Duration;

use hsm::HsmError;
use serde::{Deserialize, Serialize};

use super::Fate;
use crate::device::Command;

/// Rules in order; the first that strikes decides, and every delay counts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Script {
    /// What chances are drawn from.
    #[serde(default)]
    pub seed: u64,
    /// Connections at once; one more is told that the device is overloaded.
    #[serde(default)]
    pub capacity: Option<u16>,
    /// The rules, at most [`Script::MAX_RULES`].
    #[serde(default)]
    pub rules: Vec<Rule>,
}

/// When something happens to which requests.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Which requests: `any`, or a command by its name in the device's log, such as `mac`.
    pub on: String,
    /// The first of them that is struck, counting from 1.
    #[serde(default = "one")]
    pub first: u64,
    /// From there every how many-th.
    #[serde(default = "one")]
    pub every: u64,
    /// How often at most; for ever when absent.
    #[serde(default)]
    pub times: Option<u64>,
    /// Of those, how many in a thousand, by the seed.
    #[serde(default = "thousand")]
    pub permille: u16,
    /// What happens.
    #[serde(rename = "do")]
    pub fault: Fault,
}

/// What can happen to a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Fault {
    /// It waits, evenly spread between two times in microseconds, before the device sees it. On `random` and
    /// `new_data_key` this is a generator short of entropy.
    Delay {
        /// At least.
        min_us: u64,
        /// At most, up to a minute.
        max_us: u64,
    },
    /// The device does not see it; the caller gets this error, by its stable name without `hsm_`.
    Error {
        /// Such as `overloaded`.
        code: String,
    },
    /// The device does it, and the reply is lost: the connection closes instead.
    DropReply,
    /// The device does it, and the reply is held back until the caller has given up: for a minute at most.
    HoldReply,
    /// The device does not see it, and the connection closes.
    Disconnect,
    /// The device does not see it and has forgotten the session.
    LoseSession,
}

/// Why a script is not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScriptFault {
    /// Too long.
    #[error("a script has at most 64 rules")]
    TooManyRules,
    /// No such command.
    #[error(
        "rule {0}: no command of that name; say \"any\", or a name as the device's log has it, such as \"mac\""
    )]
    Command(usize),
    /// No such error.
    #[error(
        "rule {0}: no error of that name; one of overloaded, timeout, away, session_lost, log_full, denied, \
         integrity, tampered, internal"
    )]
    Error(usize),
    /// Numbers that mean nothing.
    #[error(
        "rule {0}: first and every begin with 1, permille ends with 1000, a delay with 60000000 microseconds"
    )]
    Numbers(usize),
}

impl Script {
    /// The most rules.
    pub const MAX_RULES: usize = 64;
    /// The longest delay, in microseconds: a minute.
    pub const MAX_DELAY: u64 = 60_000_000;

    /// Does every rule mean something?
    ///
    /// # Errors
    /// [`ScriptFault`], which names the rule, counting from 1.
    pub fn check(&self) -> Result<(), ScriptFault> {
        if self.rules.len() > Self::MAX_RULES {
            return Err(ScriptFault::TooManyRules);
        }
        for (at, rule) in (1..).zip(&self.rules) {
            if rule.on != "any" && command_named(&rule.on).is_none() {
                return Err(ScriptFault::Command(at));
            }
            let delay = match &rule.fault {
                Fault::Delay { min_us, max_us } => min_us <= max_us && *max_us <= Self::MAX_DELAY,
                Fault::Error { code } => {
                    error_named(code).ok_or(ScriptFault::Error(at))?;
                    true
                }
                _ => true,
            };
            if !delay || rule.first == 0 || rule.every == 0 || rule.permille > 1000 {
                return Err(ScriptFault::Numbers(at));
            }
        }
        Ok(())
    }
}

/// A script while it runs: what each rule has seen.
pub(super) struct Running {
    script: Script,
    seen: Vec<u64>,
    struck: Vec<u64>,
}

impl Running {
    pub(super) fn new(script: Script) -> Self {
        let none = vec![0; script.rules.len()];
        Self { seen: none.clone(), struck: none, script }
    }

    pub(super) fn capacity(&self) -> Option<u16> {
        self.script.capacity
    }

    pub(super) fn struck(&self) -> Vec<u64> {
        self.struck.clone()
    }

    pub(super) fn fate(&mut self, command: u8) -> Fate {
        let mut fate = Fate::default();
        let counts = self.seen.iter_mut().zip(&mut self.struck);
        for ((number, rule), (seen, struck)) in (0_u64..).zip(&self.script.rules).zip(counts) {
            if rule.on != "any" && command_named(&rule.on) != Some(command) {
                continue;
            }
            *seen += 1;
            let Some(past) = seen.checked_sub(rule.first) else { continue };
            let due = past.is_multiple_of(rule.every) && rule.times.is_none_or(|times| *struck < times);
            let roll = draw(self.script.seed, number, *seen);
            if !due || roll % 1000 >= u64::from(rule.permille) {
                continue;
            }
            match &rule.fault {
                Fault::Delay { min_us, max_us } => {
                    let spread = (max_us - min_us).saturating_add(1);
                    fate.wait += Duration::from_micros(min_us + (roll >> 10) % spread);
                    *struck += 1;
                }
                fault if fate.fault.is_none() => {
                    fate.fault = Some(fault.clone());
                    *struck += 1;
                }
                _ => {}
            }
        }
        fate
    }
}

/// The error that a name stands for: those a caller must be ready for.
pub(super) fn error_named(name: &str) -> Option<HsmError> {
    [
        HsmError::Overloaded,
        HsmError::Timeout,
        HsmError::NeedsReinit,
        HsmError::SessionLost,
        HsmError::LogFull,
        HsmError::Denied,
        HsmError::Integrity,
        HsmError::Tampered,
        HsmError::Internal { code: INJECTED },
    ]
    .into_iter()
    .find(|error| error.code().strip_prefix("hsm_") == Some(name))
}

/// Code of [`HsmError::Internal`] for one that was ordered.
const INJECTED: u16 = 99;

fn command_named(name: &str) -> Option<u8> {
    (0..=u8::MAX).find(|&code| Command::from_code(code).is_some_and(|command| command.rule().name == name))
}

/// A number that depends on all three and on nothing else (SplitMix64's finalizer). Not for keys.
fn draw(seed: u64, rule: u64, seen: u64) -> u64 {
    let mut mixed = seed ^ rule.rotate_left(32) ^ seen.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    for factor in [0xBF58_476D_1CE4_E5B9, 0x94D0_49BB_1331_11EB] {
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(factor);
    }
    mixed ^ (mixed >> 31)
}

fn one() -> u64 {
    1
}

fn thousand() -> u16 {
    1000
}

#[cfg(test)]
mod tests {
    use super::*;

    fn script(text: &str) -> Script {
        serde_json::from_str(text).unwrap()
    }

    fn fates(script: &Script, commands: &[Command]) -> Vec<Fate> {
        let mut running = Running::new(script.clone());
        commands.iter().map(|command| running.fate(command.code())).collect()
    }

    #[test]
    fn counting_strikes_exactly_the_requests_that_were_named() {
        let rules = script(
            r#"{"rules":[{"on":"mac","first":2,"every":3,"times":2,"do":{"error":{"code":"overloaded"}}}]}"#,
        );
        rules.check().unwrap();
        let asked = [Command::Sign, Command::Mac, Command::Mac, Command::Mac, Command::Sign, Command::Mac];
        let asked = [&asked[..], &[Command::Mac; 9]].concat();
        let struck: Vec<usize> = fates(&rules, &asked)
            .iter()
            .enumerate()
            .filter(|(_, f)| f.fault.is_some())
            .map(|(at, _)| at)
            .collect();
        // MACs number 2 and 5, and no third one.
        assert_eq!(struck, [2, 6]);
    }

    #[test]
    fn the_same_seed_does_the_same_and_another_does_not() {
        let text = r#"{"seed":SEED,"rules":[{"on":"any","permille":300,"do":"disconnect"},
                       {"on":"any","do":{"delay":{"min_us":10,"max_us":90}}}]}"#;
        let of = |seed: &str| fates(&script(&text.replace("SEED", seed)), &[Command::Mac; 1000]);
        assert_eq!(of("1"), of("1"));
        assert_ne!(of("1"), of("2"));
        let struck = of("3").iter().filter(|fate| fate.fault.is_some()).count();
        assert!((200..400).contains(&struck), "{struck} of a thousand at 300 permille");
        assert!(of("4").iter().all(|fate| (10..=90).contains(&fate.wait.as_micros())));
        assert!(of("4").windows(2).any(|pair| pair[0].wait != pair[1].wait));
    }

    #[test]
    fn a_script_that_means_nothing_is_refused_with_the_rules_number() {
        let refused = |rule: &str| {
            script(&format!(r#"{{"rules":[{{"on":"mac","do":"disconnect"}},{rule}]}}"#)).check().unwrap_err()
        };
        assert_eq!(refused(r#"{"on":"mack","do":"disconnect"}"#), ScriptFault::Command(2));
        assert_eq!(refused(r#"{"on":"mac","do":{"error":{"code":"nonsense"}}}"#), ScriptFault::Error(2));
        assert_eq!(refused(r#"{"on":"mac","first":0,"do":"disconnect"}"#), ScriptFault::Numbers(2));
        assert_eq!(
            refused(r#"{"on":"mac","do":{"delay":{"min_us":2,"max_us":1}}}"#),
            ScriptFault::Numbers(2)
        );
        assert!(serde_json::from_str::<Script>(r#"{"rulez":[]}"#).is_err());
    }
}
