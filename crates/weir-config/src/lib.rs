//! The configuration language: YAML text to a located tree, the one table of keys, and problems with a place.
//!
//! Pure: files and the environment are reached only through [`SourceReader`]. [`load`] reads a file and what it
//! includes; an [`Object`] table opens a [`Node`] as a [`Section`] whose getters hand out checked values. The same
//! table prints the JSON Schema and the reference page. Every fault goes to [`Problems`], and reading goes on, so
//! that one round shows all of them.
//!
//! Limits: [`FILE_BYTES_MAX`] a file, [`DEPTH_MAX`] levels, [`NODES_MAX`] nodes with aliases counted each time,
//! [`FILES_MAX`] files, [`INCLUDE_DEPTH_MAX`] includes in each other. What an alias or a variable adds is bounded too.

mod check;
mod code;
mod expand;
mod include;
mod input;
mod node;
mod parse;
mod problem;
mod reader;
mod reference;
mod render;
mod schema;
mod secret;
mod section;
mod source;
mod suggest;
mod table;

pub use code::{Code, Rule};
pub use include::{Document, FILES_MAX, INCLUDE_DEPTH_MAX, load, load_bytes};
pub use node::{Entry, Node};
pub use parse::{DEPTH_MAX, FILE_BYTES_MAX, NODES_MAX};
pub use problem::{Problem, Problems, Severity};
pub use reader::{MemoryReader, SourceReader};
pub use reference::reference;
pub use schema::json_schema;
pub use secret::{Secret, SecretSpec};
pub use section::Section;
pub use source::{Place, Position, Source, SourceName, Span};
pub use suggest::suggest;
pub use table::{Key, KindRow, Object, Shape};
