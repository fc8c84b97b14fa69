//! Known-answer tests that run before any key is loaded, on the very functions the device uses. The answers are
//! published ones; a test can pass spoiled vectors in, and no setting of a released program can.

use hsm::HsmError;

use super::primitives;

/// A known-answer test failed. The device never says which, only that it holds no keys.
#[derive(Debug)]
pub(super) struct Failed;

impl From<HsmError> for Failed {
    fn from(_: HsmError) -> Self {
        Self
    }
}

/// The expected answers.
pub(super) struct Vectors {
    gcm_text: &'static str,
    gcm_tag: &'static str,
    hmac: &'static str,
    hkdf: &'static str,
    ed25519_public: &'static str,
    ed25519: &'static str,
    sha256: &'static str,
    cmac: &'static str,
}

impl Vectors {
    /// From the documents named beside each test below.
    pub(super) const PUBLISHED: Self = Self {
        gcm_text: "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa\
                   8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662",
        gcm_tag: "76fc6ece0f4e1768cddf8853bb2d551b",
        hmac: "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
        hkdf: "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865",
        ed25519_public: "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        ed25519: "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da\
                  085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
        sha256: "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
        cmac: "28a7023f452e8f82bd4bf28d8c37c35c",
    };
}

/// Runs every test.
pub(super) fn run(vectors: &Vectors) -> Result<(), Failed> {
    aes_gcm(vectors)?;
    hmac(vectors)?;
    hkdf(vectors)?;
    ed25519(vectors)?;
    // FIPS 180-4, the one-block message "abc" of the NIST examples.
    same(&primitives::sha256(b"abc"), vectors.sha256)?;
    cmac(vectors)?;
    generator()
}

/// "The Galois/Counter Mode of Operation" (McGrew, Viega), test case 16: AES-256, 96-bit IV, associated data.
fn aes_gcm(vectors: &Vectors) -> Result<(), Failed> {
    let key = array::<32>("feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308")?;
    let iv = array::<12>("cafebabefacedbaddecaf888")?;
    let aad = bytes("feedfacedeadbeeffeedfacedeadbeefabaddad2")?;
    let text = bytes(
        "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72\
         1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39",
    )?;
    let mut worked = text.clone();
    let mut tag = primitives::seal(&key, &iv, &aad, &mut worked)?;
    same(&worked, vectors.gcm_text)?;
    same(&tag, vectors.gcm_tag)?;
    let mut again = worked.clone();
    primitives::open(&key, &iv, &aad, &mut again, &tag)?;
    holds(again == text)?;
    // An altered tag must be refused, or the device would open anything.
    if let Some(byte) = tag.first_mut() {
        *byte ^= 1;
    }
    holds(primitives::open(&key, &iv, &aad, &mut worked, &tag).is_err())
}

/// RFC 4231, test case 2.
fn hmac(vectors: &Vectors) -> Result<(), Failed> {
    same(&primitives::hmac_sha256(b"Jefe", b"what do ya want for nothing?")?, vectors.hmac)
}

/// RFC 5869, appendix A.1.
fn hkdf(vectors: &Vectors) -> Result<(), Failed> {
    let salt = bytes("000102030405060708090a0b0c")?;
    let info = bytes("f0f1f2f3f4f5f6f7f8f9")?;
    let mut out = [0; 42];
    primitives::hkdf_sha256(&salt, &[0x0b; 22], &info, &mut out)?;
    same(&out, vectors.hkdf)
}

/// RFC 8032, section 7.1, test 2; then a signature over another message must not verify.
fn ed25519(vectors: &Vectors) -> Result<(), Failed> {
    let seed = array::<32>("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb")?;
    let public = primitives::public_key(&seed);
    same(&public, vectors.ed25519_public)?;
    let signature = primitives::sign(&seed, &[0x72]);
    same(&signature, vectors.ed25519)?;
    holds(primitives::verify(&public, &[0x72], &signature))?;
    holds(!primitives::verify(&public, &[0x73], &signature))
}

/// AES-256-CMAC of one block: NIST's examples for SP 800-38B, CMAC-AES256, example 2.
fn cmac(vectors: &Vectors) -> Result<(), Failed> {
    let key = array::<32>("603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4")?;
    let message = bytes("6bc1bee22e409f96e93d7e117393172a")?;
    same(&primitives::cmac_aes256(&key, &message)?, vectors.cmac)
}

/// A generator that repeats a block or answers with zeroes is broken (after SP 800-90B, repetition count).
fn generator() -> Result<(), Failed> {
    let (mut a, mut b) = ([0_u8; 32], [0_u8; 32]);
    primitives::random(&mut a)?;
    primitives::random(&mut b)?;
    holds(a != b && a != [0; 32] && b != [0; 32])
}

fn holds(outcome: bool) -> Result<(), Failed> {
    if outcome { Ok(()) } else { Err(Failed) }
}

fn same(got: &[u8], want: &str) -> Result<(), Failed> {
    holds(got == bytes(want)?.as_slice())
}

fn array<const N: usize>(hex: &str) -> Result<[u8; N], Failed> {
    <[u8; N]>::try_from(bytes(hex)?).map_err(|_| Failed)
}

fn bytes(hex: &str) -> Result<Vec<u8>, Failed> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|value| u8::try_from(value).ok());
    let (pairs, rest) = hex.as_bytes().as_chunks::<2>();
    holds(rest.is_empty())?;
    pairs
        .iter()
        .map(|&[high, low]| Some(digit(high)? << 4 | digit(low)?))
        .collect::<Option<_>>()
        .ok_or(Failed)
}

/// One set of vectors for each answer, with that answer wrong.
#[cfg(test)]
pub(super) fn spoiled_vectors() -> Vec<Vectors> {
    let spoil: [fn(&mut Vectors); 8] = [
        |v| v.gcm_text = Vectors::PUBLISHED.hmac,
        |v| v.gcm_tag = Vectors::PUBLISHED.cmac,
        |v| v.hmac = Vectors::PUBLISHED.sha256,
        |v| v.hkdf = Vectors::PUBLISHED.sha256,
        |v| v.ed25519_public = Vectors::PUBLISHED.sha256,
        |v| v.ed25519 = Vectors::PUBLISHED.sha256,
        |v| v.sha256 = Vectors::PUBLISHED.hmac,
        |v| v.cmac = Vectors::PUBLISHED.gcm_tag,
    ];
    spoil
        .into_iter()
        .map(|spoil| {
            let mut vectors = Vectors { ..Vectors::PUBLISHED };
            spoil(&mut vectors);
            vectors
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_answers_are_this_devices_answers() {
        run(&Vectors::PUBLISHED).unwrap();
    }

    #[test]
    fn one_wrong_answer_of_any_kind_fails_the_self_test() {
        for vectors in spoiled_vectors() {
            assert!(run(&vectors).is_err());
        }
    }
}
