//! The closed set of requests. One table of codes; one encoder and one strict decoder, held together by a test.

use hsm::{Context, KeyFilter, KeyRef, MAX_BATCH, SealedDataKey};

use super::codec::{Malformed, Reader, Writer};
use super::{frame, parts};

/// The longest PIN, in bytes.
pub(crate) const MAX_PIN: usize = 128;

/// What a client may ask for. Borrows what it carries: a message is copied neither to be sent nor to be read.
pub(crate) enum Request<'a> {
    /// Is anybody there? The only request besides login that needs no PIN.
    Hello,
    /// Opens the session.
    Login { pin: &'a [u8] },
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
}

impl<'a> Request<'a> {
    fn code(&self) -> u8 {
        match self {
            Self::Hello => 1,
            Self::Login { .. } => 2,
            Self::Describe => 3,
            Self::Health => 4,
            Self::Random { .. } => 5,
            Self::Keys { .. } => 6,
            Self::NewDataKey { .. } => 7,
            Self::OpenDataKey { .. } => 8,
            Self::Reseal { .. } => 9,
            Self::Mac { .. } => 10,
            Self::MacMany { .. } => 11,
            Self::Sign { .. } => 12,
        }
    }

    /// The request as a frame that can be sent.
    pub(crate) fn to_frame(&self, id: u32) -> Result<Writer, Malformed> {
        let mut out = frame::start(id, self.code(), self.size_hint());
        match self {
            Self::Hello | Self::Describe | Self::Health => {}
            Self::Login { pin } => out.bytes(pin)?,
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
        let request = match code {
            1 => Self::Hello,
            2 => Self::Login { pin: short(from.bytes()?, MAX_PIN)? },
            3 => Self::Describe,
            4 => Self::Health,
            5 => Self::Random { len: from.u16()? },
            6 => Self::Keys { filter: parts::filter(&mut from)? },
            7 => Self::NewDataKey { kek: parts::key(&mut from)?, context: parts::context(&mut from)? },
            8 => Self::OpenDataKey { sealed: parts::sealed(&mut from)?, context: parts::context(&mut from)? },
            9 => Self::Reseal {
                sealed: parts::sealed(&mut from)?,
                from: parts::context(&mut from)?,
                to_kek: parts::key(&mut from)?,
                to: parts::context(&mut from)?,
            },
            10 => Self::Mac { key: parts::key(&mut from)?, message: from.bytes()? },
            11 => Self::MacMany { key: parts::key(&mut from)?, messages: messages(&mut from)? },
            12 => Self::Sign { key: parts::key(&mut from)?, message: from.bytes()? },
            _ => return Err(Malformed),
        };
        from.finish()?;
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

fn short(bytes: &[u8], limit: usize) -> Result<&[u8], Malformed> {
    if bytes.len() <= limit { Ok(bytes) } else { Err(Malformed) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hsm::{KeyLabel, KeyVersion, Realm, WrapSuite};
    use proptest::prelude::*;

    fn requests() -> Vec<Request<'static>> {
        let kek = KeyLabel::KEK_CARD.at(KeyVersion::FIRST);
        let mac = KeyLabel::MAC_PAN.at(KeyVersion::FIRST);
        let suite = WrapSuite::Aes256GcmData;
        let context = Context::data_key(Realm::Test, &kek, suite, [3; 16], "clinic", "card", 1).unwrap();
        let sealed = SealedDataKey { suite, kek: kek.clone(), iv: [1; 12], ct: [2; 48] };
        vec![
            Request::Hello,
            Request::Login { pin: b"123456" },
            Request::Describe,
            Request::Health,
            Request::Random { len: 32 },
            Request::Keys { filter: KeyFilter { label: Some(KeyLabel::MAC_PAN), kind: None } },
            Request::NewDataKey { kek: kek.clone(), context: context.clone() },
            Request::OpenDataKey { sealed: sealed.clone(), context: context.clone() },
            Request::Reseal { sealed, from: context.clone(), to_kek: kek, to: context },
            Request::Mac { key: mac.clone(), message: b"message" },
            Request::MacMany { key: mac.clone(), messages: vec![b"one", b"two"] },
            Request::Sign { key: mac, message: b"message" },
        ]
    }

    fn body(frame: &Writer) -> &[u8] {
        &frame.as_slice()[10..]
    }

    #[test]
    fn every_request_decodes_to_itself_and_to_nothing_when_cut_or_extended() {
        for request in requests() {
            let frame = request.to_frame(9).unwrap();
            let again = Request::decode(request.code(), body(&frame)).unwrap().to_frame(9).unwrap();
            assert_eq!(frame.as_slice(), again.as_slice());
            for len in 0..body(&frame).len() {
                assert!(Request::decode(request.code(), &body(&frame)[..len]).is_err());
            }
            let mut longer = body(&frame).to_vec();
            longer.push(0);
            assert!(Request::decode(request.code(), &longer).is_err());
        }
    }

    proptest! {
        #[test]
        fn whatever_decodes_encodes_back_to_the_same_bytes(
            code in any::<u8>(), bytes in proptest::collection::vec(any::<u8>(), 0..300)
        ) {
            if let Ok(request) = Request::decode(code, &bytes) {
                let frame = request.to_frame(1).unwrap();
                prop_assert_eq!(body(&frame), &bytes[..]);
            }
        }

        #[test]
        fn altered_requests_never_make_the_decoder_panic(
            which in 0usize..12, flips in proptest::collection::vec((0usize..300, any::<u8>()), 1..6)
        ) {
            let request = &requests()[which];
            let frame = request.to_frame(1).unwrap();
            let mut bytes = body(&frame).to_vec();
            for (at, value) in flips {
                if let Some(byte) = bytes.get_mut(at) { *byte = value; }
            }
            if let Ok(read) = Request::decode(request.code(), &bytes) {
                let again = read.to_frame(1).unwrap();
                prop_assert_eq!(body(&again), &bytes[..]);
            }
        }
    }
}
