//! The roles of callers.

use std::fmt;
use std::str::FromStr;

/// The role of a caller: what kind of process it is, which decides what calls it may make.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// A worker, which joins a run, computes gradients and pushes them.
    Worker,
    /// A process of the server other than the first, which registers and holds shards.
    Server,
    /// The server's first process, which gives orders to the others. Its token is its own and never handed
    /// on.
    Coordinator,
    /// Somebody who looks at a run: its status, its metrics and its model.
    Reader,
    /// Somebody who runs the run, and may do at least what a reader may.
    Operator,
}

impl Role {
    /// All roles.
    pub const ALL: [Role; 5] = [Role::Worker, Role::Server, Role::Coordinator, Role::Reader, Role::Operator];

    /// Returns the name of the role, in lower case, as tokens and folders have it.
    pub fn name(self) -> &'static str {
        match self {
            Role::Worker => "worker",
            Role::Server => "server",
            Role::Coordinator => "coordinator",
            Role::Reader => "reader",
            Role::Operator => "operator",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// An error: a text is not the name of a role.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a role: worker, server, coordinator, reader or operator")]
pub struct NoRole;

impl FromStr for Role {
    type Err = NoRole;

    fn from_str(name: &str) -> Result<Role, NoRole> {
        Role::ALL.into_iter().find(|role| role.name() == name).ok_or(NoRole)
    }
}
