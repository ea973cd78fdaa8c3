// The cards of a comparison and their curves on one pair of axes. The value comes from
// comparison_views.Board; how maps answer to a box comes by the event "gc-pointing". Texts are set
// as text, never as HTML.
const find = (selector) => element.querySelector(selector);
const list = find(".gc-cards");
const order = find(".gc-order select");
let cards = [];   // the nodes of each card, by its place
let shown = "";   // what the nodes were made for
let maps = 0;     // how many maps were there at the last draw
let pointing = [];

const sample = (card) => {
  const svg = gcSvg(new DocumentFragment(), "svg", { viewBox: "0 0 30 8", class: "gc-sample", "aria-hidden": "true" });
  gcSvg(svg, "line", { x1: 0, x2: 30, y1: 4, y2: 4, stroke: card.color, "stroke-width": 3, "stroke-dasharray": card.dash });
  return svg;
};

const highlight = (place) => {
  for (const line of element.querySelectorAll(".gc-line"))
    line.classList.toggle("gc-dim", place !== null && line.dataset.place !== String(place));
};

const ROWS = ["insertion", "deletion", "over_all", "time", "passes", "energy", "peak"];

const make = (card, place) => {
  const item = gcNode("li", "gc-card");
  item.tabIndex = 0;
  const title = gcNode("h4");
  title.append(sample(card), gcNode("span", "", card.title));
  const stage = gcNode("div", "gc-card-stage");
  const picture = gcNode("img", "gc-picture"), heat = gcNode("img", "gc-heat");
  picture.alt = "";
  stage.append(picture, gcNode("div", "gc-seen"), heat);
  const numbers = gcNode("dl");
  const values = {};
  for (const key of ROWS) {
    const row = gcNode("div", `gc-number gc-number-${key}`);
    const name = gcNode("dt", "", say(`row_${key}`));
    name.title = say(`row_${key}_help`);
    values[key] = { row, value: gcNode("dd") };
    row.append(name, values[key].value);
    numbers.append(row);
  }
  const parts = {
    item, stage, picture, heat, values, about: gcNode("p", "gc-card-about"), text: gcNode("p", "gc-card-text"),
    bar: gcNode("div", "gc-bar"),
  };
  parts.bar.append(gcNode("div"));
  item.append(title, parts.about, stage, parts.bar, parts.text, numbers);
  for (const name of ["pointerenter", "focusin"]) item.addEventListener(name, () => highlight(place));
  for (const name of ["pointerleave", "focusout"]) item.addEventListener(name, () => highlight(null));
  list.append(item);
  return parts;
};

const area = (curve) => {
  if (!curve) return "";
  return curve.error === undefined ? curve.auc.toFixed(3) : `≈ ${curve.auc.toFixed(2)}`;
};

const seconds = (value) => value < 0.0995 ? `${Math.max(1, Math.round(1000 * value))} ms` : `${value.toFixed(value < 9.95 ? 2 : 0)} s`;

const put = ({ row, value }, text, isBest = false) => {
  row.hidden = !text;  // rows of the areas and costs stand from the start, so that nothing jumps
  value.replaceChildren(text);
  row.classList.toggle("gc-best", isBest);
  if (isBest) value.append(gcNode("b", "", say("best")));
};

const fill = (parts, card, place) => {
  const value = props.value, best = value.best || {}, found = pointing[place] || {};
  parts.item.dataset.state = card.state;
  parts.about.textContent = card.about;
  parts.picture.src = value.picture;
  parts.stage.style.setProperty("--aspect", value.aspect);
  parts.heat.hidden = !card.heat;
  const seen = parts.stage.querySelector(".gc-seen");
  seen.hidden = !card.heat;
  parts.stage.classList.toggle("gc-card-waits", !card.heat);
  if (card.heat) {
    if (parts.heat.src !== card.heat) parts.heat.src = card.heat;
    parts.heat.alt = say("map", card);
    const [left, top, width, height] = card.box.map((part) => `${(100 * part).toFixed(3)}%`);
    for (const one of [parts.heat, seen]) Object.assign(one.style, { left, top, width, height });
  }
  const isBusy = card.state === "maps" || card.state === "traces";
  parts.bar.style.visibility = isBusy ? "visible" : "hidden";
  parts.bar.firstChild.style.width = `${100 * (card.part || 0)}%`;
  parts.text.textContent = card.text || (card.isBlank ? say("blank") : "");
  parts.text.setAttribute("role", card.state === "failed" ? "alert" : "note");
  const later = card.state === "failed" ? "" : "…";
  const marks = (name) => card.state === "done" && (best[name] || []).includes(place);
  put(parts.values.insertion, area(card.insertion) || later, marks("insertion"));
  put(parts.values.deletion, area(card.deletion) || later, marks("deletion"));
  put(parts.values.over_all, card.over_all === undefined ? later : card.over_all.toFixed(3), marks("over_all"));
  put(parts.values.time, card.seconds === undefined ? later : seconds(card.seconds));
  const [forwards, backwards] = [card.forwards, card.backwards].map((count) => count?.toLocaleString("en"));
  put(parts.values.passes, card.forwards === undefined ? later : card.backwards ? say("passes_back", { forwards, backwards }) : forwards);
  const energies = pointing.map((one) => one.energy).filter((one) => one !== undefined);
  const isTop = energies.length > 1 && found.energy !== undefined && found.energy.toFixed(3) === Math.max(...energies).toFixed(3);
  put(parts.values.energy, found.reason || (found.energy === undefined ? "" : `${(100 * found.energy).toFixed(1)}%`), isTop && Boolean(value.best?.insertion));
  put(parts.values.peak, found.hit === undefined ? "" : found.hit ? say("hit") : say("miss"));
};

const draw_lines = (svg) => {
  const name = svg.dataset.curve;
  const width = Math.max(240, svg.clientWidth || 420), height = Math.min(280, Math.max(190, width * 0.6));
  const [left, right, top, bottom] = [34, 14, 10, 36];
  const across = (part) => left + part * (width - left - right);
  const up = (part) => height - bottom - part * (height - top - bottom);
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  svg.style.height = `${height}px`;
  svg.replaceChildren();
  for (const part of [0, 0.25, 0.5, 0.75, 1]) {
    gcSvg(svg, "line", { x1: left, x2: width - right, y1: up(part), y2: up(part), class: "gc-grid" });
    gcSvg(svg, "text", { x: left - 5, y: up(part) + 4, "text-anchor": "end" }, part);
    gcSvg(svg, "text", { x: across(part), y: height - bottom + 15, "text-anchor": "middle" }, `${100 * part}%`);
  }
  gcSvg(svg, "text", { x: across(0.5), y: height - 4, "text-anchor": "middle" }, say("axis_pixels"));
  const told = [];
  (props.value?.cards || []).forEach((card, place) => {
    const curve = card[name];
    if (!curve) return;
    const points = curve.x.map((part, index) => `${across(part)},${up(curve.y[index])}`).join(" ");
    const line = gcSvg(svg, "polyline", {
      points, fill: "none", stroke: card.color, "stroke-width": 2.2, "stroke-dasharray": card.dash, class: "gc-line",
    });
    line.dataset.place = place;
    told.push(`${card.title} ${area(curve)}`);
  });
  svg.setAttribute("aria-label", told.length ? say(`lines_${name}`, { areas: told.join(", ") }) : say(`lines_${name}_none`));
};

const sort = () => {
  const key = order.value, all = props.value?.cards || [];
  const number = (place) => {
    const card = all[place];
    const value = key === "energy" ? pointing[place]?.energy : key === "seconds" || key === "over_all" ? card[key] : card[key]?.auc;
    if (value === undefined) return Infinity; // what is missing comes last
    return key === "deletion" || key === "seconds" ? value : -value;
  };
  const places = all.map((_, place) => place);
  if (key) places.sort((one, other) => number(one) - number(other) || one - other);
  places.forEach((place, rank) => { cards[place].item.style.order = rank; });
};

// Sorted nodes would lose the focus when they move; "order" moves them for the eye only, so the
// nodes themselves follow as soon as the focus is elsewhere.
const settle = () => {
  if (list.contains(document.activeElement)) return;
  const sorted = [...cards].sort((one, other) => one.item.style.order - other.item.style.order);
  if (sorted.some((parts, place) => list.children[place] !== parts.item)) list.append(...sorted.map((parts) => parts.item));
};

const draw = () => {
  const value = props.value || {}, all = value.cards || [];
  find(".gc-empty").hidden = all.length > 0;
  find(".gc-compare-body").hidden = all.length === 0;
  if (all.length === 0) { shown = ""; maps = 0; return; }
  const titles = JSON.stringify([all.map((card) => card.title), (value.picture || "").length]);
  if (titles !== shown) {
    shown = titles;
    maps = 0;
    pointing = [];
    list.replaceChildren();
    list.dataset.count = all.length;
    cards = all.map(make);
    const keys = find(".gc-line-keys");
    keys.replaceChildren(...all.map((card) => {
      const key = gcNode("li");
      key.append(sample(card), gcNode("span", "", card.title));
      return key;
    }));
  }
  all.forEach((card, place) => fill(cards[place], card, place));
  find(".gc-compare-note").textContent = value.note || "";
  find(".gc-compare-caption").textContent = value.caption || "";
  element.querySelectorAll(".gc-lines").forEach(draw_lines);
  sort();
  settle();
  const ready = all.filter((card) => card.heat).length;
  if (ready !== maps) {
    maps = ready;
    if (ready > 0) document.dispatchEvent(new CustomEvent("gc-compared"));
  }
};

order.addEventListener("change", () => { sort(); settle(); });
document.addEventListener("gc-pointing", (event) => { pointing = event.detail; draw(); });
new ResizeObserver(() => element.querySelectorAll(".gc-lines").forEach(draw_lines)).observe(find(".gc-compare"));
draw();
watch("value", draw);
