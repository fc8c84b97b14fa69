//! The README's commands, run as they stand: the demo in the background, then every other command in one shell. A
//! stranger who follows the README gets what it says.
#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test that cannot be set up must fail, and it takes minutes"
)]

use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

/// The first release build takes minutes.
const BUILD: Duration = Duration::from_secs(15 * 60);
/// Time for every other command together.
const COMMANDS: Duration = Duration::from_secs(120);

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

/// The shell blocks of the README whose fence bears this word after `sh`.
fn blocks(word: &str) -> Vec<String> {
    let text = std::fs::read_to_string(root().join("README.md")).unwrap();
    let mut found: Vec<String> = Vec::new();
    let fence = format!("sh {word}");
    let mut inside = false;
    for line in text.lines() {
        match line.strip_prefix("```") {
            Some(info) if !inside && info.split_whitespace().eq(fence.split_whitespace()) => {
                inside = true;
                found.push(String::new());
            }
            Some(_) => inside = false,
            None if inside => {
                let block = found.last_mut().unwrap();
                block.push_str(line);
                block.push('\n');
            }
            None => {}
        }
    }
    found
}

/// A shell and everything that it started; ended as a whole.
struct Shell {
    child: Child,
    lines: Receiver<String>,
}

impl Shell {
    fn start(script: &str) -> Shell {
        let mut child = Command::new("bash")
            .args(["-euo", "pipefail", "-c", script])
            .current_dir(root())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .process_group(0)
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                eprintln!("    {line}");
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Shell { child, lines }
    }

    /// Waits for a line that holds `mark`; gives what came before it.
    fn wait_for(&mut self, mark: &str, time: Duration) -> Result<Vec<String>, String> {
        let (until, mut seen) = (Instant::now() + time, Vec::new());
        while Instant::now() < until {
            match self.lines.recv_timeout(Duration::from_secs(30)) {
                Ok(line) if line.contains(mark) => return Ok(seen),
                Ok(line) => seen.push(line),
                Err(std::sync::mpsc::RecvTimeoutError::Timeout) => {
                    eprintln!("    … still waiting for \"{mark}\"")
                }
                Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => {
                    return Err(format!(
                        "it ended ({:?}) without \"{mark}\":\n{}",
                        self.child.wait(),
                        seen.join("\n")
                    ));
                }
            }
        }
        Err(format!("no \"{mark}\" within {time:?}:\n{}", seen.join("\n")))
    }

    /// Whether it ended well within `time`.
    fn ends_well(&mut self, time: Duration) -> bool {
        let until = Instant::now() + time;
        while Instant::now() < until {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.success();
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        false
    }

    fn terminate(&mut self) {
        let group = format!("-{}", self.child.id());
        let _ = Command::new("kill").args(["-TERM", "--", &group]).stderr(Stdio::null()).status();
        let until = Instant::now() + Duration::from_secs(20);
        while Instant::now() < until && self.child.try_wait().is_ok_and(|status| status.is_none()) {
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        self.terminate();
    }
}

/// Removes what the commands made, also when the test fails.
struct Leftovers;

impl Drop for Leftovers {
    fn drop(&mut self) {
        for folder in ["pangate-demo", "pangate-own"] {
            let _ = std::fs::remove_dir_all(root().join(folder));
        }
    }
}

#[test]
fn the_readme_has_its_two_commands_and_a_walk() {
    assert_eq!((blocks("demo").len(), blocks("tests").len()), (1, 1));
    assert!(blocks("").len() >= 8);
    assert!(blocks("tests").concat().starts_with("tests/run"));
}

#[test]
fn the_readmes_commands_do_what_it_says() {
    let _leftovers = Leftovers;
    let mut demo = Shell::start(&blocks("demo").concat());
    let journey = demo.wait_for("serving on", BUILD).unwrap_or_else(|why| std::panic::panic_any(why));
    assert!(journey.iter().any(|line| line.contains("every step held")), "{}", journey.join("\n"));

    let mut walk = Shell::start(&blocks("").concat());
    let well = walk.ends_well(COMMANDS);
    let said: Vec<String> = walk.lines.try_iter().collect();
    assert!(well, "a command of the README failed; what they printed:\n{}", said.join("\n"));
    let said = said.join("\n");
    for promised in
        ["\"status\":\"succeeded\"", "\"code\":\"stray_pan\"", "\"code\":\"token_gone\"", "tok_test_"]
    {
        assert!(said.contains(promised), "{promised} is missing in:\n{said}");
    }
    assert!(!said.contains("4242424242424242") && !said.contains("5555555555554444"), "a number was shown");

    demo.terminate();
    let open = TcpStream::connect(("127.0.0.1", 8443)).is_ok();
    assert!(!open, "the demo still serves after it was told to stop");
}
