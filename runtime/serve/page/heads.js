// The choice of a head, for a model file with several. The labels of the classes follow it.

import { setLabels } from "./classes.js";
import { $, requestJson, showError } from "./dom.js";
import { changeSettings, onSettings } from "./settings.js";

let labelled = null; // the head whose labels the page has

export function buildHeads(heads) {
  $("head").replaceChildren(...heads.map((head) => new Option(head, head)));
  $("head-control").hidden = $("head-key").hidden = heads.length < 2;
  $("head").addEventListener("input", () => changeSettings({ head: $("head").value }));
  if (heads.length > 1) onSettings(followHead);
}

async function followHead({ head }) {
  $("head").value = head;
  if (head === labelled) return;
  labelled = head;
  try {
    const names = await requestJson(`/api/labels?head=${encodeURIComponent(head)}`);
    if (labelled === head) setLabels(names);
  } catch (error) {
    labelled = null;
    showError(error.message);
  }
}
