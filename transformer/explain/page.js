// Shared by all pages that explain steps: heatmaps, tables, and the choice of the token that every step follows. The
// page's own script defines `pieces` (the tokens), `limits` and `standard` (for each part of the state the number of
// choices and the default) and `draw()`, and calls `begin()`.
const { steps } = data, state = {}, cell = make("div", { id: "cell" }), SHOWN = 4;
const drawn = {}; // by the id of a canvas: its numbers, the description of one, and the position of the keyboard cursor

const all = selector => [...document.querySelectorAll(selector)];
const added = (a, b) => a.map((row, i) => row.map((value, j) => value + b[i][j]));
const within = (n, count) => Math.max(0, Math.min(count - 1, n));
const text = value => value === null ? "-inf"
  : Math.abs(value) < 1e5 ? `${+value.toPrecision(4)}` : value.toExponential(3);
/** Red, green, blue and opacity of a share from -1 to 1; null is clear. */
const colour = share => share === null ? [0, 0, 0, 0] : [...blend((share + 1) / 2), 255];
/** A figure of [rows][columns] of numbers; `say` is a line more on the number of a row and a column. A row chooses the
    focus unless `picks` is false. */
function heatmap(id, name, values,
  { kind = "", rows = pieces, columns, on = [], most = peak(values), say, picks = true } = {}) {
  const strip = kind.startsWith("strip"), across = values[0].length, top = kind.includes("above");
  const at = strip || rows !== pieces || !picks ? -1 : state.focus, chooses = picks && !strip;
  const canvas = make("canvas", { id, width: across, height: values.length, tabIndex: 0, role: "img",
    ariaLabel: `${name}: ${values.length} by ${across} numbers up to ${text(most)}; the arrow keys read them`,
    className: `${chooses ? "tokens" : ""} ${across > 256 ? "fine" : ""}` });
  const pixels = Uint8ClampedArray.from(values.flat().flatMap(value => colour(value === null ? null : value / most)));
  canvas.getContext("2d").putImageData(new ImageData(pixels, across), 0, 0);
  drawn[id] = { values, across, rows, columns, say, strip, chooses, at: drawn[id]?.at ?? [Math.max(at, 0), 0] };
  const label = chosen => (title, n) =>
    make("span", { title, dir: "auto", lang: "", className: chosen(n) ? "on" : "" }, title);
  const sizes = `--n: ${values.length}; --m: ${across}; --at: ${at}`;
  return make("figure", {},
    make("figcaption", {}, make("span", {}, name), make("span", { className: `legend ${top ? "above" : ""}` },
      make("span", {}, top ? "0" : text(-most)), make("span", {}, text(most)))),
    make("div", { className: "scroll" },
      make("div", { className: `plot ${kind} ${at < 0 ? "" : "framed"}`, style: sizes },
        ...(columns ? [make("div", { className: "columns" }, ...columns.map(label(n => on.includes(n))))] : []),
        make("div", { className: "rows" }, ...rows.map(label(n => n === at || rows.length === 1))),
        make("div", { className: "cells" }, canvas))));
}
/** A vector as a heatmap of one row, whose label is the focus. */
function strip(id, name, values, options = {}) {
  return heatmap(id, name, [values], { kind: "strip", rows: [pieces[state.focus]], ...options });
}
/** The first numbers of some vectors, to be checked by hand: a row each for [name, vector], or [name, text]. */
function worked(rows, name = "number") {
  const shown = rows.find(([, values]) => Array.isArray(values))[1].slice(0, SHOWN);
  const row = ([label, values]) => make("tr", {}, make("th", { scope: "row" }, label), ...(Array.isArray(values)
    ? values.slice(0, SHOWN).map(value => make("td", {}, Math.abs(value) < 10 ? value.toFixed(3) : text(value)))
    : [make("td", { colSpan: shown.length }, values)]));
  return make("div", { className: "scroll" }, make("table", { className: "worked", ariaLabel: name },
    make("thead", {}, make("tr", {}, make("th", { scope: "col" }, name),
      ...shown.map((_, n) => make("th", { scope: "col" }, `${n}`)))),
    make("tbody", {}, ...rows.map(row))));
}
/** A row for each token: its cells, and last its share of `weights` as a bar or, where it has none, the reason. */
function shares(name, columns, rows, { tokens, weights, reason, on = -1 }) {
  const row = (piece, n) => {
    const why = reason(n), bar = why || make("i", { style: `--share: ${100 * weights[n]}%` });
    return make("tr", { className: why ? "masked" : "" },
      make("th", { scope: "row", title: piece, className: n === on ? "on" : "" }, make("bdi", {}, piece)),
      ...rows[n].map(each => make("td", {}, each)),
      make("td", { className: "share" }, make("div", {}, make("span", {}, weights[n].toFixed(3)), bar)));
  };
  return make("div", { className: "scroll" }, make("table", { ariaLabel: name },
    make("thead", {}, make("tr", {}, ...["token", ...columns].map(each => make("th", { scope: "col" }, each)))),
    make("tbody", { lang: "" }, ...tokens.map(row)),
    make("tfoot", {}, make("tr", {}, make("th", { colSpan: columns.length }, "sum"),
      make("td", { className: "share" }, make("div", {}, sum(weights).toFixed(3)))))));
}
/** The softmax of the largest energy of a row, with its numbers; a `gain` may make another weight the largest. */
function largest(energies, tokens, gain) {
  const finite = energies.filter(energy => energy !== null);
  if (!finite.length) return make("p", { className: "largest" }, "No token may be attended to.");
  const n = energies.indexOf(Math.max(...finite)), total = sum(finite.map(Math.exp));
  const most = gain ? "Largest before the gain: " : "Attends most to ";
  return make("p", { className: "largest" }, most, make("bdi", {}, tokens[n]),
    `: exp(${energies[n].toFixed(2)}) / ${text(total)} = ${(Math.exp(energies[n]) / total).toFixed(3)}`);
}
/** The values of all tokens, each times its weight, and their sum. */
function weighted(map, { weights, values, context, tokens, picks }) {
  const products = values.map((row, n) => row.map(number => number * weights[n])), most = peak([...products, context]);
  return [
    map("weighted", "weight × value of each token", products, { kind: "weighted", most, picks,
      rows: tokens.map((piece, n) => `${weights[n].toFixed(2)} × ${piece}`),
      say: (row, column) => `${text(weights[row])} × ${text(values[row][column])}` }),
    map("context", "their sum, the context", [context], { kind: "strip weighted", most, rows: ["sum"] })];
}
/** The most probable next tokens after the focus. */
function predicted({ words, logits, total, probabilities }) {
  const [best, log, shown] = [logits, total, probabilities].map(values => values[state.focus]);
  return shares("The next token", ["logit", `exp(logit − ${log.toFixed(3)})`], best.map(logit => [logit.toFixed(3)]),
    { tokens: words[state.focus], weights: shown, reason: () => "" });
}

/** Draws the requested state; invalid choices are replaced by the defaults. */
function go(changes = {}) {
  for (const [name, asked] of Object.entries(changes))
    state[name] = range(limits[name]).find(n => `${n}` === `${asked}`) ?? standard[name];
  history.replaceState(null, "", "#" + new URLSearchParams(state));
  const focused = document.activeElement.id, places = all(".scroll").map(box => box.scrollLeft);
  for (const part of all("[data-say=focus]")) part.textContent = pieces[state.focus];
  for (const [n, button] of [...$("tokens").children].entries()) {
    button.ariaPressed = n === state.focus;
    button.tabIndex = n === state.focus ? 0 : -1;
  }
  const box = $("tokens"), button = box.children[state.focus];
  box.scrollLeft = button.offsetLeft - (box.clientWidth - button.offsetWidth) / 2;
  draw();
  all(".scroll").forEach((box, n) => { box.scrollLeft = places[n] ?? 0; });
  $(focused)?.focus({ preventScroll: true });
}
/** The number of a cell, next to it and within the page; hidden without a cell. */
function tip(canvas, row, column) {
  $("tip").hidden = cell.hidden = !canvas;
  if (!canvas) return;
  const { values, across, rows, columns, say, strip } = drawn[canvas.id];
  cell.style = `left: ${100 * column / across}%; top: ${100 * row / values.length}%; ` +
    `width: ${100 / across}%; height: ${100 / values.length}%`;
  canvas.after(cell);
  const where = columns && !strip ? [" attends to ", make("bdi", {}, columns[column])] : [`, number ${column}`];
  showTip(cell, make("strong", {}, text(values[row][column])), make("bdi", {}, rows[row]), ...where,
    ...(say ? [make("div", {}, say(row, column))] : []));
}
function onPoint({ target, clientX, clientY, type }) {
  const shown = drawn[target.id];
  if (!shown) return tip();
  const { left, top, width, height } = target.getBoundingClientRect();
  const cellAt = (share, count) => within(Math.floor(share * count), count);
  shown.at = [cellAt((clientY - top) / height, shown.values.length), cellAt((clientX - left) / width, shown.across)];
  if (type === "click" && shown.chooses) go({ focus: shown.at[0] });
  tip($(target.id), ...shown.at);
}
/** The arrow keys move through the focused heatmap, and elsewhere from token to token. */
function onKey(event) {
  const { target, key } = event, shown = drawn[target.id];
  const across = { ArrowLeft: -1, ArrowRight: 1 }[key] ?? 0, down = { ArrowUp: -1, ArrowDown: 1 }[key] ?? 0;
  if (key === "Escape") return tip();
  if (event.ctrlKey || event.altKey || event.metaKey || target.matches("select, summary, .scroll")) return;
  if (shown && (across || down)) {
    shown.at = [within(shown.at[0] + down, shown.values.length), within(shown.at[1] + across, shown.across)];
    tip(target, ...shown.at);
    cell.scrollIntoView({ block: "nearest", inline: "nearest" });
  } else if (shown?.chooses && ["Enter", " "].includes(key)) go({ focus: shown.at[0] });
  else if (!shown && across) {
    go({ focus: within(state.focus + across, pieces.length) });
    if (target.closest("#tokens")) $("tokens").children[state.focus].focus({ preventScroll: true });
  } else return;
  event.preventDefault();
}
function onFocus({ target }) {
  if (drawn[target.id] && target.matches(":focus-visible")) tip(target, ...drawn[target.id].at);
}
function onHash() {
  const asked = new URLSearchParams(location.hash.slice(1));
  go(Object.fromEntries(Object.keys(standard).map(name => [name, asked.get(name)])));
}

/** Fills in the page and draws it: `said` are its words and numbers, `holds` which of its parts apply, `labels` all
    tokens that label rows. */
function begin(said, holds, labels) {
  for (const part of all("section[data-if]")) if (!holds[part.dataset.if]) part.remove();
  for (const part of all("[data-say]")) part.textContent = said[part.dataset.say];
  for (const part of all("[data-if]")) part.hidden = !holds[part.dataset.if];
  for (const [n, number] of all("h2 > b").entries()) number.textContent = n + 1;
  document.body.style.setProperty("--label", `min(${2 + Math.max(...labels.map(piece => piece.length))}ch, 84px)`);
  $("tokens").append(...pieces.map((piece, n) =>
    make("button", { type: "button", id: `token-${n}`, dir: "auto", onclick: () => go({ focus: n }) }, piece)));
  document.addEventListener("mousemove", onPoint);
  document.addEventListener("click", onPoint);
  document.addEventListener("keydown", onKey);
  document.addEventListener("focusin", onFocus);
  document.addEventListener("focusout", () => tip());
  document.addEventListener("scroll", ({ target }) => {
    if (target !== document && target.contains(cell)) tip();
  }, true);
  addEventListener("hashchange", onHash);
  dark.addEventListener("change", () => { readScale(); go(); });
  readScale();
  onHash();
}
