//! A run that is watched and steered by its page: over HTTP, and in a browser where one is installed.

mod browser;
mod http;

use std::{
    net::TcpListener,
    path::PathBuf,
    time::{Duration, Instant},
};

use access::{Role, Token};
use parameter_server::{Door, Options, Timing};
use process::{Exit, TokenFlags};
use protocol::{
    Assignment, Connector, CoordinatorCalls as _, CoordinatorClient, EvaluationPart, Mistake, Overview,
    Patience, RunState, Scores,
};
use serde_json::Value;
use tokio::time::sleep;

use self::{browser::Browser, http::Page};
use crate::common::{Process, Worker, options, scored};

/// Longest time that anything may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Returns a JPEG file of one grey pixel.
fn picture() -> Vec<u8> {
    let table = |class: u8| [&[0xff, 0xc4, 0, 20, class, 1], &[0; 16][..]].concat();
    [
        &[0xff, 0xd8, 0xff, 0xdb, 0, 67, 0][..],
        &[1; 64],
        &[0xff, 0xc0, 0, 11, 8, 0, 1, 0, 1, 1, 1, 0x11, 0],
        &table(0),
        &table(0x10),
        &[0xff, 0xda, 0, 8, 1, 1, 0, 0, 63, 0, 0x3f, 0xff, 0xd9],
    ]
    .concat()
}

/// A server that asks for tokens and has a page, with two workers who do only what a test has them do.
struct Run {
    server: Process,
    page: Page,
    operator: CoordinatorClient,
    workers: [Worker; 2],
    folder: PathBuf,
    _home: tempfile::TempDir,
}

impl Run {
    async fn start() -> Run {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join("access");
        // A port that was free a moment ago.
        let http = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let mut options = options(&home.path().join("snapshots"));
        options.flags.set = vec![("run.evaluate_epochs".into(), "0.1".into())];
        let server = Process::start(Options {
            door: Door::Tokens { folder: folder.clone(), token: TokenFlags { token_file: None } },
            http: Some(http),
            timing: Timing { lease: Duration::from_secs(600), ..options.timing },
            ..options
        })
        .await;
        let begun = Instant::now();
        while !folder.join("worker/token").exists() {
            assert!(begun.elapsed() < PATIENCE);
            sleep(Duration::from_millis(10)).await;
        }
        let connector = |role: Role| {
            let token = Token::read(&folder.join(role.name()).join("token")).unwrap();
            Connector { token: Some(token), ..Patience::default().into() }
        };
        let first = Worker::join_by(connector(Role::Worker), &server.address, "first").await;
        let second = Worker::join_by(connector(Role::Worker), &server.address, "second").await;
        let operator = CoordinatorClient::connect(&server.address, connector(Role::Operator)).await.unwrap();
        Run { server, page: Page(http), operator, workers: [first, second], folder, _home: home }
    }

    fn token(&self, role: Role) -> String {
        let text = std::fs::read_to_string(self.folder.join(role.name()).join("token")).unwrap();
        text.trim().to_string()
    }

    /// Returns the overview that `downpour status` shows.
    async fn now(&self) -> Overview {
        self.operator.overview().await.unwrap()
    }

    async fn until(&self, what: &str, reached: impl Fn(&Overview) -> bool) -> Overview {
        let begun = Instant::now();
        loop {
            let now = self.now().await;
            if reached(&now) {
                return now;
            }
            assert!(begun.elapsed() < PATIENCE, "waited in vain for {what}: {now:?}");
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// Has the first worker train for a second and more.
    async fn train(&mut self) {
        let [first, _] = &mut self.workers;
        first.pause = Duration::from_millis(300);
        let Assignment::Train(lease) = first.client.assign(first.joined.member).await.unwrap() else {
            panic!("expected a lease");
        };
        first.train(&lease).await;
    }

    /// Has the first worker do the evaluation that is due, in which it takes one image for another class.
    async fn evaluate(&mut self) {
        let [first, _] = &mut self.workers;
        let Assignment::Evaluate(order) = first.client.assign(first.joined.member).await.unwrap() else {
            panic!("expected an evaluation");
        };
        let (probability_right, probability_said) = (0.125, 0.75);
        let (image, right, said, picture) = (7, 1, 2, picture());
        let mistake = Mistake { image, right, said, probability_right, probability_said, picture };
        let part = EvaluationPart {
            mistakes: vec![mistake],
            ..scored(&order, |images| Scores::new([("top1", images - 1.0), ("loss", images)]))
        };
        first.report(|report| report.evaluation = Some(part)).await;
    }

    /// Has the second worker ask for work, be told to leave, and do so.
    async fn leave(&mut self) {
        let [_, second] = &mut self.workers;
        let told = second.client.assign(second.joined.member).await.unwrap();
        assert!(matches!(told, Assignment::Leave { .. }), "{told:?}");
        second.report(|report| report.leaving = Some("asked to".into())).await;
    }

    /// Waits for the end of a run that was told to stop.
    async fn end(self) {
        self.workers[0].report(|report| report.leaving = Some("asked to".into())).await;
        assert_eq!(self.server.end().await.unwrap(), Exit::Interrupted);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_by_the_page_do_what_a_shell_does_and_are_an_operators_alone() {
    let mut run = Run::start().await;
    let [operator, reader, worker] = [Role::Operator, Role::Reader, Role::Worker].map(|role| run.token(role));
    let own = format!("http://{}", run.page.0);
    let (elsewhere, stop, long) = ("http://evil.example", r#"{"order":"stop"}"#, " ".repeat(5000));
    for (origin, token, order, status, says) in [
        (own.as_str(), "", stop, 403, "expected a token of role operator, found none"),
        (
            &own,
            "operator",
            stop,
            403,
            "expected the text of a token, downpour1.ROLE.SECRET.AUTHORITY, found ",
        ),
        (&own, &reader, stop, 403, "expected a token of role operator, found one of role reader"),
        (&own, &worker, stop, 403, "expected a token of role operator, found one of role worker"),
        (elsewhere, &operator, stop, 403, "expected a page of this server to ask"),
        ("", &operator, stop, 403, "expected a page of this server to ask"),
        (&own, &operator, "stop", 400, r#"expected one of {"order":"pause"}, "#),
        (&own, &operator, r#"{"order":"rate","factor":0}"#, 400, "expected a factor from 0.000001 to 1000"),
        (&own, &operator, r#"{"order":"drain","worker":99}"#, 409, "worker 99 is none of the 2 members"),
        (&own, &operator, &long, 413, "expected an order of at most 4096 bytes"),
    ] {
        let (found, said) = run.page.order_from(origin, token, order);
        assert!(found == status && said.contains(says), "{origin} {order}: {found} {said}");
    }
    let missing = r#"{"may":false,"missing":"expected a token of role operator, found none"}"#;
    assert!(run.page.get("/steer").ends_with(missing));
    let now = run.now().await;
    assert_eq!((now.state, now.rate_factor, now.members), (RunState::Training, 1.0, 2));

    run.train().await;
    assert!(run.page.get("/mistakes").ends_with(r#"{"evaluation":0,"samples":0,"mistakes":[]}"#));
    run.evaluate().await;
    let shown = run.page.get("/mistakes");
    let expected = r#""mistakes":[{"image":7,"right":"1","said":"2","probability_right":0.125,"probability_said":0.75,"picture":"data:image/jpeg;base64,"#;
    assert!(shown.contains(expected), "{shown}");
    let order = |run: &Run, order: &str| {
        let (status, said) = run.page.order(&operator, order);
        assert_eq!(status, 200, "{order}: {said}");
        said
    };
    assert!(order(&run, r#"{"order":"rate","factor":0.5}"#).starts_with("the learning rate is 0.5 times"));
    assert!(order(&run, r#"{"order":"pause"}"#).starts_with("paused: "));
    let now = run.now().await;
    assert_eq!((now.state, now.rate_factor, now.snapshot), (RunState::Paused, 0.5, 0));
    assert!(now.detail.starts_with("by operator at 127.0.0.1:"), "{}", now.detail);
    order(&run, r#"{"order":"snapshot"}"#);
    run.until("a snapshot", |now| now.snapshot > 0 && !now.snapshot_ordered).await;
    assert_eq!(order(&run, r#"{"order":"resume"}"#), "resumed");
    let second = run.workers[1].joined.member.worker;
    order(&run, &format!(r#"{{"order":"drain","worker":{second}}}"#));
    run.leave().await;
    run.until("one worker", |now| now.members == 1).await;
    assert!(order(&run, stop).starts_with("stopping: "));
    run.end().await;
}

/// Names and texts that the page shows of a run of which a shell shows `now`.
fn facts(now: &Overview) -> [(&'static str, String); 9] {
    let line = now.latest.as_ref().expect("a training line");
    [
        ("Done", format!("{:.1} %", 100.0 * (now.samples as f64 / now.total_samples as f64))),
        ("Epoch", format!("{} of {}", now.epoch + 1, now.epochs)),
        ("Loss", format!("{:.3}", line.loss)),
        ("Images a second", format!("{:.1}", line.images_per_second)),
        ("Learning rate", format!("{:.2e}", line.learning_rate)),
        ("Leases", now.leases.to_string()),
        ("Data", format!("{} images of {} classes", now.training_images, now.classes)),
        ("Recipe", now.recipe.clone()),
        ("Run", now.life.run.to_string()),
    ]
}

/// Returns the text that the page shows under a name, among its facts.
fn fact(browser: &mut Browser, name: &str) -> Value {
    let named = format!("[...document.querySelectorAll('dt')].find((dt) => dt.textContent === '{name}')");
    browser.eval(&format!("{named}?.nextSibling.textContent"))
}

/// Waits until an expression is true in the browser.
#[track_caller]
fn wait(browser: &mut Browser, expression: &str) {
    let begun = Instant::now();
    while browser.eval(expression) != true {
        let shown = browser.eval("document.body.innerText");
        assert!(begun.elapsed() < PATIENCE, "waited in vain for {expression}; the page says\n{shown}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Presses a button, and waits until the page says what came of it.
#[track_caller]
fn press(browser: &mut Browser, button: &str, says: &str) {
    browser.eval(&format!("document.querySelector('{button}').click()"));
    wait(browser, &format!("document.querySelector('#outcome').textContent.includes('{says}')"));
}

/// Enters the text of a token.
fn enter(browser: &mut Browser, token: &str) {
    browser.eval(&format!("document.querySelector('#token').value = '{token}'"));
    browser.eval("document.querySelector('#show-token button').click()");
}

/// Number of the buttons that give orders and can be seen.
const BUTTONS: &str = "[...document.querySelectorAll('#steer button, td button, dialog button')]\
                       .filter((button) => button.checkVisibility()).length";
/// Number of the workers' rows.
const ROWS: &str = "document.querySelectorAll('#workers tbody tr').length";

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_shows_what_a_shell_does_and_its_buttons_steer() {
    let Some(mut browser) = Browser::start() else {
        eprintln!("skipped: no Chromium on the path (or named by CHROME)");
        return;
    };
    let mut run = Run::start().await;
    run.train().await;
    run.evaluate().await;
    let operator = run.token(Role::Operator);
    // What stands still can be compared.
    assert_eq!(run.page.order(&operator, r#"{"order":"pause"}"#).0, 200);
    let now = run.now().await;
    let address = format!("http://{}/", run.page.0);
    browser.open(&address, 1280, false);
    wait(&mut browser, &format!("{ROWS} === 2 && document.querySelectorAll('#loss path').length > 0"));
    for (name, expected) in facts(&now) {
        assert_eq!(fact(&mut browser, name), expected, "{name} of {now:?}");
    }
    let names =
        browser.eval("[...document.querySelectorAll('#workers td.text')].map((name) => name.textContent)");
    let expected: Vec<&str> = now.workers.iter().map(|worker| worker.name.as_str()).collect();
    assert_eq!(names, Value::from(expected));
    wait(&mut browser, "document.querySelector('#state').textContent.startsWith('paused: by operator at ')");

    let shown =
        "document.querySelector('#mistakes li')?.innerText.includes('said 2, 75.0 %\\nright 1, 12.5 %')";
    wait(&mut browser, shown);
    assert_eq!(browser.eval("document.querySelector('#mistakes img').naturalWidth"), 1);

    // Who shows no token, or a reader's, has no buttons.
    assert_eq!(browser.eval(BUTTONS), 0);
    browser.eval("document.querySelector('summary').click()");
    enter(&mut browser, &run.token(Role::Reader));
    wait(
        &mut browser,
        "document.querySelector('#token-says').textContent.includes('found one of role reader')",
    );
    assert_eq!(browser.eval(BUTTONS), 0);
    enter(&mut browser, &operator);
    wait(&mut browser, &format!("{BUTTONS} === 4 + 2"));

    press(&mut browser, "#pause", "resumed");
    assert_eq!(run.now().await.state, RunState::Training);
    browser.eval("document.querySelector('#factor').value = '2000'; document.querySelector('#set').click()");
    let bounds = "expected a number from 0.000001 to 1000";
    wait(&mut browser, &format!("document.querySelector('#rate-says').textContent === '{bounds}'"));
    assert_eq!(run.now().await.rate_factor, 1.0);
    browser.eval("document.querySelector('#factor').value = '0.25'");
    browser.eval("document.querySelector('#factor').dispatchEvent(new Event('input'))");
    browser.eval("document.querySelector('#factor').value = '0.25'");
    press(&mut browser, "#set", "the learning rate is 0.25 times");
    assert_eq!(run.now().await.rate_factor, 0.25);
    press(&mut browser, "#snapshot", "is complete");
    press(&mut browser, "#workers tbody tr:nth-child(2) button", "(second) is told to leave");
    run.leave().await;
    wait(&mut browser, &format!("{ROWS} === 1"));

    // A narrow window shows all without being wider than itself.
    for dark in [false, true] {
        browser.open(&address, 390, dark);
        wait(&mut browser, &format!("{ROWS} === 1"));
        assert_eq!(browser.eval("document.documentElement.scrollWidth"), 390);
        assert_eq!(browser.eval("document.querySelector('#workers').scrollWidth <= 390"), true);
    }

    enter(&mut browser, &operator);
    wait(&mut browser, &format!("{BUTTONS} === 4 + 1"));
    browser.eval("document.querySelector('#stop').click()");
    wait(&mut browser, "document.querySelector('dialog').open");
    assert_eq!(run.now().await.state, RunState::Training, "it is asked once more");
    press(&mut browser, "#stop-now", "stopping: ");
    run.end().await;

    let own = |url: &&String| !url.starts_with(&address) && !url.starts_with("data:");
    let elsewhere: Vec<&String> = browser.requested.iter().filter(own).collect();
    assert!(browser.requested.len() > 5 && elsewhere.is_empty(), "{elsewhere:?}");
    let complaints = browser.complaints.iter().filter(|text| !text.contains("ERR_CONNECTION_REFUSED"));
    let complaints: Vec<&String> = complaints.collect();
    assert!(complaints.is_empty(), "{complaints:?}");
}
