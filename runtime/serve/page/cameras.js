// States and captions of cameras.

import { $, makeElement } from "./dom.js";

// Return the kind of the state (a class of the style sheet), its text, and its duration, which changes each second.
export function stateOf(camera, paused) {
  switch (camera.state) {
    case "live": return paused ? { kind: "frozen", text: "frozen" } : { kind: "live", text: "live" };
    case "stalled": return { kind: "lost", text: "stalled: no frame", duration: ` for ${Math.floor(camera.age_s)} s` };
    case "lost": return { kind: "lost", text: "no signal" };
    default: return { kind: "", text: camera.state };
  }
}

// Return the state of several cameras together; with different states, the number of those that are live.
export function stateOfAll(cameras, paused) {
  const states = cameras.map((camera) => stateOf(camera, paused));
  if (states.every(({ text }) => text === states[0].text)) return { ...states[0], duration: "" };
  const live = cameras.filter((camera) => camera.state === "live").length;
  const kind = states.some((state) => state.kind === "lost") ? "lost" : "";
  return { kind, text: `${live} of ${cameras.length} live` };
}

function labelsOf(result) {
  return (result?.explained ?? []).map(({ label, score }) => (score === null ? label : `${label} ${score.toFixed(2)}`));
}

// Show a caption below each map of a camera, or below each camera of the mosaic.
export function showCaptions(cameras, results, { mosaic, paused }) {
  const captions = mosaic
    ? cameras.map((camera) => captionOf(camera, results.find((result) => result.camera === camera.camera), paused))
    : labelsOf(results[0]).map((text) => ({ text, kind: "", title: "" }));
  const caption = $("captions");
  while (caption.children.length < captions.length) caption.append(makeElement("span"));
  while (caption.children.length > captions.length) caption.lastChild.remove();
  captions.forEach(({ text, kind, title }, number) => {
    Object.assign(caption.children[number], { textContent: text, className: kind, title });
  });
  const columns = mosaic ? Math.ceil(Math.sqrt(captions.length)) : captions.length || 1;
  caption.style.gridTemplateColumns = `repeat(${columns}, minmax(0, 1fr))`;
  const { naturalWidth, naturalHeight } = $("image");
  if (naturalHeight) caption.parentElement.style.setProperty("--ratio", naturalWidth / naturalHeight);
}

function captionOf(camera, result, paused) {
  const { kind, text: state, duration = "" } = stateOf(camera, paused);
  const labels = ["live", "ended"].includes(camera.state) ? labelsOf(result).join(", ") : "";
  const texts = camera.state === "live" ? [labels] : [state + duration, labels];
  const text = `${camera.short_name}: ${texts.filter(Boolean).join(", ")}`;
  return { text, kind: kind === "lost" ? kind : "", title: camera.name };
}
