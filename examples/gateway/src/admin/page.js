"use strict";
// Every text is set as text, never as HTML: the name of a client can be anything.

const POINTS = 360;       // of an hour, one for 10 s
const SHOWN = 100;        // most throttles of a look-up
const DENIED_EVERY = 2000; // ms
const TOKEN = "traffik-admin-token";
const KINDS = ["admitted", "denied", "failed"];
const SVG = "http://www.w3.org/2000/svg";

const byId = (id) => document.getElementById(id);
const make = (name, text, kind) => {
  const element = document.createElement(name);
  if (text !== undefined) element.textContent = text;
  if (kind) element.className = kind;
  return element;
};
const row = (...cells) => {
  const line = make("tr");
  line.append(...cells.map((cell) => make("td", cell)));
  return line;
};

// The points of each throttle by uid, and its card with the text that it was drawn from.
const hours = new Map();
const cards = new Map();
let samples = [], hourNumber = 0;

// ---- charts

function drawing(height, label) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", `0 0 ${POINTS} ${height}`);
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("role", "img");
  svg.setAttribute("aria-label", label);
  return svg;
}

function path(svg, kind, shape) {
  if (!shape) return;
  const element = document.createElementNS(SVG, "path");
  element.setAttribute("class", kind);
  element.setAttribute("d", shape);
  svg.append(element);
}

// Stacked bars: admitted below, then denied, then failed.
function requests(points) {
  const most = Math.max(1, ...points.map(([a, d, f]) => a + d + f));
  const svg = drawing(100, `admitted, denied and failed in the last hour, at most ${most} in 10 seconds`);
  const shapes = ["", "", ""];
  points.forEach((point, at) => {
    const x = POINTS - points.length + at;
    let top = 100;
    KINDS.forEach((_, kind) => {
      // A single request stays visible beside a thousand.
      const height = point[kind] && Math.max(1, 100 * point[kind] / most);
      if (!height) return;
      top -= height;
      shapes[kind] += `M${x} ${top.toFixed(1)}h1v${height.toFixed(1)}h-1z`;
    });
  });
  KINDS.forEach((kind, at) => path(svg, kind, shapes[at]));
  return svg;
}

const duration = (ns) => {
  if (ns >= 4294967295) return "more than 1 s";
  if (ns >= 1e9) return `${(ns / 1e9).toFixed(1)} s`;
  if (ns >= 1e6) return `${(ns / 1e6).toFixed(1)} ms`;
  return `${(ns / 1e3).toFixed(1)} µs`;
};

function latency(points) {
  const most = Math.max(1, ...points.map((point) => point[3]));
  const figure = make("figure");
  const svg = drawing(40, `mean duration of a check in the last hour, at most ${duration(most)}`);
  svg.setAttribute("class", "latency");
  let shape = "";
  points.forEach((point, at) => {
    if (point[4]) shape += `M${POINTS - points.length + at} ${(39 - 38 * point[3] / most).toFixed(1)}h1`;
  });
  path(svg, "mean", shape);
  const last = points.findLast((point) => point[4]);
  const words = last && `the last hour; a check took ${duration(last[3])} on average, 99 % at most ${duration(last[4])}`;
  figure.append(svg, make("figcaption", words || "the last hour; no checks"));
  return figure;
}

// ---- throttles

// The requests since the sample before. A restarted gateway counts from 0, so it is never negative.
function perSecond(throttle) {
  const before = samples.length > 1 && samples[0].throttles.find((it) => it.uid === throttle.uid);
  if (!before) return 0;
  return Math.max(0, throttle.admitted - before.admitted) + Math.max(0, throttle.denied - before.denied);
}

function card(throttle) {
  const points = [...(hours.get(throttle.uid) || []).slice(1 - POINTS), throttle.now];
  const each = perSecond(throttle);
  // A card that would look the same is not drawn again.
  const state = JSON.stringify([throttle, each, points.length, hourNumber]);
  const known = cards.get(throttle.uid);
  if (known && known.state === state) return known.section;
  const section = make("section");
  section.dataset.uid = throttle.uid;
  section.append(make("h2", throttle.uid));
  const list = make("dl");
  const figure = (term, value, kind) => list.append(make("dt", term), make("dd", value, kind));
  figure("admitted", throttle.admitted, "admitted");
  figure("denied", throttle.denied, "denied");
  figure("a second", each, "faint");
  section.append(list, requests(points), latency(points));
  const more = [];
  if (throttle.would_deny) more.push(`${throttle.would_deny} would have been denied`);
  if (throttle.failed) more.push(`${throttle.failed} failed because of the store`);
  if (throttle.open) more.push(`${throttle.open} of these were let through`);
  if (throttle.fallback) more.push(`${throttle.fallback} decided by the fallback`);
  if (more.length) section.append(make("p", more.join(", "), "faint"));
  cards.set(throttle.uid, { state, section });
  return section;
}

function showStores(last) {
  // Only failures of the last five seconds are shown.
  const sum = (errors) => Object.values(errors).reduce((a, b) => a + b, 0);
  const failing = errorsBefore.length > 1 && sum(last.errors) > errorsBefore[0];
  const faults = last.stores.filter((it) => it.state !== "closed").map((it) => `${it.name}: circuit ${it.state}`);
  if (failing) faults.push("failing: " + Object.keys(last.errors).join(", "));
  byId("store").dataset.state = faults.length ? "failing" : "ready";
  byId("store").textContent = faults.length ? faults.join("; ") : "ready";
  const rows = last.stores.flatMap((store) => store.nodes.map((node) => {
    const name = store.name.endsWith(node.name) ? store.name : `${node.name} of ${store.name}`;
    const line = row(name, node.state, node.fault || "none");
    line.cells[1].dataset.state = node.state;
    return line;
  }));
  byId("nodes").hidden = !rows.length;
  byId("nodes").querySelector("tbody").replaceChildren(...rows);
}

let errorsBefore = [];

function show() {
  const last = samples[samples.length - 1];
  const uids = new Set(last.throttles.map((it) => it.uid));
  for (const map of [hours, cards]) for (const uid of map.keys()) if (!uids.has(uid)) map.delete(uid);
  const drawn = last.throttles.map(card), shown = byId("throttles");
  if (drawn.length !== shown.children.length || drawn.some((it, at) => it !== shown.children[at])) {
    shown.replaceChildren(...drawn);
  }
  byId("others").hidden = !last.others;
  byId("others").textContent = `${last.others} throttles with fewer requests are not shown; the metrics have them all`;
  showStores(last);
}

const events = new EventSource("events");
events.onopen = () => {
  byId("link").dataset.state = "live";
  byId("link").textContent = "live";
};
events.onerror = () => {
  byId("link").dataset.state = "lost";
  byId("link").textContent = "connection lost, reconnecting";
};
events.addEventListener("hour", (event) => {
  const hour = JSON.parse(event.data);
  hours.clear();
  hourNumber = hour.number;
  for (const { uid, points } of hour.throttles) hours.set(uid, points);
});
let due = false;
events.onmessage = (event) => {
  const sample = JSON.parse(event.data);
  for (const { uid, point } of sample.throttles) {
    // The hour that came with this sample has the point already.
    if (!point || sample.number <= hourNumber) continue;
    if (!hours.has(uid)) hours.set(uid, []);
    const points = hours.get(uid);
    points.push(point);
    if (points.length > POINTS) points.shift();
  }
  samples = [...samples.slice(-1), sample];
  errorsBefore = [...errorsBefore.slice(-5), Object.values(sample.errors).reduce((a, b) => a + b, 0)];
  // Samples of one frame are drawn once.
  if (!due) {
    due = true;
    setTimeout(() => { due = false; show(); }, 0);
  }
};

// ---- one client

const say = (text) => { byId("said").textContent = text; };

// Asks a path with the token, if there is one. The token is kept for this tab alone.
async function ask(what, method = "GET") {
  const token = sessionStorage.getItem(TOKEN);
  const headers = token === null ? {} : { authorization: `Bearer ${token}` };
  const reply = await fetch(what, { method, headers, cache: "no-store", credentials: "omit" });
  const text = await reply.text();
  if (reply.status === 401 || reply.status === 429) {
    sessionStorage.removeItem(TOKEN);
    byId("unlock").hidden = false;
    const wrong = reply.status === 401 && token !== null ? "the token is wrong" : text.trim();
    throw new Error(reply.status === 401 && token === null ? "give the token first" : wrong);
  }
  return { ok: reply.ok, text };
}

// Times are seconds since 1970, which no count of a window comes near.
const isTime = (name, value) => value > 1.5e9 && value < 4e9 && /start|end|last|until|at$|time/.test(name);
const atTime = (seconds) => new Date(1000 * seconds).toLocaleString();

function showFigures(reply) {
  const known = reply.throttles.filter((it) => it.policies);
  const parts = known.slice(0, SHOWN).flatMap(({ throttle, policies }) => policies.flatMap(({ policy, figures }) => {
    const list = make("dl");
    list.dataset.throttle = throttle;
    for (const [name, value] of Object.entries(figures)) {
      const figure = make("dd", value === null ? "none" : isTime(name, value) ? atTime(value) : String(value));
      figure.dataset.figure = name;
      list.append(make("dt", name.replaceAll("_", " ")), figure);
    }
    return [make("h3", `${throttle}, ${policy}`), list];
  }));
  if (known.length > SHOWN) parts.push(make("p", `and ${known.length - SHOWN} more throttles`, "faint"));
  byId("figures").replaceChildren(...parts);
  const wrong = reply.throttles.find((it) => it.error);
  say(known.length || !wrong ? `the counts of ${reply.key}` : wrong.error);
}

async function look() {
  byId("figures").replaceChildren();
  const { ok, text } = await ask(`stat?key=${encodeURIComponent(byId("key").value)}`);
  if (ok || text.startsWith("{")) showFigures(JSON.parse(text));
  else say(text.trim());
}

async function reset() {
  const key = byId("key").value;
  const { ok, text } = await ask(`reset?key=${encodeURIComponent(key)}`, "POST");
  if (!ok) return say(text.trim());
  await look();
  say(`reset the counts of ${key}`);
}

// `fetch` fails for a token that no header can hold, and while the gateway is away.
const attempt = (action) => action().catch((error) => say(error.message));

byId("ask").addEventListener("submit", (event) => {
  event.preventDefault();
  attempt(look);
});
byId("reset").addEventListener("click", () => attempt(reset));
byId("unlock").addEventListener("submit", (event) => {
  event.preventDefault();
  sessionStorage.setItem(TOKEN, byId("token").value);
  byId("token").value = "";
  byId("unlock").hidden = true;
  say("");
  attempt(denied);
});

// ---- denied most

async function denied() {
  const { ok, text } = await ask("denied");
  if (!ok) return;
  const rows = text.split("\n").filter((line) => line).slice(0, 10).map((line) => {
    const tab = line.indexOf("\t");
    return row(line.slice(tab + 1), line.slice(0, tab));
  });
  if (rows.length) byId("top").replaceChildren(...rows);
}

async function poll() {
  // Without the token every question would be refused, so none is asked until there is one.
  if (byId("unlock").hidden && !document.hidden) {
    await denied().catch((error) => {
      if (byId("unlock").hidden) return;
      const cell = make("td", error.message, "faint");
      cell.colSpan = 2;
      const line = make("tr");
      line.append(cell);
      byId("top").replaceChildren(line);
    });
  }
  setTimeout(poll, DENIED_EVERY);
}
poll();
