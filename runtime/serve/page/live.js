// The page: shows what /stream and /events send, and changes /api/settings.

const $ = (id) => document.getElementById(id);
const SLIDERS = ["alpha", "threshold"];
const CHECKS = ["alpha_by_value", "boxes"];
const STAGES = ["preprocess", "inference", "cam", "overlay"];
const SHOWN_LABELS = 50;
const CHART_S = 60;
const SAY_MS = 3000;     // how often a screen reader is told of another class
const QUIET_MS = 3000;   // without news for so long something is wrong
const SEND_MS = 80;      // between two changes of a slider that is dragged
const RETRY_MS = 2000;

let camera = 0;          // number, or "all"
let settings = null;
let labels = [];
let mostClasses = 1;
let news = null;         // the newest event
let newsAt = 0;
let events = null;
let streams = 0;
let history = [];        // [drawn, classified] frames per second, one a second
let saidAt = 0;
let said = "";

async function ask(path, options) {
  const answer = await fetch(path, options);
  if (answer.ok) return answer.json();
  const text = await answer.text();
  let detail = text;
  try { detail = JSON.parse(text).detail; } catch { /* it is plain text */ }
  throw new Error(typeof detail === "string" ? detail : detail.map((one) => one.msg).join("; "));
}

function complain(text) {
  $("trouble").textContent = text;
  $("trouble").hidden = !text;
}

// --- settings ---------------------------------------------------------------------------------

let pending = {};
let sending = false;

async function change(changes) {
  Object.assign(pending, changes);
  apply({ ...settings, ...pending });
  if (sending) return;
  sending = true;
  while (Object.keys(pending).length) {
    const body = JSON.stringify(pending);
    pending = {};
    try {
      const now = await ask("/api/settings", { method: "PATCH", headers: { "Content-Type": "application/json" }, body });
      if (!Object.keys(pending).length) apply(now);
      complain("");
    } catch (error) {
      complain(error.message);
      try { apply(await ask("/api/settings")); } catch { /* said already */ }
    }
    await new Promise((done) => setTimeout(done, SEND_MS));
  }
  sending = false;
}

function apply(now) {
  const before = settings;
  settings = now;
  for (const id of SLIDERS) {
    $(id).value = now[id];
    $(`${id}-value`).textContent = `${Math.round(100 * now[id])} %`;
  }
  for (const id of CHECKS) $(id).checked = now[id];
  $("colormap").value = now.colormap;
  $("paused").setAttribute("aria-pressed", now.paused);
  $("paused").textContent = now.paused ? "Frozen: go on" : "Freeze";
  if (!before || before.classes.join() !== now.classes.join()) showChosen();
}

function toggle(classId) {
  const classes = settings.classes.includes(classId)
    ? settings.classes.filter((one) => one !== classId)
    : [...settings.classes, classId];
  if (classes.length > mostClasses) complain(`At most ${mostClasses} maps can stand side by side.`);
  else change({ classes });
}

// --- classes ----------------------------------------------------------------------------------

function pressable(text, onPress) {
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = text;
  button.addEventListener("click", onPress);
  return button;
}

// What has the focus must not vanish, here as below: the next key would go to the page, where a space freezes it for all.
function showChosen() {
  const { classes } = settings;
  const chosen = $("chosen");
  for (const chip of [...chosen.children]) {
    if (chip.id === "best" || classes.includes(chip.classId)) continue;
    if (chip === document.activeElement) chip.nextElementSibling.focus();
    chip.remove();
  }
  classes.forEach((id, at) => {
    const chip = [...chosen.children].find((one) => one.classId === id) ?? chipOf(id);
    if (chosen.children[at] !== chip) chosen.insertBefore(chip, chosen.children[at]);
  });
  $("best").setAttribute("aria-pressed", !classes.length);
  for (const button of $("found").querySelectorAll("button")) {
    button.setAttribute("aria-pressed", classes.includes(button.classId));
  }
  showTop();
}

function chipOf(id) {
  const chip = pressable(`${labels[id]} ✕`, () => toggle(id));
  chip.classId = id;
  chip.setAttribute("aria-label", `Do not show ${labels[id]}`);
  return chip;
}

function showFound() {
  const wanted = $("search").value.trim().toLowerCase();
  const hits = wanted ? labels.map((label, id) => [id, label]).filter(([, label]) => label.toLowerCase().includes(wanted)) : [];
  const items = hits.slice(0, SHOWN_LABELS).map(([id, label]) => {
    const item = document.createElement("li");
    const button = pressable(label, () => toggle(id));
    button.classId = id;
    button.setAttribute("aria-pressed", settings.classes.includes(id));
    item.append(button);
    return item;
  });
  if (wanted && hits.length !== items.length || wanted && !hits.length) {
    const more = document.createElement("li");
    more.className = "more";
    more.textContent = hits.length ? `${hits.length - items.length} more` : "no label like that";
    items.push(more);
  }
  $("found").replaceChildren(...items);
}

// The rows stay and their contents change: what is pressed must not vanish under the finger.
function showTop() {
  const seen = news?.seen.find((one) => one.camera === camera);
  const top = seen?.top ?? [];
  while ($("top").children.length < top.length) {
    const item = document.createElement("li");
    const button = pressable("", () => {
      const id = button.pressed ?? button.classId; // a screen reader clicks without pressing
      button.pressed = null;
      toggle(id);
    });
    button.addEventListener("pointerdown", () => { button.pressed = button.classId; });
    button.addEventListener("keydown", (event) => {
      if (["Enter", " "].includes(event.key) && !event.repeat) button.pressed = button.classId;
    });
    for (const name of ["bar", "label", "score"]) {
      const part = document.createElement("span");
      part.className = name;
      button.append(part);
    }
    item.append(button);
    $("top").append(item);
  }
  [...$("top").children].forEach((item, rank) => {
    item.hidden = rank >= top.length;
    if (item.hidden) return;
    const { class_id: id, label, score } = top[rank];
    const button = item.firstChild;
    const [bar, name, number] = button.children;
    button.classId = id;
    button.setAttribute("aria-pressed", seen.explained.some((one) => one.class_id === id));
    bar.style.width = `${100 * Math.min(1, Math.max(0, score ?? 0))}%`;
    name.textContent = label;
    number.textContent = score === null ? "–" : score.toFixed(2);
  });
}

// --- what comes -------------------------------------------------------------------------------

function stateOf(one) {
  if (one.state === "live" && settings?.paused) return ["frozen", "frozen"];
  if (one.state === "lost") return ["lost", "no signal"];
  if (one.state === "live") return ["live", "live"];
  return ["", one.state === "ended" ? "ended" : "waiting"];
}

function columns() {
  return Math.ceil(Math.sqrt(news.cameras.length));
}

function showCaptions() {
  const shown = camera === "all"
    ? news.cameras.map((one) => {
        const seen = news.seen.find((other) => other.camera === one.camera);
        return `${one.name}: ${seen?.lost ? "no signal" : seen?.top[0]?.label ?? one.state}`;
      })
    : (news.seen.find((one) => one.camera === camera)?.explained ?? [])
        .map(({ label, score }) => `${label}${score === null ? "" : `  ${score.toFixed(2)}`}`);
  const captions = $("captions");
  while (captions.children.length < shown.length) captions.append(document.createElement("span"));
  while (captions.children.length > shown.length) captions.lastChild.remove();
  shown.forEach((text, number) => { captions.children[number].textContent = text; });
  captions.style.gridTemplateColumns = `repeat(${camera === "all" ? columns() : shown.length || 1}, minmax(0, 1fr))`;
}

function showSpeed(one, seen) {
  const times = STAGES.map((stage) => seen?.stages_ms[stage] ?? one.stages_ms[stage] ?? 0);
  const total = Math.max(1e-9, times.reduce((sum, ms) => sum + ms, 0));
  if (!$("stages").children.length) {
    for (const stage of STAGES) {
      const term = document.createElement("dt");
      term.textContent = stage;
      const track = document.createElement("dd");
      track.className = "track";
      track.append(document.createElement("span"));
      const ms = document.createElement("dd");
      ms.className = "ms";
      $("stages").append(term, track, ms);
    }
  }
  times.forEach((ms, number) => {
    $("stages").children[3 * number + 1].firstChild.style.width = `${(100 * ms) / total}%`;
    $("stages").children[3 * number + 2].textContent = `${ms.toFixed(1)} ms`;
  });
  $("fps-drawn").textContent = `${one.fps.drawn.toFixed(1)} fps drawn`;
  $("fps-classified").textContent = `${one.fps.classified.toFixed(1)} classified`;
  $("counts").textContent = `${one.dropped} dropped, ${one.reconnects} reconnects, ${news.viewers} watching`;
}

function showChart() {
  const most = Math.max(1, ...history.flat()) * 1.1;
  const points = (which) => history
    .map((rates, number) => `${(120 * (number + CHART_S - history.length)) / (CHART_S - 1)},${(40 - (38 * rates[which]) / most).toFixed(2)}`)
    .join(" ");
  $("chart-drawn").setAttribute("points", points(0));
  $("chart-classified").setAttribute("points", points(1));
  const [drawn, classified] = history.at(-1) ?? [0, 0];
  $("chart").setAttribute("aria-label", `Frames per second: ${drawn.toFixed(0)} drawn, ${classified.toFixed(0)} classified`);
}

function tell(seen) {
  const now = Date.now();
  const best = seen?.lost ? "no signal" : seen?.explained.map((one) => one.label).join(", ") ?? "";
  if (best === said || now - saidAt < SAY_MS) return;
  said = best;
  saidAt = now;
  $("said").textContent = best;
  $("picture").alt = `Live picture; shown: ${best}`;
}

function show() {
  showing = false;
  if (!news) return;
  if (!sending && !Object.keys(pending).length && JSON.stringify(news.settings) !== JSON.stringify(settings)) apply(news.settings);
  const one = news.cameras[camera === "all" ? 0 : camera];
  const seen = news.seen.find((other) => other.camera === camera);
  const [kind, text] = stateOf(one);
  $("state").className = `state ${kind}`;
  if ($("state").textContent !== text) $("state").textContent = text;
  $("state").title = seen?.lost ?? "";
  $("frame").textContent = seen ? `frame ${seen.frame}` + (seen.frame === seen.result_frame ? "" : `, map of ${seen.result_frame}`) : "";
  showTop();
  showCaptions();
  showSpeed(one, seen);
  tell(seen);
}

let showing = false;

function receive(event) {
  news = JSON.parse(event.data);
  newsAt = Date.now();
  if (!showing) {
    showing = true;
    requestAnimationFrame(show);
  }
}

setInterval(() => {
  if (!news || document.hidden) return;
  const one = news.cameras[camera === "all" ? 0 : camera];
  const fresh = Date.now() - newsAt < QUIET_MS;
  history = [...history, fresh ? [one.fps.drawn, one.fps.classified] : [0, 0]].slice(-CHART_S);
  showChart();
  if (!fresh && events && events.readyState === EventSource.OPEN && one.state === "live" && !settings.paused) {
    $("state").className = "state";
    $("state").textContent = `no frame for ${Math.round((Date.now() - newsAt) / 1000)} s`;
  }
}, 1000);

// --- connections: browsers have six a host for all tabs, so a page that nobody sees holds none ---

function watchPicture() {
  $("picture").src = `/stream?camera=${camera}&n=${++streams}`;
}

function watch() {
  if (events || document.hidden) return;
  let broken = false;
  events = new EventSource("/events");
  events.onmessage = receive;
  events.onopen = () => {
    if (broken) watchPicture();
    broken = false;
    complain("");
  };
  events.onerror = () => {
    broken = true;
    $("state").className = "state lost";
    $("state").textContent = "no connection";
    if (events?.readyState === EventSource.CLOSED) {
      release();
      setTimeout(watch, RETRY_MS);
    }
  };
  watchPicture();
}

function release() {
  events?.close();
  events = null;
  $("picture").removeAttribute("src");
}

// A stream that is cut after its first picture fires neither `error` nor `load`; but then, as after an error, the picture is
// complete and has no size. While it waits for its first part it is not complete.
setInterval(() => {
  if (events && $("picture").complete && !$("picture").naturalWidth) watchPicture();
}, RETRY_MS);

// --- the beginning ----------------------------------------------------------------------------

function choose(which) {
  camera = which;
  history = [];
  for (const button of $("cameras").children) button.setAttribute("aria-pressed", button.value === String(which));
  $("snapshot").hidden = $("map").hidden = which === "all";
  $("snapshot").href = `/api/snapshot.jpg?camera=${which}`;
  $("map").href = `/api/map.npy?camera=${which}`;
  if (events) watchPicture();
  if (news) show();
}

function pressKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const at = event.target;
  if (event.key === "Enter" && event.repeat) event.preventDefault(); // it would click again and again
  if (at.matches("input[type=search], select")) {
    if (event.key === "Escape") at.blur();
    return;
  }
  if (event.key === " " && at.matches("button, a, input")) return;
  const names = [...$("colormap").options].map((option) => option.value);
  const does = {
    " ": () => change({ paused: !settings.paused }),
    b: () => change({ boxes: !settings.boxes }),
    m: () => change({ colormap: names[(names.indexOf(settings.colormap) + 1) % names.length] }),
    s: () => $("snapshot").hidden || $("snapshot").click(),
    "/": () => $("search").focus(),
  }[event.key];
  if (does) {
    event.preventDefault();
    if (!event.repeat) does();
  }
}

async function begin() {
  let state;
  try {
    [state, labels] = await Promise.all([ask("/api/state"), ask("/api/labels")]);
  } catch (error) {
    complain(error.message);
    setTimeout(begin, RETRY_MS);
    return;
  }
  complain("");
  mostClasses = state.most_classes;
  $("model").textContent = `${state.model} on ${state.provider}`;
  document.title = `camrt: ${state.model}`;
  $("count").textContent = labels.length;
  $("colormap").replaceChildren(...state.colormaps.map((name) => new Option(name, name)));
  if (state.cameras.length > 1) {
    const buttons = [["all", "All"], ...state.cameras.map((one) => [one.camera, one.name])].map(([which, name]) => {
      const button = pressable(name, () => choose(which));
      button.value = which;
      return button;
    });
    $("cameras").replaceChildren(...buttons);
    $("cameras").hidden = false;
  }
  apply(state.settings);
  choose(state.cameras.length > 1 ? "all" : 0);
  for (const id of SLIDERS) $(id).addEventListener("input", () => change({ [id]: $(id).valueAsNumber }));
  for (const id of CHECKS) $(id).addEventListener("change", () => change({ [id]: $(id).checked }));
  $("colormap").addEventListener("change", () => change({ colormap: $("colormap").value }));
  $("paused").addEventListener("click", () => change({ paused: !settings.paused }));
  $("best").addEventListener("click", () => change({ classes: [] }));
  $("search").addEventListener("input", showFound);
  document.addEventListener("keydown", pressKey);
  document.addEventListener("visibilitychange", () => (document.hidden ? release() : watch()));
  addEventListener("pagehide", release);
  addEventListener("pageshow", watch);
  watch();
}

begin();
