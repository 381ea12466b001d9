//! Messages and streams of them.

use protocol::received::MESSAGES;

use crate::protobuf::Message;
use crate::{Seed, seed};

fn new() -> Message {
    Message::default()
}

fn member() -> Message {
    new().number(1, 3).number(2, 77)
}

fn version() -> Message {
    new().number(1, 1).number(2, 9)
}

fn refusal() -> Message {
    new().number(1, 2).bytes(2, "join anew")
}

fn rule() -> Message {
    let new = new().number(1, 1).double(2, 0.01).double(3, 0.96).number(4, 8000).number(5, 10);
    new.double(6, 0.9)
        .double(7, 2e-4)
        .double(8, 0.9999)
        .number(9, 10_000)
        .bytes(11, "loss3/*")
        .bytes(12, "root")
        .bytes(13, "adagrad")
}

fn tensor(name: &str, shape: &[u64]) -> Message {
    let shape = shape.iter().fold(new(), |all, &extent| all.varint(extent));
    new().bytes(1, name).bytes(2, shape.0).float(4, 0.5).float(6, 1.0).float(7, 1.0)
}

fn layout() -> Message {
    new().message(1, tensor("fc/weights", &[4, 3])).message(1, tensor("fc/bias", &[4]))
}

fn values(block: u64, wire: u64, bytes: &[u8]) -> Message {
    new().number(1, block).message(2, version()).number(3, wire).bytes(4, bytes)
}

fn evaluation() -> Message {
    let scores = || new().double(1, 0.5).double(2, 0.9).double(3, f64::NAN);
    new().number(1, 1).number(2, 100).number(3, 20).message(4, scores()).message(5, scores())
}

fn part() -> Message {
    let right = || new().bytes(1, "top1").double(2, 12.0);
    let mistake = new().number(1, 70).number(2, 3).number(3, 1).bytes(6, [0xff, 0xd8]);
    let part =
        new().number(1, 1).number(2, 64).number(3, 20).number(4, 2).message(5, right()).message(6, right());
    part.message(8, mistake)
}

fn shard_status() -> Message {
    new()
        .number(1, 0)
        .number(2, 4)
        .number(3, u64::MAX)
        .double(10, 0.01)
        .bytes(11, "00ff")
        .number(12, 100)
        .bytes(13, "5eed")
}

fn configuration() -> String {
    serde_json::to_string(&settings::recipe("quick").unwrap()).unwrap()
}

pub fn messages() -> Vec<Seed> {
    let data = new().number(1, 1000).number(2, 100).bytes(3, "5eed").bytes(4, "cat").bytes(4, "dog");
    let membership = new().message(1, member()).bytes(2, configuration()).bytes(3, "a:1");
    let metrics = new().number(1, 8).number(2, 256).double(3, 0.7).double(4, 1.5).double(4, 1.6).number(9, 1);
    let progress = new().number(1, 5).number(2, 30).bytes(3, "n01/bad.jpg").number(4, 31).number(5, 1);
    let report = new().message(1, member()).message(2, progress).message(3, metrics).message(4, part());
    let registration = new()
        .number(1, 1)
        .number(2, 4)
        .message(3, new().number(1, 7).bytes(2, "00ff"))
        .number(4, 2)
        .message(6, rule());
    let line = new().number(1, 10).double(4, 0.5).double(5, 1.0).number(10, 3);
    let status = new().number(16, 2).message(8, line).message(9, evaluation()).message(10, layout());
    let status = status.bytes(11, configuration()).bytes(12, "cat").bytes(13, "a:1");
    let gradient = |bytes: &[u8]| new().number(2, 1).message(3, version()).bytes(4, bytes);
    let push =
        new().message(1, member()).number(2, 4).number(3, 32).number(4, 1).message(5, gradient(&[0; 16]));
    let block_reply = new().message(1, values(1, 2, &[0x80, 0x3f])).number(3, 2);
    let refused = new().message(2, new().number(1, 1).message(2, refusal()));
    let secret = new().bytes(1, "worker").bytes(2, [7; 32]);
    let credentials = new().bytes(1, [0x30; 9]).bytes(1, [0x30; 8]).bytes(2, [0x30; 7]).message(3, secret);
    let many = (0..1000).fold(new(), |all, _| all.message(1, new()));
    let most = tensor("a", &[1 << 16, 1 << 16]);
    let lent = new().message(1, data.clone()).bytes(2, [3, 4]);
    let end = new().bytes(1, "rose/1.jpg\u{202e}").bytes(2, "cannot be read: gone");
    let piece = |bytes: &[u8]| new().bytes(1, bytes);
    let watched = new().number(1, 3).bytes(2, "host/1").double(5, f64::NAN).number(12, 6).number(15, 9);
    let shard = new().number(1, 1).bytes(2, "a:1").double(3, 0.5).message(4, shard_status());
    let overview = new().message(1, new().number(3, 1)).number(2, 8).bytes(3, "by operator");
    let overview =
        overview.message(14, evaluation()).number(15, 2000).message(16, watched).message(18, shard);
    let overview = overview.message(24, new().double(1, 1.7e9).bytes(2, "worker 3 is out")).double(25, 1.7e9);
    [
        ("JoinRequest", "whole", new().number(1, 4).bytes(2, "worker").message(3, data)),
        ("JoinReply", "membership", new().message(1, membership)),
        ("JoinReply", "nested-configuration", new().message(1, new().bytes(2, "[".repeat(5000)))),
        ("AssignRequest", "whole", new().message(1, member()).number(2, 8)),
        ("AssignReply", "train", new().message(1, new().number(1, 1).number(3, 32).number(4, 64))),
        ("AssignReply", "backward-lease", new().message(1, new().number(3, 64).number(4, 32))),
        ("AssignReply", "evaluate", new().message(2, new().number(1, 1).number(2, 100).number(3, 1))),
        ("AssignReply", "wait", new().message(3, new().number(1, u64::MAX).bytes(2, "for a shard"))),
        ("AssignReply", "finished", new().message(4, new().number(1, 2).bytes(2, "diverged"))),
        ("ReportRequest", "whole", report.number(6, 9).bytes(8, "its data are away\u{202e}")),
        ("ReportReply", "running", new().message(1, new())),
        ("RegisterRequest", "whole", new().number(1, 4).bytes(2, "b:1").number(3, 2).message(4, member())),
        ("RegisterReply", "registration", new().message(1, registration)),
        ("StatusReply", "whole", status),
        ("AdoptRequest", "whole", new().message(2, layout())),
        ("AdoptRequest", "16-GiB", new().message(2, new().message(1, most))),
        ("AdoptRequest", "overflowing-shape", {
            let tensor = tensor("a", &[1 << 32, 1 << 32]);
            new().message(2, new().message(1, tensor))
        }),
        ("AdoptReply", "adopted", new().message(1, new().bytes(1, [7; 32]))),
        ("AdoptReply", "refusal", new().message(2, refusal())),
        ("PushRequest", "whole", push.clone()),
        ("PushRequest", "largest-values", {
            let largest = |entries: [u8; 4]| {
                gradient(&[[4, 0, 0, 0], [0, 0, 0x80, 0x3f], entries].concat()).number(5, 6)
            };
            push.clone().message(5, largest([0, 3, 2, 0xfe])).message(5, largest([0, 3, 3, 0xfe]))
        }),
        ("PushRequest", "one-broken-block", push.message(5, gradient(&[0; 15]))),
        ("PushReply", "two-blocks", new().message(1, block_reply).message(1, refused)),
        ("FetchRequest", "whole", new().bytes(2, [0, 1, 2]).number(3, 2).number(4, 1)),
        ("OrderRequest", "snapshot", new().number(1, 5)),
        ("OrderReply", "shards", new().message(1, new().message(1, shard_status()))),
        ("ShardStatusReply", "whole", new().message(1, new().message(1, shard_status()))),
        ("ShardStatusReply", "many-empty", new().message(1, many)),
        ("CredentialsReply", "whole", new().message(1, credentials)),
        ("OverviewReply", "whole", overview),
        ("SteerRequest", "drain", new().number(3, u64::MAX)),
        ("SteerRequest", "rate", new().double(5, f64::NAN)),
        ("SteerReply", "steered", new().message(1, new().bytes(1, "paused"))),
        ("SteerReply", "refusal", new().message(2, refusal())),
        ("DescribeReply", "lent", new().message(1, lent)),
        ("DescribeReply", "nothing", new().message(2, new())),
        ("LabelsRequest", "whole", new().number(1, 1).number(2, 1 << 31)),
        ("LabelsReply", "labels", new().message(1, new().bytes(1, [0, 1, 1, 2]))),
        ("ReadRequest", "whole", new().number(1, 1).bytes(2, [5, 3, 4])),
        ("ReadReply", "piece", new().message(1, piece(&[0xff, 0xd8]))),
        ("ReadReply", "end", new().message(1, piece(&[0xff, 0xd9]).message(2, end))),
        ("ReadReply", "nothing-in-it", new().message(1, new())),
        ("ReadReply", "refusal", new().message(2, refusal())),
    ]
    .into_iter()
    .map(|(message, name, content)| {
        let number = MESSAGES.iter().position(|(known, _)| *known == message).unwrap();
        seed(&format!("{message}-{name}"), [&[number as u8], &content.0[..]].concat())
    })
    .collect()
}

/// A message behind its prefix.
fn framed(message: &Message) -> Vec<u8> {
    [&[0][..], &(message.0.len() as u32).to_be_bytes(), &message.0].concat()
}

pub fn frames() -> Vec<Seed> {
    let block = |number| framed(&new().message(1, values(number, 1, &[0, 0, 0x80, 0x7f])));
    let halves = framed(&new().message(1, values(2, 2, &[0x80, 0x3f, 0, 0])));
    let refused = framed(&new().message(2, refusal()));
    let stream = |part: u8, frames: &[&[u8]]| [&[part], &frames.concat()[..]].concat();
    let whole = [&block(0)[..], &block(1), &halves];
    vec![
        seed("three-blocks", stream(255, &whole)),
        seed("byte-by-byte", stream(1, &whole)),
        seed("refused", stream(7, &[&block(0), &refused])),
        seed("cut-behind-a-prefix", stream(5, &[&block(0), &block(1)[..5]])),
        seed("cut-in-a-prefix", stream(3, &[&block(0), &[0, 0]])),
        seed("empty-message", stream(2, &[&[0; 5], &block(0)])),
        seed("compressed", stream(9, &[&[1, 0, 0, 0, 0]])),
        seed("announces-4-GiB", stream(9, &[&[0, 255, 255, 255, 255]])),
        seed("announces-4-MiB", stream(9, &[&[0, 0, 64, 0, 0], &block(0)])),
    ]
}
