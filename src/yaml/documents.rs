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

use super::fault::{Fault, Flaw};
use super::scalar::{self, What};
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
struct Open<'a> {
    line: usize,
    anchor: usize,
    height: usize,
    within: Within<'a>,
}

enum Within<'a> {
    Sequence(Vec<Rc<Node<'a>>>),
    Mapping(Mapping<'a>, Option<Key<'a>>),
}

struct Key<'a> {
    line: usize,
    text: Cow<'a, str>,
    is: What,
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
    stack: Vec<Open<'a>>,
}

impl<'a> Documents<'a> {
    /// Begins to read a text of at most so many bytes.
    pub(crate) fn new(bytes: &'a [u8], most: usize) -> Result<Self, Flaw> {
        let text = text::of(bytes, most)?;
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
    pub(crate) fn next(&mut self) -> Result<Option<Rc<Node<'a>>>, Flaw> {
        self.anchors.clear();
        while let Some(next) = self.parser.next_event() {
            let (event, span) = match next {
                Ok(next) => next,
                Err(error) if self.starts_over(&error) => continue,
                Err(error) => {
                    let line = self.line + error.marker().line();
                    return Err(Flaw::at(line, Fault::Syntax(syntax::words(error.kind()))));
                }
            };
            if let Some(root) = self.take(event, &span)? {
                return Ok(Some(root));
            }
        }
        Ok(None)
    }

    /// JSON documents may follow one another without a separator, as kubectl reads them.
    fn starts_over(&mut self, error: &ScanError) -> bool {
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
    fn take(&mut self, event: Event<'a>, span: &Span) -> Result<Option<Rc<Node<'a>>>, Flaw> {
        let line = self.line + span.start.line();
        match event {
            Event::Alias(id) => {
                let Some(node) = self.anchors.get(&id).cloned() else {
                    return Err(Flaw::at(line, Fault::AliasInItself));
                };
                self.add(line, node, false)
            }
            Event::Scalar(text, style, anchor, tag) => {
                let plain = style == ScalarStyle::Plain;
                // The scanner writes ~ where nothing stands.
                let absent = plain && span.byte_range().is_some_and(|range| range.is_empty());
                let text = if absent { Cow::Borrowed("") } else { text };
                let merges = plain && tag.is_none() && text == "<<";
                let what = match tag {
                    Some(tag) => tagged(&tag),
                    None if plain => scalar::of_plain(&text),
                    None => What::Text,
                };
                let node = self.node(line, Value::Scalar(what, text), 0, anchor);
                self.add(line, node, merges)
            }
            Event::SequenceStart(_, anchor, _) => {
                self.open(line, anchor, Within::Sequence(Vec::new()))
            }
            Event::MappingStart(_, anchor, _) => {
                self.open(line, anchor, Within::Mapping(Mapping::default(), None))
            }
            Event::SequenceEnd | Event::MappingEnd => {
                let Some(open) = self.stack.pop() else {
                    return Ok(None);
                };
                let value = match open.within {
                    Within::Sequence(nodes) => Value::Sequence(nodes),
                    Within::Mapping(mapping, _) => Value::Mapping(mapping),
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
        within: Within<'a>,
    ) -> Result<Option<Rc<Node<'a>>>, Flaw> {
        if self.stack.len() == MAX_DEPTH {
            return Err(Flaw::at(line, Fault::TooDeep));
        }
        self.stack.push(Open {
            line,
            anchor,
            height: 0,
            within,
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
    ) -> Result<Option<Rc<Node<'a>>>, Flaw> {
        spend(&mut self.left, line)?;
        let depth = self.stack.len() + node.height;
        let Some(open) = self.stack.last_mut() else {
            return Ok(Some(node));
        };
        if depth > MAX_DEPTH {
            return Err(Flaw::at(line, Fault::TooDeep));
        }
        open.height = open.height.max(node.height);
        match &mut open.within {
            Within::Sequence(nodes) => nodes.push(node),
            Within::Mapping(_, key @ None) => {
                let (is, text) = match &node.value {
                    Value::Scalar(is, text) if *is != What::Null => (*is, text.clone()),
                    _ => return Err(Flaw::at(line, Fault::NotAKey(node.what()))),
                };
                *key = Some(Key {
                    line,
                    text,
                    is,
                    merges,
                });
            }
            Within::Mapping(mapping, key) => {
                let Some(key) = key.take() else {
                    return Ok(None);
                };
                if key.merges {
                    merge(mapping, key.line, &node, &mut self.left)?;
                } else {
                    mapping.put(key.text, Entry::new(key.line, key.is, node));
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
fn tagged(tag: &Tag) -> What {
    match tag.suffix_in_namespace("tag:yaml.org,2002:").as_deref() {
        Some("null") => What::Null,
        Some("bool") => What::Boolean,
        Some("int" | "float") => What::Number,
        Some("binary") => What::Binary,
        _ => What::Text,
    }
}

fn spend(left: &mut usize, line: usize) -> Result<(), Flaw> {
    *left = left
        .checked_sub(1)
        .ok_or_else(|| Flaw::at(line, Fault::TooManyValues))?;
    Ok(())
}

/// Brings the entries of one mapping, or of several with the first before the last, into another.
fn merge<'a>(
    into: &mut Mapping<'a>,
    line: usize,
    node: &Rc<Node<'a>>,
    left: &mut usize,
) -> Result<(), Flaw> {
    let sources = match &node.value {
        Value::Sequence(sources) => sources.as_slice(),
        _ => std::slice::from_ref(node),
    };
    for source in sources {
        let Value::Mapping(source) = &source.value else {
            return Err(Flaw::at(line, Fault::Merge(source.what())));
        };
        for (key, entry) in source.in_order() {
            // Counted like written ones: merges of merges could multiply without end.
            spend(left, line)?;
            into.put(Cow::Owned(key.to_owned()), entry.merged(line));
        }
    }
    Ok(())
}
