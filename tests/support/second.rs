//! A second gateway on the same database and device.

use super::process::{self, Process};
use super::{System, free_port};
use std::process::{Command, Stdio};

/// Another gateway of a system; dropping it ends it.
pub struct Second {
    /// Its process.
    pub process: Process,
    /// `https://localhost:PORT`.
    pub url: String,
    config: String,
    log: std::path::PathBuf,
}

impl System {
    /// Starts another gateway on the system's database and device, with an audit log of that name.
    pub fn second_gateway(&self, log: &str) -> Second {
        let [port, ops] = [free_port(), free_port()];
        let config = self.write_second(log, [port, ops]);
        let file = self.path(&format!("logs/{log}.log"));
        let process = Process::start("pangate", &["serve", "--config", &config], &file);
        Second { process, url: format!("https://localhost:{port}"), config, log: file }
    }

    /// What a gateway with an audit log of that name says when it is refused; it has to be.
    pub fn second_gateway_refused(&self, log: &str) -> String {
        let config = self.write_second(log, [free_port(), free_port()]);
        let mut command = Command::new(process::program("pangate"));
        let done = command.args(["serve", "--config", &config]).stdin(Stdio::null()).output().unwrap();
        assert!(!done.status.success(), "it was not refused");
        String::from_utf8_lossy(&done.stderr).into_owned()
    }

    fn write_second(&self, log: &str, [port, ops]: [u16; 2]) -> String {
        let own = |url: &str| url.rsplit(':').next().unwrap().to_owned();
        let settings = std::fs::read_to_string(self.path("pangate.toml"))
            .unwrap()
            .replace(&format!("127.0.0.1:{}", own(&self.url)), &format!("127.0.0.1:{port}"))
            .replace(&format!("127.0.0.1:{}", own(&self.ops)), &format!("127.0.0.1:{ops}"))
            .replace("log = \"pangate-test\"", &format!("log = \"{log}\""));
        let file = self.path(&format!("second-{port}.toml"));
        std::fs::write(&file, settings).unwrap();
        file.display().to_string()
    }
}

impl Second {
    /// Starts it again after it was killed.
    pub fn restart(&mut self) {
        self.process = Process::start("pangate", &["serve", "--config", &self.config], &self.log);
    }

    /// Requires what `pangate audit verify` prints for a faultless log.
    pub fn audit_log_is_whole(&self) {
        let said =
            process::run("pangate", &["audit", "verify", "--config", &self.config, "--format", "json"]);
        assert!(said.contains("\"root\""), "{said}");
    }
}
