//! The client half: [`hsm::Hsm`] over the daemon's socket. Connects when first used, and again when the daemon
//! came back. Kept out: keys, and any retry of a login.

mod link;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hsm::{
    Context, DataKey, DeviceInfo, Health, Hsm, HsmError, InputFault, KeyFilter, KeyInfo, KeyRef, MAX_BATCH,
    MAX_MESSAGE, MAX_RANDOM, SealedDataKey,
};
use secrecy::SecretString;

use crate::protocol::codec::{Malformed, Reader};
use crate::protocol::parts;
use crate::protocol::request::Request;
use link::{Link, LinkError};

/// The most message bytes in one frame of a batch.
const BATCH_BYTES: usize = 48 * 1024;
/// Code of [`HsmError::Internal`] for a reply that does not follow the protocol.
const BAD_REPLY: u16 = 20;

/// A session with the daemon, as an [`Hsm`].
///
/// A call that finds the connection broken is tried once more on a new one: no call changes the device, so that
/// is safe. A refused PIN is never tried again, by this client or by any made from the same [`SimClient::factory`],
/// because every try counts towards the lockout; make a new one with the right PIN.
pub struct SimClient {
    way: Arc<Way>,
    link: Mutex<Option<Link>>,
}

/// What the clients of one factory share.
struct Way {
    socket: PathBuf,
    pin: SecretString,
    refused: Refused,
    /// Held during a login, so that many workers with one wrong PIN spend one try and not one each.
    door: Mutex<()>,
    timeout: Duration,
}

impl SimClient {
    /// A client of the daemon at `socket`. Nothing is sent before the first call, so the daemon need not run yet.
    #[must_use]
    pub fn connect(socket: &Path, pin: SecretString) -> Self {
        Self::on(Arc::new(Way::new(socket, pin)))
    }

    /// Makes clients for [`hsm::HsmQueue::start`]: one session each, one memory of a refused PIN for all.
    pub fn factory(
        socket: &Path,
        pin: SecretString,
    ) -> impl Fn() -> Result<Box<dyn Hsm>, HsmError> + Send + Sync + 'static {
        let way = Arc::new(Way::new(socket, pin));
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
        let mut slot = self.link.lock().unwrap_or_else(PoisonError::into_inner);
        let mut fresh = false;
        loop {
            let link = match slot.as_mut() {
                Some(link) => link,
                None => {
                    fresh = true;
                    slot.insert(self.open(matches!(request, Request::Hello))?)
                }
            };
            match link.exchange(request, &read) {
                Ok(value) => return Ok(value),
                // The daemon answered; the connection is as good as before.
                Err(LinkError::Answered(error)) if error != HsmError::SessionLost => return Err(error),
                Err(error) => {
                    *slot = None;
                    match error {
                        LinkError::Refused(why) => return Err(why),
                        LinkError::TimedOut => return Err(HsmError::Timeout),
                        LinkError::BadReply => return Err(HsmError::Internal { code: BAD_REPLY }),
                        LinkError::Broken if fresh => return Err(HsmError::NeedsReinit),
                        LinkError::Answered(why) if fresh => return Err(why),
                        // An old connection to a daemon that has since restarted, or that closed it as idle.
                        LinkError::Broken | LinkError::Answered(_) => {}
                    }
                }
            }
        }
    }

    fn open(&self, bare: bool) -> Result<Link, HsmError> {
        let way = &self.way;
        if bare {
            return Link::open(&way.socket, way.timeout);
        }
        let _alone = way.door.lock().unwrap_or_else(PoisonError::into_inner);
        way.refused.check()?;
        let mut link = Link::open(&way.socket, way.timeout)?;
        link.login(&way.pin).inspect_err(|&error| way.refused.note(error))?;
        Ok(link)
    }
}

impl Way {
    fn new(socket: &Path, pin: SecretString) -> Self {
        Self {
            socket: socket.to_owned(),
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

impl Hsm for SimClient {
    fn describe(&self) -> Result<DeviceInfo, HsmError> {
        self.ask(&Request::Describe, parts::device)
    }

    fn health(&self) -> Result<Health, HsmError> {
        self.ask(&Request::Health, parts::health)
    }

    fn random(&self, out: &mut [u8]) -> Result<(), HsmError> {
        let len = u16::try_from(out.len()).ok().filter(|_| out.len() <= MAX_RANDOM);
        let len = len.ok_or(HsmError::InvalidInput(InputFault::TooLong))?;
        let out = std::cell::RefCell::new(out);
        self.ask(&Request::Random { len }, |from| {
            let bytes = from.bytes()?;
            let mut out = out.borrow_mut();
            if bytes.len() != out.len() {
                return Err(Malformed);
            }
            out.copy_from_slice(bytes);
            Ok(())
        })
    }

    fn keys(&self, filter: &KeyFilter) -> Result<Vec<KeyInfo>, HsmError> {
        self.ask(&Request::Keys { filter: filter.clone() }, |from| {
            (0..from.u16()?).map(|_| parts::key_info(from)).collect()
        })
    }

    fn new_data_key(&self, kek: &KeyRef, context: &Context) -> Result<(DataKey, SealedDataKey), HsmError> {
        let request = Request::NewDataKey { kek: kek.clone(), context: context.clone() };
        self.ask(&request, |from| Ok((data_key(from)?, parts::sealed(from)?)))
    }

    fn open_data_key(&self, sealed: &SealedDataKey, context: &Context) -> Result<DataKey, HsmError> {
        self.ask(&Request::OpenDataKey { sealed: sealed.clone(), context: context.clone() }, data_key)
    }

    fn reseal_data_key(
        &self,
        sealed: &SealedDataKey,
        from: &Context,
        to_kek: &KeyRef,
        to: &Context,
    ) -> Result<SealedDataKey, HsmError> {
        let request = Request::Reseal {
            sealed: sealed.clone(),
            from: from.clone(),
            to_kek: to_kek.clone(),
            to: to.clone(),
        };
        self.ask(&request, parts::sealed)
    }

    fn mac(&self, key: &KeyRef, message: &[u8]) -> Result<[u8; 32], HsmError> {
        fits(message)?;
        self.ask(&Request::Mac { key: key.clone(), message }, |from| from.array())
    }

    fn mac_many(&self, key: &KeyRef, messages: &[&[u8]]) -> Result<Vec<[u8; 32]>, HsmError> {
        if messages.len() > MAX_BATCH {
            return Err(HsmError::InvalidInput(InputFault::TooLong));
        }
        messages.iter().try_for_each(|message| fits(message))?;
        let mut macs = Vec::with_capacity(messages.len());
        let mut rest = messages;
        loop {
            let (batch, left) = rest.split_at_checked(frame_share(rest)).unwrap_or((rest, &[]));
            let request = Request::MacMany { key: key.clone(), messages: batch.to_vec() };
            macs.extend(self.ask(&request, |from| {
                if usize::from(from.u16()?) != batch.len() {
                    return Err(Malformed);
                }
                batch.iter().map(|_| from.array()).collect::<Result<Vec<[u8; 32]>, _>>()
            })?);
            rest = left;
            if rest.is_empty() {
                return Ok(macs);
            }
        }
    }

    fn sign(&self, key: &KeyRef, message: &[u8]) -> Result<[u8; 64], HsmError> {
        fits(message)?;
        self.ask(&Request::Sign { key: key.clone(), message }, |from| from.array())
    }
}

/// How many of these messages go into one frame.
fn frame_share(messages: &[&[u8]]) -> usize {
    let mut bytes = 0_usize;
    let fitting = messages.iter().take_while(|message| {
        bytes = bytes.saturating_add(message.len() + 2);
        bytes <= BATCH_BYTES
    });
    fitting.count()
}

fn data_key(from: &mut Reader<'_>) -> Result<DataKey, Malformed> {
    let bytes = from.slice::<32>()?;
    DataKey::fill_with(|out| {
        out.copy_from_slice(bytes);
        Ok(())
    })
}

fn fits(message: &[u8]) -> Result<(), HsmError> {
    match message.len() {
        0 => Err(HsmError::InvalidInput(InputFault::Empty)),
        1..=MAX_MESSAGE => Ok(()),
        _ => Err(HsmError::InvalidInput(InputFault::TooLong)),
    }
}
