//! The closed set of requests. One table of codes; one encoder and one strict decoder, held together by a test.

use hsm::{Approval, Context, KeyFilter, KeyRef, KeySpec, KeyStatus, MAX_BATCH, SealedDataKey};

use super::codec::{Malformed, Reader, Writer};
use super::{control, frame, parts};
use crate::device::{AccountName, Act, Command};

/// The longest PIN, in bytes.
pub(crate) const MAX_PIN: usize = 128;

/// What a client may ask for. Borrows what it carries: a message is copied neither to be sent nor to be read.
pub(crate) enum Request<'a> {
    /// Is anybody there? The only request besides login that needs no PIN.
    Hello,
    /// Opens the session of an account.
    Login { account: AccountName, pin: &'a [u8] },
    /// As `Hsm::describe`.
    Describe,
    /// As `Hsm::health`.
    Health,
    /// As `Hsm::random`.
    Random { len: u16 },
    /// As `Hsm::keys`.
    Keys { filter: KeyFilter },
    /// As `Hsm::new_data_key`.
    NewDataKey { kek: KeyRef, context: Context },
    /// As `Hsm::open_data_key`.
    OpenDataKey { sealed: SealedDataKey, context: Context },
    /// As `Hsm::reseal_data_key`.
    Reseal { sealed: SealedDataKey, from: Context, to_kek: KeyRef, to: Context },
    /// As `Hsm::mac`.
    Mac { key: KeyRef, message: &'a [u8] },
    /// As `Hsm::mac_many`.
    MacMany { key: KeyRef, messages: Vec<&'a [u8]> },
    /// As `Hsm::sign`.
    Sign { key: KeyRef, message: &'a [u8] },
    /// As `Hsm::create_key`.
    CreateKey { spec: KeySpec, approval: Approval },
    /// As `Hsm::rotate_key`.
    RotateKey { spec: KeySpec, approval: Approval },
    /// As `Hsm::set_status`.
    SetStatus { key: KeyRef, status: KeyStatus, approval: Approval },
    /// As `Hsm::destroy_key`.
    DestroyKey { key: KeyRef, approval: Approval },
    /// An officer's ticket for an act.
    Approve { act: &'a str, seconds: u32 },
    /// As `Hsm::drain_log`.
    DrainLog { after: u64, max: u16 },
    /// The signed head of the log.
    LogHead,
    /// Tries back for an account.
    Unlock { account: AccountName },
    /// A new PIN for the session's own account.
    ChangePin { old: &'a [u8], new: &'a [u8] },
    /// The list of accounts.
    Accounts,
}

impl<'a> Request<'a> {
    /// What is asked.
    pub(crate) fn command(&self) -> Command {
        match self {
            Self::Hello => Command::Hello,
            Self::Login { .. } => Command::Login,
            Self::Describe => Command::Describe,
            Self::Health => Command::Health,
            Self::Random { .. } => Command::Random,
            Self::Keys { .. } => Command::Keys,
            Self::NewDataKey { .. } => Command::NewDataKey,
            Self::OpenDataKey { .. } => Command::OpenDataKey,
            Self::Reseal { .. } => Command::Reseal,
            Self::Mac { .. } => Command::Mac,
            Self::MacMany { .. } => Command::MacMany,
            Self::Sign { .. } => Command::Sign,
            Self::CreateKey { .. } => Command::CreateKey,
            Self::RotateKey { .. } => Command::RotateKey,
            Self::SetStatus { .. } => Command::SetStatus,
            Self::DestroyKey { .. } => Command::DestroyKey,
            Self::Approve { .. } => Command::Approve,
            Self::DrainLog { .. } => Command::DrainLog,
            Self::LogHead => Command::LogHead,
            Self::Unlock { .. } => Command::Unlock,
            Self::ChangePin { .. } => Command::ChangePin,
            Self::Accounts => Command::Accounts,
        }
    }

    /// On what, for the log: a key, an act or an account, and never a message.
    pub(crate) fn subject(&self) -> String {
        match self {
            Self::Hello
            | Self::Describe
            | Self::Health
            | Self::Random { .. }
            | Self::Keys { .. }
            | Self::DrainLog { .. }
            | Self::LogHead
            | Self::ChangePin { .. }
            | Self::Accounts => String::new(),
            Self::Login { account, .. } | Self::Unlock { account } => account.to_string(),
            Self::NewDataKey { kek, .. } | Self::Reseal { to_kek: kek, .. } => kek.to_string(),
            Self::OpenDataKey { sealed, .. } => sealed.kek.to_string(),
            Self::Mac { key, .. } | Self::MacMany { key, .. } | Self::Sign { key, .. } => key.to_string(),
            Self::CreateKey { spec, .. } => Act::Create(spec.label.clone()).to_string(),
            Self::RotateKey { spec, .. } => Act::Rotate(spec.label.clone()).to_string(),
            Self::SetStatus { key, status, .. } => Act::Status(key.clone(), *status).to_string(),
            Self::DestroyKey { key, .. } => Act::Destroy(key.clone()).to_string(),
            // Only what is an act is repeated, so that no other text comes into the log.
            Self::Approve { act, .. } => Act::parse(act).map_or_else(String::new, |act| act.to_string()),
        }
    }

    /// The request as a frame that can be sent.
    pub(crate) fn to_frame(&self, id: u32) -> Result<Writer, Malformed> {
        let mut out = frame::start(id, self.command().code(), self.size_hint());
        match self {
            Self::Hello | Self::Describe | Self::Health | Self::LogHead | Self::Accounts => {}
            Self::Login { account, pin } => {
                control::put_account(&mut out, account)?;
                out.bytes(pin)?;
            }
            Self::Random { len } => out.u16(*len),
            Self::Keys { filter } => parts::put_filter(&mut out, filter)?,
            Self::NewDataKey { kek, context } => {
                parts::put_key(&mut out, kek)?;
                parts::put_context(&mut out, context)?;
            }
            Self::OpenDataKey { sealed, context } => {
                parts::put_sealed(&mut out, sealed)?;
                parts::put_context(&mut out, context)?;
            }
            Self::Reseal { sealed, from, to_kek, to } => {
                parts::put_sealed(&mut out, sealed)?;
                parts::put_context(&mut out, from)?;
                parts::put_key(&mut out, to_kek)?;
                parts::put_context(&mut out, to)?;
            }
            Self::Mac { key, message } | Self::Sign { key, message } => {
                parts::put_key(&mut out, key)?;
                out.bytes(message)?;
            }
            Self::MacMany { key, messages } => {
                parts::put_key(&mut out, key)?;
                out.u16(u16::try_from(messages.len()).map_err(|_| Malformed)?);
                messages.iter().try_for_each(|message| out.bytes(message))?;
            }
            Self::CreateKey { spec, approval } | Self::RotateKey { spec, approval } => {
                control::put_spec(&mut out, spec)?;
                control::put_approval(&mut out, approval)?;
            }
            Self::SetStatus { key, status, approval } => {
                parts::put_key(&mut out, key)?;
                out.u8(status.code());
                control::put_approval(&mut out, approval)?;
            }
            Self::DestroyKey { key, approval } => {
                parts::put_key(&mut out, key)?;
                control::put_approval(&mut out, approval)?;
            }
            Self::Approve { act, seconds } => {
                out.bytes(act.as_bytes())?;
                out.u32(*seconds);
            }
            Self::DrainLog { after, max } => {
                out.u64(*after);
                out.u16(*max);
            }
            Self::Unlock { account } => control::put_account(&mut out, account)?,
            Self::ChangePin { old, new } => {
                out.bytes(old)?;
                out.bytes(new)?;
            }
        }
        Ok(out)
    }

    fn size_hint(&self) -> usize {
        match self {
            Self::Mac { message, .. } | Self::Sign { message, .. } => 64 + message.len(),
            Self::MacMany { messages, .. } => {
                messages.iter().fold(64, |sum, message| sum + 2 + message.len())
            }
            _ => 512,
        }
    }

    /// Reads a request; every byte must belong to it.
    pub(crate) fn decode(code: u8, body: &'a [u8]) -> Result<Self, Malformed> {
        let mut from = Reader::new(body);
        let from = &mut from;
        let request = match Command::from_code(code).ok_or(Malformed)? {
            Command::Hello => Self::Hello,
            Command::Login => Self::Login { account: control::account(from)?, pin: pin(from)? },
            Command::Describe => Self::Describe,
            Command::Health => Self::Health,
            Command::Random => Self::Random { len: from.u16()? },
            Command::Keys => Self::Keys { filter: parts::filter(from)? },
            Command::NewDataKey => {
                Self::NewDataKey { kek: parts::key(from)?, context: parts::context(from)? }
            }
            Command::OpenDataKey => {
                Self::OpenDataKey { sealed: parts::sealed(from)?, context: parts::context(from)? }
            }
            Command::Reseal => Self::Reseal {
                sealed: parts::sealed(from)?,
                from: parts::context(from)?,
                to_kek: parts::key(from)?,
                to: parts::context(from)?,
            },
            Command::Mac => Self::Mac { key: parts::key(from)?, message: from.bytes()? },
            Command::MacMany => Self::MacMany { key: parts::key(from)?, messages: messages(from)? },
            Command::Sign => Self::Sign { key: parts::key(from)?, message: from.bytes()? },
            Command::CreateKey => {
                Self::CreateKey { spec: control::spec(from)?, approval: control::approval(from)? }
            }
            Command::RotateKey => {
                Self::RotateKey { spec: control::spec(from)?, approval: control::approval(from)? }
            }
            Command::SetStatus => Self::SetStatus {
                key: parts::key(from)?,
                status: KeyStatus::from_code(from.u8()?).ok_or(Malformed)?,
                approval: control::approval(from)?,
            },
            Command::DestroyKey => {
                Self::DestroyKey { key: parts::key(from)?, approval: control::approval(from)? }
            }
            Command::Approve => Self::Approve { act: control::act(from)?, seconds: from.u32()? },
            Command::DrainLog => Self::DrainLog { after: from.u64()?, max: from.u16()? },
            Command::LogHead => Self::LogHead,
            Command::Unlock => Self::Unlock { account: control::account(from)? },
            Command::ChangePin => Self::ChangePin { old: pin(from)?, new: pin(from)? },
            Command::Accounts => Self::Accounts,
        };
        from.end()?;
        Ok(request)
    }
}

fn messages<'a>(from: &mut Reader<'a>) -> Result<Vec<&'a [u8]>, Malformed> {
    let count = usize::from(from.u16()?);
    if count > MAX_BATCH {
        return Err(Malformed);
    }
    (0..count).map(|_| from.bytes()).collect()
}

fn pin<'a>(from: &mut Reader<'a>) -> Result<&'a [u8], Malformed> {
    let bytes = from.bytes()?;
    if bytes.len() <= MAX_PIN { Ok(bytes) } else { Err(Malformed) }
}

#[cfg(test)]
mod laws;
