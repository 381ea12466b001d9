// The page of a run: it draws what /history has, and then what /events tells every two seconds.
"use strict";

const MOST_POINTS = 2000;
const MOST_ROWS = 1000;
const training = []; // [samples, loss, top-1, images a second, staleness]
let evaluations = []; // [samples, loss, top-1]
let newestEvaluation = null;

const by = (id) => document.getElementById(id);
const known = (value) => typeof value === "number" && Number.isFinite(value);
const number = (value, digits) => known(value)
  ? value.toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits }) : "–";
const percent = (share) => known(share) ? number(share * 100, 1) + " %" : "–";

function duration(seconds) {
  if (!known(seconds)) return "–";
  const whole = Math.max(0, Math.round(seconds));
  if (whole < 60) return whole + " s";
  if (whole < 3600) return Math.floor(whole / 60) + " min " + whole % 60 + " s";
  return Math.floor(whole / 3600) + " h " + Math.floor(whole % 3600 / 60) + " min";
}

function bytes(count) {
  const units = ["B", "kB", "MB", "GB", "TB", "PB"];
  let at = 0;
  while (count >= 1000 && at + 1 < units.length) { count /= 1000; at += 1; }
  return number(count, at ? 1 : 0) + " " + units[at];
}

function element(name, text, kind) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  if (kind) made.className = kind;
  return made;
}

function drawn(name, attributes, text) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

// The points smoothed over the samples, without bias at the start.
function smooth(points) {
  const reach = points.length ? points[points.length - 1][0] * 0.02 : 1;
  let sum = 0, weight = 0, before = 0;
  return points.map(([samples, value]) => {
    const fresh = Math.max(samples - before, 1), kept = Math.exp(-fresh / reach);
    sum = sum * kept + value * fresh;
    weight = weight * kept + fresh;
    before = samples;
    return [samples, sum / weight];
  });
}

// The next of 1, 2, 5, 10 and so on, and of their tenths.
function round(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  return power * [1, 2, 5, 10].find((factor) => factor * power >= value * 0.999);
}

function chart(id, name, lines, digits) {
  const svg = by(id), width = svg.clientWidth || 400, height = 210, left = 52, bottom = 22;
  const all = lines.flatMap((line) => line.points);
  svg.replaceChildren();
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  if (!all.length) {
    svg.append(drawn("text", { x: left, y: height / 2 }, "nothing yet"));
    svg.setAttribute("aria-label", name + ": nothing yet");
    return;
  }
  const values = all.map((point) => point[1]).sort((a, b) => a - b);
  // A first value far above the rest would press all others onto the axis.
  let most = values[Math.round((values.length - 1) * 0.99)], least = Math.min(0, values[0]);
  if (most <= least) most = least + 1;
  most += (most - least) * 0.08;
  const end = Math.max(...all.map((point) => point[0]), 1);
  const x = (samples) => left + (samples / end) * (width - left - 8);
  const y = (value) => height - bottom - (Math.min(value, most) - least) / (most - least) * (height - bottom - 8);
  const step = round((most - least) / 4);
  for (let value = Math.ceil(least / step) * step; value <= most; value += step) {
    svg.append(drawn("line", { x1: left, x2: width - 8, y1: y(value), y2: y(value), class: "grid" }));
    svg.append(drawn("text", { x: left - 6, y: y(value) + 4, "text-anchor": "end" }, number(value, digits)));
  }
  svg.append(drawn("text", { x: width - 8, y: height - 6, "text-anchor": "end" }, number(end, 0) + " samples"));
  for (const { points, kind, raw, dots } of lines) {
    const path = points.map(([samples, value], at) => (at ? "L" : "M") + x(samples).toFixed(1) + " " + y(value).toFixed(1));
    svg.append(drawn("path", { d: path.join(""), class: kind + (raw ? " raw" : "") }));
    if (dots) for (const [samples, value] of points) svg.append(drawn("circle", { cx: x(samples), cy: y(value), r: 3, class: kind }));
  }
  const newest = lines.filter((line) => !line.raw && line.points.length)
    .map((line) => `${line.what} ${number(line.points[line.points.length - 1][1], digits)}`);
  svg.setAttribute("aria-label", `${name} over samples, newest: ${newest.join(", ")}`);
}

function draw() {
  const column = (at, factor) => training.filter((point) => known(point[at])).map((point) => [point[0], point[at] * factor]);
  const evaluated = (at, factor) => evaluations.filter((point) => known(point[at])).map((point) => [point[0], point[at] * factor]);
  const curve = (id, name, at, factor, digits, validated) => {
    const points = column(at, factor);
    const lines = [
      { points, kind: "one", raw: true, what: "" },
      { points: smooth(points), kind: "one", what: "training" },
    ];
    if (validated) lines.push({ points: evaluated(validated, factor), kind: "two", dots: true, what: "validation" });
    chart(id, name, lines, digits);
  };
  curve("loss", "Loss", 1, 1, 2, 1);
  curve("top1", "Top-1 in per cent", 2, 100, 0, 2);
  curve("speed", "Images a second", 3, 1, 0);
  curve("staleness", "Mean staleness", 4, 1, 1);
}

function fill(id, heads, rows, troubled) {
  const table = by(id), head = element("tr");
  heads.forEach(([name, kind]) => {
    const cell = element("th", name, kind);
    cell.scope = "col";
    head.append(cell);
  });
  const body = rows.map((row, at) => {
    const line = element("tr", undefined, troubled(at) ? "trouble" : "");
    row.forEach((text, column) => line.append(element("td", text, heads[column][1])));
    return line;
  });
  table.replaceChildren(head, ...body);
}

function facts(run) {
  const line = run.latest, evaluation = run.evaluation;
  const shards = run.shards.filter((shard) => shard.status);
  const total = (name) => shards.reduce((sum, shard) => sum + shard.status[name], 0);
  const all = [
    ["Done", percent(run.total_samples ? run.samples / run.total_samples : NaN)],
    ["Epoch", run.epochs ? `${run.epoch + 1} of ${run.epochs}` : "–"],
    ["Time left", line && run.state === "training" ? duration(line.seconds_left) : "–"],
    ["Loss", line ? number(line.loss, 3) : "–"],
    ["Validated top-1", evaluation ? percent(evaluation.average.top1) : "–"],
    ["Images a second", line ? number(line.images_per_second, 1) : "–"],
    ["Staleness, mean and most", line ? `${number(line.staleness_mean, 1)}, ${line.staleness_max}` : "–"],
    ["Learning rate", line ? line.learning_rate.toExponential(2) + (run.rate_factor === 1 ? "" : ` (${run.rate_factor} times the schedule's)`) : "–"],
    ["Useful workers", line ? number(line.useful_workers, 1) : "–"],
    ["Gradients in", bytes(total("bytes_in"))],
    ["Parameters out", bytes(total("bytes_out"))],
    ["Leases", String(run.leases)],
    ["Newest snapshot", run.snapshot ? String(run.snapshot) : "–"],
    ["Data", run.training_images ? `${number(run.training_images, 0)} images of ${number(run.classes, 0)} classes` : "–"],
    ["Recipe", run.recipe],
    ["Run", run.life.run],
  ];
  by("facts").replaceChildren(...all.map(([name, text]) => {
    const pair = element("div");
    pair.append(element("dt", name), element("dd", text));
    return pair;
  }));
}

function show(run) {
  const state = by("state");
  state.textContent = run.state + (run.detail ? `: ${run.detail}` : "");
  state.className = ["diverged", "failed"].includes(run.state) ? "trouble" : "";
  document.title = `${run.state} – Downpour`;
  const done = run.total_samples ? Math.floor(run.samples / run.total_samples * 1000) / 10 : 0;
  by("done").style.width = done + "%";
  by("bar").setAttribute("aria-valuenow", done);
  facts(run);
  const seen = (seconds) => number(seconds, 0) + " s ago";
  fill("workers", [["worker"], ["name", "text"], ["images/s"], ["share"], ["staleness"], ["step"], ["waiting"], ["gradients"], ["parameters"], ["leases"], ["seen"]],
    run.workers.slice(0, MOST_ROWS).map((worker) => [
      String(worker.worker), worker.name + (worker.drained ? " (leaves)" : ""), number(worker.images_per_second, 1), percent(worker.share),
      number(worker.staleness_mean, 1), number(worker.step_seconds, 2) + " s", percent(worker.waiting), worker.gradient_wire || "–",
      worker.parameter_wire || "–", String(worker.leases), seen(worker.silent_seconds)]),
    (at) => run.workers[at].silent_seconds > 10);
  const more = (id, all, listed) => { by(id).textContent = all > listed ? `and ${number(all - listed, 0)} more` : ""; };
  more("more-workers", run.members, run.workers.length);
  fill("shards", [["shard"], ["address", "text"], ["blocks"], ["updates"], ["staleness"], ["scaled down"], ["refused"], ["in"], ["out"], ["seen"]],
    run.shards.map((shard) => {
      const status = shard.status || { blocks: 0, updates: 0, staleness_sum: 0, limited: 0, refused: 0, bytes_in: 0, bytes_out: 0 };
      return [String(shard.shard), shard.address, String(status.blocks), number(status.updates, 0),
        number(status.updates ? status.staleness_sum / status.updates : 0, 1), number(status.limited, 0), number(status.refused, 0),
        bytes(status.bytes_in), bytes(status.bytes_out), seen(shard.silent_seconds)];
    }),
    (at) => run.shards[at].silent_seconds > 10);
  more("more-shards", run.total_shards, run.shards.length);
  const warnings = run.warnings.slice().reverse().map((warning) => element("li", `${duration(run.time - warning.time)} ago: ${warning.text}`));
  by("warnings").replaceChildren(...(warnings.length ? warnings : [element("li", "none")]));
}

function take(run) {
  show(run);
  const line = run.latest, last = training[training.length - 1];
  if (line && (!last || line.samples > last[0])) {
    training.push([line.samples, line.loss, line.top1, line.images_per_second, line.staleness_mean]);
    if (training.length > MOST_POINTS) training.splice(0, training.length, ...training.filter((_, at) => at % 2));
    draw();
  }
  const evaluation = run.evaluation ? run.evaluation.id : null;
  if (evaluation !== newestEvaluation) {
    newestEvaluation = evaluation;
    history();
  }
}

async function history() {
  const answer = await fetch("/history");
  const told = await answer.json();
  training.splice(0, training.length, ...told.training);
  evaluations = told.evaluations;
  draw();
}

const events = new EventSource("/events");
events.onmessage = (event) => take(JSON.parse(event.data));
events.onerror = () => { by("state").textContent = "the server does not answer; looking for it again"; };
addEventListener("resize", draw);
history().catch(() => {});
