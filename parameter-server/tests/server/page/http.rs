//! The page of a server over HTTP, asked as browsers ask.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
};

/// The page at an address.
pub struct Page(pub SocketAddr);

impl Page {
    pub fn get(&self, path: &str) -> String {
        self.ask("GET", path, "", "")
    }

    /// Posts an order as the page itself does, with the text of a token; returns the status and what is said.
    pub fn order(&self, token: &str, order: &str) -> (u16, String) {
        self.order_from(&format!("http://{}", self.0), token, order)
    }

    /// Posts an order as a page of `origin` does.
    pub fn order_from(&self, origin: &str, token: &str, order: &str) -> (u16, String) {
        let mut headers = format!("authorization: Bearer {token}\r\n");
        if !origin.is_empty() {
            headers += &format!("origin: {origin}\r\n");
        }
        let answer = self.ask("POST", "/steer", &headers, order);
        let (head, said) = answer.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), said.to_string())
    }

    fn ask(&self, method: &str, path: &str, headers: &str, body: &str) -> String {
        let mut stream = TcpStream::connect(self.0).unwrap();
        let (host, length) = (self.0, body.len());
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\ncontent-length: {length}\r\n{headers}\r\n{body}"
        );
        // All at once: an answer that comes before the end of the request ends the connection.
        stream.write_all(request.as_bytes()).unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        text
    }
}
