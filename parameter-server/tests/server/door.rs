//! A server of two processes that asks for tokens.

use std::path::PathBuf;

use access::{Role, Token};
use parameter_server::{Door, Options};
use process::{Exit, TokenFlags};
use protocol::{
    ClientError, Connector, CoordinatorCalls as _, CoordinatorClient, Patience, ShardCalls as _, ShardClient,
    ShardOrder,
};

use crate::common::{Process, options};

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_is_let_in_by_its_token_and_lets_callers_in_as_the_leader_does() {
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().join("access");
    let token = |role: Role| folder.join(role.name()).join("token");
    let door = |token_file: Option<PathBuf>| Door::Tokens {
        folder: folder.clone(),
        token: TokenFlags { token_file },
    };
    let leading = Options { processes: 2, door: door(None), ..options(&home.path().join("leader")) };
    let mut leader = Process::start(leading).await;
    let following = |token_file| Options {
        coordinator: Some(leader.address.clone()),
        door: door(token_file),
        ..options(&home.path().join("follower"))
    };
    for (file, expected) in [
        (None, "this process has no token by which the server's first process would let it in"),
        (
            Some(token(Role::Worker)),
            "does not let this process make the call credentials: expected a token of role server, found one of \
             role worker",
        ),
    ] {
        let end = Process::start(following(file)).await.end().await;
        let text = format!("{:#}", end.unwrap_err());
        assert!(text.contains(expected), "{text}");
    }
    let follower = Process::start(following(Some(token(Role::Server)))).await;

    let connector = |role| {
        let token = Some(Token::read(&token(role)).unwrap());
        Connector { token, ..Patience::default().into() }
    };
    for role in [Role::Worker, Role::Server, Role::Reader, Role::Operator] {
        // It serves once it has registered, and the client waits for that.
        let shards = ShardClient::connect(&follower.address, connector(role)).await.unwrap();
        assert_eq!(shards.status().await.unwrap().len(), 2);
        let denied = shards
            .order(protocol::Life::default(), ShardOrder::Finish { interrupted: false })
            .await
            .unwrap_err();
        assert!(matches!(denied, ClientError::Denied { call: "order", .. }), "{denied}");
    }
    let reader = CoordinatorClient::connect(&leader.address, connector(Role::Reader)).await.unwrap();
    assert_eq!(reader.status().await.unwrap().shards.len(), 4);
    // The leader's orders are carried out: nobody else tells the follower to end.
    leader.stop();
    assert_eq!(leader.end().await.unwrap(), Exit::Interrupted);
    assert_eq!(follower.end().await.unwrap(), Exit::Interrupted);
}
