const { steps } = data, { pieces, heads } = steps;
const N = pieces.length, D = steps.read[0].length, K = heads[0].query[0].length;
const limits = { focus: N, left: heads.length, right: heads.length };
const standard = { focus: data.focus, left: 0, right: Math.min(1, heads.length - 1) }, state = { ...standard };
const sides = heads.length > 1 ? ["left", "right"] : ["left"], cell = make("div", { id: "cell" });
const drawn = {}; // by the id of a canvas: its numbers, the description of one, and the position of the keyboard cursor

const all = selector => [...document.querySelectorAll(selector)];
const added = (a, b) => a.map((row, i) => row.map((value, j) => value + b[i][j]));
const within = (n, count) => Math.max(0, Math.min(count - 1, n));
const text = value => value === null ? "-inf"
  : Math.abs(value) < 1e5 ? `${+value.toPrecision(4)}` : value.toExponential(3);
/** Red, green, blue and opacity of a share from -1 to 1; null is clear. */
const colour = share => share === null ? [0, 0, 0, 0] : [...blend((share + 1) / 2), 255];
/** A figure of [rows][columns] of numbers; `say` is a line more on the number of a row and a column. */
function heatmap(id, name, values, { kind = "", rows = pieces, columns, on = [], most = peak(values), say } = {}) {
  const strip = kind.startsWith("strip"), across = values[0].length, top = kind.includes("above");
  const at = strip || rows !== pieces ? -1 : state.focus;
  const canvas = make("canvas", { id, width: across, height: values.length, tabIndex: 0, role: "img",
    ariaLabel: `${name}: ${values.length} by ${across} numbers up to ${text(most)}; the arrow keys read them`,
    className: `${strip ? "" : "tokens"} ${across > 256 ? "fine" : ""}` });
  const pixels = Uint8ClampedArray.from(values.flat().flatMap(value => colour(value === null ? null : value / most)));
  canvas.getContext("2d").putImageData(new ImageData(pixels, across), 0, 0);
  drawn[id] = { values, across, rows, columns, say, strip, at: drawn[id]?.at ?? [Math.max(at, 0), 0] };
  const label = chosen => (title, n) =>
    make("span", { title, dir: "auto", lang: "", className: chosen(n) ? "on" : "" }, title);
  return make("figure", {},
    make("figcaption", {}, make("span", {}, name), make("span", { className: `legend ${top ? "above" : ""}` },
      make("span", {}, top ? "0" : text(-most)), make("span", {}, text(most)))),
    make("div", { className: "scroll" },
      make("div", { className: `plot ${kind} ${at < 0 ? "" : "framed"}`, style: `--n: ${values.length}; --at: ${at}` },
        ...(columns ? [make("div", { className: "columns" }, ...columns.map(label(n => on.includes(n))))] : []),
        make("div", { className: "rows" }, ...rows.map(label(n => n === at || rows.length === 1))),
        make("div", { className: "cells" }, canvas))));
}
/** Step 4 for the focus: a row for each token. */
function table(head) {
  const [scores, scaled, weights] = [head.scores, head.scaled, head.weights].map(matrix => matrix[state.focus]);
  const cells = (tag, ...texts) => texts.map(each => make(tag, {}, each));
  const why = steps.kind === "encoder" ? "padding" : "the future";
  const row = (piece, n) => {
    const seen = steps.mask[state.focus][n], bar = seen ? make("i", { style: `--share: ${100 * weights[n]}%` }) : why;
    return make("tr", { className: seen ? "" : "masked" },
      make("th", { scope: "row", title: piece, className: n === state.focus ? "on" : "" }, make("bdi", {}, piece)),
      ...cells("td", scores[n].toFixed(2), ...(steps.is_scaled ? [scaled[n].toFixed(2)] : []), seen ? "0" : "-inf"),
      make("td", { className: "share" }, make("div", {}, make("span", {}, weights[n].toFixed(3)), bar)));
  };
  const names = ["token", "q · k", ...(steps.is_scaled ? [`/ √${K}`] : []), "mask", "softmax"];
  return make("div", { className: "scroll" }, make("table", { ariaLabel: `Head ${head.number}` },
    make("thead", {}, make("tr", {}, ...names.map(name => make("th", { scope: "col" }, name)))),
    make("tbody", { lang: "" }, ...pieces.map(row)),
    make("tfoot", {}, make("tr", {}, make("th", { colSpan: names.length - 1 }, "sum"),
      make("td", { className: "share" }, make("div", {}, sum(weights).toFixed(3)))))));
}
/** The softmax of the largest weight, with its numbers. */
function largest({ masked, weights }) {
  const energies = masked[state.focus], shares = weights[state.focus], n = shares.indexOf(Math.max(...shares));
  const total = sum(energies.map(energy => energy === null ? 0 : Math.exp(energy)));
  return make("p", { className: "largest" }, "Attends most to ", make("bdi", {}, pieces[n]),
    `: exp(${energies[n].toFixed(2)}) / ${text(total)} = ${shares[n].toFixed(3)}`);
}

/** Draws the requested state; invalid choices are replaced by the defaults. */
function go(changes = {}) {
  for (const [name, asked] of Object.entries(changes))
    state[name] = range(limits[name]).find(n => `${n}` === `${asked}`) ?? standard[name];
  history.replaceState(null, "", "#" + new URLSearchParams(state));
  const focused = document.activeElement.id, places = all(".scroll").map(box => box.scrollLeft);
  drawControls();
  drawInput();
  drawHeads();
  drawOutput();
  all(".scroll").forEach((box, n) => { box.scrollLeft = places[n] ?? 0; });
  $(focused)?.focus({ preventScroll: true });
}
function drawControls() {
  for (const part of all("[data-say=focus]")) part.textContent = pieces[state.focus];
  for (const [n, button] of [...$("tokens").children].entries()) {
    button.ariaPressed = n === state.focus;
    button.tabIndex = n === state.focus ? 0 : -1;
  }
  const box = $("tokens"), button = box.children[state.focus];
  box.scrollLeft = button.offsetLeft - (box.clientWidth - button.offsetWidth) / 2;
  for (const side of sides) $(side).value = state[side];
}
function drawInput() {
  const { embedding, positions, read } = steps, operator = sign => make("b", {}, sign);
  const say = (row, column) => `${text(embedding[row][column])} + ${text(positions[row][column])}`;
  $("sum").replaceChildren(heatmap("embedding", "embedding × √D", embedding), operator("+"),
    heatmap("positions", "positional encoding", positions), operator("="),
    heatmap("total", "sum", added(embedding, positions), { say }));
  $("read").replaceChildren(heatmap("x", `X, input of layer ${steps.layer}`, read));
}
/** Both heads side by side, in each step that differs by head. */
function drawHeads() {
  const { focus } = state, rows = [pieces[focus]];
  const panels = (place, draw) => $(place).replaceChildren(...sides.map(side => {
    const head = heads[state[side]], map = (name, ...rest) => heatmap(`${side}-${name}`, ...rest);
    return make("div", { className: "card stack" }, make("h3", {}, `Head ${head.number}`), ...draw(head, map));
  }));
  panels("vectors", ({ query, key, value }, map) => [make("div", { className: "vectors" },
    map("query", "query", [query[focus]], { kind: "strip", rows }),
    map("key", "keys", key, { say: (row, column) =>
      `× the query's ${text(query[focus][column])} = ${text(query[focus][column] * key[row][column])}` }),
    map("value", "values", value))]);
  panels("row", head => [largest(head), table(head)]);
  panels("matrices", (head, map) => [make("div", { className: "squares" },
    map("scores", "scores Q Kᵀ", head.scores, { kind: "square", columns: pieces }),
    ...(steps.is_scaled ? [map("scaled", `divided by √${K}`, head.scaled, { kind: "square", columns: pieces,
      say: (row, column) => `${text(head.scores[row][column])} / √${K}` })] : []),
    map("masked", "with the mask", head.masked, { kind: "square", columns: pieces }),
    map("weights", "weights: softmax of each row", head.weights, { kind: "square above", columns: pieces }))]);
  panels("contexts", ({ weights, value, context }, map) => {
    const weighted = value.map((row, n) => row.map(number => number * weights[focus][n]));
    const most = peak([...weighted, context[focus]]);
    return [
      map("weighted", "weight × value of each token", weighted, { kind: "weighted", most,
        rows: pieces.map((piece, n) => `${weights[focus][n].toFixed(2)} × ${piece}`),
        say: (row, column) => `${text(weights[focus][row])} × ${text(value[row][column])}` }),
      map("context", "their sum, the context", [context[focus]], { kind: "strip weighted", most, rows: ["sum"] })];
  });
}
function drawOutput() {
  const rows = [pieces[state.focus]], joined = heads.flatMap(head => head.context[state.focus]);
  $("output").replaceChildren(
    heatmap("joined", "contexts of all heads, concatenated", [joined], { kind: "strip joined", rows,
      columns: heads.map(head => `${head.number}`), on: sides.map(side => state[side]),
      say: (_, column) => `head ${Math.floor(column / K)}` }),
    heatmap("mixed", "output", [steps.output[state.focus]], { kind: "strip", rows }));
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
  if (type === "click" && !shown.strip) go({ focus: shown.at[0] });
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
  } else if (shown && !shown.strip && ["Enter", " "].includes(key)) go({ focus: shown.at[0] });
  else if (!shown && across) {
    go({ focus: within(state.focus + across, N) });
    if (target.closest("#tokens")) $("tokens").children[state.focus].focus({ preventScroll: true });
  } else return;
  event.preventDefault();
}
function onFocus({ target }) {
  if (drawn[target.id] && target.matches(":focus-visible")) tip(target, ...drawn[target.id].at);
}
function onHash() {
  const asked = new URLSearchParams(location.hash.slice(1));
  go(Object.fromEntries(Object.keys(state).map(name => [name, asked.get(name)])));
}

const said = { ...steps, sentence: data.sentence, N, D, K, H: heads.length, last: heads.length - 1 };
const holds = { [steps.kind]: true, scaled: steps.is_scaled, unscaled: !steps.is_scaled, normed: steps.normed,
  first: steps.layer === 0, later: steps.layer > 0, several: heads.length > 1,
  pieces: pieces.some(piece => piece.includes("▁")),
  padded: steps.kind === "encoder" && steps.mask[0].includes(false) };
for (const part of all("[data-say]")) part.textContent = said[part.dataset.say];
for (const part of all("[data-if]")) part.hidden = !holds[part.dataset.if];
for (const pair of all(".pair")) pair.classList.toggle("alone", sides.length === 1);
document.body.style.setProperty("--label", `min(${2 + Math.max(...pieces.map(piece => piece.length))}ch, 84px)`);
$("tokens").append(...pieces.map((piece, n) =>
  make("button", { type: "button", id: `token-${n}`, dir: "auto", onclick: () => go({ focus: n }) }, piece)));
for (const side of ["left", "right"]) {
  $(side).append(...heads.map(({ number }) => make("option", { value: number }, `${number}`)));
  $(side).onchange = ({ target }) => go({ [side]: target.value });
}
document.addEventListener("mousemove", onPoint);
document.addEventListener("click", onPoint);
document.addEventListener("keydown", onKey);
document.addEventListener("focusin", onFocus);
document.addEventListener("focusout", () => tip());
document.addEventListener("scroll", ({ target }) => { if (target !== document && target.contains(cell)) tip(); }, true);
addEventListener("hashchange", onHash);
dark.addEventListener("change", () => { readScale(); go(); });
readScale();
onHash();
