//! The promises of the request codec: one spelling for each request, and no bytes that make it panic.

use super::*;
use crate::device::RULES;
use hsm::{KeyKind, KeyLabel, KeyVersion, Realm, WrapSuite};
use proptest::prelude::*;
use zeroize::Zeroizing;

fn requests() -> Vec<Request<'static>> {
    let kek = KeyLabel::KEK_CARD.at(KeyVersion::FIRST);
    let mac = KeyLabel::MAC_PAN.at(KeyVersion::FIRST);
    let suite = WrapSuite::Aes256GcmData;
    let context = Context::data_key(Realm::Test, &kek, suite, [3; 16], "clinic", "card", 1).unwrap();
    let sealed = SealedDataKey { suite, kek: kek.clone(), iv: [1; 12], ct: [2; 48] };
    vec![
        Request::Hello,
        Request::Login { account: AccountName::operator(), pin: b"123456" },
        Request::Describe,
        Request::Health,
        Request::Random { len: 32 },
        Request::Keys { filter: KeyFilter { label: Some(KeyLabel::MAC_PAN), kind: None } },
        Request::NewDataKey { kek: kek.clone(), context: context.clone() },
        Request::OpenDataKey { sealed: sealed.clone(), context: context.clone() },
        Request::Reseal { sealed, from: context.clone(), to_kek: kek, to: context },
        Request::Mac { key: mac.clone(), message: b"message" },
        Request::MacMany { key: mac.clone(), messages: vec![b"one", b"two"] },
        Request::Sign { key: mac.clone(), message: b"message" },
        Request::CreateKey { spec: spec(), approval: tickets() },
        Request::RotateKey { spec: spec(), approval: Approval::Caller },
        Request::SetStatus { key: mac.clone(), status: KeyStatus::Suspended, approval: tickets() },
        Request::DestroyKey { key: mac, approval: tickets() },
        Request::Approve { act: "rotate kek/card", seconds: 900 },
        Request::DrainLog { after: 7, max: 100 },
        Request::LogHead,
        Request::Unlock { account: AccountName::operator() },
        Request::ChangePin { old: b"123456", new: b"654321" },
        Request::Accounts,
    ]
}

fn spec() -> KeySpec {
    KeySpec { label: KeyLabel::KEK_CARD, kind: KeyKind::Kek256, at_least: KeyVersion::FIRST }
}

fn tickets() -> Approval {
    Approval::Tickets { first: Zeroizing::new(vec![1; 80]), second: Zeroizing::new(vec![2; 81]) }
}

#[test]
fn the_list_of_requests_is_the_table_of_commands() {
    let listed: Vec<_> = requests().iter().map(Request::command).collect();
    assert_eq!(listed, RULES.map(|rule| rule.command));
}

fn body(frame: &Writer) -> &[u8] {
    &frame.as_slice()[10..]
}

#[test]
fn every_request_decodes_to_itself_and_to_nothing_when_cut_or_extended() {
    for request in requests() {
        let frame = request.to_frame(9).unwrap();
        let again = Request::decode(request.command().code(), body(&frame)).unwrap().to_frame(9).unwrap();
        assert_eq!(frame.as_slice(), again.as_slice());
        for len in 0..body(&frame).len() {
            assert!(Request::decode(request.command().code(), &body(&frame)[..len]).is_err());
        }
        let mut longer = body(&frame).to_vec();
        longer.push(0);
        assert!(Request::decode(request.command().code(), &longer).is_err());
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
        which in 0usize..22, flips in proptest::collection::vec((0usize..300, any::<u8>()), 1..6)
    ) {
        let request = &requests()[which];
        let frame = request.to_frame(1).unwrap();
        let mut bytes = body(&frame).to_vec();
        for (at, value) in flips {
            if let Some(byte) = bytes.get_mut(at) { *byte = value; }
        }
        if let Ok(read) = Request::decode(request.command().code(), &bytes) {
            let again = read.to_frame(1).unwrap();
            prop_assert_eq!(body(&again), &bytes[..]);
        }
    }
}
