//! What somebody on the network does to a server that asks for tokens: with no token or a wrong one, with a
//! token whose role does not allow it, and as a member of the run who means harm.

mod calls;
mod members;
mod roles;
mod siege;
