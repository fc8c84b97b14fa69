//! The door against what strangers send: real TLS sockets, raw bytes, one bound of time on everything. What stands
//! behind the door is trivial, so that whatever goes wrong went wrong at the door.

#[path = "edge/bench.rs"]
mod bench;
#[path = "edge/limits.rs"]
mod limits;
#[path = "edge/smuggling.rs"]
mod smuggling;
#[path = "edge/tls.rs"]
mod tls;
#[path = "edge/upstream.rs"]
mod upstream;
