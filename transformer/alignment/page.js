const { sentences } = data;
const state = { sentence: "1", kind: "cross", ...data.start, unit: "words" };
let shown = {}; // what is drawn: the labels of both axes, the matrix, its largest weight
let point = {}, pinned = false; // {row, column}, one or both: the selected word or cell

const table = document.querySelector("table");

/** [attending, attended]: the name of each, its labels, and the word of each of its tokens, -1 for a special token. */
function sides({ source, target, read }) {
  const side = (name, { words, pieces, spans }) =>
    ({ name, spans, labels: state.unit === "pieces" ? pieces : range(count(spans)).map(n => words[n] ?? "") });
  return [state.kind === "encoder" ? side("source", source) : side("target", target),
    state.kind === "decoder" ? side("target so far", read) : side("source", source)];
}
const count = spans => Math.max(-1, ...spans) + 1;
/** [layers][heads][T][S] -> [T][S]: one layer and head, or the mean where "mean" is given. */
function selectHeads(weights, layer, head) {
  const layers = layer === "mean" ? weights : [weights[layer]];
  const chosen = layers.flatMap(heads => head === "mean" ? heads : [heads[head]]);
  return chosen[0].map((row, t) => row.map((_, s) => sum(chosen.map(one => one[t][s])) / chosen.length));
}
/** Summed over the pieces of a column's word, averaged over a row's; without special tokens, rows keep their sum.
 * Negative weights count as zero. */
function byWord(signed, rows, columns) {
  const weights = signed.map(row => row.map(weight => Math.max(weight, 0)));
  const words = range(count(rows)).map(() => range(count(columns)).fill(0));
  weights.forEach((row, t) => {
    const kept = sum(row.filter((_, s) => columns[s] >= 0)), pieces = rows.filter(word => word === rows[t]).length;
    if (rows[t] < 0 || kept === 0) return;
    const gain = sum(row) / kept / pieces;
    row.forEach((weight, s) => { if (columns[s] >= 0) words[rows[t]][columns[s]] += weight * gain; });
  });
  return words;
}

/** Red, green and blue of a share of the largest weight. */
const colour = share => blend(Math.min(Math.max(share, 0), 1));
/** The style of what holds text: black or white on the colour, whichever contrasts more. */
function shade(weight) {
  const rgb = colour(weight / shown.most), light = sum(rgb.map((c, i) => [.2126, .7152, .0722][i] * (c / 255) ** 2.2));
  return `background: rgb(${rgb}); color: ${light > .18 ? "#000" : "#fff"}`;
}

/** Draws the requested state, or the nearest valid one. */
function go(changes = {}) {
  Object.assign(state, changes);
  const settle = (name, values) => { if (!values.includes(state[name])) state[name] = values[0]; return values; };
  const pair = sentences[settle("sentence", sentences.map((_, n) => `${n + 1}`)).indexOf(state.sentence)];
  const kinds = settle("kind", data.kinds.filter(kind => pair[kind]));
  const units = settle("unit", ["words", "pieces"]);
  const weights = pair[state.kind], some = n => n > 1 ? ["mean", ...range(n).map(String)] : ["mean"];
  const layers = settle("layer", some(weights.length)), heads = settle("head", some(weights[0].length));
  history.replaceState(null, "", "#" + new URLSearchParams(state));

  const [rows, columns] = sides(pair), focused = document.activeElement.id;
  const of = (layer, head) => {
    const chosen = selectHeads(weights, layer, head);
    return state.unit === "pieces" ? chosen : byWord(chosen, rows.spans, columns.spans);
  };
  const matrix = of(state.layer, state.head), same = [state.sentence, state.kind, state.unit].join();
  if (shown.same !== same) point = {}, pinned = false; // another layer or head keeps what is pinned
  // Gold links are between words of the source and of the target.
  const between = !["encoder", "decoder"].includes(state.kind);
  const gold = new Set(between && state.unit === "words" ? pair.gold.map(([s, t]) => `${t},${s}`) : []);
  shown = { same, matrix, rows: rows.labels, columns: columns.labels, most: peak(matrix), gold };
  drawControls({ kind: kinds, unit: units }, { layer: layers, head: heads });
  drawWords(rows, columns);
  drawTable(rows.name, columns.name);
  drawHeads(of, [...layers.slice(1), "mean"], [...heads.slice(1), "mean"]);
  $(focused)?.focus({ preventScroll: true });
  show(point);
}

function drawControls(segments, selects) {
  $("sentence").value = state.sentence;
  $("previous").disabled = state.sentence === "1";
  $("next").disabled = +state.sentence === sentences.length;
  for (const [name, values] of Object.entries(segments))
    $(name).replaceChildren(...values.map(value => make("label", {},
      make("input", { type: "radio", id: value, name, value, checked: value === state[name] }), value)));
  for (const [name, values] of Object.entries(selects)) {
    const text = value => value === "mean" ? `mean of ${name}s` : value;
    $(name).replaceChildren(...values.map(value => make("option", { value }, text(value))));
    $(name).value = state[name];
    $(name).parentNode.hidden = values.length === 1;
  }
}
function drawWords(rows, columns) {
  $("columns").textContent = `${columns.name}, attended to`;
  $("rows").textContent = `${rows.name}, attending`;
  for (const [axis, { labels }] of [["column", columns], ["row", rows]])
    $(axis).replaceChildren(...labels.map((text, n) =>
      make("button", { type: "button", tabIndex: n ? -1 : 0, data: { [axis]: n } }, text)));
}
function drawTable(attending, attended) {
  const { matrix, most, rows, columns, gold } = shown;
  const which = ["layer", "head"].filter(name => $(name).length > 1)
    .map(name => state[name] === "mean" ? `mean of ${name}s` : `${name} ${state[name]}`);
  const readout = ["cross", "encoder", "decoder"].includes(state.kind) ? [] : [state.kind];
  $("title").textContent = [`${attending} to ${attended}`, ...readout, ...which].join(", ");
  $("most").textContent = most.toFixed(3);
  $("gold").hidden = gold.size === 0;
  table.style.setProperty("--columns", columns.length);
  table.dataset.rove = columns.length;
  const cell = (row, column) => make("td", { tabIndex: row + column ? -1 : 0, data: { row, column },
    ariaLabel: matrix[row][column].toFixed(4), className: gold.has(`${row},${column}`) ? "gold" : "", style: `background: rgb(${colour(matrix[row][column] / most)})` });
  table.replaceChildren(
    make("thead", {}, make("tr", {}, make("th", { className: "corner" }, `${attended} →`, make("br"), `${attending} ↓`),
      ...columns.map((text, column) =>
        make("th", { scope: "col", data: { column } }, make("span", { dir: "auto" }, text))))),
    make("tbody", {}, ...rows.map((text, row) => make("tr", {},
      make("th", { scope: "row", dir: "auto", data: { row } }, text),
      ...columns.map((_, column) => cell(row, column))))));
}
/** A row for each layer, a column for each head, and their means: a pixel a weight, all on one scale. */
function drawHeads(of, layers, heads) {
  const maps = layers.map(layer => heads.map(head => of(layer, head))), most = peak(maps);
  const name = (what, which) => make("span", {}, which === "mean" ? which : `${what} ${which}`);
  const button = (matrix, layer, head) => {
    const chosen = layer === state.layer && head === state.head;
    const canvas = make("canvas", { width: shown.columns.length, height: shown.rows.length });
    const pixels = Uint8ClampedArray.from(matrix.flat().flatMap(weight => [...colour(weight / most), 255]));
    if (pixels.length) canvas.getContext("2d").putImageData(new ImageData(pixels, canvas.width), 0, 0);
    return make("button", { type: "button", id: `${layer}-${head}`, tabIndex: chosen ? 0 : -1, ariaPressed: chosen,
      ariaLabel: `layer ${layer}, head ${head}`, onclick: () => go({ layer, head }) }, canvas);
  };
  $("every").hidden = layers.length * heads.length === 1;
  $("largest").textContent = most.toFixed(3);
  $("heads").dataset.rove = heads.length;
  document.querySelector(".maps").style.setProperty("--across", heads.length);
  $("heads").replaceChildren(make("span"), ...heads.map(head => name("head", head)), ...layers.flatMap((layer, i) =>
    [name("layer", layer), ...heads.map((head, j) => button(maps[i][j], layer, head))]));
}

/** Shows a word or a cell in every view: what a row attends to, or what attends to a column. */
function show(next) {
  point = next;
  const { row, column } = point, { matrix, rows, columns } = shown, byRow = row !== undefined;
  const weights = byRow ? matrix[row] : column !== undefined ? matrix.map(weights => weights[column]) : [];
  document.body.classList.toggle("pinned", pinned);
  for (const item of document.querySelectorAll(".words button, th[scope]")) {
    const place = item.dataset, weight = weights[byRow ? place.column : place.row];
    item.classList.toggle("on", +place.row === row || +place.column === column);
    if (item.tagName === "BUTTON") item.style = weight === undefined ? "" : shade(weight);
  }
  for (const frame of document.querySelectorAll(".frame")) frame.remove();
  if (byRow) frame(`td[data-row="${row}"]`);
  if (column !== undefined) frame(`td[data-column="${column}"]`);
  say(byRow ? rows[row] : columns[column], byRow ? columns : rows, weights, byRow ? "attends to" : "is attended to by");
  tip(byRow && column !== undefined);
}
/** A frame about a row or a column of the table. */
function frame(selector) {
  const cells = [...table.querySelectorAll(selector)], origin = table.getBoundingClientRect();
  const [first, last] = [cells[0], cells.at(-1)].map(cell => cell.getBoundingClientRect());
  const place = `left: ${first.left - origin.left - 1}px; top: ${first.top - origin.top - 1}px`;
  const size = `width: ${last.right - first.left + 2}px; height: ${last.bottom - first.top + 2}px`;
  table.after(make("div", { className: "frame", style: `${place}; ${size}` }));
}
/** A word and the three that have most of its weight. */
function say(word, others, weights, does) {
  const order = range(weights.length).filter(n => weights[n] > 0).sort((a, b) => weights[b] - weights[a]).slice(0, 3);
  const large = order.map(n => make("div", { className: "large" }, weights[n].toFixed(3),
    make("i", { style: `--rest: ${100 - 100 * weights[n] / shown.most}%` }), make("bdi", {}, others[n])));
  const hint = pinned ? "Pinned: click it again, or press Esc, to unpin." : word !== undefined ? "Click to pin."
    : "Point at a word or a cell to see its weights. A click or a tap pins it.";
  $("says").replaceChildren(
    ...(word === undefined ? [] : [make("h2", {}, make("bdi", {}, word), ` ${does}${order.length ? "" : " no word"}`)]),
    ...large, make("p", { className: "hint" }, hint));
}
/** The value of a cell, next to it and within the page. */
function tip(visible) {
  $("tip").hidden = !visible;
  if (!visible) return;
  const { row, column } = point;
  showTip(table.rows[row + 1].cells[column + 1], make("strong", {}, shown.matrix[row][column].toFixed(4)),
    make("bdi", {}, shown.rows[row]), " attends to ", make("bdi", {}, shown.columns[column]),
    ...(shown.gold.has(`${row},${column}`) ? [make("div", {}, data.label)] : []));
}

/** What an element stands for: {row}, {column}, both for a cell, {} for anything else. */
function pointOf(node) {
  const item = node.closest("[data-row], [data-column]");
  return Object.fromEntries(Object.entries({ ...item?.dataset }).map(([axis, n]) => [axis, +n]));
}
function onClick({ target }) {
  if (target.closest("form, details, #heads")) return;
  const next = pointOf(target), again = next.row === point.row && next.column === point.column;
  pinned = Object.keys(next).length > 0 && !(pinned && again);
  show(next);
}
/** In a box that roves, one item is in the order of Tab and the arrows move among all. */
function onKey(event) {
  if (event.key === "Escape") pinned = false, show({});
  const item = event.target, box = item.closest("[data-rove]");
  if (!box) return;
  const items = [...box.querySelectorAll("[tabindex]")], at = items.indexOf(item), across = +box.dataset.rove;
  const forward = getComputedStyle(box).direction === "rtl" ? -1 : 1, press = item.tagName === "TD" ? at : undefined;
  const to = { ArrowRight: at + forward, ArrowLeft: at - forward, ArrowDown: at + across, ArrowUp: at - across,
    Home: 0, End: items.length - 1, Enter: press, " ": press }[event.key];
  if (to === undefined) return;
  event.preventDefault();
  if (["Enter", " "].includes(event.key)) item.click();
  else items[to]?.focus();
}
function onFocus({ target }) {
  const box = target.closest("[data-rove]");
  for (const item of box?.querySelectorAll('[tabindex="0"]') ?? []) item.tabIndex = -1;
  if (box) target.tabIndex = 0;
  if (!pinned) show(pointOf(target));
}

function onHash() {
  const asked = new URLSearchParams(location.hash.slice(1));
  go(Object.fromEntries([...asked].filter(([name]) => Object.hasOwn(state, name))));
}
$("gold").append(data.label);
$("sentence").append(...sentences.map(({ source, line }, n) => {
  const start = [...source.words.join(" ")].slice(0, 80).join("");
  return make("option", { value: n + 1 }, `${line ? `line ${line}` : n + 1} · ${start}`);
}));
if (sentences.length) {
  document.addEventListener("mouseover", ({ target }) => { if (!pinned) show(pointOf(target)); });
  document.addEventListener("click", onClick, true); // before what is clicked draws itself anew
  document.addEventListener("keydown", onKey);
  document.addEventListener("focusin", onFocus);
  document.querySelector(".scroll").addEventListener("scroll", () => tip(!$("tip").hidden));
  document.forms[0].addEventListener("change", ({ target }) => go({ [target.name]: target.value }));
  for (const [id, step] of [["previous", -1], ["next", 1]])
    $(id).onclick = () => go({ sentence: `${+state.sentence + step}` });
  addEventListener("hashchange", onHash);
  dark.addEventListener("change", () => { readScale(); go(); });
  readScale();
  onHash();
} else document.querySelector("main").replaceChildren("There are no sentences in this file.");
