//! `policy/keys.toml`: how long each key may protect, how often, and what happens then.

use hsm::KeyLabel;
use serde::{Deserialize, Deserializer, de};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The policy that a new folder starts with, and what holds where there is no file.
pub const SHIPPED: &str = include_str!("../../policy/keys.toml");

const DAY: u64 = 24 * 3600;

/// The whole file.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyPolicy {
    /// Acts that wait for a second person.
    pub approvals: Approvals,
    /// Work in the background.
    pub jobs: Jobs,
    key: Rules,
}

/// `[approvals]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Approvals {
    /// How long an act waits; at most a day.
    #[serde(deserialize_with = "up_to_a_day")]
    pub lifetime: Duration,
}

/// `[jobs]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Jobs {
    /// Rows in a second, at most.
    #[serde(deserialize_with = "rows_per_second")]
    pub rows_per_second: u32,
    /// Rows in one step, 1 to 500.
    #[serde(deserialize_with = "batch_rows")]
    pub batch_rows: u32,
    /// Rows between two progress entries in the audit log.
    #[serde(deserialize_with = "above_zero")]
    pub audit_every_rows: u64,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Rules {
    #[serde(rename = "kek/card")]
    kek_card: Rule,
    #[serde(rename = "mac/pan")]
    mac_pan: Rule,
    #[serde(rename = "mac/request")]
    mac_request: Rule,
    #[serde(rename = "sign/audit")]
    sign_audit: Rule,
    data_key: Rule,
}

/// The rule for one key.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// How long one version may protect.
    #[serde(deserialize_with = "span")]
    pub cryptoperiod: Duration,
    /// How long before its end that is said.
    #[serde(deserialize_with = "span")]
    pub warn_before: Duration,
    /// How often one version may protect.
    #[serde(default, deserialize_with = "some_above_zero")]
    pub most_uses: Option<u64>,
    /// Whether it is replaced without being asked.
    #[serde(default)]
    pub rotate_by_itself: bool,
    /// How long a retired version is kept before it may be destroyed.
    #[serde(default, deserialize_with = "span")]
    pub keep_for: Duration,
}

/// Why the policy cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// The file cannot be read.
    #[error("cannot read {file}: {source}")]
    Unreadable {
        /// Which.
        file: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is not what it should be.
    #[error("{file}, line {line}: {message}")]
    Wrong {
        /// Which.
        file: PathBuf,
        /// From one.
        line: usize,
        /// What, and what it should be.
        message: String,
    },
}

impl KeyPolicy {
    /// Reads `keys.toml` in the policy folder; where there is none, the shipped one holds. With `officers` the
    /// device asks two of its officers for every new key, so that none can rotate by itself.
    ///
    /// # Errors
    /// [`PolicyError`], which names the file and the line.
    pub fn read(folder: &Path, officers: bool) -> Result<KeyPolicy, PolicyError> {
        let file = folder.join("keys.toml");
        match std::fs::read_to_string(&file) {
            Ok(text) => KeyPolicy::parse(&file, &text, officers),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                KeyPolicy::parse(&file, SHIPPED, officers)
            }
            Err(source) => Err(PolicyError::Unreadable { file, source }),
        }
    }

    fn parse(file: &Path, text: &str, officers: bool) -> Result<KeyPolicy, PolicyError> {
        let wrong = |line, message| PolicyError::Wrong { file: file.to_owned(), line, message };
        let policy: KeyPolicy = toml::from_str(text).map_err(|error| {
            let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
            wrong(before.matches('\n').count() + 1, error.message().to_owned())
        })?;
        for (name, rule) in policy.rules() {
            if rule.warn_before > rule.cryptoperiod {
                let message = "warn_before is longer than the cryptoperiod; make it shorter".to_owned();
                return Err(wrong(line_of(text, name, "warn_before"), message));
            }
            if officers && rule.rotate_by_itself && name != DATA_KEY {
                let message = format!(
                    "{name} cannot rotate by itself, because two officers of the device have to agree; set it to false"
                );
                return Err(wrong(line_of(text, name, "rotate_by_itself"), message));
            }
        }
        Ok(policy)
    }

    /// Every rule with its key's name.
    fn rules(&self) -> [(&'static str, &Rule); 5] {
        let rules = &self.key;
        [
            ("kek/card", &rules.kek_card),
            ("mac/pan", &rules.mac_pan),
            ("mac/request", &rules.mac_request),
            ("sign/audit", &rules.sign_audit),
            (DATA_KEY, &rules.data_key),
        ]
    }

    /// The rule for an HSM key; none for a label that is not ours.
    pub fn of(&self, label: &KeyLabel) -> Option<&Rule> {
        self.rules().into_iter().find(|(name, _)| *name == label.as_str()).map(|(_, rule)| rule)
    }

    /// The rule for the tenants' data keys.
    pub fn data_key(&self) -> &Rule {
        &self.key.data_key
    }
}

const DATA_KEY: &str = "data_key";

/// How far a key is in its time and its uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// It has time.
    Fresh,
    /// It should be rotated soon.
    Soon,
    /// It should have been rotated.
    Overdue,
}

impl Due {
    /// The stable name.
    pub fn as_str(self) -> &'static str {
        match self {
            Due::Fresh => "fresh",
            Due::Soon => "soon",
            Due::Overdue => "overdue",
        }
    }
}

impl Rule {
    /// How far a key of that age and so many uses is.
    pub fn judge(&self, age: Duration, uses: Option<u64>) -> Due {
        let worn =
            |share: u64| self.most_uses.zip(uses).is_some_and(|(most, uses)| uses >= most / 100 * share);
        if age >= self.cryptoperiod || self.most_uses.zip(uses).is_some_and(|(most, uses)| uses >= most) {
            Due::Overdue
        } else if age >= self.cryptoperiod.saturating_sub(self.warn_before) || worn(90) {
            Due::Soon
        } else {
            Due::Fresh
        }
    }
}

/// Where a key's setting stands, from one.
fn line_of(text: &str, key: &str, name: &str) -> usize {
    let mut inside = false;
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.starts_with('[') {
            inside = line.trim_matches(['[', ']']).trim_start_matches("key.").trim_matches('"') == key;
        }
        if inside && line.split('=').next().is_some_and(|word| word.trim() == name) {
            return number + 1;
        }
    }
    1
}

fn span<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(from)?;
    read_span(&text).ok_or_else(|| {
        de::Error::custom("a span is a whole number with s, m, h or d, such as \"365d\", up to ten years")
    })
}

fn read_span(text: &str) -> Option<Duration> {
    let unit = match text.chars().last()? {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => DAY,
        _ => return None,
    };
    let count: u64 = text.get(..text.len() - 1)?.parse().ok()?;
    let seconds = count.checked_mul(unit).filter(|seconds| *seconds <= 3653 * DAY)?;
    Some(Duration::from_secs(seconds))
}

fn up_to_a_day<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    let lifetime = span(from)?;
    if (1..=DAY).contains(&lifetime.as_secs()) {
        Ok(lifetime)
    } else {
        Err(de::Error::custom("an act on keys waits one second to one day"))
    }
}

fn rows_per_second<'de, D: Deserializer<'de>>(from: D) -> Result<u32, D::Error> {
    let rows = u32::deserialize(from)?;
    if (1..=1_000_000).contains(&rows) {
        Ok(rows)
    } else {
        Err(de::Error::custom("rows_per_second is 1 to 1000000"))
    }
}

fn batch_rows<'de, D: Deserializer<'de>>(from: D) -> Result<u32, D::Error> {
    let rows = u32::deserialize(from)?;
    if (1..=500).contains(&rows) { Ok(rows) } else { Err(de::Error::custom("batch_rows is 1 to 500")) }
}

fn above_zero<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
    let number = u64::deserialize(from)?;
    if number > 0 { Ok(number) } else { Err(de::Error::custom("send a whole number above zero")) }
}

fn some_above_zero<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u64>, D::Error> {
    above_zero(from).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<KeyPolicy, PolicyError> {
        KeyPolicy::parse(Path::new("keys.toml"), text, true)
    }

    fn line(text: &str) -> (usize, String) {
        match read(text) {
            Err(PolicyError::Wrong { line, message, .. }) => (line, message),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_shipped_policy_has_a_rule_for_every_key() {
        let policy = read(SHIPPED).unwrap();
        for label in [KeyLabel::KEK_CARD, KeyLabel::MAC_PAN, KeyLabel::MAC_REQUEST, KeyLabel::SIGN_AUDIT] {
            assert!(policy.of(&label).is_some(), "{label}");
        }
        assert_eq!(policy.approvals.lifetime, Duration::from_secs(900));
        assert_eq!(policy.data_key().cryptoperiod, Duration::from_secs(90 * DAY));
        assert!(policy.of(&KeyLabel::new("kek/other").unwrap()).is_none());
    }

    #[test]
    fn a_wrong_line_is_named() {
        let place = |wanted: &str| SHIPPED.lines().position(|line| line.starts_with(wanted)).unwrap() + 1;
        for (good, bad) in [
            ("lifetime = \"15m\"", "lifetime = \"2d\""),
            ("cryptoperiod = \"90d\"", "cryptoperiod = \"90\""),
            ("batch_rows = 100", "batch_rows = 0"),
            ("rows_per_second = 2000", "rows_per_secund = 4000"),
            ("most_uses = 1073741824", "most_uses = -1"),
        ] {
            let (line, message) = line(&SHIPPED.replace(good, bad));
            assert_eq!(line, place(good), "{bad}: {message}");
        }
        let (_, message) = line(&SHIPPED.replace("[key.\"mac/pan\"]", "[key.\"mac/pam\"]"));
        assert!(message.contains("mac/pam"), "{message}");
    }

    #[test]
    fn a_key_that_needs_officers_cannot_rotate_by_itself() {
        let text = SHIPPED.replacen("rotate_by_itself = false", "rotate_by_itself = true", 1);
        let (found, message) = line(&text);
        assert!(
            text.lines().nth(found - 1).unwrap().contains("rotate_by_itself = true"),
            "{found} {message}"
        );
        assert!(message.contains("kek/card"));
        assert!(KeyPolicy::parse(Path::new("keys.toml"), &text, false).is_ok());
    }

    #[test]
    fn age_or_uses_make_a_key_due() {
        let rule = read(SHIPPED).unwrap().data_key().clone();
        let days = |n: u64| Duration::from_secs(n * DAY);
        assert_eq!(rule.judge(days(10), Some(5)), Due::Fresh);
        assert_eq!(rule.judge(days(77), None), Due::Soon);
        assert_eq!(rule.judge(days(90), None), Due::Overdue);
        assert_eq!(rule.judge(days(1), Some(1_073_741_824)), Due::Overdue);
        assert_eq!(rule.judge(days(1), Some(1_000_000_000)), Due::Soon);
    }
}
