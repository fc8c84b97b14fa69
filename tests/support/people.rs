//! People as they use the gateway: with a password, an authenticator app and a session.

use super::clock::{self, Clock};
use super::wire::Answer;
use super::{System, process};
use serde_json::{Value, json};
use std::sync::atomic::{AtomicI64, Ordering};
use totp_rs::{Builder, Secret};

/// A person with an account that is set up.
pub struct Person {
    pub name: String,
    pub password: String,
    app: Vec<u8>,
    /// The last step whose code was used.
    used: AtomicI64,
    pub token: String,
}

/// The code that an authenticator app shows at a step of 30 seconds.
pub fn code_at(secret: &[u8], step: i64) -> String {
    let app = Builder::new().with_secret(Secret::from(secret.to_vec())).build().unwrap();
    app.generate(u64::try_from(step * 30).unwrap()).to_string()
}

/// The secret of an enrolment, as the app keeps it.
pub fn app_of(enrolment: &Value) -> Vec<u8> {
    data_encoding::BASE32_NOPAD.decode(enrolment["secret"].as_str().unwrap().as_bytes()).unwrap()
}

impl Person {
    /// A code that was not used before. The clock is moved when the app has none left in this moment.
    pub fn code(&self, clock: &Clock) -> String {
        let used = self.used.load(Ordering::SeqCst);
        while clock.now() / 30 <= used {
            clock.advance(std::time::Duration::from_secs(30));
        }
        let step = clock.now() / 30;
        self.used.store(step, Ordering::SeqCst);
        code_at(&self.app, step)
    }

    /// The code of that step.
    pub fn code_of(&self, step: i64) -> String {
        code_at(&self.app, step)
    }

    /// The last step whose code was used.
    pub fn last_step(&self) -> i64 {
        self.used.load(Ordering::SeqCst)
    }

    /// Signs in again; gives the new token.
    pub async fn sign_in(&mut self, system: &System, clock: &Clock) -> String {
        let code = self.code(clock);
        let answer = system.sign_in(&self.name, &self.password, Some(&code)).await;
        assert_eq!(answer.status, 201, "{}", answer.text);
        self.token = answer.json()["token"].as_str().unwrap().to_owned();
        self.token.clone()
    }
}

impl System {
    /// Runs `pangate user …` on this system's settings and reads what it prints.
    pub fn user(&self, arguments: &[&str]) -> Vec<Value> {
        let config = self.path("pangate.toml").display().to_string();
        let rest = ["--config", &config, "--format", "json"];
        let said = process::run("pangate", &[&["user"][..], arguments, &rest].concat());
        said.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Makes an account on the console; gives its first password.
    pub fn add_person(&self, name: &str, role: &str, tenant: &str) -> String {
        let mut arguments = vec!["add", name, "--role", role, "--person"];
        if !tenant.is_empty() {
            arguments.extend(["--tenant", tenant]);
        }
        self.user(&arguments)[0]["first_password"].as_str().unwrap().to_owned()
    }

    /// Signs in.
    pub async fn sign_in(&self, name: &str, password: &str, code: Option<&str>) -> Answer {
        let body = json!({ "principal": name, "password": password, "code": code });
        Answer::of(self.client().post(format!("{}/v1/sessions", self.url)).json(&body)).await
    }

    /// Calls with a bearer token.
    pub async fn call(&self, token: &str, method: &str, path: &str, body: &Value) -> Answer {
        let method = http::Method::from_bytes(method.as_bytes()).unwrap();
        let request = self.client().request(method, format!("{}{path}", self.url)).bearer_auth(token);
        Answer::of(if body.is_null() { request } else { request.json(body) }).await
    }

    /// Gets with a bearer token.
    pub async fn get_as(&self, token: &str, path: &str) -> Answer {
        self.call(token, "GET", path, &Value::Null).await
    }

    /// Posts with a bearer token.
    pub async fn post_as(&self, token: &str, path: &str, body: &Value) -> Answer {
        self.call(token, "POST", path, body).await
    }

    /// Enrols an app for whoever holds the token; gives its secret and the new token.
    pub async fn enrol(&self, token: &str, password: &str, step: i64) -> (Vec<u8>, String) {
        let begun = self.post_as(token, "/v1/account/factor", &json!({ "password": password })).await;
        assert_eq!(begun.status, 201, "{}", begun.text);
        let app = app_of(&begun.json());
        let code = code_at(&app, step);
        let confirmed = self.post_as(token, "/v1/account/factor/confirm", &json!({ "code": code })).await;
        assert_eq!(confirmed.status, 201, "{}", confirmed.text);
        (app, confirmed.json()["token"].as_str().unwrap().to_owned())
    }

    /// A person with an account that is set up, signed in; the app's first code is of that time, in seconds.
    pub async fn person_at(&self, name: &str, role: &str, tenant: &str, now: i64) -> Person {
        let first = self.add_person(name, role, tenant);
        let signed_in = self.sign_in(name, &first, None).await;
        assert_eq!(signed_in.status, 201, "{}", signed_in.text);
        let token = signed_in.json()["token"].as_str().unwrap().to_owned();
        let password = format!("seven violet trams in role {}", role.len());
        let body = json!({ "password": first, "new_password": password });
        let changed = self.post_as(&token, "/v1/account/password", &body).await;
        assert_eq!(changed.status, 201, "{}", changed.text);
        let token = changed.json()["token"].as_str().unwrap().to_owned();
        let step = now / 30;
        let (app, token) = self.enrol(&token, &password, step).await;
        Person { name: name.to_owned(), password, app, used: AtomicI64::new(step), token }
    }

    /// The same, on the machine's clock.
    pub async fn person(&self, name: &str, role: &str, tenant: &str) -> Person {
        self.person_at(name, role, tenant, clock::now()).await
    }
}
