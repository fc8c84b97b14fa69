//! The one table of what can be asked of the device, by whom, when, and what of it is written to the device's log.
//! Sessions, log and tests read it; nothing else decides who may do what.

use super::account::Role;

/// Everything that can be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Command {
    /// Is anybody there?
    Hello,
    /// Opens a session.
    Login,
    /// Who the device is.
    Describe,
    /// How it is.
    Health,
    /// Random bytes.
    Random,
    /// The list of keys.
    Keys,
    /// A new sealed data key.
    NewDataKey,
    /// A sealed data key, opened.
    OpenDataKey,
    /// A sealed data key under another KEK.
    Reseal,
    /// One MAC.
    Mac,
    /// Many MACs.
    MacMany,
    /// A signature.
    Sign,
    /// A key's next version, not yet active.
    CreateKey,
    /// A key's next version, active at once.
    RotateKey,
    /// A step in a key's life.
    SetStatus,
    /// A key's end.
    DestroyKey,
    /// An officer's ticket.
    Approve,
    /// Entries out of the log.
    DrainLog,
    /// The signed head of the log.
    LogHead,
    /// Tries back for a locked account.
    Unlock,
    /// A new PIN for one's own account.
    ChangePin,
    /// The list of accounts.
    Accounts,
}

/// What of a command goes to the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Logged {
    /// Every time, done or refused; while the log is full it is not done.
    Always,
    /// Refusals. What went well is counted in the key's uses: a log of every MAC would bury what matters.
    Refusals,
    /// Nothing: it changes nothing and tells nothing secret.
    Never,
}

/// One line of the table.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    /// Which command.
    pub command: Command,
    /// Its number in the protocol and in the log.
    pub code: u8,
    /// Its name in the log.
    pub name: &'static str,
    /// Who may, after login. Empty: it needs no login.
    pub roles: &'static [Role],
    /// What of it is logged.
    pub logged: Logged,
    /// Is it answered while the log is full?
    pub when_full: bool,
}

const ALL: &[Role] = &Role::ALL;
const OPERATOR: &[Role] = &[Role::Operator];
const OFFICER: &[Role] = &[Role::Officer];
/// The operator only relays: without two officers' tickets nothing happens.
const WITH_TICKETS: &[Role] = &[Role::Officer, Role::Operator];
/// The operator only where the device's settings say that it takes the log away.
const DRAINS: &[Role] = &[Role::Auditor, Role::Operator];
const OVERSEERS: &[Role] = &[Role::Officer, Role::Auditor];

const fn rule(
    command: Command,
    code: u8,
    name: &'static str,
    roles: &'static [Role],
    logged: Logged,
    when_full: bool,
) -> Rule {
    Rule { command, code, name, roles, logged, when_full }
}

/// The table.
pub const RULES: [Rule; 22] = [
    rule(Command::Hello, 1, "hello", &[], Logged::Never, true),
    rule(Command::Login, 2, "login", &[], Logged::Always, true),
    rule(Command::Describe, 3, "describe", ALL, Logged::Never, true),
    rule(Command::Health, 4, "health", ALL, Logged::Never, true),
    rule(Command::Random, 5, "random", OPERATOR, Logged::Refusals, false),
    rule(Command::Keys, 6, "keys", ALL, Logged::Never, true),
    rule(Command::NewDataKey, 7, "new_data_key", OPERATOR, Logged::Refusals, false),
    rule(Command::OpenDataKey, 8, "open_data_key", OPERATOR, Logged::Refusals, false),
    rule(Command::Reseal, 9, "reseal_data_key", OPERATOR, Logged::Refusals, false),
    rule(Command::Mac, 10, "mac", OPERATOR, Logged::Refusals, false),
    rule(Command::MacMany, 11, "mac_many", OPERATOR, Logged::Refusals, false),
    rule(Command::Sign, 12, "sign", OPERATOR, Logged::Refusals, false),
    rule(Command::CreateKey, 13, "create_key", WITH_TICKETS, Logged::Always, false),
    rule(Command::RotateKey, 14, "rotate_key", WITH_TICKETS, Logged::Always, false),
    rule(Command::SetStatus, 15, "set_status", WITH_TICKETS, Logged::Always, false),
    rule(Command::DestroyKey, 16, "destroy_key", WITH_TICKETS, Logged::Always, false),
    rule(Command::Approve, 17, "approve", OFFICER, Logged::Always, false),
    rule(Command::DrainLog, 18, "drain_log", DRAINS, Logged::Refusals, true),
    rule(Command::LogHead, 19, "log_head", ALL, Logged::Never, true),
    rule(Command::Unlock, 20, "unlock", OFFICER, Logged::Always, false),
    rule(Command::ChangePin, 21, "change_pin", ALL, Logged::Always, false),
    rule(Command::Accounts, 22, "accounts", OVERSEERS, Logged::Refusals, true),
];

impl Command {
    /// Its line in the table.
    #[must_use]
    pub fn rule(self) -> &'static Rule {
        const NOWHERE: &Rule = &rule(Command::Hello, 0, "unknown", &[], Logged::Always, false);
        RULES.iter().find(|rule| rule.command == self).unwrap_or(NOWHERE)
    }

    /// Its number in the protocol and in the log.
    #[must_use]
    pub fn code(self) -> u8 {
        self.rule().code
    }

    /// The command of a number.
    #[must_use]
    pub fn from_code(code: u8) -> Option<Self> {
        RULES.iter().find(|rule| rule.code == code).map(|rule| rule.command)
    }

    /// May this role?
    #[must_use]
    pub fn is_for(self, role: Role) -> bool {
        self.rule().roles.contains(&role)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_one_line_and_one_number() {
        for (at, rule) in RULES.iter().enumerate() {
            assert_eq!(usize::from(rule.code), at + 1);
            assert_eq!(Command::from_code(rule.code), Some(rule.command));
            assert_eq!(rule.command.code(), rule.code);
        }
        assert_eq!(Command::from_code(0), None);
        assert_eq!(Command::from_code(23), None);
    }

    #[test]
    fn no_role_does_anothers_work() {
        use Command as C;
        for command in [C::Random, C::NewDataKey, C::OpenDataKey, C::Reseal, C::Mac, C::MacMany, C::Sign] {
            assert_eq!(command.rule().roles, [Role::Operator], "{command:?}");
        }
        for command in [C::Approve, C::Unlock] {
            assert_eq!(command.rule().roles, [Role::Officer], "{command:?}");
        }
        for command in [C::CreateKey, C::RotateKey, C::SetStatus, C::DestroyKey] {
            assert!(!command.is_for(Role::Auditor), "{command:?}");
            assert_eq!(command.rule().logged, Logged::Always);
        }
        assert!(!C::DrainLog.is_for(Role::Officer));
    }
}
