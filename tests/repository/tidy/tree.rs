//! The modules of a crate, and where a path leads that one of them writes: through `use`, aliases,
//! `self`, `super`, `crate`, globs and re-exports to the module that has the thing itself.

use std::collections::{BTreeMap, BTreeSet};

use super::names::{self, Module, Name};

/// Texts by their path in the repository.
pub type Sources = BTreeMap<String, String>;

/// Re-exports that lead to each other have no end.
const LONGEST: usize = 32;

/// A crate.
pub struct Tree {
    pub modules: BTreeMap<Vec<String>, Module>,
    /// The other crates that it can name.
    others: BTreeSet<String>,
}

/// Where a path leads.
#[derive(Debug, PartialEq, Eq)]
pub enum End {
    /// To a module of the same crate, or something in it.
    Here(Vec<String>),
    /// Into another crate; the path as it is from there.
    Other(Vec<String>),
}

impl Tree {
    /// The crate whose root is this file.
    pub fn read(root: &str, sources: &Sources, others: &BTreeSet<String>) -> Self {
        let mut tree = Self {
            modules: BTreeMap::new(),
            others: others.clone(),
        };
        tree.add(root, &[], false, sources);
        tree
    }

    pub fn files(&self) -> BTreeSet<&str> {
        let files = self.modules.values();
        files.map(|module| module.file.as_str()).collect()
    }

    fn add(&mut self, file: &str, at: &[String], test: bool, sources: &Sources) {
        let text = sources
            .get(file)
            .unwrap_or_else(|| panic!("{file}: no such file"));
        let (modules, elsewhere) = names::read(file, text, at, test);
        self.modules.extend(modules);
        let (folder, own) = file.rsplit_once('/').expect("a file is in a folder");
        let opens = ["mod.rs", "lib.rs", "main.rs"].contains(&own);
        for module in elsewhere {
            let found = if let Some(path) = &module.file {
                format!("{folder}/{path}")
            } else {
                let mut start = folder.to_owned();
                if !opens {
                    start = format!("{start}/{}", own.trim_end_matches(".rs"));
                }
                let place = format!("{start}/{}", module.module[at.len()..].join("/"));
                let alone = format!("{place}.rs");
                if sources.contains_key(&alone) {
                    alone
                } else {
                    format!("{place}/mod.rs")
                }
            };
            self.add(&found, &module.module, module.test, sources);
        }
    }

    /// Where a name leads that the module `at` writes. A word that is bound nowhere is a local thing.
    pub fn end(&self, at: &[String], name: &Name) -> End {
        self.follow(at, &name.words, name.absolute, 0)
    }

    fn follow(&self, at: &[String], words: &[String], absolute: bool, depth: usize) -> End {
        let here = || End::Here(at.to_vec());
        let Some((first, rest)) = words.split_first().filter(|_| depth < LONGEST) else {
            return here();
        };
        if absolute {
            return End::Other(words.to_vec());
        }
        match first.as_str() {
            "crate" => return self.walk(&[], rest, depth + 1),
            "self" | "super" => {
                let (mut from, mut left) = (at, words);
                while let [word, others @ ..] = left
                    && ["self", "super"].contains(&word.as_str())
                {
                    if word == "super" {
                        from = &from[..from.len().saturating_sub(1)];
                    }
                    left = others;
                }
                return self.walk(from, left, depth + 1);
            }
            "Self" => return here(),
            _ => {}
        }
        if self.knows(at, first, depth + 1) {
            return self.walk(at, words, depth + 1);
        }
        if self.others.contains(first) || ["std", "core", "alloc"].contains(&first.as_str()) {
            return End::Other(words.to_vec());
        }
        here()
    }

    /// From a module down, word by word.
    fn walk(&self, at: &[String], words: &[String], depth: usize) -> End {
        let here = || End::Here(at.to_vec());
        let (Some(module), Some((first, rest))) = (self.modules.get(at), words.split_first())
        else {
            return here();
        };
        if depth > LONGEST {
            return here();
        }
        let child = [at, std::slice::from_ref(first)].concat();
        if self.modules.contains_key(&child) {
            return self.walk(&child, rest, depth + 1);
        }
        if module.items.contains(first) {
            return here();
        }
        if let Some(bound) = module.bindings.get(first) {
            let path = [&bound.words, rest].concat();
            // What is bound under its own name comes from another crate.
            let itself = bound.words.len() == 1 && bound.words[0] == *first;
            return self.follow(at, &path, bound.absolute || itself, depth + 1);
        }
        for glob in &module.globs {
            match self.follow(at, &glob.words, glob.absolute, depth + 1) {
                End::Here(from) if from != at && self.knows(&from, first, depth + 1) => {
                    return self.walk(&from, words, depth + 1);
                }
                _ => {}
            }
        }
        here()
    }

    /// Whether a module has something of this name.
    fn knows(&self, at: &[String], word: &String, depth: usize) -> bool {
        let Some(module) = self.modules.get(at).filter(|_| depth < LONGEST) else {
            return false;
        };
        module.items.contains(word)
            || module.bindings.contains_key(word)
            || self
                .modules
                .contains_key(&[at, std::slice::from_ref(word)].concat())
            || module.globs.iter().any(|glob| {
                match self.follow(at, &glob.words, glob.absolute, depth + 1) {
                    End::Here(from) => from != at && self.knows(&from, word, depth + 1),
                    End::Other(_) => false,
                }
            })
    }
}
