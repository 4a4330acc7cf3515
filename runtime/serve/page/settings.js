// The display settings: the newest of the server, and the changes that are on their way to it.

import { requestJson, showError } from "./dom.js";

const SEND_MS = 80; // between two requests while a slider is dragged

export let settings = null;

const listeners = [];
let pending = {};
let sending = false;

// Call listener(settings) after each change.
export function onSettings(listener) {
  listeners.push(listener);
}

function apply(newest) {
  if (JSON.stringify(newest) === JSON.stringify(settings)) return;
  settings = newest;
  for (const listener of listeners) listener(newest);
}

// Take the settings that the server reports. They are out of date while a change is on its way.
export function receiveSettings(newest) {
  if (!sending) apply(newest);
}

export async function changeSettings(changes) {
  // Another head has other classes. The server clears them too; here it keeps wrong labels off the page until then.
  Object.assign(pending, "head" in changes ? { classes: [] } : {}, changes);
  apply({ ...settings, ...pending });
  if (sending) return;
  sending = true;
  while (Object.keys(pending).length) {
    const body = JSON.stringify(pending);
    pending = {};
    try {
      const headers = { "Content-Type": "application/json" };
      const newest = await requestJson("/api/settings", { method: "PATCH", headers, body });
      if (!Object.keys(pending).length) apply(newest);
      showError("");
    } catch (error) {
      showError(error.message);
      try { apply(await requestJson("/api/settings")); } catch { /* the error is shown already */ }
    }
    await new Promise((done) => setTimeout(done, SEND_MS));
  }
  sending = false;
}
