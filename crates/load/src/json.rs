//! Just enough JSON to write a report.

use std::fmt::{Display, Write};

/// A JSON object under construction; members keep their order.
#[derive(Debug, Default)]
pub struct Object(String);

impl Object {
    /// Adds a member whose value prints as JSON already: a number, a boolean, another object.
    pub fn raw(mut self, name: &str, value: impl Display) -> Self {
        if !self.0.is_empty() {
            self.0.push(',');
        }
        self.0.push_str(&quote(name));
        // Writing to a string cannot fail.
        let _ = write!(self.0, ":{value}");
        self
    }

    /// Adds a string.
    pub fn text(self, name: &str, value: &str) -> Self {
        self.raw(name, quote(value))
    }

    /// Adds a number, or null.
    pub fn optional(self, name: &str, value: Option<impl Display>) -> Self {
        match value {
            Some(value) => self.raw(name, value),
            None => self.raw(name, "null"),
        }
    }

    /// The finished text.
    pub fn finish(self) -> String {
        format!("{{{}}}", self.0)
    }
}

/// An array of strings.
pub fn array(values: &[String]) -> String {
    let quoted: Vec<String> = values.iter().map(|value| quote(value)).collect();
    format!("[{}]", quoted.join(","))
}

fn quote(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for character in text.chars() {
        match character {
            '"' | '\\' => {
                quoted.push('\\');
                quoted.push(character);
            }
            control if control < ' ' => {
                let _ = write!(quoted, "\\u{:04x}", u32::from(control));
            }
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_keep_their_order_and_strings_are_escaped() {
        let inner = Object::default().raw("n", 1.5).finish();
        let text = Object::default()
            .text("a\"b", "c\\d\n")
            .raw("inner", inner)
            .optional("none", None::<u64>)
            .raw("list", array(&["x".into(), "y".into()]))
            .finish();
        assert_eq!(
            text,
            r#"{"a\"b":"c\\d\u000a","inner":{"n":1.5},"none":null,"list":["x","y"]}"#
        );
    }

    #[test]
    fn an_object_without_members_is_an_object() {
        assert_eq!(Object::default().finish(), "{}");
    }
}
