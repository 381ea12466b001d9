//! Orders of the coordinator to a shard process.

use super::{
    life::{self, Life},
    roster::Roster,
    shard_status::ShardStatus,
};
use crate::{
    fields::{FieldError, answer, required},
    proto,
};

/// An order of the coordinator to a shard process, a server process that holds parts of the network's
/// parameters.
#[derive(Clone, Debug, PartialEq)]
pub enum ShardOrder {
    /// Snapshot: the process writes each of its shards into a file of the snapshot's folder,
    /// `ID/shard-NUMBER.safetensors`, and answers when the files are durable.
    Snapshot {
        /// Number of the snapshot; later snapshots have higher numbers.
        id: u64,
    },
    /// End of the run: the process exits after the reply, with exit code 0 unless the run was interrupted.
    Finish {
        /// Whether the run was interrupted, so that it can be resumed.
        interrupted: bool,
    },
    /// Roster: the process takes the pushes of these members and of nobody else. The statuses in its answer
    /// have the shards' ledgers.
    Roster(Roster),
}

/// An order, and the life of the coordinator that gives it.
impl From<(Life, ShardOrder)> for proto::OrderRequest {
    fn from((life, order): (Life, ShardOrder)) -> proto::OrderRequest {
        use proto::order_request::Order;
        let order = match order {
            ShardOrder::Snapshot { id } => Order::Snapshot(id),
            ShardOrder::Finish { interrupted } => Order::Finish(proto::Finish { interrupted }),
            ShardOrder::Roster(roster) => Order::Roster(roster.into()),
        };
        proto::OrderRequest { order: Some(order), life: Some(life.into()) }
    }
}

impl TryFrom<proto::OrderRequest> for (Life, ShardOrder) {
    type Error = FieldError;

    fn try_from(request: proto::OrderRequest) -> Result<(Life, ShardOrder), FieldError> {
        use proto::order_request::Order;
        let order = match required(request.order, "OrderRequest", "order")? {
            Order::Snapshot(id) => ShardOrder::Snapshot { id },
            Order::Finish(proto::Finish { interrupted }) => ShardOrder::Finish { interrupted },
            Order::Roster(roster) => ShardOrder::Roster(roster.try_into()?),
        };
        Ok((life::life(request.life, "OrderRequest")?, order))
    }
}

answer!(Vec<ShardStatus>, proto::OrderReply, order_reply::Shards);
