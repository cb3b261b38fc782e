//! The YAML of deploy/ and examples/ as JSON values: enough of it for files that people of this
//! project write, and a panic for the rest.

use granit_parser::{Event, Parser, ScalarStyle};
use serde_json::{Map, Value};

/// Something that is not complete yet.
enum Open {
    Sequence(Vec<Value>),
    Mapping(Map<String, Value>, Option<String>),
}

/// Every document of a text.
pub fn documents(text: &str) -> Vec<Value> {
    let mut documents = Vec::new();
    let mut open: Vec<Open> = Vec::new();
    for event in Parser::new_from_str(text) {
        let (event, span) = event.expect("it is YAML");
        let line = span.start.line();
        let value = match event {
            Event::SequenceStart(..) => {
                open.push(Open::Sequence(Vec::new()));
                continue;
            }
            Event::MappingStart(..) => {
                open.push(Open::Mapping(Map::new(), None));
                continue;
            }
            Event::Scalar(text, ScalarStyle::Plain, _, None) => plain(&text),
            Event::Scalar(text, _, _, None) => Value::String(text.into_owned()),
            Event::SequenceEnd | Event::MappingEnd => match open.pop() {
                Some(Open::Sequence(values)) => Value::Array(values),
                Some(Open::Mapping(mapping, None)) => Value::Object(mapping),
                _ => panic!("line {line}: a collection ends where none began"),
            },
            Event::Scalar(..) | Event::Alias(..) => {
                panic!("line {line}: tags and aliases are not used here")
            }
            _ => continue,
        };
        match (open.last_mut(), value) {
            (None, value) => documents.push(value),
            (Some(Open::Sequence(values)), value) => values.push(value),
            (Some(Open::Mapping(mapping, key)), value) => match (key.take(), value) {
                (Some(name), value) => {
                    let twice = mapping.insert(name, value).is_some();
                    assert!(!twice, "line {line}: a key is there twice");
                }
                (None, Value::String(name)) => *key = Some(name),
                (None, _) => panic!("line {line}: a key is no string"),
            },
        }
    }
    documents
}

/// An unquoted word, by the rules that YAML 1.1 and 1.2 agree on; others are not used here.
fn plain(text: &str) -> Value {
    let doubtful = ["yes", "no", "on", "off", "y", "n"];
    assert!(
        !doubtful.contains(&text.to_lowercase().as_str()),
        "{text} means different things to different readers: quote it"
    );
    match text {
        "" | "~" | "null" => Value::Null,
        "true" => Value::Bool(true),
        "false" => Value::Bool(false),
        _ => text
            .parse::<i64>()
            .map_or_else(|_| Value::String(text.to_owned()), Value::from),
    }
}
