//! People on the command line: a name and the file that holds the person's PIN.

use std::path::PathBuf;
use std::str::FromStr;

use hsm_sim::client::AccountName;
use secrecy::{ExposeSecret, SecretString};

use super::{Failure, read_pin};

/// `NAME=FILE`.
#[derive(Clone)]
pub(super) struct Person {
    pub(super) name: String,
    pub(super) pin_file: PathBuf,
}

impl FromStr for Person {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, file) = text.split_once('=').ok_or("write NAME=FILE, such as ada=ada.pin")?;
        Ok(Self { name: name.to_owned(), pin_file: PathBuf::from(file) })
    }
}

/// Two officers' PINs.
pub(super) struct TwoPins([(AccountName, SecretString); 2]);

impl TwoPins {
    pub(super) fn borrow(&self) -> [(AccountName, &[u8]); 2] {
        let [one, two] = &self.0;
        [one, two].map(|(name, pin)| (name.clone(), pin.expose_secret().as_bytes()))
    }
}

/// Reads the PINs of exactly two officers.
pub(super) fn officers_by_pin(people: &[Person]) -> Result<TwoPins, Failure> {
    let [one, two] = people else {
        return Err(Failure::new("name two officers, each with --officer NAME=FILE"));
    };
    let read = |person: &Person| -> Result<(AccountName, SecretString), Failure> {
        let name = AccountName::new(&person.name);
        let name = name.map_err(|fault| Failure::new(format!("{}: {fault}", person.name)))?;
        Ok((name, read_pin(&person.pin_file)?))
    };
    Ok(TwoPins([read(one)?, read(two)?]))
}
