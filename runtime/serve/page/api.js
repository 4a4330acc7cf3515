// Shows /openapi.json to be read.

function make(name, text, ...inside) {
  const element = document.createElement(name);
  if (text) element.textContent = text;
  element.append(...inside);
  return element;
}

function table(heads, rows) {
  const cells = (name, texts) => make("tr", "", ...texts.map((text) => make(name, text)));
  return make("table", "", make("thead", "", cells("th", heads)), make("tbody", "", ...rows.map((row) => cells("td", row))));
}

// What a schema says, in a few words.
function kind(schema) {
  if (schema.$ref) return schema.$ref.split("/").at(-1);
  if (schema.anyOf) return schema.anyOf.map(kind).join(" or ");
  if (schema.const !== undefined) return JSON.stringify(schema.const);
  if (schema.enum) return schema.enum.map((one) => JSON.stringify(one)).join(" or ");
  if (schema.type === "array") return `list of ${schema.items ? kind(schema.items) : "values"}`;
  return schema.type ?? "anything";
}

function jsonKind(content) {
  const schema = content?.["application/json"]?.schema;
  return schema && Object.keys(schema).length ? kind(schema) : "";
}

const openapi = await (await fetch("/openapi.json")).json();
const main = document.getElementById("api");

for (const [path, methods] of Object.entries(openapi.paths)) {
  for (const [method, what] of Object.entries(methods)) {
    const name = make("code", "", make("span", `${method.toUpperCase()} `), path);
    name.firstChild.className = "method";
    const section = make("section", "", make("h2", "", name), make("p", what.description));
    section.className = "panel";
    if (what.parameters) {
      const rows = what.parameters.map((one) => [one.name, kind(one.schema), String(one.schema.default ?? ""), one.description ?? ""]);
      section.append(table(["parameter", "type", "default", ""], rows));
    }
    const taken = jsonKind(what.requestBody?.content);
    const given = jsonKind(what.responses["200"]?.content);
    if (taken) section.append(make("p", `takes: ${taken}`));
    if (given) section.append(make("p", `answers: ${given}`));
    main.append(section);
  }
}

for (const [name, schema] of Object.entries(openapi.components?.schemas ?? {})) {
  if (!schema.properties) continue;
  const section = make("section", "", make("h2", name), make("p", schema.description));
  section.className = "panel";
  const rows = Object.entries(schema.properties).map(([field, one]) => [field, kind(one), one.description ?? ""]);
  section.append(table(["field", "type", ""], rows));
  main.append(section);
}
