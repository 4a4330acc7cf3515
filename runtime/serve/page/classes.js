// The Classes panel: the best classes, the classes that are chosen, and the search.

import { $, makeButton, makeElement, showError } from "./dom.js";
import { changeSettings, onSettings, settings } from "./settings.js";

const MOST_HITS = 50;
const MOST_ROWS = 10;

let labels = [];
let mostClasses = 1;

export function buildClasses(names, most) {
  mostClasses = most;
  setLabels(names);
  $("best").addEventListener("click", () => changeSettings({ classes: [] }));
  $("search").addEventListener("input", showHits);
  onSettings(showChosen);
}

// Take the labels of another head.
export function setLabels(names) {
  labels = names;
  $("count").textContent = labels.length;
  if (!settings) return;
  [...$("chosen").children].filter((chip) => chip.id !== "best").forEach((chip) => chip.remove());
  showChosen(settings);
  showHits();
}

function toggle(classId) {
  const classes = settings.classes.includes(classId)
    ? settings.classes.filter((id) => id !== classId)
    : [...settings.classes, classId];
  if (classes.length > mostClasses) showError(`At most ${mostClasses} maps fit side by side.`);
  else changeSettings({ classes });
}

// An element with the focus must not vanish, here and below: the next key would go to the page, where a space freezes
// the image for all viewers.
function showChosen({ classes }) {
  const chosen = $("chosen");
  for (const chip of [...chosen.children]) {
    if (chip.id === "best" || classes.includes(chip.classId)) continue;
    if (chip === document.activeElement) chip.nextElementSibling.focus();
    chip.remove();
  }
  classes.forEach((id, place) => {
    const chip = [...chosen.children].find((child) => child.classId === id) ?? makeChip(id);
    if (chosen.children[place] !== chip) chosen.insertBefore(chip, chosen.children[place]);
  });
  $("best").setAttribute("aria-pressed", !classes.length);
  for (const button of $("hits").querySelectorAll("button")) {
    button.setAttribute("aria-pressed", classes.includes(button.classId));
  }
}

function makeChip(id) {
  const chip = makeButton(`${labels[id]} ✕`, () => toggle(id));
  chip.classId = id;
  chip.setAttribute("aria-label", `Do not show ${labels[id]}`);
  return chip;
}

function showHits() {
  const text = $("search").value.trim().toLowerCase();
  const ids = text ? [...labels.keys()].filter((id) => labels[id].toLowerCase().includes(text)) : [];
  const items = ids.slice(0, MOST_HITS).map((id) => {
    const button = makeButton(labels[id], () => toggle(id));
    button.classId = id;
    button.setAttribute("aria-pressed", settings.classes.includes(id));
    return makeElement("li", {}, button);
  });
  const note = ids.length > MOST_HITS ? `${ids.length - MOST_HITS} more` : text && !ids.length ? "no such label" : "";
  if (note) items.push(makeElement("li", { className: "note", textContent: note }));
  $("hits").replaceChildren(...items);
}

// The best classes of all results: each class once, with its best score and the camera that has it.
function bestClasses(results) {
  const best = new Map();
  const rank = (row) => row.score ?? -Infinity;
  for (const { camera, top } of results) {
    for (const row of top) {
      const other = best.get(row.class_id);
      if (!other || rank(row) > rank(other)) best.set(row.class_id, { ...row, camera });
    }
  }
  return [...best.values()].sort((a, b) => rank(b) - rank(a)).slice(0, MOST_ROWS);
}

// Show the best classes of some cameras; `names` has a name for each camera, or is null for a camera that is shown
// alone. The rows stay and their contents change, so that a pressed row does not vanish under the finger.
export function showBest(results, names) {
  const best = bestClasses(results);
  while ($("top").children.length < best.length) $("top").append(makeRow());
  [...$("top").children].forEach((item, place) => {
    item.hidden = place >= best.length;
    if (item.hidden) return;
    const { class_id: id, label, score, camera } = best[place];
    const button = item.firstChild;
    const [bar, name, number, source] = button.children;
    button.classId = id;
    button.setAttribute("aria-pressed", results.some(({ explained }) => explained.some((row) => row.class_id === id)));
    bar.style.width = `${100 * Math.min(1, Math.max(0, score ?? 0))}%`;
    name.textContent = label;
    source.textContent = names?.[camera] ?? "";
    number.textContent = score === null ? "–" : score.toFixed(2);
  });
}

// A press counts for the class that the row showed when the press began.
function makeRow() {
  const button = makeButton("", () => {
    const id = button.pressed ?? button.classId; // a screen reader clicks without pressing
    button.pressed = null;
    toggle(id);
  });
  button.addEventListener("pointerdown", () => { button.pressed = button.classId; });
  button.addEventListener("keydown", (event) => {
    if (["Enter", " "].includes(event.key) && !event.repeat) button.pressed = button.classId;
  });
  button.append(...["bar", "label", "score", "source"].map((className) => makeElement("span", { className })));
  return makeElement("li", {}, button);
}
