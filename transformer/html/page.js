"use strict";
// Shared by all pages; a page's own script follows.
const $ = id => document.getElementById(id);
const data = JSON.parse($("data").textContent);

const range = n => Array.from({ length: n }, (_, i) => i);
const sum = values => values.reduce((total, value) => total + value, 0);
/** The largest distance from zero, null having none; 1 where all are zero, to divide by. */
const peak = values => values.flat(Infinity).reduce((most, value) => Math.max(most, Math.abs(value ?? 0)), 0) || 1;
/** An element. Children that are strings become text, never HTML. */
function make(tag, { data = {}, ...properties } = {}, ...children) {
  const node = Object.assign(document.createElement(tag), properties);
  Object.assign(node.dataset, data);
  node.append(...children);
  return node;
}
/** JSON values by name. */
function describe(values) {
  return Object.entries(values).flatMap(([name, value]) => [make("dt", {}, name), make("dd", {},
    value === null ? "none" : typeof value === "object" ? make("dl", {}, ...describe(value)) : `${value}`)]);
}

const dark = matchMedia("(prefers-color-scheme: dark)");
/** The colours of the theme, for `blend`: six hexadecimal digits each. */
function readScale() {
  const stops = getComputedStyle(document.documentElement).getPropertyValue("--scale").split(",");
  blend.stops = stops.map(stop => [1, 3, 5].map(at => parseInt(stop.trim().slice(at, at + 2), 16)));
}
/** Red, green and blue of a share of the scale, between the two nearest of its colours. */
function blend(share) {
  const place = share * (blend.stops.length - 1), [low, high] = [Math.floor(place), Math.ceil(place)];
  return blend.stops[low].map((c, i) => Math.round(c + (blend.stops[high][i] - c) * (place - low)));
}

/** Shows the tip above a cell, or below it if it does not fit, within the page. */
function showTip(cell, ...content) {
  const tip = $("tip");
  tip.hidden = false;
  tip.replaceChildren(...content);
  const { left, top, bottom } = cell.getBoundingClientRect(), { width, height } = tip.getBoundingClientRect();
  const room = document.documentElement.clientWidth - width - 4, above = top - height - 8;
  tip.style = `left: ${scrollX + Math.max(4, Math.min(left, room))}px; ` +
    `top: ${scrollY + (above > 0 ? above : bottom + 8)}px`;
}

$("about").append(...describe(data.about));
