//! Where a process may listen, and by which names browsers may ask it.

use std::net::{IpAddr, SocketAddr};

/// Checks that a process may serve pages on `address`, such as "127.0.0.1:9100": one of its own machine, unless
/// `everybody` may look, as in a run without tokens. Returns the address.
///
/// # Errors
/// If `address` is not an IP address with a port, or is reached from other machines; the text says what to do.
pub fn check_address(address: &str, everybody: bool) -> Result<SocketAddr, String> {
    let parsed: SocketAddr = address
        .parse()
        .map_err(|_| format!("expected an IP address with a port, as 127.0.0.1:9100, found {address:?}"))?;
    if everybody || parsed.ip().is_loopback() {
        return Ok(parsed);
    }
    Err(format!(
        "{address} is reached from other machines, to which the pages would go unencrypted and without a token; give \
         127.0.0.1:{port}, and look by a tunnel (ssh -L {port}:127.0.0.1:{port}) or have the machine's own proxy lead there",
        port = parsed.port()
    ))
}

/// Returns whether a browser that asks for `host`, as the header of that name has it, means this server: it names
/// it by an address or as localhost. A name of somebody else's that leads here would let that one's page read what
/// is served.
pub(crate) fn is_own(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|digit| digit.is_ascii_digit()) => name,
        _ => host,
    };
    let bare = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    name.eq_ignore_ascii_case("localhost") || bare.parse::<IpAddr>().is_ok()
}

/// Returns whether a page of `origin`, as the header of that name has it, may ask the server that it asks as `host`:
/// it is one of that server.
pub(crate) fn is_from(origin: &str, host: &str) -> bool {
    origin.strip_prefix("http://") == Some(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_listens_on_its_own_machine_unless_everybody_may_look() {
        for address in ["127.0.0.1:9100", "[::1]:0", "127.9.9.9:1"] {
            assert_eq!(check_address(address, false).unwrap().to_string(), address);
        }
        let text = check_address("0.0.0.0:9100", false).unwrap_err();
        assert!(text.contains("give 127.0.0.1:9100, and look by a tunnel (ssh -L 9100:"), "{text}");
        assert!(check_address("0.0.0.0:9100", true).is_ok());
        for address in ["", "9100", "localhost:9100", "127.0.0.1", "127.0.0.1:99999"] {
            let text = check_address(address, true).unwrap_err();
            assert!(text.starts_with("expected an IP address with a port"), "{text}");
        }
    }

    #[test]
    fn names_of_others_are_not_this_server() {
        for own in [
            "localhost",
            "localhost:9100",
            "LOCALHOST:1",
            "127.0.0.1:9100",
            "[::1]:9100",
            "[::1]",
            "10.0.0.1",
        ] {
            assert!(is_own(own), "{own}");
        }
        for other in
            ["", "evil.example", "evil.example:9100", "localhost.evil.example:80", "127.0.0.1.evil:1", ":1"]
        {
            assert!(!is_own(other), "{other}");
        }
        assert!(is_from("http://127.0.0.1:9100", "127.0.0.1:9100"));
        for origin in ["null", "https://127.0.0.1:9100", "http://127.0.0.1:9101", "http://evil.example"] {
            assert!(!is_from(origin, "127.0.0.1:9100"), "{origin}");
        }
    }
}
