//! Data sets from the folder to the minibatch: folders as people have them, image files as they are found,
//! the look before a run, and the threads that load.

mod folders;
mod images;
mod layouts;
mod lent;
mod loading;
mod look;
mod support;
