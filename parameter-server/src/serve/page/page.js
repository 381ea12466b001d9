// The page of a run: it draws what /history has, and then what /events tells every two seconds. /mistakes has pictures
// of the newest evaluation. Who may steer the run finds buttons there, which post their orders to /steer.
"use strict";

const MOST_POINTS = 2000;
const MOST_ROWS = 1000;
const training = []; // [samples, loss, top-1, images a second, staleness]
let evaluations = []; // [samples, loss, top-1]
let newestEvaluation = null;
let paused = false;
let maySteer = false;
let token = ""; // of an operator, as it was entered
let newestSnapshot = 0;
let ordered = null; // a snapshot that was ordered here, until it is done: number of the newest before, events since
let factorEdited = false;

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

// What a worker's link carries, to the server and from it.
function link(worker) {
  if (!known(worker.link_up) || !known(worker.link_down)) return "–";
  const megabytes = (rate) => number(rate / 1e6, rate < 1e7 ? 2 : 0);
  return `${megabytes(worker.link_up)}, ${megabytes(worker.link_down)} MB/s`;
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
    // A line of one point would not be seen.
    if (dots || points.length === 1) for (const [samples, value] of points) svg.append(drawn("circle", { cx: x(samples), cy: y(value), r: 3, class: kind }));
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

// Writes a text where it is not there already, so that a screen reader tells it once.
function say(place, text) {
  if (place.textContent !== text) place.textContent = text;
}

// Fills a table. A row is [key, texts, whether it is in trouble, button]; one that stays is written anew and not made
// anew, so that whoever is about to press its button presses that one.
function fill(id, heads, rows) {
  const table = by(id), cell = (made, role) => { made.setAttribute("role", role); return made; };
  if (!table.tHead) {
    const first = cell(element("tr"), "row");
    for (const [name, kind] of heads) first.append(cell(element("th", name, kind), "columnheader"));
    table.createTHead().append(first);
    table.createTBody();
    table.setAttribute("role", "table");
  }
  const body = table.tBodies[0], orders = rows.some((row) => row[3]), head = table.tHead.rows[0];
  if (orders && !head.cells[heads.length]) head.append(cell(element("th", "order"), "columnheader"));
  const keys = new Set(rows.map(([key]) => String(key)));
  for (const line of [...body.rows]) if (!keys.has(line.dataset.key)) line.remove();
  rows.forEach(([key, texts, trouble, button], at) => {
    let line = body.rows[at];
    if (!line || line.dataset.key !== String(key)) {
      line = cell(element("tr"), "row");
      line.dataset.key = key;
      texts.forEach((_, column) => {
        const made = cell(element("td", undefined, heads[column][1]), "cell");
        made.dataset.head = heads[column][0];
        line.append(made);
      });
      body.insertBefore(line, body.rows[at] || null);
    }
    line.className = trouble ? "trouble" : "";
    texts.forEach((text, column) => say(line.cells[column], text));
    let place = line.cells[texts.length];
    if (orders && !place) line.append(place = cell(element("td", undefined, "order"), "cell"));
    if (button && !place.firstChild) place.append(button());
    if (!button && place) {
      // Whoever pressed it reads on where it says what came of it.
      if (place.contains(document.activeElement)) by("outcome").focus();
      place.replaceChildren();
    }
  });
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
  say(state, run.state + (run.detail ? `: ${run.detail}` : ""));
  state.className = ["diverged", "failed"].includes(run.state) ? "trouble" : "";
  document.title = `${run.state} – Downpour`;
  const done = run.total_samples ? Math.floor(run.samples / run.total_samples * 1000) / 10 : 0;
  by("done").style.width = done + "%";
  by("bar").setAttribute("aria-valuenow", done);
  facts(run);
  const seen = (seconds) => number(seconds, 0) + " s ago";
  fill("workers", [["worker"], ["name", "text"], ["images/s"], ["share"], ["staleness"], ["step"], ["waiting"], ["link up, down"], ["gradients"], ["parameters"], ["leases"], ["seen"]],
    run.workers.slice(0, MOST_ROWS).map((worker) => [worker.worker, [
      String(worker.worker), worker.name + (worker.drained ? " (leaves)" : ""), number(worker.images_per_second, 1), percent(worker.share),
      number(worker.staleness_mean, 1), number(worker.step_seconds, 2) + " s", percent(worker.waiting), link(worker), worker.gradient_wire || "–",
      worker.parameter_wire || "–", String(worker.leases), seen(worker.silent_seconds)],
      worker.silent_seconds > 10, maySteer && !worker.drained ? () => drain(worker) : null]));
  const more = (id, all, listed) => { by(id).textContent = all > listed ? `and ${number(all - listed, 0)} more` : ""; };
  more("more-workers", run.members, run.workers.length);
  fill("shards", [["shard"], ["address", "text"], ["blocks"], ["updates"], ["staleness"], ["scaled down"], ["refused"], ["in"], ["out"], ["seen"]],
    run.shards.map((shard) => {
      const status = shard.status || { blocks: 0, updates: 0, staleness_sum: 0, limited: 0, refused: 0, bytes_in: 0, bytes_out: 0 };
      return [shard.shard, [String(shard.shard), shard.address, String(status.blocks), number(status.updates, 0),
        number(status.updates ? status.staleness_sum / status.updates : 0, 1), number(status.limited, 0), number(status.refused, 0),
        bytes(status.bytes_in), bytes(status.bytes_out), seen(shard.silent_seconds)], shard.silent_seconds > 10];
    }));
  more("more-shards", run.total_shards, run.shards.length);
  const warnings = run.warnings.slice().reverse().map((warning) => element("li", `${duration(run.time - warning.time)} ago: ${warning.text}`));
  by("warnings").replaceChildren(...(warnings.length ? warnings : [element("li", "none")]));
}

// An order that is under way has its button wait for it.
async function steer(button, order, place) {
  if (button.getAttribute("aria-disabled") === "true") return;
  button.setAttribute("aria-disabled", "true");
  say(place, "");
  try {
    const answer = await fetch("/steer", { method: "POST", headers: bearer(), body: JSON.stringify(order) });
    const text = (await answer.text()).trim();
    say(answer.ok ? by("outcome") : place, text);
    if (answer.status === 403) look();
    return answer.ok;
  } catch {
    say(place, "the server does not answer, and it is not known whether it has the order");
  } finally {
    button.removeAttribute("aria-disabled");
  }
}

function bearer() {
  return token ? { authorization: "Bearer " + token } : {};
}

// Asks whether whoever has this token may steer, and shows the buttons if so; returns what is missing.
async function look() {
  const answer = await fetch("/steer", { headers: bearer() });
  const { may, missing } = await answer.json();
  maySteer = may;
  by("steer").hidden = !may;
  by("enter").hidden = may;
  return missing;
}

function drain(worker) {
  const button = element("button", "Drain");
  button.type = "button";
  button.setAttribute("aria-label", `drain worker ${worker.worker}, ${worker.name}`);
  button.onclick = () => steer(button, { order: "drain", worker: worker.worker }, by("outcome"));
  return button;
}

function prepareOrders() {
  by("pause").onclick = () => steer(by("pause"), { order: paused ? "resume" : "pause" }, by("outcome"));
  by("snapshot").onclick = async () => {
    const before = newestSnapshot;
    if (await steer(by("snapshot"), { order: "snapshot" }, by("outcome"))) ordered = { before, events: 0 };
  };
  by("factor").oninput = () => { factorEdited = true; };
  by("rate").onsubmit = async (event) => {
    event.preventDefault();
    const field = by("factor"), factor = field.valueAsNumber;
    const fits = factor >= Number(field.min) && factor <= Number(field.max);
    field.setAttribute("aria-invalid", String(!fits));
    if (!fits) say(by("rate-says"), `expected a number from ${field.min} to ${field.max}`);
    else if (await steer(by("set"), { order: "rate", factor }, by("rate-says"))) factorEdited = false;
  };
  by("stop").onclick = () => by("sure").showModal();
  by("go-on").onclick = () => by("sure").close();
  by("stop-now").onclick = () => {
    by("sure").close();
    steer(by("stop"), { order: "stop" }, by("outcome"));
  };
  by("show-token").onsubmit = async (event) => {
    event.preventDefault();
    token = by("token").value.trim();
    let missing = "expected letters, digits and points alone";
    if (/^[!-~]*$/.test(token)) missing = await look().catch(() => "the server does not answer");
    say(by("token-says"), missing);
    by("token").setAttribute("aria-invalid", String(Boolean(missing)));
    if (missing) return;
    by("token").value = "";
    by("pause").focus();
  };
}

// Shows what became of orders, whoever gave them.
function showOrders(run) {
  paused = run.state === "paused";
  newestSnapshot = run.snapshot;
  say(by("pause"), paused ? "Go on" : "Pause");
  if (!factorEdited) by("factor").value = run.rate_factor;
  // The first event since may be older than the order.
  if (ordered && ++ordered.events > 1 && !run.snapshot_ordered) {
    const taken = run.snapshot > ordered.before;
    say(by("outcome"), taken ? `snapshot ${run.snapshot} is complete` : "no snapshot was taken: there is nothing new to keep, or the log says why");
    ordered = null;
  }
}

function take(run) {
  showOrders(run);
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
    // The server may be gone before it answers, as at the end of a run.
    history().catch(() => {});
    showMistakes().catch(() => {});
  }
}

// Shows the validation pictures that were taken for another class most surely.
async function showMistakes() {
  const answer = await fetch("/mistakes");
  const { mistakes } = await answer.json();
  by("mistakes").replaceChildren(...mistakes.map((mistake) => {
    const item = element("li"), figure = element("figure"), caption = element("figcaption");
    if (mistake.picture) {
      const picture = element("img");
      picture.alt = `validation image ${mistake.image}`;
      picture.src = mistake.picture;
      figure.append(picture);
    }
    caption.append(
      element("span", `said ${mistake.said}, ${percent(mistake.probability_said)}`, "said"),
      element("span", `right ${mistake.right}, ${percent(mistake.probability_right)}`));
    figure.append(caption);
    item.append(figure);
    return item;
  }));
  by("mistaken").hidden = !mistakes.length;
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
events.onerror = () => { say(by("state"), "the server does not answer, as after the end of a run; looking for it again"); };
addEventListener("resize", draw);
prepareOrders();
look().catch(() => {});
history().catch(() => {});
