//! The services and their clients over real connections, with servers that are slow, broken or not there.

mod calls;
mod door;
mod health;
mod patience;
mod streams;
mod support;
