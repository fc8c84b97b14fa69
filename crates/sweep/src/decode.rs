//! Undoes `Content-Encoding` and charset, bounded in layers, size and ratio. What does not fit is refused.

use crate::document::MediaType;
use crate::{Limits, Undecidable};
use std::borrow::Cow;
use std::io::Read;
use zeroize::{Zeroize, Zeroizing};

/// Growth is not judged before so many bytes: small bodies of zeros compress very well.
const RATIO_FROM: usize = 64 * 1024;
const MOST_LAYERS: usize = 2;

/// The body without its codings, wiped when dropped. `content_encoding` is the header's value, all lines joined
/// by commas; `None` and `identity` give the body itself.
///
/// # Errors
/// [`Undecidable::Encoding`] for codings other than gzip, deflate, br, zstd or more than two of them,
/// [`Undecidable::EncodingMismatch`] when the bytes are not what they say (or go on after their end),
/// [`Undecidable::Bomb`] and [`Undecidable::TooLarge`] when they grow beyond [`Limits`].
pub fn content(
    content_encoding: Option<&str>,
    body: &[u8],
    limits: &Limits,
) -> Result<Zeroizing<Vec<u8>>, Undecidable> {
    if body.len() > limits.body {
        return Err(Undecidable::TooLarge);
    }
    let mut layers = vec![];
    for coding in content_encoding.unwrap_or_default().split(',') {
        match coding.trim().to_ascii_lowercase().as_str() {
            "" | "identity" => {}
            "gzip" | "x-gzip" => layers.push(Coding::Gzip),
            "deflate" => layers.push(Coding::Deflate),
            "br" => layers.push(Coding::Brotli),
            "zstd" => layers.push(Coding::Zstd),
            _ => return Err(Undecidable::Encoding),
        }
    }
    if layers.len() > MOST_LAYERS {
        return Err(Undecidable::Encoding);
    }
    let cap = limits.body.min(RATIO_FROM.max(body.len().saturating_mul(limits.ratio)));
    let mut bytes = Zeroizing::new(body.to_vec());
    for coding in layers.into_iter().rev() {
        bytes = undo(coding, &bytes, cap, limits)?;
    }
    Ok(bytes)
}

#[derive(Clone, Copy)]
enum Coding {
    Gzip,
    Deflate,
    Brotli,
    Zstd,
}

fn undo(coding: Coding, body: &[u8], cap: usize, limits: &Limits) -> Result<Zeroizing<Vec<u8>>, Undecidable> {
    let mut rest = body;
    match coding {
        Coding::Gzip => {
            let mut reader = flate2::bufread::GzDecoder::new(body);
            let bytes = drain(&mut reader, cap, limits)?;
            ended(reader.into_inner())?;
            Ok(bytes)
        }
        Coding::Deflate => {
            // RFC 9110 means zlib; some senders mean raw deflate. A zlib header tells them apart.
            let zlib = body.first().is_some_and(|b| b & 0x0f == 8)
                && body.get(..2).is_some_and(|head| {
                    head.iter().fold(0u32, |n, b| n << 8 | u32::from(*b)).is_multiple_of(31)
                });
            if zlib {
                let mut reader = flate2::bufread::ZlibDecoder::new(body);
                let bytes = drain(&mut reader, cap, limits)?;
                ended(reader.into_inner())?;
                Ok(bytes)
            } else {
                let mut reader = flate2::bufread::DeflateDecoder::new(body);
                let bytes = drain(&mut reader, cap, limits)?;
                ended(reader.into_inner())?;
                Ok(bytes)
            }
        }
        Coding::Brotli => {
            let bytes = drain(&mut brotli_decompressor::Decompressor::new(&mut rest, 4096), cap, limits)?;
            Ok(bytes)
        }
        Coding::Zstd => {
            let mut reader = ruzstd::decoding::StreamingDecoder::new(&mut rest)
                .map_err(|_| Undecidable::EncodingMismatch)?;
            let bytes = drain(&mut reader, cap, limits)?;
            drop(reader);
            ended(rest)?;
            Ok(bytes)
        }
    }
}

/// Bytes after the end of the compressed stream could be a second message that only the reader behind us sees.
fn ended(rest: &[u8]) -> Result<(), Undecidable> {
    if rest.is_empty() { Ok(()) } else { Err(Undecidable::EncodingMismatch) }
}

fn drain(reader: &mut dyn Read, cap: usize, limits: &Limits) -> Result<Zeroizing<Vec<u8>>, Undecidable> {
    let mut bytes = Zeroizing::new(Vec::new());
    let mut block = Zeroizing::new([0u8; 8192]);
    loop {
        let count = reader.read(block.as_mut()).map_err(|_| Undecidable::EncodingMismatch)?;
        let Some(read) = block.get(..count).filter(|read| !read.is_empty()) else { return Ok(bytes) };
        if bytes.len() + count > cap {
            return Err(if cap < limits.body { Undecidable::Bomb } else { Undecidable::TooLarge });
        }
        if bytes.capacity() - bytes.len() < count {
            let mut larger = Vec::with_capacity((bytes.len() + count) * 2);
            larger.extend_from_slice(&bytes);
            bytes.zeroize();
            bytes = Zeroizing::new(larger);
        }
        bytes.extend_from_slice(read);
    }
}

/// The body as UTF-8 text, by the charset its type declares: UTF-8 and US-ASCII as they are, UTF-16 decoded.
///
/// # Errors
/// [`Undecidable::Charset`] for others (UTF-7 among them), [`Undecidable::NotUtf8`] for ill-formed text.
pub fn charset<'a>(media: &MediaType, body: &'a [u8]) -> Result<Cow<'a, str>, Undecidable> {
    let name = media.parameter("charset").unwrap_or("utf-8").to_ascii_lowercase();
    match name.as_str() {
        "utf-8" | "utf8" => std::str::from_utf8(body).map(Cow::Borrowed).map_err(|_| Undecidable::NotUtf8),
        "us-ascii" | "ascii" => std::str::from_utf8(body)
            .ok()
            .filter(|text| text.is_ascii())
            .map(Cow::Borrowed)
            .ok_or(Undecidable::NotUtf8),
        "utf-16le" => utf16(body, u16::from_le_bytes),
        "utf-16be" => utf16(body, u16::from_be_bytes),
        "utf-16" => match body.split_at_checked(2) {
            Some(([0xff, 0xfe], rest)) => utf16(rest, u16::from_le_bytes),
            Some(([0xfe, 0xff], rest)) => utf16(rest, u16::from_be_bytes),
            _ => utf16(body, u16::from_be_bytes),
        },
        _ => Err(Undecidable::Charset),
    }
}

fn utf16<'a>(body: &[u8], unit: fn([u8; 2]) -> u16) -> Result<Cow<'a, str>, Undecidable> {
    let (pairs, odd) = body.as_chunks::<2>();
    if !odd.is_empty() {
        return Err(Undecidable::NotUtf8);
    }
    char::decode_utf16(pairs.iter().map(|pair| unit(*pair)))
        .collect::<Result<String, _>>()
        .map(Cow::Owned)
        .map_err(|_| Undecidable::NotUtf8)
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
    use std::io::Write;

    fn gzip(body: &[u8]) -> Vec<u8> {
        let mut writer = GzEncoder::new(vec![], Compression::default());
        writer.write_all(body).unwrap();
        writer.finish().unwrap()
    }

    #[test]
    fn every_coding_is_undone_to_two_layers() {
        let limits = Limits::default();
        let text = b"a body that is not long".as_slice();
        let mut zlib = ZlibEncoder::new(vec![], Compression::default());
        zlib.write_all(text).unwrap();
        let mut raw = DeflateEncoder::new(vec![], Compression::default());
        raw.write_all(text).unwrap();
        let zstd = ruzstd::encoding::compress_to_vec(text, ruzstd::encoding::CompressionLevel::Fastest);
        for (coding, body) in [
            (None, text.to_vec()),
            (Some("identity"), text.to_vec()),
            (Some("gzip"), gzip(text)),
            (Some("gzip, GZIP"), gzip(&gzip(text))),
            (Some("deflate"), zlib.finish().unwrap()),
            (Some("deflate"), raw.finish().unwrap()),
            (Some("zstd"), zstd),
        ] {
            assert_eq!(&**content(coding, &body, &limits).as_ref().unwrap(), text, "{coding:?}");
        }
        let three = gzip(&gzip(&gzip(text)));
        assert_eq!(content(Some("gzip,gzip,gzip"), &three, &limits), Err(Undecidable::Encoding));
        assert_eq!(content(Some("compress"), text, &limits), Err(Undecidable::Encoding));
    }

    #[test]
    fn lies_and_bombs_are_refused() {
        let limits = Limits { body: 100 << 20, ..Limits::default() };
        for coding in ["gzip", "br", "zstd", "deflate"] {
            assert_eq!(
                content(Some(coding), b"4111111111111111", &limits),
                Err(Undecidable::EncodingMismatch),
                "{coding}"
            );
        }
        let cut = gzip(b"hello hello");
        assert_eq!(content(Some("gzip"), &cut[..cut.len() - 4], &limits), Err(Undecidable::EncodingMismatch));
        let mut longer = gzip(b"hello");
        longer.extend_from_slice(b"4111111111111111");
        assert_eq!(content(Some("gzip"), &longer, &limits), Err(Undecidable::EncodingMismatch));
        let bomb = gzip(&vec![0u8; 50 << 20]);
        assert_eq!(content(Some("gzip"), &bomb, &limits), Err(Undecidable::Bomb));
        assert_eq!(content(Some("gzip"), &bomb, &Limits::default()), Err(Undecidable::TooLarge));
        assert!(content(Some("gzip"), &gzip(&[0u8; 60_000]), &limits).is_ok());
    }

    #[test]
    fn utf_16_is_decoded_and_utf_7_refused() {
        let media = |text: &str| MediaType::parse(text).ok().unwrap();
        let body: Vec<u8> = "é1".encode_utf16().flat_map(u16::to_be_bytes).collect();
        assert_eq!(charset(&media("text/plain; charset=UTF-16BE"), &body).unwrap(), "é1");
        assert_eq!(charset(&media("text/plain; charset=utf-7"), b"x"), Err(Undecidable::Charset));
        assert_eq!(
            charset(&media("text/plain; charset=us-ascii"), "é".as_bytes()),
            Err(Undecidable::NotUtf8)
        );
        assert_eq!(charset(&media("text/plain; charset=utf-16le"), &[0x00, 0xd8]), Err(Undecidable::NotUtf8));
    }
}
