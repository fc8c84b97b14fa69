//! Serialises a JSON tree: compact, everything but plain ASCII letters kept as it is, controls escaped.

use super::Json;
use zeroize::Zeroizing;

impl Json {
    /// The compact JSON text in UTF-8, in memory of exactly its size, wiped when dropped.
    pub fn write(&self) -> Zeroizing<Vec<u8>> {
        let mut size = 0;
        self.pieces(&mut |piece| size += piece.len());
        let mut bytes = Zeroizing::new(Vec::with_capacity(size));
        self.pieces(&mut |piece| bytes.extend_from_slice(piece));
        bytes
    }

    fn pieces(&self, out: &mut dyn FnMut(&[u8])) {
        match self {
            Json::Null => out(b"null"),
            Json::Bool(true) => out(b"true"),
            Json::Bool(false) => out(b"false"),
            Json::Number(raw) => out(raw.as_bytes()),
            Json::Text(text) => quoted(text, out),
            Json::Array(items) => {
                out(b"[");
                for (place, item) in items.iter().enumerate() {
                    if place > 0 {
                        out(b",");
                    }
                    item.pieces(out);
                }
                out(b"]");
            }
            Json::Object(members) => {
                out(b"{");
                for (place, (name, value)) in members.iter().enumerate() {
                    if place > 0 {
                        out(b",");
                    }
                    quoted(name, out);
                    out(b":");
                    value.pieces(out);
                }
                out(b"}");
            }
        }
    }
}

fn quoted(text: &str, out: &mut dyn FnMut(&[u8])) {
    out(b"\"");
    for piece in text.as_bytes().split_inclusive(|b| needs_escape(*b)) {
        let Some((last, before)) = piece.split_last().filter(|(last, _)| needs_escape(**last)) else {
            out(piece);
            continue;
        };
        out(before);
        match last {
            b'"' => out(b"\\\""),
            b'\\' => out(b"\\\\"),
            b'\n' => out(b"\\n"),
            b'\r' => out(b"\\r"),
            b'\t' => out(b"\\t"),
            control => out(format!("\\u{control:04x}").as_bytes()),
        }
    }
    out(b"\"");
}

fn needs_escape(byte: u8) -> bool {
    byte < 0x20 || byte == b'"' || byte == b'\\'
}
