//! Workers against a whole parameter server inside the test's own process.

mod altered;
mod fake;
mod faulty;
#[path = "../../../shared/network/tests/golden/files.rs"]
mod golden;
mod lent;
mod linear;
mod process;
mod pushes;
mod replica;
mod server;
mod sgd;
mod stopped;
mod train;
