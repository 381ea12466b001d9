//! The door for whoever steers a run by another way than a call: by a page that the server shows.

use std::net::SocketAddr;

use access::{Access, Role, Token};

use super::{guard::Door, permissions};
use crate::messages::Caller;

/// The call whose callers may steer by a page too.
const STEER: &str = "/downpour.v1.Coordinator/Steer";

/// Whoever may steer a run by a page of the server: bearers of the tokens that the call `Coordinator.Steer` lets
/// in, or everybody where no tokens are asked for.
#[derive(Debug)]
pub struct Steerers(Option<Door>);

impl Steerers {
    /// Returns those whom `access` lets steer.
    pub fn of(access: &Access) -> Steerers {
        Steerers(match access {
            Access::Open => None,
            Access::Tokens(credentials) => Some(Door::new(credentials.clone())),
        })
    }

    /// Returns the caller at `address` who shows the text of a token, if that one may steer. Tokens that do not let
    /// in are counted, and told in the log at most once a minute for each address; who shows none has guessed
    /// nothing.
    ///
    /// # Errors
    /// If the token is none, not of this run, or of a role that may not steer; the text, for people, says so.
    pub fn admit(&self, token: Option<&str>, address: SocketAddr) -> Result<Caller, String> {
        let Steerers(door) = self;
        let Some(door) = door else { return Ok(Caller { role: None, address: Some(address) }) };
        let allowed = permissions::roles(STEER);
        let expected = allowed.iter().copied().map(Role::name).collect::<Vec<_>>().join(" or ");
        let Some(token) = token else {
            return Err(format!("expected a token of role {expected}, found none"));
        };
        let proven = token.trim().parse::<Token>().map_err(|error| error.to_string()).and_then(|token| {
            match door.role_of(&token) {
                Some(role) if allowed.contains(&role) => Ok(role),
                Some(role) => Err(format!("expected a token of role {expected}, found one of role {role}")),
                None => {
                    Err("expected a token of this run, found another; take the newest one that the server's \
                             first process or downpour token made"
                        .into())
                }
            }
        });
        proven.map(|role| Caller { role: Some(role), address: Some(address) }).inspect_err(|reason| {
            door.refusals.note(address.ip(), &format!("steering by a page: {reason}"));
        })
    }
}

#[cfg(test)]
mod tests {
    use access::{Credentials, random_bytes};
    use files::Digest;

    use super::*;

    #[test]
    fn an_operator_steers_and_nobody_else_where_tokens_are_asked_for() {
        let authority = Digest::of(random_bytes::<8>().unwrap());
        let tokens = Role::ALL.map(|role| Token::draw(role, authority).unwrap());
        let secrets = tokens.iter().map(|token| (token.role(), token.secret_digest())).collect();
        let credentials = Credentials { certificates: Vec::new(), key: Vec::new(), secrets };
        let steerers = Steerers::of(&Access::Tokens(credentials));
        let address = "127.0.0.1:5".parse().unwrap();
        for token in &tokens {
            let role = token.role();
            match steerers.admit(Some(&format!("{}\n", token.reveal())), address) {
                Ok(caller) => assert_eq!(
                    (role, caller.to_string().as_str()),
                    (Role::Operator, "operator at 127.0.0.1:5")
                ),
                Err(text) => {
                    assert_ne!(role, Role::Operator);
                    assert_eq!(text, format!("expected a token of role operator, found one of role {role}"));
                }
            }
        }
        let stranger = Token::draw(Role::Operator, authority).unwrap().reveal();
        for (token, expected) in [
            (None, "expected a token of role operator, found none"),
            (Some(""), "expected the text of a token, downpour1.ROLE.SECRET.AUTHORITY, found nothing"),
            (Some(tokens[4].secret()), "expected the text of a token"),
            (Some(&stranger), "expected a token of this run, found another"),
        ] {
            let text = steerers.admit(token, address).unwrap_err();
            assert!(text.starts_with(expected) && !text.contains(tokens[4].secret()), "{text}");
        }
        let anybody = Steerers::of(&Access::Open).admit(None, address).unwrap();
        assert_eq!(anybody.to_string(), "somebody without a token at 127.0.0.1:5");
    }
}
