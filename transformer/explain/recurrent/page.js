const { pieces, source, attention } = steps, isLuong = steps.kind === "luong";
const limits = { focus: pieces.length }, standard = { focus: data.focus };

function draw() {
  drawParts("inputs", "input", steps.inputs);
  $("cells").replaceChildren(...steps.layers.map((_, n) => make("div", { className: "card stack", id: `cell-${n}` })));
  for (const [n, parts] of steps.layers.entries())
    drawParts(`cell-${n}`, `layer-${n}`, parts, make("h3", {}, `${steps.cell.toUpperCase()} of layer ${n}`));
  if (attention) drawAttention();
  drawParts("readout", "readout", steps.readout);
  $("prediction").replaceChildren(predicted(steps.prediction));
}
/** Vectors of the step in the order of the computation, as strips and with their first numbers. */
function drawParts(place, id, parts, ...before) {
  const shown = parts.map(({ name, formula, values }) => ({ name, formula, values: values[state.focus] }));
  $(place).replaceChildren(...before,
    ...shown.map(({ name, formula, values }, n) => strip(`${id}-${n}`, `${name}: ${formula}`, values, { rows: [name] })),
    worked(shown.map(({ name, values }) => [name, values])));
}
function drawAttention() {
  const { focus } = state, { left, right, vector, factor, products, energies } = attention.comparison;
  const { masked, softmax, weights, window, mask, memory, context } = attention, picks = false;
  const query = left[focus], isPlain = !attention.formula.includes("k'");
  const terms = right.map(row => row.map((key, n) => vector ? vector[n] * Math.tanh(query[n] + key) : query[n] * key));
  const say = (row, n) => vector ? `${text(vector[n])} × tanh(${text(query[n])} + ${text(right[row][n])})`
    : `${text(query[n])} × ${text(right[row][n])}`;
  const map = (name, ...rest) => heatmap(`source-${name}`, ...rest);
  $("compared").replaceChildren(strip("query", "query q", attention.query[focus]),
    map("keys", isPlain ? "keys k" : "k′ of each source token", right, { rows: source, picks }),
    map("terms", "the terms whose sum is the score of a token", terms, { rows: source, picks, say }));
  const gain = window?.gain, reason = n => masked[focus][n] !== null ? "" : !mask[n] ? "padding"
    : window && !window.seen[focus][n] ? "outside" : "out of reach";
  const columns = [isPlain ? "q · k" : "score", ...(factor ? [`× ${factor[focus].toFixed(2)}`] : []), "mask",
    ...(gain ? ["softmax", "× gain"] : []), gain ? "weight" : "softmax"];
  const number = value => value === null ? "-inf" : value.toFixed(2);
  const rows = source.map((_, n) => [number(products[focus][n]), ...(factor ? [number(energies[focus][n])] : []),
    masked[focus][n] === null ? "-inf" : "0", ...(gain ? [softmax[focus][n].toFixed(3), gain[focus][n].toFixed(3)] : [])]);
  $("row").replaceChildren(largest(masked[focus], source, gain),
    shares("Attention", columns, rows, { tokens: source, weights: weights[focus], reason }));
  if (window) $("centre").textContent = number(window.centre[focus]);
  const square = { kind: "square", columns: source };
  $("matrices").replaceChildren(map("energies", "scores", energies, square),
    map("masked", "with the mask", masked, square), map("weights", gain ? "weights: softmax × gain" : "weights: softmax of each row", weights,
      { ...square, kind: "square above" }));
  $("contexts").replaceChildren(...weighted(map,
    { weights: weights[focus], values: memory, context: context[focus], tokens: source, picks }));
}

// Bahdanau's decoder attends before its cell, Luong's after it.
if (!isLuong) $("recurrence").before($("attention"));
begin(
  { sentence: data.sentence, S: source.length, T: pieces.length, H: steps.layers[0][0].values[0].length,
    V: steps.prediction.vocabulary, score: attention?.score, formula: attention?.formula, around: attention?.half_width },
  { [steps.kind]: true, [steps.cell]: true, attends: attention, alone: !attention, vector: isLuong && attention,
    fed: isLuong && steps.inputs.length > 1, deep: steps.layers.length > 1, window: attention?.window,
    gain: attention?.window?.gain, pieces: pieces.some(piece => piece.includes("▁")) },
  [...pieces, ...source]);
