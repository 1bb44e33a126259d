//! The heavy tools behind jobs: what is done with a file's content, without knowing of jobs or rows.
//!
//! Whatever a user uploads is hostile until it was decoded here: helper programs see only files that we wrote, but for
//! those that take a PDF apart.

pub mod aside;
pub mod document;
pub mod helper;
mod jpeg;
pub mod picture;
pub mod process;
pub mod render;
pub mod speech;
pub mod tesseract;
pub mod variants;
