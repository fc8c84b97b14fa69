//! The way between a client and a server on the loopback, which a test makes slow, silent, or lossy.

use crate::Trouble;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// How often a connection that has nothing to say looks whether it is still wanted.
const LOOK_EVERY: Duration = Duration::from_millis(20);
const PIECE: usize = 64 * 1024;

/// A line to a port on the loopback. Dropping it cuts every connection.
#[derive(Debug)]
pub struct Line {
    port: u16,
    switch: Arc<Switch>,
}

#[derive(Debug, Default)]
struct Switch {
    now: Mutex<Position>,
    turned: Condvar,
}

#[derive(Debug, Default, Clone, Copy)]
struct Position {
    /// How long each piece takes, each way.
    delay: Duration,
    silent: bool,
    ended: bool,
    /// Connections older than this are dead at both ends, and neither end is told.
    generation: u64,
}

impl Line {
    /// Opens a line to that port; at first everything passes at once.
    ///
    /// # Errors
    /// [`Trouble`] when the loopback has no port left.
    pub fn to(server: u16) -> Result<Line, Trouble> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).map_err(|error| Trouble(error.to_string()))?;
        let port = listener.local_addr().map_err(|error| Trouble(error.to_string()))?.port();
        let switch = Arc::new(Switch::default());
        let shared = Arc::clone(&switch);
        thread::spawn(move || {
            for client in listener.incoming() {
                if shared.position().ended {
                    return;
                }
                let Ok(client) = client else { continue };
                let shared = Arc::clone(&shared);
                thread::spawn(move || {
                    let _ = connect(&client, server, &shared);
                });
            }
        });
        Ok(Line { port, switch })
    }

    /// The port that clients connect to.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The same URL, by way of this line.
    pub fn url(&self, url: &str, server: u16) -> String {
        url.replace(&format!(":{server}/"), &format!(":{}/", self.port))
    }

    /// Every message takes so long from now on, each way.
    pub fn delay(&self, delay: Duration) {
        self.turn(|position| position.delay = delay);
    }

    /// Nothing passes any more; nobody is told.
    pub fn silence(&self) {
        self.turn(|position| position.silent = true);
    }

    /// Everything passes again, what was held back first.
    pub fn restore(&self) {
        self.turn(|position| (position.delay, position.silent) = (Duration::ZERO, false));
    }

    /// The connections that there are never carry anything again, and neither end is told, as when a firewall forgets
    /// them. New ones work.
    pub fn forget(&self) {
        self.turn(|position| position.generation += 1);
    }

    fn turn(&self, change: impl FnOnce(&mut Position)) {
        change(&mut self.switch.lock());
        self.switch.turned.notify_all();
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.turn(|position| position.ended = true);
        // The listener's thread looks once more when somebody connects.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

impl Switch {
    fn lock(&self) -> MutexGuard<'_, Position> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn position(&self) -> Position {
        *self.lock()
    }

    /// Waits until this connection may carry something; false when the line has ended.
    fn open(&self, generation: u64) -> bool {
        let mut position = self.lock();
        while !position.ended && (position.silent || position.generation != generation) {
            position = self.turned.wait(position).unwrap_or_else(PoisonError::into_inner);
        }
        !position.ended
    }
}

fn connect(client: &TcpStream, server: u16, switch: &Arc<Switch>) -> io::Result<()> {
    let generation = switch.position().generation;
    // A silent line accepts, as the system at its far end would, and says nothing.
    if !switch.open(generation) {
        return Ok(());
    }
    let server = TcpStream::connect(("127.0.0.1", server))?;
    for end in [client, &server] {
        end.set_nodelay(true)?;
        end.set_read_timeout(Some(LOOK_EVERY))?;
    }
    let (from, to) = (server.try_clone()?, client.try_clone()?);
    let shared = Arc::clone(switch);
    let back = thread::spawn(move || carry(from, to, &shared, generation));
    carry(client.try_clone()?, server, switch, generation);
    let _ = back.join();
    Ok(())
}

/// Carries one way until an end closes.
fn carry(mut from: TcpStream, mut to: TcpStream, switch: &Switch, generation: u64) {
    let mut piece = vec![0; PIECE];
    loop {
        let read = match from.read(&mut piece) {
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                if switch.position().ended {
                    break;
                }
                continue;
            }
            Ok(read) => read,
            Err(_) => 0,
        };
        if !switch.open(generation) {
            break;
        }
        thread::sleep(switch.position().delay);
        let sent = piece.get(..read).is_some_and(|bytes| !bytes.is_empty() && to.write_all(bytes).is_ok());
        if !sent {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
    let _ = from.shutdown(Shutdown::Both);
}
