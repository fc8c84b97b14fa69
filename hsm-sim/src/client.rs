//! The client half: [`hsm::Hsm`] over the daemon's socket. Connects when first used, and again when the daemon
//! came back. Kept out: keys, and any retry of a login.

mod link;
mod officer;
mod verbs;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hsm::{ErrorClass, Hsm, HsmError};
use secrecy::SecretString;

pub use crate::ceremony::{FactsError, SplitFacts, Transcript, TranscriptError, from_hex, to_hex};
use crate::device::Command;
pub use crate::device::{AccountInfo, AccountName, Act, PinState, Role};
pub use crate::log::{
    Actor as LogActor, Broken, Entry as LogEntry, SignedHead, Start, entry_hash, verify, verify_destruction,
    verify_head,
};
use crate::protocol::codec::{Malformed, Reader};
use crate::protocol::request::Request;
use link::{Link, LinkError};

/// How long a change to the device may take: it is written to disk before it is answered.
const CHANGE_PATIENCE: Duration = Duration::from_secs(5);
/// Code of [`HsmError::Internal`] for a reply that does not follow the protocol.
const BAD_REPLY: u16 = 20;

/// A session with the daemon, as an [`Hsm`].
///
/// A call that finds the connection broken is tried once more on a new one, unless it changes the device: whether
/// such a call took effect is then unknown, and it answers [`HsmError::Timeout`]. A refused PIN is never tried again, by this client or by any made from the same [`SimClient::factory`],
/// because every try counts towards the lockout; make a new one with the right PIN.
pub struct SimClient {
    way: Arc<Way>,
    link: Mutex<Option<Link>>,
}

/// What the clients of one factory share.
struct Way {
    socket: PathBuf,
    account: AccountName,
    pin: SecretString,
    refused: Refused,
    /// Held during a login, so that many workers with one wrong PIN spend one try and not one each.
    door: Mutex<()>,
    timeout: Duration,
}

impl SimClient {
    /// A client of the daemon at `socket`, as its operator. Nothing is sent before the first call, so the daemon need
    /// not run yet.
    #[must_use]
    pub fn connect(socket: &Path, pin: SecretString) -> Self {
        Self::login_as(socket, AccountName::operator(), pin)
    }

    /// A client as any account of the device: an officer who agrees to acts, an auditor who takes the log away.
    #[must_use]
    pub fn login_as(socket: &Path, account: AccountName, pin: SecretString) -> Self {
        Self::on(Arc::new(Way::new(socket, account, pin)))
    }

    /// [`Self::login_as`] by the account's name as text.
    ///
    /// # Errors
    /// [`HsmError::InvalidInput`] when no account can have that name.
    pub fn officer(socket: &Path, name: &str, pin: SecretString) -> Result<Self, HsmError> {
        let name = AccountName::new(name);
        let name = name.map_err(|_| HsmError::InvalidInput(hsm::InputFault::Malformed))?;
        Ok(Self::login_as(socket, name, pin))
    }

    /// Makes clients for [`hsm::HsmQueue::start`]: one session each, one memory of a refused PIN for all.
    pub fn factory(
        socket: &Path,
        pin: SecretString,
    ) -> impl Fn() -> Result<Box<dyn Hsm>, HsmError> + Send + Sync + 'static {
        let way = Arc::new(Way::new(socket, AccountName::operator(), pin));
        move || Ok(Box::new(Self::on(Arc::clone(&way))))
    }

    fn on(way: Arc<Way>) -> Self {
        Self { way, link: Mutex::new(None) }
    }

    /// Asks the daemon whether it is there, without logging in: the bare round trip of the protocol.
    ///
    /// # Errors
    /// [`HsmError::NeedsReinit`] when it is not.
    pub fn hello(&self) -> Result<(), HsmError> {
        self.ask(&Request::Hello, |_| Ok(()))
    }

    /// One request and its reply, on the connection at hand or on a new one.
    fn ask<T>(
        &self,
        request: &Request<'_>,
        read: impl Fn(&mut Reader<'_>) -> Result<T, Malformed>,
    ) -> Result<T, HsmError> {
        let command = request.command();
        let changes = changes(command);
        let patience = if changes { CHANGE_PATIENCE } else { self.way.timeout };
        let mut slot = self.link.lock().unwrap_or_else(PoisonError::into_inner);
        let mut fresh = false;
        loop {
            let link = match slot.as_mut() {
                Some(link) => link,
                None => {
                    fresh = true;
                    slot.insert(self.open(command)?)
                }
            };
            if changes && !fresh && link.exchange(&Request::Hello, self.way.timeout, |_| Ok(())).is_err() {
                // An idle connection that the daemon closed is found before anything is asked of it.
                *slot = None;
                continue;
            }
            match link.exchange(request, patience, &read) {
                Ok(value) => return Ok(value),
                // The daemon answered; the connection is as good as before.
                Err(LinkError::Answered(error)) if error != HsmError::SessionLost => return Err(error),
                Err(error) => {
                    *slot = None;
                    match error {
                        LinkError::Refused(why) => return Err(why),
                        LinkError::TimedOut => return Err(HsmError::Timeout),
                        LinkError::BadReply => return Err(HsmError::Internal { code: BAD_REPLY }),
                        LinkError::Broken if changes => return Err(HsmError::Timeout),
                        LinkError::Broken if fresh => return Err(HsmError::NeedsReinit),
                        LinkError::Answered(why) if fresh => return Err(why),
                        // An old connection to a daemon that has since restarted, or that closed it as idle.
                        LinkError::Broken | LinkError::Answered(_) => {}
                    }
                }
            }
        }
    }

    fn open(&self, command: Command) -> Result<Link, HsmError> {
        let way = &self.way;
        if command == Command::Hello {
            return Link::open(&way.socket, way.timeout);
        }
        let _alone = way.door.lock().unwrap_or_else(PoisonError::into_inner);
        way.refused.check()?;
        let mut link = Link::open(&way.socket, way.timeout)?;
        match link.login(&way.account, &way.pin).inspect_err(|&error| way.refused.note(error)) {
            // A device that shut itself may have no accounts left, and still says how it is.
            Err(error)
                if error.class() == ErrorClass::Fatal
                    && matches!(command, Command::Health | Command::Describe) => {}
            other => other?,
        }
        Ok(link)
    }
}

/// Does a command change the device, so that asking twice is not the same as asking once?
fn changes(command: Command) -> bool {
    matches!(
        command,
        Command::CreateKey
            | Command::RotateKey
            | Command::SetStatus
            | Command::DestroyKey
            | Command::Approve
            | Command::ChangePin
    )
}

impl Way {
    fn new(socket: &Path, account: AccountName, pin: SecretString) -> Self {
        Self {
            socket: socket.to_owned(),
            account,
            pin,
            refused: Refused(AtomicU8::new(Refused::NOT)),
            door: Mutex::new(()),
            timeout: Duration::from_secs(1),
        }
    }
}

/// Remembers that the PIN was refused: 255 not, 254 locked, else the tries that were left.
struct Refused(AtomicU8);

impl Refused {
    const NOT: u8 = u8::MAX;
    const LOCKED: u8 = u8::MAX - 1;

    fn check(&self) -> Result<(), HsmError> {
        match self.0.load(Ordering::SeqCst) {
            Self::NOT => Ok(()),
            Self::LOCKED => Err(HsmError::AuthLocked),
            left => Err(HsmError::AuthFailed { left: Some(left) }),
        }
    }

    fn note(&self, error: HsmError) {
        match error {
            HsmError::AuthLocked => self.0.store(Self::LOCKED, Ordering::SeqCst),
            HsmError::AuthFailed { left } => {
                self.0.store(left.unwrap_or(0).min(Self::LOCKED - 1), Ordering::SeqCst);
            }
            _ => {}
        }
    }
}
