//! What a reader of HTML or XML sees: text without tags, comments and instructions, CDATA unwrapped.

/// The text content of markup. Text on both sides of a tag is joined, as a browser shows it; between different
/// elements, and around block elements, stands a space.
pub(crate) fn text_content(text: &str) -> Option<String> {
    memchr::memchr(b'<', text.as_bytes())?;
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    let mut closed: Option<&str> = None;
    while let Some((before, after)) = rest.split_once('<') {
        if !before.is_empty() {
            closed = None;
        }
        out.push_str(before);
        if let Some(comment) = after.strip_prefix("!--") {
            rest = comment.split_once("-->").map_or("", |(_, rest)| rest);
        } else if let Some(data) = after.strip_prefix("![CDATA[") {
            let (data, next) = data.split_once("]]>").unwrap_or((data, ""));
            out.push_str(data);
            rest = next;
        } else if let Some(instruction) = after.strip_prefix('?') {
            rest = instruction.split_once('>').map_or("", |(_, rest)| rest);
        } else {
            if !after.starts_with(|c: char| c.is_alphabetic() || matches!(c, '/' | '!' | '_')) {
                out.push('<');
                rest = after;
                continue;
            }
            let Some((tag, _)) = after.split_once('>') else {
                // Nothing further on is a tag either.
                out.push('<');
                rest = after;
                break;
            };
            let name =
                tag.trim_start_matches('/').split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default();
            let opens_another =
                !tag.starts_with('/') && closed.is_some_and(|closed| closed != name) && !is_inline(name);
            if opens_another || BLOCKS.iter().any(|block| block.eq_ignore_ascii_case(name)) {
                out.push(' ');
            }
            closed = tag.starts_with('/').then_some(name);
            rest = after.get(tag.len() + 1..).unwrap_or_default();
        }
    }
    out.push_str(rest);
    Some(out)
}

/// Whether markup declares types or entities or includes other documents; a reader may then see other text.
pub(crate) fn declares_entities(text: &str, xml: bool) -> bool {
    if !text.contains("<!") && !text.contains("XInclude") {
        return false;
    }
    let upper = text.to_ascii_uppercase();
    let doctype = upper.match_indices("<!DOCTYPE").any(|(at, word)| {
        let name = upper.get(at + word.len()..).unwrap_or_default().trim_start();
        let end = name.find('>').unwrap_or(name.len());
        xml || !name.starts_with("HTML") || name.get(..end).is_none_or(|head| head.contains('['))
    });
    doctype || upper.contains("<!ENTITY") || upper.contains("HTTP://WWW.W3.ORG/2001/XINCLUDE")
}

/// Elements that only change how a text looks: a browser shows no gap around them.
fn is_inline(name: &str) -> bool {
    [
        "b", "i", "u", "s", "em", "strong", "span", "font", "small", "big", "sub", "sup", "mark", "code",
        "tt", "a",
    ]
    .iter()
    .any(|inline| inline.eq_ignore_ascii_case(name))
}

const BLOCKS: &[&str] = &[
    "td", "th", "tr", "table", "p", "div", "li", "ul", "ol", "br", "hr", "option", "h1", "h2", "h3", "h4",
    "section", "dd", "dt", "pre", "label", "input",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_comments_and_instructions_vanish() {
        assert_eq!(text_content("<b>4111</b><b>1111</b>").as_deref(), Some("41111111"));
        assert_eq!(text_content("41<!-- x -->11<?p i?>11<![CDATA[11]]>").as_deref(), Some("41111111"));
        assert_eq!(text_content("<n>41<i>11</i>11</n>").as_deref(), Some("411111"));
        assert_eq!(text_content("<td>99213</td><td>99214</td>").as_deref(), Some(" 99213  99214 "));
        assert_eq!(text_content("<zip>94107</zip><units>1</units>").as_deref(), Some("94107 1"));
        assert_eq!(text_content("1 < 2 and 3").as_deref(), Some("1 < 2 and 3"));
    }

    #[test]
    fn only_the_plain_html_doctype_is_harmless() {
        assert!(!declares_entities("<!DOCTYPE html><p>x", false));
        assert!(declares_entities("<!DOCTYPE html><p/>", true));
        assert!(declares_entities("<!DOCTYPE html [<!ENTITY a \"4\">]>", false));
        assert!(declares_entities("<!doctype r SYSTEM 'x'>", false));
        assert!(declares_entities("<a xmlns:xi='http://www.w3.org/2001/XInclude'/>", false));
    }
}
