//! The tests that look at the repository and mount nothing: the rules of its rooms, what deploy/
//! holds, and the corpus of the fuzz targets.

mod deploy;
mod fuzz;
mod tidy;
