// The page: shows the events of the server in the panels, and handles the keys.

import { showAttention } from "./attention.js";
import { showCaptions, stateOf, stateOfAll } from "./cameras.js";
import { buildClasses, showBest } from "./classes.js";
import { buildHeads } from "./heads.js";
import { connect, isSilent, watchCamera } from "./connection.js";
import { $, makeButton, requestJson, showError } from "./dom.js";
import { buildOverlay, stepSetting } from "./overlay.js";
import { changeSettings, onSettings, receiveSettings, settings } from "./settings.js";
import { addToChart, buildSpeed, clearChart, showSpeed } from "./speed.js";

const ANNOUNCE_MS = 3000; // between two announcements to a screen reader
const RETRY_MS = 2000;
const SHORTCUTS = { m: "colormap", b: "boxes", h: "head" };

let selected = 0;         // number of a camera, or "all"
let newest = null;        // the newest event
let drawing = false;
let announcedAt = 0;

function shownCameras() {
  return selected === "all" ? newest.cameras : [newest.cameras[selected]];
}

function show() {
  drawing = false;
  receiveSettings(newest.settings);
  const mosaic = selected === "all";
  const cameras = shownCameras();
  const results = mosaic ? newest.seen : newest.seen.filter((result) => result.camera === selected);
  if (!isSilent()) showState(mosaic ? stateOfAll(cameras, settings.paused) : stateOf(cameras[0], settings.paused));
  $("state").title = results.map((result) => result.lost).filter(Boolean).join("; ");
  $("frame").textContent = mosaic || !results.length ? "" : frameText(results[0]);
  const current = mosaic ? results.filter(({ camera }) => cameras[camera].state !== "stalled") : results;
  showBest(current, mosaic ? cameras.map((camera) => camera.short_name) : null);
  showCaptions(cameras, results, { mosaic, paused: settings.paused });
  showAttention(cameras, results);
  showSpeed(cameras, results, newest.viewers);
  announce(results);
}

// A screen reader speaks each change of the text. It ignores the duration, which has aria-hidden.
function showState({ kind, text, duration = "" }) {
  $("state").className = `state ${kind}`;
  const [spoken, silent] = $("state").children;
  if (spoken.textContent !== text) spoken.textContent = text;
  silent.textContent = duration;
}

function frameText({ frame, result_frame: classified, head }) {
  return `${head ? `${head}, ` : ""}frame ${frame}${frame === classified ? "" : `, map of ${classified}`}`;
}

// Tell a screen reader the classes that are shown, when they change.
function announce(results) {
  const labelsOf = ({ lost, explained }) => (lost ? "no signal" : explained.map(({ label }) => label).join(", "));
  const text = results.map(labelsOf).join("; ");
  if (text === $("announcement").textContent || Date.now() - announcedAt < ANNOUNCE_MS) return;
  announcedAt = Date.now();
  $("announcement").textContent = text;
  $("image").alt = `Live image; shown: ${text}`;
}

function receive(event) {
  newest = event;
  if (!drawing) {
    drawing = true;
    requestAnimationFrame(show);
  }
}

function select(which) {
  selected = which;
  clearChart();
  for (const button of $("cameras").children) button.setAttribute("aria-pressed", button.value === String(which));
  $("snapshot").hidden = $("map").hidden = which === "all";
  $("snapshot").href = `/api/snapshot.jpg?camera=${which}`;
  $("map").href = `/api/map.npy?camera=${which}`;
  watchCamera(which);
  if (newest) show();
}

function buildCameras(cameras) {
  const buttons = cameras.map(({ camera, name, short_name: text }) => {
    const button = makeButton(text, () => select(camera));
    return Object.assign(button, { value: camera, title: name });
  });
  const all = Object.assign(makeButton("All", () => select("all")), { value: "all" });
  $("cameras").replaceChildren(all, ...buttons);
  $("cameras").hidden = false;
}

function pressKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const { key, target } = event;
  if (key === "Enter" && event.repeat) event.preventDefault(); // a held key would click again and again
  if (target.matches("input[type=search], select")) {
    if (key === "Escape") target.blur();
    return;
  }
  if (key === " " && target.matches("button, a, input")) return;
  const actions = {
    " ": () => changeSettings({ paused: !settings.paused }),
    s: () => $("snapshot").hidden || $("snapshot").click(),
    "/": () => $("search").focus(),
  };
  const action = actions[key] ?? (key in SHORTCUTS ? () => stepSetting(SHORTCUTS[key]) : null);
  if (!action) return;
  event.preventDefault();
  if (!event.repeat) action();
}

async function start() {
  let state, labels;
  try {
    [state, labels] = await Promise.all([requestJson("/api/state"), requestJson("/api/labels")]);
  } catch (error) {
    showError(error.message);
    setTimeout(start, RETRY_MS);
    return;
  }
  showError("");
  $("model").textContent = `${state.model} on ${state.provider}`;
  document.title = `camrt: ${state.model}`;
  buildClasses(labels, state.most_classes);
  buildOverlay(state.controls, Object.fromEntries(Object.entries(SHORTCUTS).map(([key, name]) => [name, key])));
  buildHeads(state.heads);
  buildSpeed();
  onSettings(({ paused }) => {
    $("paused").setAttribute("aria-pressed", paused);
    $("paused").textContent = paused ? "Frozen: continue" : "Freeze";
  });
  receiveSettings(state.settings);
  $("paused").addEventListener("click", () => changeSettings({ paused: !settings.paused }));
  document.addEventListener("keydown", pressKey);
  if (state.cameras.length > 1) buildCameras(state.cameras);
  select(state.cameras.length > 1 ? "all" : 0);
  connect(receive, () => showState({ kind: "lost", text: "no connection" }));
  setInterval(() => {
    if (newest && !document.hidden) addToChart(isSilent() ? [] : shownCameras());
  }, 1000);
}

start();
