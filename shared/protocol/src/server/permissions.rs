//! The calls of the services, and the roles that may make each of them.

use access::Role::{self, *};

/// Beginning of the paths of the health service, which anybody may call.
const HEALTH: &str = "/grpc.health.v1.Health/";
/// The call whose requests are a stream.
const PUSH: &str = "/downpour.v1.Shards/Push";

/// The path of every call, and the roles that may make it.
pub(crate) const CALLS: [(&str, &[Role]); 16] = [
    ("/downpour.v1.Access/Credentials", &[Server]),
    ("/downpour.v1.Coordinator/Join", &[Worker]),
    ("/downpour.v1.Coordinator/Assign", &[Worker]),
    ("/downpour.v1.Coordinator/Report", &[Worker]),
    ("/downpour.v1.Coordinator/Register", &[Server]),
    ("/downpour.v1.Coordinator/Status", &Role::ALL),
    ("/downpour.v1.Coordinator/Overview", &[Reader, Operator]),
    ("/downpour.v1.Coordinator/Steer", &[Operator]),
    ("/downpour.v1.Pictures/Describe", &[Worker]),
    ("/downpour.v1.Pictures/Labels", &[Worker]),
    ("/downpour.v1.Pictures/Read", &[Worker]),
    ("/downpour.v1.Shards/Adopt", &[Worker]),
    (PUSH, &[Worker]),
    ("/downpour.v1.Shards/Fetch", &[Worker, Coordinator, Reader, Operator]),
    ("/downpour.v1.Shards/Order", &[Coordinator]),
    ("/downpour.v1.Shards/Status", &Role::ALL),
];

/// Returns whether anybody may make the call at `path`.
pub(crate) fn is_open(path: &str) -> bool {
    path.starts_with(HEALTH)
}

/// Returns whether the requests of the call at `path` are a stream.
pub(crate) fn is_stream(path: &str) -> bool {
    path == PUSH
}

/// Returns the roles that may make the call at `path`. A call that does not exist is anybody's who has a
/// token, to be told so.
pub(crate) fn roles(path: &str) -> &'static [Role] {
    CALLS.iter().find(|(call, _)| *call == path).map_or(&Role::ALL, |(_, roles)| roles)
}

/// Returns the name for the log of the call at `path`, which comes from outside: an unknown one has none.
pub(crate) fn name(path: &str) -> &'static str {
    CALLS.iter().find(|(call, _)| *call == path).map_or("an unknown call", |(call, _)| call)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROTO: [(&str, &str); 4] = [
        ("Access", include_str!("../../../../proto/downpour/v1/access.proto")),
        ("Coordinator", include_str!("../../../../proto/downpour/v1/coordinator.proto")),
        ("Pictures", include_str!("../../../../proto/downpour/v1/pictures.proto")),
        ("Shards", include_str!("../../../../proto/downpour/v1/shards.proto")),
    ];

    /// The paths of all calls that the `.proto` files define.
    fn defined() -> Vec<String> {
        let calls = |(service, text): (&str, &'static str)| {
            let names = text.lines().filter_map(|line| line.trim().strip_prefix("rpc "));
            let names = names.map(|line| line.split('(').next().unwrap());
            names.map(|name| format!("/downpour.v1.{service}/{name}")).collect::<Vec<_>>()
        };
        PROTO.into_iter().flat_map(calls).collect()
    }

    #[test]
    fn every_call_is_in_the_table() {
        let mut table = CALLS.map(|(path, _)| path.to_string()).to_vec();
        let mut defined = defined();
        table.sort();
        defined.sort();
        assert_eq!(table, defined);
    }

    #[test]
    fn the_guide_has_the_same_table() {
        let guide = include_str!("../../../../deploy/guide/trust.md");
        for (path, allowed) in CALLS {
            let call = path.trim_start_matches("/downpour.v1.").replace('/', ".");
            let marks = Role::ALL.map(|role| if allowed.contains(&role) { " yes |" } else { " |" });
            let row = format!("| `{call}` |{}", marks.concat());
            assert!(guide.lines().any(|line| line.starts_with(&row)), "trust.md lacks {row:?}");
        }
    }

    #[test]
    fn health_alone_is_open() {
        assert!(is_open("/grpc.health.v1.Health/Check") && is_open("/grpc.health.v1.Health/Watch"));
        for path in ["", "/", "/grpc.health.v1.Healthy/Check", "/downpour.v1.Shards/Status"] {
            assert!(!is_open(path), "{path}");
        }
    }
}
