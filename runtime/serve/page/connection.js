// The connections to the server: events and images. Browsers allow six for each server, all tabs together, so a hidden
// page holds none.

import { $, showError } from "./dom.js";

const RETRY_MS = 2000;
const SILENT_MS = 3000;     // events come at least twice a second, also without frames
const RECONNECT_MS = 10000; // a connection that is silent for so long is replaced

let onEvent = null;
let onSilence = null;
let camera = 0;
let events = null;
let streams = 0;            // makes the address of each image stream unique, since browsers share equal ones
let newestAt = 0;           // time of the newest event, or of the connection

// Call receive(event) for each event, and reportSilence() again and again while none come.
export function connect(receive, reportSilence) {
  onEvent = receive;
  onSilence = reportSilence;
  document.addEventListener("visibilitychange", () => (document.hidden ? close() : open()));
  addEventListener("pagehide", close);
  addEventListener("pageshow", open);
  setInterval(check, 1000);
  setInterval(checkImage, RETRY_MS);
  open();
}

export function watchCamera(which) {
  camera = which;
  if (events) openImages();
}

export function isSilent() {
  return Date.now() - newestAt > SILENT_MS;
}

function openImages() {
  $("image").src = `/stream?camera=${camera}&n=${++streams}`;
}

function open() {
  if (events || document.hidden) return;
  let broken = false;
  newestAt = Date.now();
  events = new EventSource("/events");
  events.onmessage = (message) => {
    newestAt = Date.now();
    onEvent(JSON.parse(message.data));
  };
  events.onopen = () => {
    if (broken) openImages();
    broken = false;
    showError("");
  };
  events.onerror = () => {
    broken = true;
    onSilence();
    if (events?.readyState === EventSource.CLOSED) {
      close();
      setTimeout(open, RETRY_MS);
    }
  };
  openImages();
}

function close() {
  events?.close();
  events = null;
  $("image").removeAttribute("src");
}

function check() {
  if (!events || !isSilent()) return;
  onSilence();
  if (Date.now() - newestAt > RECONNECT_MS) {
    close();
    open();
  }
}

// A stream that is cut after its first image fires neither `error` nor `load`. Then, as after an error, the image is
// complete and has no size. An image that waits for its first part is not complete.
function checkImage() {
  if (events && $("image").complete && !$("image").naturalWidth) openImages();
}
