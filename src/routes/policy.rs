//! Reads `policy/routes.toml`: which request carries a card, in which fields.

use super::PassRoute;
use ::policy::Fault;
use audit::RouteName;
use http::Method;
use serde::Deserialize;
use std::path::{Path, PathBuf};
use vault::{Shape, ShapeSpec};

/// Why the routes cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RoutesError {
    /// The file cannot be read.
    #[error("cannot read {file}: {source}")]
    Unreadable {
        /// Which.
        file: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is not what it should be; the parser names the line.
    #[error("{file}, line {line}: {message}")]
    Malformed {
        /// Which.
        file: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// What the parser says.
        message: String,
    },
    /// A route that breaks a rule.
    #[error("route `{route}`: {message}")]
    Route {
        /// Its name.
        route: String,
        /// Which rule.
        message: String,
    },
    /// A path that pangate itself serves.
    #[error("route `{route}` takes a path that pangate serves itself; choose another path")]
    Taken {
        /// Its name.
        route: String,
    },
}

impl RoutesError {
    /// The same, as the fault of a file whose text is `text`.
    pub fn fault(&self, text: &str) -> Fault {
        let file = "routes.toml";
        let of_route = |route: &str, message: &str| {
            let at = text.lines().position(|line| line.trim() == format!("name = \"{route}\""));
            Fault::new(file, format!("route `{route}`: {message}"), "change the route")
                .at(at.map(|at| at + 1))
        };
        match self {
            RoutesError::Unreadable { source, .. } => {
                Fault::new(file, format!("cannot be read: {source}"), "let the gateway's user read it")
            }
            RoutesError::Malformed { line, message, .. } => {
                Fault::new(file, message.as_str(), "correct the line").at(*line)
            }
            RoutesError::Route { route, message } => of_route(route, message),
            RoutesError::Taken { route } => of_route(route, "pangate serves this path itself"),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    route: Vec<Route>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Route {
    name: String,
    method: String,
    path: String,
    upstream: Upstream,
    shape: ShapeSpec,
}

/// Where a route leads. The companion is the only one yet.
#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Upstream {
    Companion,
}

/// Reads and checks the file.
pub(super) fn read(file: &Path) -> Result<Vec<PassRoute>, RoutesError> {
    let text = std::fs::read_to_string(file)
        .map_err(|source| RoutesError::Unreadable { file: file.to_owned(), source })?;
    let parsed: File = toml::from_str(&text).map_err(|error| RoutesError::Malformed {
        file: file.to_owned(),
        line: ::policy::line_of(&text, error.span().map_or(0, |span| span.start)),
        message: error.message().to_owned(),
    })?;
    parsed.route.into_iter().map(pass_route).collect()
}

fn pass_route(route: Route) -> Result<PassRoute, RoutesError> {
    let wrong = |message: String| RoutesError::Route { route: route.name.clone(), message };
    let Upstream::Companion = route.upstream;
    let name = RouteName::parse(&route.name).map_err(|e| wrong(e.to_string()))?;
    let method = match route.method.as_str() {
        "POST" => Method::POST,
        "PUT" => Method::PUT,
        "PATCH" => Method::PATCH,
        _ => return Err(wrong("the method is POST, PUT or PATCH".to_owned())),
    };
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"/-_.".contains(&b);
    if !route.path.starts_with('/') || !route.path.bytes().all(plain) || route.path.contains("//") {
        return Err(wrong("the path is absolute and plain: letters, digits, - _ . and /".to_owned()));
    }
    let shape = Shape::new(&route.shape).map_err(|e| wrong(e.to_string()))?;
    Ok(PassRoute { name, method, path: route.path, shape })
}
