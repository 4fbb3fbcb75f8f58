const { pieces, attention, cross } = steps, { heads } = attention;
const N = pieces.length, D = attention.read[0].length, K = heads[0].query[0].length;
const limits = { focus: N, left: heads.length, right: heads.length };
const standard = { focus: data.focus, left: 0, right: Math.min(1, heads.length - 1) };
const sides = heads.length > 1 ? ["left", "right"] : ["left"];

function draw() {
  const { embedding, positions, attention_residual, cross_residual, feedforward_residual } = steps;
  const operator = sign => make("b", {}, sign);
  const say = (row, column) => `${text(embedding[row][column])} + ${text(positions[row][column])}`;
  for (const side of sides) $(side).value = state[side];
  $("sum").replaceChildren(heatmap("embedding", "embedding × √D", embedding), operator("+"),
    heatmap("positions", "positional encoding", positions), operator("="),
    heatmap("total", "sum", added(embedding, positions), { say }));
  $("read").replaceChildren(heatmap("x", `X, input of layer ${steps.layer}`, attention.read));
  drawEntry("read-norm", attention_residual);
  drawAttention("", attention);
  drawSum("added", "the attention", attention_residual, attention.output);
  if (cross) {
    $("cross-read").replaceChildren(strip("cross-x", "x", cross.read[state.focus]));
    drawEntry("cross-norm", cross_residual);
    drawAttention("cross-", cross);
    drawSum("cross-added", "the attention to the source", cross_residual, cross.output);
  }
  drawFeedForward();
  drawSum("fed", "the feed-forward network", feedforward_residual, steps.feedforward.output);
  if (steps.final) drawNorm("final", "final", steps.final, after(feedforward_residual));
  if (steps.prediction) $("prediction").replaceChildren(predicted(steps.prediction));
}
/** Both heads of an attention side by side, in each step that differs by head; then all heads together. */
function drawAttention(prefix, attention) {
  const { focus } = state, rows = [pieces[focus]], picks = !attention.memory;
  const tokens = picks ? pieces : attention.pieces;
  const panels = (place, draw) => $(prefix + place).replaceChildren(...sides.map(side => {
    const head = attention.heads[state[side]], map = (name, ...rest) => heatmap(`${prefix}${side}-${name}`, ...rest);
    return make("div", { className: "card stack" }, make("h3", {}, `Head ${head.number}`), ...draw(head, map));
  }));
  panels("vectors", ({ query, key, value, comparison }, map) => [make("div", { className: "vectors" },
    map("query", "query", [query[focus]], { kind: "strip", rows }),
    map("key", "keys", key, { rows: tokens, picks, say: comparison ? undefined : (row, column) =>
      `× the query's ${text(query[focus][column])} = ${text(query[focus][column] * key[row][column])}` }),
    map("value", "values", value, { rows: tokens, picks })),
    ...(comparison ? compared(comparison, attention, map) : [])]);
  panels("row", head => [largest(head.masked[focus], tokens, head.gain), table(attention, head)]);
  const square = { kind: "square", columns: tokens };
  panels("matrices", (head, map) => [make("div", { className: "squares" },
    map("scores", head.comparison ? "products" : "scores Q Kᵀ", head.scores, square),
    ...(attention.is_scaled ? [map("scaled", `divided by √${K}`, head.scaled, { ...square,
      say: (row, column) => `${text(head.scores[row][column])} / √${K}` })] : []),
    map("masked", "with the mask", head.masked, square),
    map("weights", head.gain ? "weights: softmax × gain" : "weights: softmax of each row", head.weights, { ...square, kind: "square above" }))]);
  panels("contexts", ({ weights, value, context }, map) =>
    weighted(map, { weights: weights[focus], values: value, context: context[focus], tokens, picks }));
  $(`${prefix}output`).replaceChildren(
    strip(`${prefix}joined`, "contexts of all heads, concatenated", attention.heads.flatMap(head => head.context[focus]), {
      kind: "strip joined", columns: heads.map(head => `${head.number}`), on: sides.map(side => state[side]),
      say: (_, column) => `head ${Math.floor(column / K)}` }),
    strip(`${prefix}mixed`, "output", attention.output[focus]));
}
/** What a score other than an inner product makes of the focus's query and of each key. */
function compared({ left, right, vector }, { pieces: tokens, memory, score }, map) {
  const query = left[state.focus], terms = right.map(row => row.map((key, n) =>
    vector ? vector[n] * Math.tanh(query[n] + key) : query[n] * key));
  const say = (row, n) => vector ? `${text(vector[n])} × tanh(${text(query[n])} + ${text(right[row][n])})`
    : `${text(query[n])} × ${text(right[row][n])}`;
  return [map("terms", `${score}: the terms whose sum is the product`, terms, { rows: memory ? tokens : pieces, picks: !memory, say })];
}
/** Step 4 for the focus: a row for each token. */
function table({ pieces: tokens, memory, mask, is_scaled }, head) {
  const { focus } = state, { comparison, window, gain, scores, scaled, weights } = head;
  const factor = comparison?.factor?.[focus], padded = memory || steps.kind === "encoder";
  const reason = n => !mask[focus][n] ? padded ? "padding" : "the future"
    : window && !window[focus][n] ? "outside the window" : "";
  const columns = [comparison ? "product" : "q · k", ...(is_scaled ? [`/ √${K}`] : []),
    ...(factor ? [`× ${factor.toFixed(2)}`] : []), "mask", ...(gain ? ["gain"] : []), gain ? "softmax × gain" : "softmax"];
  const rows = tokens.map((_, n) => [scores[focus][n].toFixed(2),
    ...(is_scaled || factor ? [scaled[focus][n]?.toFixed(2) ?? "-inf"] : []), reason(n) ? "-inf" : "0",
    ...(gain ? [gain[focus][n].toFixed(2)] : [])]);
  return shares(`Head ${head.number}`, columns, rows,
    { tokens, weights: weights[focus], reason, on: memory ? -1 : focus });
}

const after = ({ total, norm }) => norm ? norm.output : total;
/** The numbers of a normalisation, after the rows that lead to its input. */
function normRows({ mean, deviation, scale, shift, output }, x) {
  const { focus } = state, centred = x[focus].map(value => (value - mean[focus]) / deviation[focus]);
  return [["mean, deviation", `of all ${D} numbers: ${mean[focus].toFixed(3)}, ${deviation[focus].toFixed(3)}`],
    ["(− mean) / deviation", centred], ["× scale", scale], ["+ shift", shift], ["= normalised", output[focus]]];
}
function drawNorm(place, id, norm, x) {
  $(place).replaceChildren(strip(`${id}-norm`, "normalised", norm.output[state.focus]),
    worked([["x", x[state.focus]], ...normRows(norm, x)]));
}
/** The norm before a sub-layer, where there is one. */
function drawEntry(place, { before, entry }) {
  if (entry) $(place).replaceChildren(worked([["x", before[state.focus]], ...normRows(entry, before)]));
}
/** The residual connection around a sub-layer. */
function drawSum(place, name, { before, total, norm }, output) {
  const { focus } = state, parts = [["x", before[focus]], [`+ output`, output[focus]], ["= sum", total[focus]]];
  $(place).replaceChildren(strip(`${place}-x`, "x", before[focus]),
    strip(`${place}-y`, `output of ${name}`, output[focus]), strip(`${place}-sum`, "sum", total[focus]),
    ...(norm ? [strip(`${place}-normed`, "normalised", norm.output[focus])] : []),
    worked([...parts, ...(norm ? normRows(norm, total) : [])]));
}
function drawFeedForward() {
  const { focus } = state, { activation, inner, gate, hidden, output } = steps.feedforward;
  drawEntry("fed-norm", steps.feedforward_residual);
  const act = gate ? "silu(gate) × inner" : `${activation} of each`;
  const parts = [["inner", "x W₁ + b₁", inner], ...(gate ? [["gate", "gate x V", gate]] : []), ["hidden", act, hidden],
    ["outer", "hidden W₂ + b₂", output]];
  $("fed-steps").replaceChildren(...parts.map(([id, name, values]) => strip(id, name, values[focus])),
    worked(parts.map(([, name, values]) => [name, values[focus]])));
}

for (const pair of all(".pair")) pair.classList.toggle("alone", sides.length === 1);
for (const side of ["left", "right"]) {
  $(side).append(...heads.map(({ number }) => make("option", { value: number }, `${number}`)));
  $(side).onchange = ({ target }) => go({ [side]: target.value });
}
const padded = attention.mask[0].includes(false) && steps.kind === "encoder";
begin(
  { ...steps, sentence: data.sentence, N, D, K, H: heads.length, last: heads.length - 1, formula: attention.formula, cross_formula: cross?.formula,
    F: steps.feedforward.inner[0].length, activation: steps.feedforward.activation, next: steps.layers - 1,
    V: steps.prediction?.vocabulary, source: cross?.pieces.length },
  { [steps.kind]: true, cross, padded, scaled: attention.is_scaled, unscaled: !attention.is_scaled,
    normed: steps.normed, post: !steps.normed, first: steps.layer === 0, later: steps.layer > 0,
    several: heads.length > 1, pieces: pieces.some(piece => piece.includes("▁")), final: steps.final,
    prediction: steps.prediction, earlier: cross && !steps.prediction, gated: steps.feedforward.gate,
    ungated: !steps.feedforward.gate, inner: ["dot", "scaled_dot"].includes(attention.score),
    cross_scaled: cross?.is_scaled, cross_other: cross && !["dot", "scaled_dot"].includes(cross.score),
    window: heads[0].window, gain: heads[0].gain, cross_window: cross?.heads[0].window, cross_gain: cross?.heads[0].gain,
    cross_inner: cross && ["dot", "scaled_dot"].includes(cross.score),
    other: !["dot", "scaled_dot"].includes(attention.score) },
  [...pieces, ...(cross?.pieces ?? [])]);
