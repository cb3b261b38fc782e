//! The engine against models that are too simple to be wrong: maps of names to contents.
//!
//! The models know the rules of docs/SEMANTICS.md and none of the engine's code. Names are
//! few and alike on purpose (`a`, `a-`, `a0` stand around `a/` in the order of bytes), so that they
//! meet often.

mod any;
mod engine;
mod plan;
mod render;
