// Helpers for elements of the page and for requests.

export const $ = (id) => document.getElementById(id);

export function makeElement(name, properties = {}, ...children) {
  const element = Object.assign(document.createElement(name), properties);
  element.append(...children);
  return element;
}

export function makeButton(text, onPress) {
  const button = makeElement("button", { type: "button", textContent: text });
  button.addEventListener("click", onPress);
  return button;
}

// An empty text hides the error.
export function showError(text) {
  $("error").textContent = text;
  $("error").hidden = !text;
}

// Return the JSON of a response. Throw an Error with the server's reason.
export async function requestJson(path, options) {
  const response = await fetch(path, options);
  if (response.ok) return response.json();
  const text = await response.text();
  let detail = text;
  try { detail = JSON.parse(text).detail; } catch { /* it is plain text */ }
  throw new Error(typeof detail === "string" ? detail : detail.map((reason) => reason.msg).join("; "));
}
