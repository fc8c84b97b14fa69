//! The name of one field: a singular query of RFC 9535 for JSON, brackets for forms.

use super::ShapeError;

/// A singular JSONPath query (`$.card.number`, `$.cards[0]['number']`): it names one place or none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldPath(Vec<Step>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Step {
    text: String,
    index: bool,
}

impl FieldPath {
    /// Parses a query. It must be valid RFC 9535 and, of that, a singular query (§2.3.5.1) with plain names.
    ///
    /// # Errors
    /// [`ShapeError::Path`] with the policy's own text.
    pub fn parse(query: &str) -> Result<FieldPath, ShapeError> {
        let wrong = || ShapeError::Path(query.to_owned());
        // The full grammar judges first, so that our subset never accepts what RFC 9535 does not.
        serde_json_path::JsonPath::parse(query).map_err(|_| wrong())?;
        let mut rest = query.strip_prefix('$').ok_or_else(wrong)?;
        let mut steps = vec![];
        while !rest.is_empty() {
            let (step, after) = step(rest).ok_or_else(wrong)?;
            steps.push(step);
            rest = after;
        }
        if steps.is_empty() { Err(wrong()) } else { Ok(FieldPath(steps)) }
    }

    /// The steps as names and decimal places.
    pub(crate) fn steps(&self) -> Vec<&str> {
        self.0.iter().map(|step| step.text.as_str()).collect()
    }

    /// The steps with `*` for array places.
    pub(crate) fn pattern(&self) -> Vec<String> {
        self.0.iter().map(|step| if step.index { "*".to_owned() } else { step.text.clone() }).collect()
    }

    /// The name in forms: `card[number]`.
    pub(crate) fn form_name(&self) -> String {
        let mut steps = self.0.iter();
        let first = steps.next().map_or_else(String::new, |step| step.text.clone());
        steps.fold(first, |name, step| format!("{name}[{}]", step.text))
    }

    /// How errors name it: `card.number`.
    pub(crate) fn dotted(&self) -> String {
        self.steps().join(".")
    }

    /// The query.
    pub(crate) fn query(&self) -> String {
        format!("$.{}", self.dotted())
    }
}

/// `.name`, `['name']`, `["name"]` or `[0]` at the start of the text, and what follows it.
fn step(text: &str) -> Option<(Step, &str)> {
    if let Some(rest) = text.strip_prefix('.') {
        let end = rest.find(['.', '[']).unwrap_or(rest.len());
        let (name, after) = rest.split_at_checked(end)?;
        let plain = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        return plain.then(|| (Step { text: name.to_owned(), index: false }, after));
    }
    let (inside, after) = text.strip_prefix('[')?.split_once(']')?;
    let quoted = ['\'', '"'].into_iter().find_map(|quote| inside.strip_prefix(quote)?.strip_suffix(quote));
    match quoted {
        Some(name) => {
            // Brackets inside a name would make two fields one in a form; escapes would hide them.
            let plain = !name.is_empty() && !name.contains(['[', ']', '\\', '\'', '"']);
            plain.then(|| (Step { text: name.to_owned(), index: false }, after))
        }
        None => {
            let place =
                inside.bytes().all(|b| b.is_ascii_digit()) && (inside == "0" || !inside.starts_with('0'));
            (place && !inside.is_empty()).then(|| (Step { text: inside.to_owned(), index: true }, after))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn one_name_serves_json_and_forms() {
        let path = FieldPath::parse("$.cards[0]['number']").unwrap();
        assert_eq!(path.steps(), ["cards", "0", "number"]);
        assert_eq!(path.pattern(), ["cards", "*", "number"]);
        assert_eq!(path.form_name(), "cards[0][number]");
        assert_eq!(FieldPath::parse("$.note").unwrap().form_name(), "note");
    }

    proptest! {
        #[test]
        fn what_is_accepted_names_what_rfc_9535_names(query in r#"\$(\.[a-c]|\[[0-2]\]|\['[a-c]'\]){1,4}"#) {
            let path = FieldPath::parse(&query).unwrap();
            let mut value = serde_json::json!("found");
            for (step, index) in path.0.iter().rev().map(|step| (&step.text, step.index)) {
                value = if index {
                    let place: usize = step.parse().unwrap();
                    let mut items = vec![serde_json::Value::Null; place];
                    items.push(value);
                    items.into()
                } else {
                    serde_json::json!({ step.as_str(): value })
                };
            }
            let theirs = serde_json_path::JsonPath::parse(&query).unwrap();
            prop_assert_eq!(theirs.query(&value).exactly_one().unwrap(), "found");
        }

        #[test]
        fn any_text_is_a_path_or_is_refused_without_a_panic(query in r"[\$\.\[\]'a0*?\\]{0,12}") {
            let _ = FieldPath::parse(&query);
        }
    }
}
