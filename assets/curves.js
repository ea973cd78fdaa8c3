// Deletion and insertion curves as an SVG that grows while its points arrive, with a marker to drag,
// an animation, and pinned curves of earlier runs. The value comes from curve_views.chart(). What is
// known at the marker goes to the perturbed pictures by the event "gc-curve-point".
const root = element.querySelector(".gc-curves");
const find = (selector) => root.querySelector(selector);
const chart = find(".gc-chart"), marker = find(".gc-marker"), play_button = find(".gc-play");
const pin_button = find(".gc-pin"), pin_list = find(".gc-pins");
const layers = { axes: find(".gc-axes"), pinned: find(".gc-pinned-lines"), present: find(".gc-present-lines") };
const calm = matchMedia("(prefers-reduced-motion: reduce)");
const NAMES = ["insertion", "deletion"];
const DASHES = ["7 4", "2 3", "12 3 2 3", "5 2 1 2 1 2", "16 6"];
const PLAY_MS = 8000;  // from one end to the other
const PAGE = 10;       // points, of Page Up and Page Down

let run = null;        // the id of the run that was last drawn
let fraction = 0.2;    // where the marker is; kept from run to run
let place = 0;         // the same as one of the run's points
let playing = null;    // {position, then}: the place as a number, the time of the last frame
let pins = [];
let frame = null;      // where the axes are

const has_run = () => Boolean(props.value?.pixels);
const last_place = () => props.value.pixels.length - 1;
const part_at = (index) => props.value.pixels[index] / props.value.pixels[last_place()];

// The area; while points are missing, about how large it will be.
const area_text = (curve) => {
  if (curve?.auc === undefined) return "…";
  const { auc, error } = curve;
  return error > 0 ? `≈ ${auc.toFixed(2)} ± ${error < 0.005 ? "0.01" : error.toFixed(2)}` : auc.toFixed(3);
};

// --- what is known at a point ----------------------------------------------------------------------

// The nearest points that are ready at or before a place, and at or after it.
const neighbours = (values, index) => {
  let before = index, after = index;
  while (before >= 0 && (values[before] ?? null) === null) before -= 1;
  while (after < values.length && values[after] === null) after += 1;
  return [before, after];
};

// What is known at the marker, about or exactly; null: nothing yet.
const reading = (name) => {
  const { values = [], top, odds } = props.value[name];
  const [before, after] = neighbours(values, place);
  if (before < 0 || after >= values.length) return null;
  const share = after === before ? 0 : (place - before) / (after - before);
  const nearest = share < 0.5 ? before : after;
  return {
    value: values[before] + share * (values[after] - values[before]),
    exact: after === before,
    from: part_at(nearest),
    top: top[nearest].map((index, rank) => ({ name: props.value.names[index], value: odds[nearest][rank], isTarget: index === props.value.target })),
  };
};

const tell = () => {
  if (!has_run()) return;
  const { run, label } = props.value;
  document.dispatchEvent(new CustomEvent("gc-curve-point", {
    detail: {
      run, label, place, fraction: part_at(place),
      sides: Object.fromEntries(NAMES.map((name) => [name, { color: props.value[name].color, found: reading(name) }])),
    },
  }));
};

// --- drawing ---------------------------------------------------------------------------------------

const measure = () => {
  const width = Math.max(260, chart.clientWidth || 480);
  const height = Math.min(320, Math.max(210, width * 0.56));
  const [left, right, top, bottom] = [38, 22, 12, 40];
  frame = {
    width, height, left, right, top, bottom,
    across: (part) => left + part * (width - left - right),
    up: (part) => height - bottom - part * (height - top - bottom),
  };
  chart.setAttribute("viewBox", `0 0 ${width} ${height}`);
  chart.style.height = `${height}px`;
};

const draw_axes = () => {
  const { width, height, left, right, bottom, across, up } = frame;
  const add = (...part) => gcSvg(layers.axes, ...part);
  layers.axes.replaceChildren();
  for (const part of [0, 0.25, 0.5, 0.75, 1]) {
    add("line", { x1: left, x2: width - right, y1: up(part), y2: up(part), class: "gc-grid" });
    add("text", { x: left - 6, y: up(part) + 4, "text-anchor": "end" }, part);
    add("text", { x: across(part), y: height - bottom + 20, "text-anchor": "middle" }, `${100 * part}%`);
  }
  add("text", { x: across(0.5), y: height - 3, "text-anchor": "middle" }, say("axis"));
  if (!props.value?.insertion?.values)
    add("text", { x: across(0.5), y: up(0.6), "text-anchor": "middle" }, say("empty"));
};

const points_of = (pixels, values) => {
  const all = pixels[pixels.length - 1];
  return values.flatMap((value, index) => value === null ? [] : [[frame.across(pixels[index] / all), frame.up(value)]]);
};

const draw_pinned = () => {
  layers.pinned.replaceChildren();
  for (const pin of pins) {
    if (pin.run === run) continue; // the present curves lie there
    for (const name of ["deletion", "insertion"])
      gcSvg(layers.pinned, "polyline", {
        points: points_of(pin.pixels, pin[name].values).join(" "), fill: "none", stroke: pin[name].color,
        "stroke-width": 1.6, "stroke-dasharray": DASHES[pin.slot], class: `gc-pinned-${name}`,
      });
  }
};

const draw_present = () => {
  layers.present.replaceChildren();
  if (!has_run()) return;
  for (const name of ["deletion", "insertion"]) {
    const { values, color } = props.value[name];
    const points = values ? points_of(props.value.pixels, values) : [];
    if (points.length === 0) continue;
    const base = frame.up(0), area = [[points[0][0], base], ...points, [points[points.length - 1][0], base]];
    gcSvg(layers.present, "polygon", { points: area.join(" "), fill: color, opacity: 0.1 });
    gcSvg(layers.present, "polyline", { points: points.join(" "), fill: "none", stroke: color, "stroke-width": 2, class: `gc-${name}` });
  }
};

const draw_marker = () => {
  marker.toggleAttribute("hidden", !has_run());
  if (!has_run()) return;
  const x = frame.across(part_at(place)), line = find(".gc-marker-line"), grip = find(".gc-grip");
  const set = (target, attributes) => { for (const [key, value] of Object.entries(attributes)) target.setAttribute(key, value); };
  set(line, { x1: x, x2: x, y1: frame.up(0), y2: frame.up(1) });
  set(grip, { cx: x, cy: frame.up(0) });
  const told = NAMES.map((name) => {
    const found = reading(name), dot = find(`.gc-at-${name}`);
    dot.toggleAttribute("hidden", found === null);
    if (found !== null) set(dot, { cx: x, cy: frame.up(found.value), fill: props.value[name].color });
    const known = found === null ? "unknown" : found.exact ? "exact" : "about";
    return say(`told_${name}_${known}`, { value: found && gcOdds(found.value) });
  });
  marker.setAttribute("tabindex", "0");
  marker.setAttribute("aria-valuenow", String(Number((100 * part_at(place)).toFixed(1))));
  marker.setAttribute("aria-valuetext", say("at_marker", { share: gcShare(part_at(place)), values: told.join(", ") }));
  find(".gc-play-at").textContent = say("changed", { share: gcShare(part_at(place)) });
};

const draw = () => {
  measure();
  draw_axes();
  draw_pinned();
  draw_present();
  draw_marker();
};

// --- moving the marker -----------------------------------------------------------------------------

const move_to = (index) => {
  const next = Math.min(last_place(), Math.max(0, index));
  if (next === place) return;
  place = next;
  fraction = part_at(place);
  draw_marker();
  tell();
};

const nearest_place = (part) => {
  let best = 0;
  props.value.pixels.forEach((_, index) => { if (Math.abs(part_at(index) - part) < Math.abs(part_at(best) - part)) best = index; });
  return best;
};

const follow = (event) => {
  const box = chart.getBoundingClientRect();
  const x = (event.clientX - box.left) * frame.width / box.width;
  move_to(nearest_place((x - frame.left) / (frame.width - frame.left - frame.right)));
};

// A finger that goes up or down scrolls the page, so it moves the marker only once it goes sideways
// or was a tap.
let held = null; // {x, moves} of the pointer that is down
chart.addEventListener("pointerdown", (event) => {
  if (!has_run() || event.button !== 0) return;
  pause();
  chart.setPointerCapture(event.pointerId);
  held = { x: event.clientX, moves: event.pointerType !== "touch" };
  if (held.moves) follow(event);
});
chart.addEventListener("pointermove", (event) => {
  if (held === null || !has_run()) return;
  held.moves ||= Math.abs(event.clientX - held.x) > 6;
  if (held.moves) follow(event);
});
chart.addEventListener("pointerup", (event) => {
  if (held === null || !has_run()) return;
  held = null;
  follow(event);
  marker.focus({ preventScroll: true, focusVisible: false });
});
chart.addEventListener("pointercancel", () => { held = null; });

marker.addEventListener("keydown", (event) => {
  if (!has_run()) return;
  const step = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1, PageDown: -PAGE, PageUp: PAGE, Home: -Infinity, End: Infinity }[event.key];
  if (step === undefined) return;
  event.preventDefault();
  pause();
  move_to(place + step);
});

// --- the animation ---------------------------------------------------------------------------------

const show_play = () => {
  play_button.querySelector("span").textContent = playing ? "❚❚" : "▶";
  play_button.querySelector("b").textContent = playing ? say("pause") : say("play");
};

const pause = () => { playing = null; show_play(); };

const advance = (now) => {
  if (!playing) return;
  // A page in the background gets no frames: it goes on where it was.
  playing.position += Math.min(now - playing.then, 250) / PLAY_MS * last_place();
  playing.then = now;
  // Where motion is unwelcome, ten steps to look at instead of a film.
  const tenth = last_place() / 10, { position } = playing;
  move_to(Math.max(place, Math.floor(calm.matches ? Math.floor(position / tenth + 1e-6) * tenth : position)));
  if (place >= last_place()) pause(); else requestAnimationFrame(advance);
};

play_button.addEventListener("click", () => {
  if (playing) { pause(); return; }
  if (place >= last_place()) move_to(0);
  playing = { position: place, then: performance.now() };
  show_play();
  requestAnimationFrame(advance);
});

// --- pinned runs -----------------------------------------------------------------------------------

const announce = (text) => { find(".gc-pin-note").textContent = text; };

const sample = (shown, dash) => {
  const svg = gcSvg(new DocumentFragment(), "svg", { viewBox: "0 0 34 12", class: "gc-pin-sample", "aria-hidden": "true" });
  NAMES.forEach((name, at) => gcSvg(svg, "line", { x1: 0, x2: 34, y1: 3 + 6 * at, y2: 3 + 6 * at, stroke: shown[name].color, "stroke-width": 2, "stroke-dasharray": dash }));
  return svg;
};

// A name in parts; those in bold are not the same in all runs on the chart.
const name_of = (shown, all) => {
  const name = gcNode("span", "gc-pin-name");
  const pictures = [...new Set(all.map((one) => one.picture))];
  const parts = [...shown.parts, ...(pictures.length > 1 ? [say("picture", { number: pictures.indexOf(shown.picture) + 1 })] : [])];
  parts.forEach((part, index) => {
    const is_shared = all.every((one) => one.parts.includes(part));
    const text = part.length < 14 ? part.replaceAll(" ", "\u00a0") : part; // short ones stay whole
    name.append(...(index ? [" · "] : []), gcNode(is_shared ? "span" : "b", "", text));
  });
  return name;
};

const areas_text = (shown) => say("areas", { insertion: area_text(shown.insertion), deletion: area_text(shown.deletion) });

const row = (shown, pin, all) => {
  const item = gcNode("li", "gc-pin-row"), areas = gcNode("span", "gc-pin-areas", areas_text(shown));
  areas.title = say("areas_help");
  const is_present = shown.run === run, name = name_of(shown, all);
  if (is_present) name.append(gcNode("i", "", ` ${pin ? say("now_pinned") : say("now")}`));
  item.append(sample(shown, is_present ? "" : DASHES[pin.slot]), name, areas);
  if (pin) {
    const button = gcNode("button", "gc-step-button gc-unpin", "×");
    button.type = "button";
    button.setAttribute("aria-label", say("unpin", { run: shown.parts.join(", ") }));
    button.addEventListener("click", () => { pins = pins.filter((one) => one !== pin); after_removal(); });
    item.append(button);
  }
  return item;
};

let listed = ""; // what the rows were made for: new ones would lose the focus and a click on them
const draw_pins = () => {
  const value = props.value || {}, present = value.insertion?.values ? [value] : [];
  const others = pins.filter((pin) => pin.run !== run), all = [...present, ...others];
  const now = JSON.stringify([present.map((one) => one.run), pins.map((pin) => pin.slot), pins.map((pin) => pin.run)]);
  if (now !== listed) {
    listed = now;
    pin_list.replaceChildren(...all.map((shown) => row(shown, pins.find((pin) => pin.run === shown.run), all)));
  } else if (present.length) pin_list.querySelector(".gc-pin-areas").textContent = areas_text(value);
  pin_list.hidden = pins.length === 0;
  find(".gc-unpin-all").hidden = pins.length === 0;
  const is_pinned = pins.some((pin) => pin.run === run);
  pin_button.disabled = !has_run();
  // Not "disabled" below: the focus may be on it, and a click on it is told why not.
  pin_button.setAttribute("aria-disabled", String(!value.complete || is_pinned || pins.length >= value.mostPinned));
  pin_button.textContent = is_pinned ? say("pinned") : say("pin");
  const is_one_class = all.every((one) => one.parts[0] === value.label);
  find(".gc-curve-label").textContent = !value.label ? "" : is_one_class ? say("probability", value) : say("probabilities");
  root.dataset.pinned = pins.map((pin) => pin.run).join(" ");
  draw_pinned();
};

const after_removal = () => { announce(""); draw_pins(); pin_button.focus(); };

pin_button.addEventListener("click", () => {
  const value = props.value;
  if (pins.some((pin) => pin.run === value.run)) { announce(say("pinned_already")); return; }
  if (!value.complete) { announce(say("not_complete")); return; }
  if (pins.length >= value.mostPinned) { announce(say("too_many_pins", { most: value.mostPinned })); return; }
  const slot = DASHES.findIndex((_, index) => pins.every((pin) => pin.slot !== index));
  const curves = NAMES.map((name) => [name, { color: value[name].color, values: [...value[name].values], auc: value[name].auc }]);
  const { run, parts, picture, pixels } = value;
  pins = [...pins, { slot, run, parts, picture, pixels, ...Object.fromEntries(curves) }];
  announce(say("pinned_now"));
  draw_pins();
});
find(".gc-unpin-all").addEventListener("click", () => { pins = []; after_removal(); });

// --- a new value -----------------------------------------------------------------------------------

const draw_all = () => {
  const value = props.value || {};
  if (value.run !== run) {
    run = value.run;
    pause();
    if (pins.length) announce("");
  }
  if (has_run()) place = nearest_place(fraction);
  play_button.disabled = !has_run();
  for (const name of NAMES) {
    const key = find(`.gc-key-${name}`);
    key.querySelector("b").textContent = area_text(value[name]);
    key.querySelector("i").style.background = value[name]?.color || "currentColor";
  }
  const note = find(".gc-curves-note");
  note.hidden = !value.note;
  note.textContent = value.note || "";
  const summary = NAMES.map((name) => `${say(`${name}_auc`)} ${area_text(value[name])}`);
  chart.setAttribute("aria-label", value.label ? say("chart_told", { label: value.label, areas: summary.join(", ") }) : say("chart_empty"));
  draw();
  draw_pins();
  tell();
};

document.addEventListener("gc-curve-ask", tell);
new ResizeObserver(draw).observe(chart.parentElement);
draw_all();
watch("value", draw_all);
