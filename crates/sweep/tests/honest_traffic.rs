//! Honest traffic is left alone (standards §7.4): every row is as binding as the adversarial list.

#![expect(clippy::expect_used, reason = "a broken table fails the test")]

use sweep::{Exempt, Exemption, FieldContext, Limits, Verdict, sweep_line, sweep_message, sweep_text};
use tokens::{Realm, Token};

/// A small generator with a fixed start, so that a failure can be repeated.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn hex(&mut self, digits: usize) -> String {
        (0..digits).filter_map(|_| char::from_digit(u32::try_from(self.below(16)).ok()?, 16)).collect()
    }
}

fn clean(text: &str) -> bool {
    sweep_text(text, FieldContext::Plain).is_clean()
}

fn json(body: &str, exemptions: &[Exemption]) -> Verdict {
    sweep_message(Some("application/json"), None, body.as_bytes(), &Limits::default(), exemptions)
        .expect("well-formed")
}

fn with_luhn(body: &str) -> String {
    ('0'..='9')
        .map(|check| format!("{body}{check}"))
        .find(|n| sweep::pan::luhn(n.as_bytes()))
        .expect("one of ten fits")
}

#[test]
fn ten_thousand_npis_pass_alone_and_with_their_prefix() {
    let mut numbers = Numbers(0x5eed);
    for _ in 0..10_000 {
        let prefixed = with_luhn(&format!("80840{}{:08}", 1 + numbers.below(2), numbers.below(100_000_000)));
        let npi = prefixed.strip_prefix("80840").expect("its own prefix");
        assert!(clean(&prefixed));
        assert!(clean(npi));
        assert!(json(&format!(r#"{{"npi":"{npi}","taxonomy":"261QU0200X"}}"#), &[]).is_clean());
    }
}

#[test]
fn tokens_pass_by_the_hundred_thousand() {
    let count = if cfg!(debug_assertions) { 100_000 } else { 1_000_000 };
    for turn in 0..count {
        let realm = if turn % 2 == 0 { Realm::Live } else { Realm::Test };
        let token = Token::mint(realm).expect("random bytes");
        assert!(clean(token.as_str()), "{token}");
    }
}

#[test]
fn card_shaped_tokens_pass() {
    let last4 = tokens::Last4::parse("1111").expect("four digits");
    for length in [14, 15, 16, 19] {
        for _ in 0..2000 {
            let token = Token::mint_card_shaped(length, &last4).expect("length").expect("random bytes");
            assert!(clean(token.as_str()), "{token}");
        }
    }
}

#[test]
fn uuids_and_hashes_pass_in_fields_declared_so() {
    let exempt = [
        Exemption { path: vec!["ids".into(), "*".into()], kind: Exempt::Uuid },
        Exemption { path: vec!["hash".into()], kind: Exempt::Sha256 },
        Exemption { path: vec!["sim".into()], kind: Exempt::Iccid },
    ];
    let mut numbers = Numbers(0xabcdef);
    for _ in 0..3000 {
        let uuid = [8, 4, 4, 4, 12].map(|digits| numbers.hex(digits)).join("-");
        let body =
            format!(r#"{{"ids":["{uuid}"],"hash":"{}a","sim":"8944500102198304826"}}"#, numbers.hex(63));
        assert!(json(&body, &exempt).is_clean(), "{uuid}");
    }
}

#[test]
fn undeclared_uuids_and_hashes_pass_but_for_rare_chance() {
    let mut numbers = Numbers(0x1234567);
    let mut hits = 0;
    for _ in 0..20_000 {
        let uuid = [8, 4, 4, 4, 12].map(|digits| numbers.hex(digits)).join("-");
        hits += usize::from(!clean(&uuid)) + usize::from(!clean(&numbers.hex(64)));
    }
    assert!(hits <= 20, "{hits} of 40,000");
}

#[test]
fn times_and_running_numbers_pass() {
    let mut numbers = Numbers(0x77);
    for _ in 0..20_000 {
        let millis = 1_600_000_000_000 + numbers.below(400_000_000_000);
        let nanos = millis * 1_000_000 + numbers.below(1_000_000);
        let micros = millis * 1000 + numbers.below(1000);
        let snowflake = 1_000_000_000_000_000_000 + numbers.below(300_000_000_000_000_000);
        for number in [millis, nanos, micros, snowflake] {
            assert!(clean(&number.to_string()), "{number}");
        }
    }
}

#[test]
fn phone_lists_and_code_lists_pass() {
    let mut numbers = Numbers(0x99);
    for _ in 0..3000 {
        let phones: Vec<String> = (0..4)
            .map(|_| {
                format!(
                    "+1 {} {} {:04}",
                    200 + numbers.below(800),
                    200 + numbers.below(800),
                    numbers.below(10_000)
                )
            })
            .collect();
        let dashed: Vec<String> =
            phones.iter().map(|p| p.trim_start_matches("+1 ").replace(' ', "-")).collect();
        let codes: Vec<String> = (0..6).map(|_| format!("{:05}", numbers.below(100_000))).collect();
        let quoted = codes.iter().map(|c| format!("\"{c}\"")).collect::<Vec<_>>().join(",");
        for text in [phones.join(", "), phones.join(" "), dashed.join(" "), codes.join(" "), codes.join(", ")]
        {
            assert!(clean(&text), "{text}");
        }
        assert!(json(&format!("[{quoted}]"), &[]).is_clean(), "{quoted}");
        let ids = format!(
            "EIN {:02}-{:07} SSN {:03}-{:02}-{:04} NDC {:05}-{:04}-{:02} ZIP {:05}-{:04}",
            numbers.below(100),
            numbers.below(10_000_000),
            numbers.below(1000),
            numbers.below(100),
            numbers.below(10_000),
            numbers.below(100_000),
            numbers.below(10_000),
            numbers.below(100),
            numbers.below(100_000),
            numbers.below(10_000),
        );
        assert!(clean(&ids), "{ids}");
    }
}

const REMITTANCE: &str = "ISA*00*          *00*          *ZZ*SENDER         *ZZ*RECEIVER       *261003*0815*^*00501*000000905*0*P*:~
GS*HP*SENDER*RECEIVER*20261003*0815*905*X*005010X221A1~
ST*835*1234~
BPR*I*1222.75*C*ACH*CCP*01*021000021*DA*123456789*1512345678**01*011000015*DA*987654321*20261004~
TRN*1*71700666555*1935665544~
REF*EV*030240928~
REF*D9*94060555410000~
N1*PR*DENTAL OF ABC~
N3*225 MAIN STREET*SUITE 100~
N4*CENTERVILLE*PA*17111~
LX*1~
CLP*7722337*1*226*132**12*119932404007801~
NM1*QC*1*DOE*SANDY****MI*SJD11112~
SVC*HC:D0110*226*132**1~
DTM*472*20261002~
CAS*CO*45*20.00~
AMT*B6*132~
CLP*7722338*1*100*80*20*12*202610031234567~
SVC*HC:99213:25*125.4*100**1~
SE*19*1234~
GE*1*905~
IEA*1*000000905~
";

#[test]
fn a_remittance_passes() {
    let verdict =
        sweep_message(Some("application/edi-x12"), None, REMITTANCE.as_bytes(), &Limits::default(), &[]);
    assert_eq!(verdict, Ok(Verdict::Clean));
    assert!(clean(REMITTANCE));
}

#[test]
fn masked_numbers_within_the_limits_pass() {
    for text in [
        "4532 XXXX XXXX 0366",
        "411111******1111",
        "**** **** **** 4242",
        "xxxx-xxxx-xxxx-4242",
        "visa ending in 4242",
        "4242",
        "••••4242",
        "37XX XXXXXX X0005",
        "411111xxxxxx1111",
    ] {
        assert!(clean(text), "{text}");
    }
}

#[test]
fn the_answer_of_the_companion_and_its_log_line_pass() {
    let body = r#"{"id":"pay_abcdefghijklmnopqrstuvwx","status":"succeeded","charge":"ch_abcdefghijklmnopqrstuvwx","amount":"125.40","currency":"USD","card":{"brand":"visa","last4":"4242","exp_month":12,"exp_year":2030},"balance":"374.60"}"#;
    assert!(json(body, &[]).is_clean());
    assert!(sweep_line(body.as_bytes()).is_clean());
}

#[test]
fn control_numbers_declared_so_are_not_joined_with_their_neighbours() {
    let body = r#"{"a":{"trace":"41111111","batch":"11111111"}}"#;
    assert!(!json(body, &[]).is_clean());
    let exempt = [Exemption { path: vec!["a".into(), "trace".into()], kind: Exempt::ControlNumber }];
    assert!(json(body, &exempt).is_clean());
}
