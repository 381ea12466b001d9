//! Who is let in to what: every call that is defined, by everybody whom the guide names and by those whom it
//! does not, at a server process as it is.

use std::{collections::BTreeMap, time::Duration};

use access::{Folder, Role, Token};
use parameter_server::{Door, Options};
use process::TokenFlags;
use protocol::{
    Assignment, BlockValues, ClientError, Connector, CoordinatorCalls as _, Kind, Network, Patience,
    RunStatus, ShardCalls as _, ShardStatus, check_health,
};
use tokio::{net::TcpStream, time::timeout};

use super::calls::{self, Caller};
use crate::common::{Process, Worker, options};

/// A name that is not this machine's, by which the server is called encrypted.
const NAME: &str = "server.example:7070";
/// Calls that end the run if they are let in.
const ENDS: [&str; 3] = ["Coordinator.Report", "Coordinator.Steer", "Shards.Order"];
/// Far more than any call takes on a machine that has other work.
const LONGEST: Duration = Duration::from_secs(20);

/// A server with tokens, in the middle of a run, and the worker that trains.
struct Guarded {
    process: Process,
    folder: Folder,
    worker: Worker,
    _home: tempfile::TempDir,
}

/// What a server holds, all of which a call that is refused must leave as it is.
#[derive(Debug, PartialEq)]
struct Held {
    run: RunStatus,
    shards: Vec<ShardStatus>,
    parameters: Vec<BlockValues>,
}

impl Guarded {
    /// Starts a server whose worker has trained on one lease and holds another.
    async fn start() -> Guarded {
        let home = tempfile::tempdir().unwrap();
        let folder = Folder::make(&home.path().join("access"), None).unwrap();
        let door = Door::Tokens { folder: folder.path().into(), token: TokenFlags::default() };
        let process = Process::start(Options { door, ..options(&home.path().join("snapshots")) }).await;
        let connector = loopback(Some(folder.token(Role::Worker).unwrap()));
        let mut worker = Worker::join_by(connector, &process.address, "honest").await;
        for trains in [true, false] {
            let Assignment::Train(lease) = worker.client.assign(worker.joined.member).await.unwrap() else {
                panic!("a worker that has just joined trains");
            };
            if trains {
                worker.train(&lease).await;
            }
        }
        Guarded { process, folder, worker, _home: home }
    }

    async fn held(&self) -> Held {
        // A line of metrics comes with time, and a look at the parameters counts as bytes sent.
        let run = RunStatus { latest: None, ..self.worker.client.status().await.unwrap() };
        let shards = self.worker.shard(0).status().await.unwrap().into_iter();
        let shards = shards.map(|shard| ShardStatus { bytes_out: 0, ..shard }).collect();
        Held { run, shards, parameters: self.worker.fetch(Kind::Parameters).await }
    }

    /// A caller with this token: on this machine in the clear, or encrypted by another name of the server.
    async fn caller(&self, token: Option<Token>, encrypted: bool) -> Caller {
        let member = self.worker.joined.member;
        let address = self.process.address.clone();
        let connector = loopback(token);
        if !encrypted {
            return Caller::connect(&address, connector, member).await;
        }
        let network = Network::new(move |_| TcpStream::connect(address.clone()));
        Caller::connect(NAME, Connector { network, ..connector }, member).await
    }
}

fn loopback(token: Option<Token>) -> Connector {
    Connector { token, ..Patience::default().into() }
}

/// The roles that may make each call, as the guide says.
fn rules() -> BTreeMap<String, Vec<Role>> {
    let guide = include_str!("../../../../deploy/guide/trust.md");
    let cells = |line: &str| line.split('|').map(|cell| cell.trim().to_string()).collect::<Vec<_>>();
    let mut lines = guide.lines().skip_while(|line| !line.starts_with("| call |"));
    let roles: Vec<Option<Role>> =
        cells(lines.next().unwrap()).iter().map(|cell| cell.parse().ok()).collect();
    assert_eq!(roles.iter().flatten().count(), Role::ALL.len(), "each role has a column: {roles:?}");
    let rows = lines.skip(1).take_while(|line| line.starts_with('|')).map(cells);
    rows.map(|row| {
        let allowed = row.iter().zip(&roles).filter(|(cell, _)| *cell == "yes");
        (row[1].trim_matches('`').to_string(), allowed.filter_map(|(_, role)| *role).collect())
    })
    .collect()
}

/// Makes a call that is answered at once, and not after the attempts of a patient client.
async fn made(caller: &Caller, call: &str) -> Result<(), ClientError> {
    timeout(LONGEST, caller.make(call)).await.unwrap_or_else(|_| panic!("{call} is not answered"))
}

/// Makes a call and asserts that it is not let in, for the reason that contains `expected`.
async fn denied(caller: &Caller, call: &str, expected: &str) {
    match made(caller, call).await {
        Err(ClientError::Denied { reason, .. }) if reason.contains(expected) => {}
        other => panic!("{call}: expected a denial with {expected:?}, found {other:?}"),
    }
}

#[test]
fn every_call_has_a_rule() {
    let rules: Vec<String> = rules().into_keys().collect();
    assert_eq!(rules, calls::defined().into_iter().collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_token_of_the_run_no_call_is_made_but_that_of_health() {
    let server = Guarded::start().await;
    let home = tempfile::tempdir().unwrap();
    let other = Folder::make(&home.path().join("access"), None).unwrap();
    let authority = server.folder.token(Role::Worker).unwrap().authority();
    let before = server.held().await;
    let mut callers = vec![("expected a token, found none", server.caller(None, false).await)];
    for role in Role::ALL {
        let found_another = "expected a token of this run, found another";
        let guessed = Token::draw(role, authority).unwrap();
        callers.push((found_another, server.caller(Some(guessed.clone()), false).await));
        callers.push((found_another, server.caller(Some(guessed), true).await));
        callers.push((found_another, server.caller(Some(other.token(role).unwrap()), false).await));
    }
    for (expected, caller) in callers {
        for call in calls::defined() {
            denied(&caller, &call, expected).await;
        }
    }
    check_health(&server.process.address, Duration::from_secs(5)).await.unwrap();
    assert_eq!(server.held().await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_lets_its_bearer_make_the_calls_of_its_role_alone() {
    let rules = rules();
    for role in Role::ALL {
        for encrypted in [false, true] {
            let server = Guarded::start().await;
            let caller = server.caller(Some(server.folder.token(role).unwrap()), encrypted).await;
            let before = server.held().await;
            let (mut allowed, denied): (Vec<String>, Vec<String>) =
                calls::defined().into_iter().partition(|call| rules[call].contains(&role));
            // What ends the run comes last.
            allowed.sort_by_key(|call| ENDS.contains(&&**call));
            assert!(!allowed.is_empty() && !denied.is_empty(), "{role}");
            for call in denied {
                self::denied(&caller, &call, &format!(", found one of role {role}")).await;
            }
            assert_eq!(server.held().await, before, "{role}");
            for call in allowed {
                match made(&caller, &call).await {
                    Ok(()) | Err(ClientError::Refused(_)) => {}
                    Err(error) => panic!("{role}, {call}: {error}"),
                }
            }
        }
    }
}
