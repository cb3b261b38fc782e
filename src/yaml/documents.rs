//! A text's documents as trees, built from the scanner's events.
//!
//! Built here and not by serde, because serde does not tell `"8080"` from `8080` as kubectl does,
//! nor on which line a key stands. Depth and number of values are bounded while the tree grows.

use std::borrow::Cow;
use std::collections::HashMap;
use std::rc::Rc;

use granit_parser::{
    ErrorKind, Event, Parser, ScalarStyle, ScanError, Span, StrInput, Tag, options,
};

use super::fault::{YamlFault, YamlFlaw};
use super::scalar::{self, ValueType};
use super::syntax;
use super::text;
use super::tree::{Entry, Mapping, Node, Value};

/// How deep collections may nest: the API's own objects stay below 60. It bounds every recursion
/// over a tree, dropping it included.
pub const MAX_DEPTH: usize = 255;

/// How many values one file may hold. A mapping's entry costs about 200 bytes of memory, so this
/// bounds a tree to some hundred megabytes where a file of 16 MiB could ask for gigabytes.
pub const MAX_VALUES: usize = 500_000;

/// A collection that is not closed yet.
struct OpenCollection<'a> {
    line: usize,
    anchor: usize,
    height: usize,
    collection: Collection<'a>,
}

enum Collection<'a> {
    Sequence(Vec<Rc<Node<'a>>>),
    Mapping(Mapping<'a>, Option<Key<'a>>),
}

struct Key<'a> {
    line: usize,
    text: Cow<'a, str>,
    value_type: ValueType,
    merges: bool,
}

/// The documents of a text, one after another.
pub(crate) struct Documents<'a> {
    text: &'a str,
    parser: Parser<'a, StrInput<'a>>,
    /// Lines and bytes of the text that stand before the parser's beginning.
    line: usize,
    offset: usize,
    /// How many values the text may still hold.
    left: usize,
    anchors: HashMap<usize, Rc<Node<'a>>>,
    stack: Vec<OpenCollection<'a>>,
}

impl<'a> Documents<'a> {
    /// Begins to read a text of at most so many bytes.
    pub(crate) fn new(bytes: &'a [u8], most: usize) -> Result<Self, YamlFlaw> {
        let text = text::decode(bytes, most)?;
        Ok(Self {
            text,
            parser: parser(text),
            line: 0,
            offset: 0,
            left: MAX_VALUES,
            anchors: HashMap::new(),
            stack: Vec::new(),
        })
    }

    /// The root of the next document, or nothing at the end of the text.
    pub(crate) fn next(&mut self) -> Result<Option<Rc<Node<'a>>>, YamlFlaw> {
        self.anchors.clear();
        while let Some(next) = self.parser.next_event() {
            let (event, span) = match next {
                Ok(next) => next,
                Err(error) if self.restarts(&error) => continue,
                Err(error) => {
                    let line = self.line + error.marker().line();
                    return Err(YamlFlaw::at(
                        line,
                        YamlFault::Syntax(syntax::sentence(error.kind())),
                    ));
                }
            };
            if let Some(root) = self.take(event, &span)? {
                return Ok(Some(root));
            }
        }
        Ok(None)
    }

    /// JSON documents may follow one another without a separator, as kubectl reads them.
    fn restarts(&mut self, error: &ScanError) -> bool {
        let rest = error.marker().byte_offset().map(|at| self.offset + at);
        let rest = rest.filter(|at| {
            *error.kind() == ErrorKind::ExpectedDocumentStart
                && self
                    .text
                    .split_at_checked(*at)
                    .is_some_and(|(before, after)| {
                        before.trim_end().ends_with('}') && after.starts_with('{')
                    })
        });
        let Some(rest) = rest else { return false };
        self.line += error.marker().line() - 1;
        self.offset = rest;
        self.parser = parser(&self.text[rest..]);
        true
    }

    /// Takes one event; says the root where it completes a document.
    fn take(&mut self, event: Event<'a>, span: &Span) -> Result<Option<Rc<Node<'a>>>, YamlFlaw> {
        let line = self.line + span.start.line();
        match event {
            Event::Alias(id) => {
                let Some(node) = self.anchors.get(&id).cloned() else {
                    return Err(YamlFlaw::at(line, YamlFault::AliasInItself));
                };
                self.add(line, node, false)
            }
            Event::Scalar(text, style, anchor, tag) => {
                let plain = style == ScalarStyle::Plain;
                // The scanner writes ~ where nothing stands.
                let absent = plain && span.byte_range().is_some_and(|range| range.is_empty());
                let text = if absent { Cow::Borrowed("") } else { text };
                let merges = plain && tag.is_none() && text == "<<";
                let value_type = match tag {
                    Some(tag) => tagged(&tag),
                    None if plain => scalar::plain_type(&text),
                    None => ValueType::Text,
                };
                let node = self.node(line, Value::Scalar(value_type, text), 0, anchor);
                self.add(line, node, merges)
            }
            Event::SequenceStart(_, anchor, _) => {
                self.open(line, anchor, Collection::Sequence(Vec::new()))
            }
            Event::MappingStart(_, anchor, _) => {
                self.open(line, anchor, Collection::Mapping(Mapping::default(), None))
            }
            Event::SequenceEnd | Event::MappingEnd => {
                let Some(open) = self.stack.pop() else {
                    return Ok(None);
                };
                let value = match open.collection {
                    Collection::Sequence(nodes) => Value::Sequence(nodes),
                    Collection::Mapping(mapping, _) => Value::Mapping(mapping),
                };
                let node = self.node(open.line, value, open.height + 1, open.anchor);
                self.add(open.line, node, false)
            }
            _ => Ok(None),
        }
    }

    fn open(
        &mut self,
        line: usize,
        anchor: usize,
        collection: Collection<'a>,
    ) -> Result<Option<Rc<Node<'a>>>, YamlFlaw> {
        if self.stack.len() == MAX_DEPTH {
            return Err(YamlFlaw::at(line, YamlFault::TooDeep));
        }
        self.stack.push(OpenCollection {
            line,
            anchor,
            height: 0,
            collection,
        });
        Ok(None)
    }

    fn node(
        &mut self,
        line: usize,
        value: Value<'a>,
        height: usize,
        anchor: usize,
    ) -> Rc<Node<'a>> {
        let node = Rc::new(Node {
            line,
            value,
            height,
        });
        if anchor != 0 {
            self.anchors.insert(anchor, Rc::clone(&node));
        }
        node
    }

    /// Puts a finished node where it belongs; one that belongs nowhere is the root.
    fn add(
        &mut self,
        line: usize,
        node: Rc<Node<'a>>,
        merges: bool,
    ) -> Result<Option<Rc<Node<'a>>>, YamlFlaw> {
        spend(&mut self.left, line)?;
        let depth = self.stack.len() + node.height;
        let Some(open) = self.stack.last_mut() else {
            return Ok(Some(node));
        };
        if depth > MAX_DEPTH {
            return Err(YamlFlaw::at(line, YamlFault::TooDeep));
        }
        open.height = open.height.max(node.height);
        match &mut open.collection {
            Collection::Sequence(nodes) => nodes.push(node),
            Collection::Mapping(_, key @ None) => {
                let (value_type, text) = match &node.value {
                    Value::Scalar(value_type, text) if *value_type != ValueType::Null => {
                        (*value_type, text.clone())
                    }
                    _ => return Err(YamlFlaw::at(line, YamlFault::NotAKey(node.value_type()))),
                };
                *key = Some(Key {
                    line,
                    text,
                    value_type,
                    merges,
                });
            }
            Collection::Mapping(mapping, key) => {
                let Some(key) = key.take() else {
                    return Ok(None);
                };
                if key.merges {
                    merge(mapping, key.line, &node, &mut self.left)?;
                } else {
                    mapping.insert(key.text, Entry::new(key.line, key.value_type, node));
                }
            }
        }
        Ok(None)
    }
}

fn parser(text: &str) -> Parser<'_, StrInput<'_>> {
    let mut options = options! {
        // As libyaml reads a block on a last line without an end: no line feed is invented.
        block_scalar_eof_without_line_feed: true,
        flow_nesting_limit: MAX_DEPTH,
        block_nesting_limit: MAX_DEPTH,
    };
    options.set_emit_comments(false);
    Parser::new_from_str_with_options(text, options)
}

/// What an explicit tag makes of a scalar. Tags of an application leave it a string, as goyaml
/// does.
fn tagged(tag: &Tag) -> ValueType {
    match tag.suffix_in_namespace("tag:yaml.org,2002:").as_deref() {
        Some("null") => ValueType::Null,
        Some("bool") => ValueType::Boolean,
        Some("int" | "float") => ValueType::Number,
        Some("binary") => ValueType::Binary,
        _ => ValueType::Text,
    }
}

fn spend(left: &mut usize, line: usize) -> Result<(), YamlFlaw> {
    *left = left
        .checked_sub(1)
        .ok_or_else(|| YamlFlaw::at(line, YamlFault::TooManyValues))?;
    Ok(())
}

/// Brings the entries of one mapping, or of several with the first before the last, into another.
fn merge<'a>(
    into: &mut Mapping<'a>,
    line: usize,
    node: &Rc<Node<'a>>,
    left: &mut usize,
) -> Result<(), YamlFlaw> {
    let sources = match &node.value {
        Value::Sequence(sources) => sources.as_slice(),
        _ => std::slice::from_ref(node),
    };
    for source in sources {
        let Value::Mapping(source) = &source.value else {
            return Err(YamlFlaw::at(line, YamlFault::Merge(source.value_type())));
        };
        for (key, entry) in source.in_order() {
            // Counted like written ones: merges of merges could multiply without end.
            spend(left, line)?;
            into.insert(Cow::Owned(key.to_owned()), entry.merged(line));
        }
    }
    Ok(())
}
