//! An address of this machine by which other machines reach it.

use std::fmt;
use std::str::FromStr;

/// A host, which is a name or an IP address of this machine, and the first of the ports of its server processes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnAddress {
    host: String,
    port: u16,
}

impl OwnAddress {
    /// Returns the address of the server process number `number` of this machine, 0 being the first: ports follow
    /// each other.
    ///
    /// # Errors
    /// If there is no such port.
    pub fn process(&self, number: u16) -> Result<OwnAddress, String> {
        let port = self.port.checked_add(number).ok_or_else(|| {
            format!(
                "{self}: {number} more server processes need ports up to 65535, a lower one to begin with"
            )
        })?;
        Ok(OwnAddress { host: self.host.clone(), port })
    }

    /// Returns the address to listen at: on all networks of this machine.
    pub fn listen(&self) -> String {
        let any = if self.host.starts_with('[') { "[::]" } else { "0.0.0.0" };
        format!("{any}:{}", self.port)
    }
}

impl FromStr for OwnAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<OwnAddress, String> {
        let wrong = || {
            "expected this machine's name or IP address and a port, as host.example:7070 or [2001:db8::1]:7070".to_string()
        };
        let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
        let port = port.parse().ok().filter(|&port| port > 0).ok_or_else(wrong)?;
        let in_brackets = host.starts_with('[') && host.ends_with(']');
        let letter = |letter: char| letter.is_ascii_alphanumeric() || ".-_".contains(letter);
        match host {
            "0.0.0.0" | "[::]" => {
                Err(format!("{host} is where to listen; others need the name or IP address of this machine"))
            }
            _ if in_brackets || !host.is_empty() && host.chars().all(letter) => {
                Ok(OwnAddress { host: host.into(), port })
            }
            _ => Err(wrong()),
        }
    }
}

impl fmt::Display for OwnAddress {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "{}:{}", self.host, self.port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_host_and_a_port() {
        let address: OwnAddress = "first.example:7070".parse().unwrap();
        assert_eq!(
            (address.to_string().as_str(), address.listen().as_str()),
            ("first.example:7070", "0.0.0.0:7070")
        );
        assert_eq!(address.process(2).unwrap().to_string(), "first.example:7072");
        let six: OwnAddress = "[2001:db8::1]:65535".parse().unwrap();
        assert_eq!(six.listen(), "[::]:65535");
        assert!(six.process(1).unwrap_err().contains("65535"));
        for wrong in [
            "",
            "host",
            "host:",
            ":7070",
            "host:0",
            "host:65536",
            "http://host:7070",
            "2001:db8::1:7070",
            "a b:1",
        ] {
            assert!(wrong.parse::<OwnAddress>().is_err(), "{wrong}");
        }
        assert!("0.0.0.0:7070".parse::<OwnAddress>().unwrap_err().contains("where to listen"));
    }
}
