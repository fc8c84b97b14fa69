//! Reading and changing a JSON tree by path: member names, and array places as decimal numbers.

use super::{Json, Text};
use zeroize::Zeroizing;

impl Json {
    /// The value at `path`; the empty path is the value itself.
    pub fn get(&self, path: &[&str]) -> Option<&Json> {
        let Some((step, rest)) = path.split_first() else { return Some(self) };
        match self {
            Json::Array(items) => items.get(place(step)?)?.get(rest),
            Json::Object(members) => {
                members.iter().find(|(name, _)| name.as_str() == *step).and_then(|(_, value)| value.get(rest))
            }
            _ => None,
        }
    }

    /// As [`Json::get`], to change.
    pub fn get_mut(&mut self, path: &[&str]) -> Option<&mut Json> {
        let Some((step, rest)) = path.split_first() else { return Some(self) };
        match self {
            Json::Array(items) => items.get_mut(place(step)?)?.get_mut(rest),
            Json::Object(members) => members
                .iter_mut()
                .find(|(name, _)| name.as_str() == *step)
                .and_then(|(_, value)| value.get_mut(rest)),
            _ => None,
        }
    }

    /// Puts `value` where `path` leads and gives back what stood there; `None` when nothing did.
    pub fn replace(&mut self, path: &[&str], value: Json) -> Option<Json> {
        self.get_mut(path).map(|old| std::mem::replace(old, value))
    }

    /// Takes away the member or item at `path` and gives it back.
    pub fn remove(&mut self, path: &[&str]) -> Option<Json> {
        let (last, group) = path.split_last()?;
        match self.get_mut(group)? {
            Json::Array(items) => {
                let place = place(last)?;
                (place < items.len()).then(|| items.remove(place))
            }
            Json::Object(members) => {
                let place = members.iter().position(|(name, _)| name.as_str() == *last)?;
                Some(members.remove(place).1)
            }
            _ => None,
        }
    }

    /// Adds member `name` next after the member at `path`. False when `path` leads to no object member or the
    /// object has that name already.
    pub fn insert_after(&mut self, path: &[&str], name: &str, value: Json) -> bool {
        let Some((last, group)) = path.split_last() else { return false };
        let Some(Json::Object(members)) = self.get_mut(group) else { return false };
        let Some(place) = members.iter().position(|(n, _)| n.as_str() == *last) else { return false };
        if members.iter().any(|(n, _)| n.as_str() == name) {
            return false;
        }
        let name: Text = Zeroizing::new(name.to_owned());
        members.insert(place + 1, (name, value));
        true
    }

    /// Calls `visit` for every value that holds no other, with its path, in document order: strings, numbers, words,
    /// and arrays and objects that are empty, for their names say something too.
    pub fn leaves<'a>(&'a self, visit: &mut dyn FnMut(&[&'a str], &'a Json)) {
        walk(self, &mut vec![], visit);
    }
}

/// Steps of array items all read `*`: a path names fields, and items of one array share theirs.
fn walk<'a>(value: &'a Json, path: &mut Vec<&'a str>, visit: &mut dyn FnMut(&[&'a str], &'a Json)) {
    match value {
        Json::Array(items) if !items.is_empty() => {
            path.push("*");
            items.iter().for_each(|item| walk(item, path, visit));
            path.pop();
        }
        Json::Object(members) if !members.is_empty() => {
            for (name, member) in members {
                path.push(name);
                walk(member, path, visit);
                path.pop();
            }
        }
        leaf => visit(path, leaf),
    }
}

/// Array places are plain decimals without sign or leading zero, as in RFC 6901.
fn place(step: &str) -> Option<usize> {
    let plain = step == "0" || (!step.starts_with('0') && step.bytes().all(|b| b.is_ascii_digit()));
    plain.then(|| step.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Limits;

    #[test]
    fn edits_by_path_keep_the_order_of_everything_else() {
        let mut json =
            Json::parse(br#"{"a":[1,{"b":"x","c":null}],"d":true}"#, &Limits::default()).ok().unwrap();
        assert_eq!(json.get(&["a", "1", "b"]).and_then(Json::as_text), Some("x"));
        assert!(json.get(&["a", "01", "b"]).is_none());
        assert!(json.replace(&["a", "1", "b"], Json::text("y")).is_some());
        assert!(json.insert_after(&["a", "1", "b"], "n", Json::Bool(false)));
        assert!(!json.insert_after(&["a", "1", "b"], "c", Json::Null));
        assert!(json.remove(&["a", "0"]).is_some());
        assert!(json.remove(&["a", "7"]).is_none());
        assert_eq!(&*json.write(), br#"{"a":[{"b":"y","n":false,"c":null}],"d":true}"#);
    }

    #[test]
    fn leaves_come_in_document_order_with_their_path() {
        let json = Json::parse(br#"{"a":[1,2],"b":{"c":"x","d":{}},"e":[]}"#, &Limits::default());
        let json = json.ok().unwrap();
        let mut seen = vec![];
        json.leaves(&mut |path, leaf| {
            seen.push((path.join("/"), leaf.as_text().unwrap_or("empty").to_owned()))
        });
        let expected = [("a/*", "1"), ("a/*", "2"), ("b/c", "x"), ("b/d", "empty"), ("e", "empty")];
        assert_eq!(seen, expected.map(|(path, leaf)| (path.to_owned(), leaf.to_owned())));
    }
}
