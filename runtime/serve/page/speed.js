// The Speed panel: milliseconds of each stage, frames per second over a minute, counters.

import { $, makeElement } from "./dom.js";

const STAGES = ["preprocess", "inference", "cam", "overlay"];
const CHART_S = 60;

let history = []; // [drawn, classified] frames per second, one pair a second

const sum = (numbers) => numbers.reduce((total, number) => total + number, 0);

export function buildSpeed() {
  for (const stage of STAGES) {
    const track = makeElement("dd", { className: "track" }, makeElement("span"));
    $("stages").append(makeElement("dt", { textContent: stage }), track, makeElement("dd", { className: "ms" }));
  }
}

// Show the numbers of the shown cameras: the longest time of each stage, the sums of rates and counters. The `results`
// are those on the drawn images. In the mosaic only live cameras count: the others keep an image that was drawn earlier.
export function showSpeed(cameras, results, viewers) {
  $("scope").textContent = cameras.length > 1 ? "All cameras: longest time of each stage, sums of the rates" : "";
  const timed = cameras.length > 1 ? results.filter(({ camera }) => cameras[camera].state === "live") : results;
  const times = STAGES.map((stage) => Math.max(...timed.map((result) => result.stages_ms[stage] ?? -Infinity)));
  const total = sum(times.filter(Number.isFinite));
  times.forEach((ms, number) => {
    const [, track, text] = [...$("stages").children].slice(3 * number);
    track.firstChild.style.width = Number.isFinite(ms) && total ? `${(100 * ms) / total}%` : "0";
    text.textContent = Number.isFinite(ms) ? `${ms.toFixed(1)} ms` : "–";
  });
  const [drawn, classified] = rates(cameras);
  $("fps-drawn").textContent = `${drawn.toFixed(1)} fps drawn`;
  $("fps-classified").textContent = `${classified.toFixed(1)} classified`;
  const dropped = sum(cameras.map((camera) => camera.dropped));
  const reconnects = sum(cameras.map((camera) => camera.reconnects));
  $("counts").textContent = `${dropped} dropped, ${reconnects} reconnects, ${viewers} watching`;
}

function rates(cameras) {
  return [sum(cameras.map((camera) => camera.fps.drawn)), sum(cameras.map((camera) => camera.fps.classified))];
}

// Add a second to the chart; no cameras: nothing came in it.
export function addToChart(cameras) {
  history = [...history, rates(cameras)].slice(-CHART_S);
  const most = Math.max(1, ...history.flat()) * 1.1;
  const x = (second) => (120 * (second + CHART_S - history.length)) / (CHART_S - 1);
  const points = (which) => history
    .map((pair, second) => `${x(second)},${(40 - (38 * pair[which]) / most).toFixed(2)}`)
    .join(" ");
  $("chart-drawn").setAttribute("points", points(0));
  $("chart-classified").setAttribute("points", points(1));
  const [drawn, classified] = history.at(-1);
  const text = `${drawn.toFixed(0)} drawn, ${classified.toFixed(0)} classified`;
  $("chart").setAttribute("aria-label", `Frames per second: ${text}`);
}

export function clearChart() {
  history = [];
}
