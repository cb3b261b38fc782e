//! What the modules of a source file name: every path of two or more words, and what `use` binds.
//! Read from the syntax, so that a comment, a string or a name's part is never taken for a path. In a
//! macro's tokens whatever looks like a path is one.

use std::collections::BTreeMap;

use proc_macro2::{TokenStream, TokenTree};
use syn::visit::{self, Visit};

/// A path as it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    pub words: Vec<String>,
    /// Whether it begins with `::`, and so with a crate.
    pub absolute: bool,
    /// Whether it is a `pub use`: a sign for others, see `rooms`.
    pub sign: bool,
}

impl Name {
    pub fn text(&self) -> String {
        let start = if self.absolute { "::" } else { "" };
        format!("{start}{}", self.words.join("::"))
    }
}

/// A module, as far as its own text goes.
#[derive(Debug, Default)]
pub struct Module {
    pub file: String,
    pub names: Vec<Name>,
    /// What `use` binds, by the name that it has here.
    pub bindings: BTreeMap<String, Name>,
    pub globs: Vec<Name>,
    /// What it defines itself.
    pub items: Vec<String>,
    /// Methods that are called.
    pub calls: Vec<String>,
    /// Whether it has an `unsafe` block.
    pub has_unsafe: bool,
    /// Whether it is there for tests alone.
    pub test: bool,
}

/// A module that is in another file: its path, and the file where `#[path]` says which.
#[derive(Debug, PartialEq, Eq)]
pub struct Elsewhere {
    pub module: Vec<String>,
    pub file: Option<String>,
    pub test: bool,
}

/// The modules of a file that is the module `at`, and those that it says are elsewhere.
pub fn read(
    file: &str,
    text: &str,
    at: &[String],
    test: bool,
) -> (BTreeMap<Vec<String>, Module>, Vec<Elsewhere>) {
    let syntax = syn::parse_file(text).unwrap_or_else(|error| panic!("{file}: {error}"));
    let mut reader = Reader {
        file,
        at: at.to_vec(),
        test,
        modules: BTreeMap::new(),
        elsewhere: Vec::new(),
    };
    reader.open();
    reader.visit_file(&syntax);
    (reader.modules, reader.elsewhere)
}

struct Reader<'a> {
    file: &'a str,
    at: Vec<String>,
    test: bool,
    modules: BTreeMap<Vec<String>, Module>,
    elsewhere: Vec<Elsewhere>,
}

impl Reader<'_> {
    fn open(&mut self) {
        let test = self.test;
        let module = self.modules.entry(self.at.clone()).or_default();
        self.file.clone_into(&mut module.file);
        module.test = test;
    }

    fn module(&mut self) -> &mut Module {
        self.modules.get_mut(&self.at).expect("it was opened")
    }

    fn name(&mut self, words: Vec<String>, absolute: bool) {
        if words.len() > 1 || absolute {
            self.module().names.push(Name {
                words,
                absolute,
                sign: false,
            });
        }
    }

    fn bind(&mut self, tree: &syn::UseTree, before: &[String], like: &Name) {
        let mut words = before.to_vec();
        let named = |words: Vec<String>| Name {
            words,
            ..like.clone()
        };
        let (binding, name) = match tree {
            syn::UseTree::Path(path) => {
                words.push(path.ident.to_string());
                return self.bind(&path.tree, &words, like);
            }
            syn::UseTree::Group(group) => {
                for tree in &group.items {
                    self.bind(tree, before, like);
                }
                return;
            }
            syn::UseTree::Glob(_) => {
                let name = named(words);
                self.module().globs.push(name.clone());
                self.module().names.push(name);
                return;
            }
            syn::UseTree::Name(name) => {
                if name.ident != "self" {
                    words.push(name.ident.to_string());
                }
                (words.last().cloned(), named(words))
            }
            syn::UseTree::Rename(rename) => {
                if rename.ident != "self" {
                    words.push(rename.ident.to_string());
                }
                (Some(rename.rename.to_string()), named(words))
            }
        };
        let module = self.module();
        module.names.push(name.clone());
        if let Some(binding) = binding {
            module.bindings.insert(binding, name);
        }
    }

    /// Words with `::` between them, however deep in brackets.
    fn tokens(&mut self, tokens: TokenStream) {
        let mut words: Vec<String> = Vec::new();
        let (mut colons, mut absolute) = (0, false);
        for token in tokens {
            match token {
                TokenTree::Ident(word) => {
                    if colons != 2 {
                        self.name(std::mem::take(&mut words), absolute);
                        absolute = false;
                    } else if words.is_empty() {
                        absolute = true;
                    }
                    words.push(word.to_string());
                    colons = 0;
                }
                TokenTree::Punct(punct) if punct.as_char() == ':' => colons += 1,
                other => {
                    self.name(std::mem::take(&mut words), absolute);
                    (colons, absolute) = (0, false);
                    if let TokenTree::Group(group) = other {
                        self.tokens(group.stream());
                    }
                }
            }
        }
        self.name(words, absolute);
    }
}

fn is_for_tests(attribute: &syn::Attribute) -> bool {
    let syn::Meta::List(list) = &attribute.meta else {
        return false;
    };
    list.path.is_ident("cfg") && {
        let mut words = list
            .tokens
            .clone()
            .into_iter()
            .map(|token| token.to_string());
        // `cfg(test)`, or `cfg(all(test, ...))`.
        let first = words.next();
        first.as_deref() == Some("test")
            || first.as_deref() == Some("all")
                && words.next().is_some_and(|group| group.starts_with("(test"))
    }
}

impl<'ast> Visit<'ast> for Reader<'_> {
    fn visit_item(&mut self, item: &'ast syn::Item) {
        let name = match item {
            syn::Item::Const(item) => Some(&item.ident),
            syn::Item::Enum(item) => Some(&item.ident),
            syn::Item::Fn(item) => Some(&item.sig.ident),
            syn::Item::Static(item) => Some(&item.ident),
            syn::Item::Struct(item) => Some(&item.ident),
            syn::Item::Trait(item) => Some(&item.ident),
            syn::Item::Type(item) => Some(&item.ident),
            syn::Item::Union(item) => Some(&item.ident),
            _ => None,
        };
        let name = name.map(ToString::to_string);
        self.module().items.extend(name);
        visit::visit_item(self, item);
    }

    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        self.at.push(item.ident.to_string());
        let before = self.test;
        self.test |= item.attrs.iter().any(is_for_tests);
        if item.content.is_some() {
            self.open();
            visit::visit_item_mod(self, item);
        } else {
            let file = item.attrs.iter().find_map(|attribute| {
                let syn::Meta::NameValue(pair) = &attribute.meta else {
                    return None;
                };
                match &pair.value {
                    syn::Expr::Lit(syn::ExprLit {
                        lit: syn::Lit::Str(text),
                        ..
                    }) if pair.path.is_ident("path") => Some(text.value()),
                    _ => None,
                }
            });
            let (module, test) = (self.at.clone(), self.test);
            self.elsewhere.push(Elsewhere { module, file, test });
        }
        self.test = before;
        self.at.pop();
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        let like = Name {
            words: Vec::new(),
            absolute: item.leading_colon.is_some(),
            sign: !matches!(item.vis, syn::Visibility::Inherited),
        };
        self.bind(&item.tree, &[], &like);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let words = path.segments.iter().map(|part| part.ident.to_string());
        self.name(words.collect(), path.leading_colon.is_some());
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        self.tokens(call.tokens.clone());
        visit::visit_macro(self, call);
    }

    fn visit_meta_list(&mut self, list: &'ast syn::MetaList) {
        self.tokens(list.tokens.clone());
        visit::visit_meta_list(self, list);
    }

    fn visit_expr_method_call(&mut self, call: &'ast syn::ExprMethodCall) {
        let name = call.method.to_string();
        self.module().calls.push(name);
        visit::visit_expr_method_call(self, call);
    }

    fn visit_expr_unsafe(&mut self, block: &'ast syn::ExprUnsafe) {
        self.module().has_unsafe = true;
        visit::visit_expr_unsafe(self, block);
    }
}
