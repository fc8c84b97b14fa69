//! The language between client and daemon: frames, a closed set of requests, replies. Everything decodes strictly:
//! known codes, exact lengths, nothing left over. Kept out: sockets, sessions, keys.
//!
//! A frame is a big-endian `u32` length (of what follows, at most 64 KiB), the protocol version, a `u32` request
//! id, one code byte (the command of a request, the status of a reply), and the body.

pub(crate) mod codec;
pub(crate) mod control;
pub(crate) mod frame;
pub(crate) mod parts;
pub(crate) mod reply;
pub(crate) mod request;

/// The version every frame carries.
pub(crate) const VERSION: u8 = 2;
/// The longest frame, without its length field, in bytes.
pub(crate) const MAX_FRAME: usize = 64 * 1024;
/// The id of a reply that answers no request: a refusal before any was read.
pub(crate) const NO_REQUEST: u32 = 0;
