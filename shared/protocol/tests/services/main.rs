//! The services and their clients over real connections, with servers that are slow, broken or not there.

mod bounds;
mod calls;
mod door;
mod floods;
mod health;
mod patience;
mod pictures;
mod streams;
mod support;
