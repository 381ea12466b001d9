//! A browser without a window, Chromium where there is one, which is told what to do through two pipes.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::{Value, json};

/// Names under which Chromium is installed.
const NAMES: [&str; 5] = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome"];

/// Returns the program that the variable CHROME names, or else the first Chromium on the path.
fn installed() -> Option<String> {
    let named = std::env::var("CHROME").ok().filter(|name| !name.is_empty());
    let answers = |name: &String| {
        let asked = Command::new(name).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
        asked.is_ok_and(|status| status.success())
    };
    match named {
        Some(name) => {
            assert!(answers(&name), "CHROME is {name}, which does not run");
            Some(name)
        }
        None => NAMES.map(str::to_string).into_iter().find(answers),
    }
}

/// A tab of a browser that runs; it ends with the test.
pub struct Browser {
    child: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
    session: Option<String>,
    asked: u64,
    /// Addresses of everything that the tab asked for.
    pub requested: Vec<String>,
    /// Exceptions and log entries of the tab.
    pub complaints: Vec<String>,
    _home: tempfile::TempDir,
}

impl Browser {
    /// Starts a browser with an empty tab; `None` where none is installed.
    pub fn start() -> Option<Browser> {
        let program = installed()?;
        let home = tempfile::tempdir().unwrap();
        // Orders are read from file descriptor 3 and answered on 4, each ended by a zero byte.
        let mut child = Command::new("sh")
            .args(["-c", "exec \"$@\" 3<&0 4>&1 </dev/null >/dev/null 2>&1", "sh", &program])
            .args([
                "--headless",
                "--remote-debugging-pipe",
                "--no-sandbox",
                "--disable-gpu",
                "--no-first-run",
            ])
            .args([
                "--disable-dev-shm-usage",
                "--disable-background-networking",
                "--disable-component-update",
            ])
            .arg(format!("--user-data-dir={}", home.path().display()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (orders, answers) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        let (requested, complaints) = Default::default();
        let mut browser =
            Browser { child, orders, answers, session: None, asked: 0, requested, complaints, _home: home };
        let target = browser.ask("Target.createTarget", json!({ "url": "about:blank" }))["targetId"].clone();
        let attached = browser.ask("Target.attachToTarget", json!({ "targetId": target, "flatten": true }));
        browser.session = attached["sessionId"].as_str().map(str::to_string);
        for domain in ["Page", "Network", "Runtime", "Log"] {
            browser.ask(&format!("{domain}.enable"), json!({}));
        }
        Some(browser)
    }

    /// Opens an address in a window of `width` pixels, in light or in dark.
    pub fn open(&mut self, address: &str, width: u32, dark: bool) {
        let size = json!({ "width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600 });
        self.ask("Emulation.setDeviceMetricsOverride", size);
        let scheme = json!({ "name": "prefers-color-scheme", "value": if dark { "dark" } else { "light" } });
        self.ask("Emulation.setEmulatedMedia", json!({ "features": [scheme] }));
        let opened = self.ask("Page.navigate", json!({ "url": address }));
        assert!(opened.get("errorText").is_none(), "{opened}");
    }

    /// Returns what an expression of JavaScript gives in the tab.
    #[track_caller]
    pub fn eval(&mut self, expression: &str) -> Value {
        let parameters = json!({ "expression": expression, "returnByValue": true, "awaitPromise": true, "userGesture": true });
        let answer = self.ask("Runtime.evaluate", parameters);
        assert!(answer.get("exceptionDetails").is_none(), "{expression}: {answer}");
        answer["result"]["value"].clone()
    }

    /// Makes a call of the DevTools protocol, and returns its result.
    fn ask(&mut self, method: &str, parameters: Value) -> Value {
        self.asked += 1;
        let mut call = json!({ "id": self.asked, "method": method, "params": parameters });
        if let Some(session) = &self.session {
            call["sessionId"] = session.as_str().into();
        }
        self.orders.write_all(format!("{call}\0").as_bytes()).unwrap();
        loop {
            let mut bytes = Vec::new();
            self.answers.read_until(0, &mut bytes).unwrap();
            assert_eq!(bytes.pop(), Some(0), "the browser ended");
            let told: Value = serde_json::from_slice(&bytes).unwrap();
            self.note(&told);
            if told["id"] == self.asked {
                assert!(told.get("error").is_none(), "{call}: {told}");
                return told["result"].clone();
            }
        }
    }

    fn note(&mut self, told: &Value) {
        let parameters = &told["params"];
        match told["method"].as_str() {
            Some("Network.requestWillBeSent") => {
                self.requested.push(parameters["request"]["url"].as_str().unwrap_or_default().to_string());
            }
            Some("Runtime.exceptionThrown") => {
                self.complaints.push(parameters["exceptionDetails"].to_string())
            }
            Some("Log.entryAdded") => self.complaints.push(parameters["entry"].to_string()),
            _ => {}
        }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
