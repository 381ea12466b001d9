//! A server that asks for tokens, over real connections: who is let in to what, and what the others are told.

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use crate::support::*;
use access::{Access, Credentials, Folder, Role, Token};
use protocol::*;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::Instant,
};

/// An address of another machine, as far as a server can see it.
const FAR: &str = "192.0.2.7:50000";
/// A name that is not this machine's; a [`Network`] leads it to wherever the server really is.
const NAME: &str = "server.example:7070";

/// A TCP port whose connections seem to come from another machine.
struct FromAfar(TcpListener);

impl Listener for FromAfar {
    type Connection = TcpStream;

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }

    async fn accept(&mut self) -> io::Result<(TcpStream, SocketAddr)> {
        let (connection, _) = Listener::accept(&mut self.0).await?;
        Ok((connection, FAR.parse().unwrap()))
    }
}

/// A server behind a door, and the tokens of its run.
struct Guarded {
    address: SocketAddr,
    folder: Folder,
    _home: tempfile::TempDir,
}

impl Guarded {
    /// Starts a server that takes its callers for those of other machines, if `afar`.
    async fn start(afar: bool) -> Guarded {
        let home = tempfile::tempdir().unwrap();
        let folder = Folder::make(&home.path().join("access"), None).unwrap();
        let access = Access::Tokens(folder.credentials().unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let coordinator: Option<Arc<dyn Coordinator>> = Some(Arc::new(script()));
        let shards: Option<Arc<dyn Shards>> = Some(Arc::new(Adder::holding_zeros()));
        let forever = std::future::pending();
        if afar {
            tokio::spawn(serve(FromAfar(listener), access, coordinator, shards, forever));
        } else {
            tokio::spawn(serve(listener, access, coordinator, shards, forever));
        }
        Guarded { address, folder, _home: home }
    }

    fn token(&self, role: Role) -> Token {
        self.folder.token(role).unwrap()
    }

    fn credentials(&self) -> Credentials {
        self.folder.credentials().unwrap()
    }

    /// Calls the server by a name of another machine: encrypted, with a token.
    fn by_name(&self, token: Option<Token>) -> Connector {
        let address = self.address;
        Connector { network: Network::new(move |_| TcpStream::connect(address)), patience: patience(), token }
    }

    /// Calls the server by its address on this machine: never encrypted.
    fn here(&self, token: Option<Token>) -> Connector {
        Connector { token, ..patience().into() }
    }
}

/// A coordinator that answers every call.
fn script() -> Script {
    let configuration = settings::recipe("quick").unwrap();
    Script {
        join: Ok(JoinReply {
            member: MEMBER,
            configuration: configuration.clone(),
            shards: vec!["a:1".into()],
        }),
        assign: Ok(Assignment::Wait { milliseconds: 1000, reason: "nothing to do".into() }),
        report: Ok(None),
        register: Err(Refusal::Mismatch("one too many".into())),
        status: RunStatus {
            state: RunState::Waiting,
            detail: String::new(),
            samples: 0,
            total_samples: 0,
            epoch: 0,
            workers: 0,
            leases: 0,
            latest: None,
            evaluations: Vec::new(),
            layout: None,
            configuration,
            data_hash: String::new(),
            unreadable: 0,
            classes: Vec::new(),
            shards: Vec::new(),
            life: LIFE,
        },
        overview: empty_overview(),
        steer: Ok(Steered { text: "paused".into() }),
        pictures: None,
        asked: Mutex::default(),
    }
}

/// Makes every call there is; returns the names of those that were let in, whatever came of them, and the
/// denials of the others.
async fn every_call(address: &str, connector: Connector) -> (Vec<&'static str>, Vec<String>) {
    let coordinator = CoordinatorClient::connect(address, connector.clone()).await.unwrap();
    let shards = ShardClient::connect(address, connector).await.unwrap();
    let data = DataDescription { images: 1, validation: 1, hash: "5eed".into(), classes: vec!["a".into()] };
    let join = JoinRequest { protocol: PROTOCOL_VERSION, name: "test".into(), data };
    let report = Report {
        member: MEMBER,
        progress: Vec::new(),
        metrics: StepMetrics::default(),
        evaluation: None,
        leaving: None,
        sends_largest: false,
    };
    let register = RegisterRequest {
        protocol: PROTOCOL_VERSION,
        address: "b:1".into(),
        shards: 1,
        holds: None,
        files: None,
        stopping: false,
    };
    let adopt = AdoptRequest { shard: 0, member: MEMBER, layout: layout() };
    let results: [(&'static str, Result<(), ClientError>); 16] = [
        ("join", coordinator.join(join).await.map(drop)),
        ("assign", coordinator.assign(MEMBER).await.map(drop)),
        ("report", coordinator.report(report).await.map(drop)),
        ("register", coordinator.register(register).await.map(drop)),
        ("credentials", coordinator.credentials().await.map(drop)),
        ("status", coordinator.status().await.map(drop)),
        ("overview", coordinator.overview().await.map(drop)),
        ("steer", coordinator.steer(Steering::Pause).await.map(drop)),
        ("lent data", coordinator.lent_data().await.map(drop)),
        ("labels", coordinator.lent_labels(LabelsRequest { validation: true, start: 0 }).await.map(drop)),
        ("read", coordinator.read_lent(ReadRequest { validation: true, images: vec![0] }, drop).await),
        ("adopt", shards.adopt(adopt).await.map(drop)),
        ("push", push_all(&shards, Wire::F32, 1).await.map(drop)),
        ("fetch", fetch(&shards, Wire::F32, &[0], Kind::Parameters).await.map(drop)),
        ("order", shards.order(LIFE, ShardOrder::Snapshot { id: 1 }).await.map(drop)),
        ("shards' status", shards.status().await.map(drop)),
    ];
    let (mut let_in, mut denials) = (Vec::new(), Vec::new());
    for (call, result) in results {
        match result {
            Ok(()) | Err(ClientError::Refused(_)) => let_in.push(call),
            Err(error @ ClientError::Denied { .. }) => denials.push(error.to_string()),
            Err(error) => panic!("{call}: {error}"),
        }
    }
    (let_in, denials)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_may_make_its_calls_and_no_others() {
    for afar in [false, true] {
        let server = Guarded::start(afar).await;
        let (join, status) = (["join", "assign", "report"], ["status", "shards' status"]);
        let pictures = ["lent data", "labels", "read"];
        let expected: [(Role, Vec<&str>); 5] = [
            (
                Role::Worker,
                [&join[..], &["status"], &pictures, &["adopt", "push", "fetch", "shards' status"]].concat(),
            ),
            (Role::Server, vec!["register", "credentials", "status", "shards' status"]),
            (Role::Coordinator, vec!["status", "fetch", "order", "shards' status"]),
            (Role::Reader, vec!["status", "overview", "fetch", "shards' status"]),
            (Role::Operator, vec!["status", "overview", "steer", "fetch", "shards' status"]),
        ];
        for (role, expected) in expected {
            let token = Some(server.token(role));
            let (address, connector) = match afar {
                true => (NAME.to_string(), server.by_name(token)),
                false => (server.address.to_string(), server.here(token)),
            };
            let (let_in, denials) = every_call(&address, connector).await;
            assert_eq!(let_in, expected, "{role}, afar: {afar}");
            assert!(status.iter().all(|call| let_in.contains(call)));
            for denial in denials {
                assert!(denial.ends_with(&format!(", found one of role {role}")), "{denial}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_token_of_the_run_every_call_but_health_is_refused() {
    let server = Guarded::start(false).await;
    let address = server.address.to_string();
    let other = Guarded::start(false).await;
    for (token, found) in [(None, "found none;"), (Some(other.token(Role::Worker)), "found another;")] {
        let (let_in, denials) = every_call(&address, server.here(token)).await;
        assert_eq!(let_in, [""; 0]);
        assert_eq!(denials.len(), 16);
        for denial in denials {
            assert!(denial.starts_with(&format!("{address} does not let this process make the call ")));
            assert!(denial.contains(found), "{denial}");
        }
    }
    check_health(&address, Duration::from_secs(5)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_from_another_machine_unencrypted_is_refused_but_for_health() {
    let server = Guarded::start(true).await;
    // The server thinks that they come from afar, the clients that they stay here; as a proxy makes it.
    let address = server.address.to_string();
    for (token, expected) in [
        (None, "expected a token, found none"),
        (Some(server.token(Role::Worker)), "expected an encrypted connection from another machine"),
    ] {
        let (let_in, denials) = every_call(&address, server.here(token)).await;
        assert_eq!(let_in, [""; 0]);
        for denial in denials {
            assert!(denial.contains(expected), "{denial}");
        }
    }
    check_health(&address, Duration::from_secs(5)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_is_not_deceived_about_the_server() {
    let (server, other) = (Guarded::start(true).await, Guarded::start(true).await);
    let told = |connector| async {
        let begun = Instant::now();
        let error = CoordinatorClient::connect(NAME, connector).await.unwrap_err();
        assert!(begun.elapsed() < patience().give_up_after, "it is told at once");
        error.to_string()
    };
    // The right secret for a wrong authority is never sent.
    let text = told(server.by_name(Some(other.token(Role::Worker)))).await;
    assert!(text.starts_with(&format!("{NAME} is not the server that the token is for: ")), "{text}");
    assert!(text.contains("its certificate is not of the authority that the token names"), "{text}");

    // A server that shows the authority that it should have, behind a certificate of another.
    let mut forged = other.credentials();
    forged.certificates[1] = server.credentials().certificates[1].clone();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let shards: Option<Arc<dyn Shards>> = Some(Arc::new(Adder::holding_zeros()));
    tokio::spawn(serve(listener, Access::Tokens(forged), None, shards, std::future::pending()));
    let network = Network::new(move |_| TcpStream::connect(address));
    let text = told(Connector { network, ..server.by_name(Some(server.token(Role::Worker))) }).await;
    assert!(text.contains("its certificate is not of the authority that the token names"), "{text}");

    let open = Server::shards(&Arc::new(Adder::holding_zeros()));
    let address = open.address.clone();
    let network = Network::new(move |_| TcpStream::connect(address.clone()));
    let text = told(Connector { network, ..server.by_name(Some(server.token(Role::Worker))) }).await;
    assert!(text.contains("it does not encrypt, so it was started with --insecure"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_process_of_the_server_is_handed_what_it_lets_callers_in_by() {
    let server = Guarded::start(true).await;
    let connector = server.by_name(Some(server.token(Role::Server)));
    let client = CoordinatorClient::connect(NAME, connector).await.unwrap();
    assert_eq!(client.credentials().await.unwrap(), server.credentials());
    let open = Server::start(Some(Arc::new(script())), None);
    let client = CoordinatorClient::connect(&open.address, patience()).await.unwrap();
    let text = client.credentials().await.unwrap_err().to_string();
    assert!(text.contains("was started with --insecure"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_say_nothing_or_nonsense_hold_up_nobody() {
    let server = Guarded::start(true).await;
    let mut silent = Vec::new();
    for _ in 0..50 {
        silent.push(TcpStream::connect(server.address).await.unwrap());
    }
    for nonsense in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0x16; 100], &[0x16, 3, 1, 255, 255], b""] {
        let mut connection = TcpStream::connect(server.address).await.unwrap();
        connection.write_all(nonsense).await.unwrap();
        connection.shutdown().await.unwrap();
        let mut answer = Vec::new();
        // Whatever it says, and however it ends: it ends.
        let _ = connection.read_to_end(&mut answer).await;
    }
    let connector = server.by_name(Some(server.token(Role::Reader)));
    CoordinatorClient::connect(NAME, connector).await.unwrap().status().await.unwrap();
    // The silent ones are sent away.
    let mut answer = Vec::new();
    let closed = silent[0].read_to_end(&mut answer);
    assert!(tokio::time::timeout(Duration::from_secs(30), closed).await.is_ok());
}
