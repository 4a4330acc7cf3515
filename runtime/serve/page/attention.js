// The Attention panel: the drift of each shown camera against the audit, and of its classes. Hidden without a reference.

import { $, makeElement } from "./dom.js";

const WORDS = { centre: "share on the centre", entropy: "spread of the map", distance: "place of the map" };

export function showAttention(cameras, results) {
  const known = results.filter(({ attention }) => attention);
  $("attention").hidden = !known.length;
  const rows = known.flatMap((result) => rowsOf(cameras.find(({ camera }) => camera === result.camera), result.attention));
  const list = $("attention-rows");
  while (list.children.length < rows.length) list.append(makeElement("li", {}, makeElement("span"), makeElement("span")));
  while (list.children.length > rows.length) list.lastChild.remove();
  rows.forEach(({ name, value, kind }, place) => {
    const row = list.children[place];
    row.className = kind;
    row.children[0].textContent = name;
    row.children[1].textContent = value;
  });
}

function rowsOf(camera, { drift, statistic, outside, classes }) {
  const verdict = outside ? `outside the audit's range: ${WORDS[statistic]}` : "within the audit's range";
  const sorted = [...classes].sort((a, b) => b.drift - a.drift);
  return [
    { name: `${camera.short_name}: ${verdict}`, value: numberOf(drift), kind: outside ? "all outside" : "all" },
    ...sorted.slice(0, 6).map(({ label, drift: own }) => ({ name: label, value: numberOf(own), kind: "" })),
  ];
}

function numberOf(drift) {
  return drift === null ? "\u2013" : drift.toFixed(2);
}
