// The Overlay panel: one control for each display setting that the server describes.

import { $, makeElement } from "./dom.js";
import { changeSettings, onSettings, settings } from "./settings.js";

const SLIDER_S = 5; // end of a slider for seconds; a longer setting extends it

const makeSlider = (max, step) => makeElement("input", { type: "range", min: 0, max, step });

// For each kind of setting: make its control, read the value of the control, show a value. `classes` has its own panel.
const KINDS = {
  share: {
    make: () => makeSlider(1, 0.01),
    read: (input) => input.valueAsNumber,
    write: (input, value) => { input.value = value; },
    format: (value) => `${Math.round(100 * value)} %`,
  },
  seconds: {
    make: () => makeSlider(SLIDER_S, 0.05),
    read: (input) => input.valueAsNumber,
    write: (input, value) => { input.max = Math.max(SLIDER_S, value); input.value = value; },
    format: (value) => `${Number(value.toFixed(2))} s`,
  },
  flag: {
    make: () => makeElement("input", { type: "checkbox" }),
    read: (input) => input.checked,
    write: (input, value) => { input.checked = value; },
  },
  choice: {
    make: ({ choices }) => makeElement("select", {}, ...choices.map((choice) => new Option(choice, choice))),
    read: (select) => select.value,
    write: (select, value) => {
      if (![...select.options].some((option) => option.value === value)) select.add(new Option(value, value));
      select.value = value;
    },
  },
};

// Build the panel. `shortcuts` maps names of settings to their keys.
export function buildOverlay(controls, shortcuts) {
  const shown = controls.filter(({ kind }) => kind in KINDS);
  $("overlay").replaceChildren(...shown.map((control) => makeControl(control, shortcuts)));
}

function makeControl(control, shortcuts) {
  const { name, kind, label: text, help } = control;
  const { make, read, write, format } = KINDS[kind];
  const input = make(control);
  input.id = name;
  input.setAttribute("aria-description", help);
  if (shortcuts[name]) input.setAttribute("aria-keyshortcuts", shortcuts[name]);
  const output = makeElement("output", { id: `${name}-value` });
  output.htmlFor.add(name);
  const label = makeElement("label", { htmlFor: name }, text, " ", ...(format ? [output] : []));
  input.addEventListener("input", () => changeSettings({ [name]: read(input) }));
  onSettings((newest) => {
    write(input, newest[name]);
    if (format) output.textContent = format(newest[name]);
  });
  const parts = kind === "flag" ? [input, label] : [label, input];
  return makeElement("div", { className: `control ${kind}`, title: help }, ...parts);
}

// Set a setting to its next value: the next choice, or the opposite of a flag. A hidden control has one choice at most.
export function stepSetting(name) {
  if ($(name).options?.length === 0) return;
  const values = $(name).options ? [...$(name).options].map((option) => option.value) : [false, true];
  changeSettings({ [name]: values[(values.indexOf(settings[name]) + 1) % values.length] });
}
