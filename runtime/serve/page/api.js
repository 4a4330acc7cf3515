// The API page: shows /openapi.json as tables.

import { makeElement } from "./dom.js";

// Make an element of a text in which double backquotes enclose code.
function text(name, content) {
  const parts = content.split("``").map((part, number) => (number % 2 ? makeElement("code", {}, part) : part));
  return makeElement(name, {}, ...parts);
}

function makeTable(heads, rows) {
  const makeRow = (name, texts) => makeElement("tr", {}, ...texts.map((content) => text(name, content)));
  const head = makeElement("thead", {}, makeRow("th", heads));
  const body = makeElement("tbody", {}, ...rows.map((row) => makeRow("td", row)));
  return makeElement("table", {}, head, body);
}

function makeSection(title, description = "") {
  const section = makeElement("section", { className: "panel" }, makeElement("h2", {}, title), text("p", description));
  document.getElementById("api").append(section);
  return section;
}

// Describe the type of a schema in a few words.
function typeOf(schema) {
  if (schema.$ref) return schema.$ref.split("/").at(-1);
  if (schema.anyOf) return schema.anyOf.map(typeOf).join(" or ");
  if (schema.const !== undefined) return JSON.stringify(schema.const);
  if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(" or ");
  if (schema.type === "array") return `list of ${schema.items ? typeOf(schema.items) : "values"}`;
  return schema.type ?? "anything";
}

function typeOfJson(content) {
  const schema = content?.["application/json"]?.schema;
  return schema && Object.keys(schema).length ? typeOf(schema) : "";
}

const openapi = await (await fetch("/openapi.json")).json();

for (const [path, operations] of Object.entries(openapi.paths)) {
  for (const [method, operation] of Object.entries(operations)) {
    const name = makeElement("span", { className: "method", textContent: `${method.toUpperCase()} ` });
    const section = makeSection(makeElement("code", {}, name, path), operation.description);
    if (operation.parameters) {
      const rows = operation.parameters.map((parameter) => {
        const { name: field, schema, description } = parameter;
        return [field, typeOf(schema), String(schema.default ?? ""), description ?? ""];
      });
      section.append(makeTable(["parameter", "type", "default", ""], rows));
    }
    const request = typeOfJson(operation.requestBody?.content);
    const response = typeOfJson(operation.responses["200"]?.content);
    if (request) section.append(text("p", `request: ${request}`));
    if (response) section.append(text("p", `response: ${response}`));
  }
}

for (const [name, schema] of Object.entries(openapi.components?.schemas ?? {})) {
  if (!schema.properties) continue;
  const rows = Object.entries(schema.properties).map(([field, property]) => {
    return [field, typeOf(property), property.description ?? ""];
  });
  makeSection(name, schema.description).append(makeTable(["field", "type", ""], rows));
}
