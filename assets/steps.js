// One run step by step. The value comes from walkthrough_views.overview(); its texts are HTML that the
// server has escaped, all others are set as text. Groups count from 0 here and from 1 on the page.
const root = element.querySelector(".gc-steps");
const find = (selector) => root.querySelector(selector);
const all = (selector) => [...root.querySelectorAll(selector)];
const picker = find(".gc-steps-pick select");
const bars = find(".gc-step-bars");
const list = find(".gc-inspector-list");
const STEPS = ["channels", "groups", "denoise", "mask", "score", "map"];

let run = null;      // what the run's id was when the page last drew one
let detail = null;   // the chosen group, as walkthrough_views.group_view() tells it
let chosen = 0;
let off = new Set(); // groups that are switched off
let serial = 0;      // of the last question: answers to older ones are stale
let listed = null;   // the group whose mask covers the map
const asked = { group: 0, map: 0 };
let curves = null;   // of the groups that are on, as steps_tab.StepsTab.show_curves() tells them
let wait = 0;        // before they are asked for: hands may still be switching
let sheet = null;    // the sprite of all masks, once it is decoded
let mapped = {};     // the map, the one before it, and the picture that both belong to

const made = (name, properties = {}, ...children) => {
  const node = Object.assign(document.createElement(name), properties);
  node.append(...children);
  return node;
};
const has_run = () => Boolean(props.value?.order);
const place_of = (group) => props.value.order.indexOf(group);
const score = (place) => {
  const alpha = props.value.alphas[place];
  return props.value.dead[place] ? say("empty_mask") : alpha === 0 ? "0" : alpha < 0.001 ? "<0.001" : alpha.toFixed(3);
};
const figure = (source, caption, kind = "figure") => {
  const node = made(kind, {}, made("img", { className: "gc-cells", src: source, alt: "" }));
  node.append(caption);
  return node;
};

// --- masks on the picture, from the sprite ---------------------------------------------------------

const cover = (canvas, group) => {
  if (!sheet || !has_run()) return;
  const { columns, tileW, tileH } = props.value.sprite, place = place_of(group);
  Object.assign(canvas, { width: tileW, height: tileH });
  const context = canvas.getContext("2d");
  context.drawImage(sheet, place % columns * tileW, Math.floor(place / columns) * tileH, tileW, tileH, 0, 0, tileW, tileH);
  const tile = context.getImageData(0, 0, tileW, tileH);
  for (let at = 0; at < tile.data.length; at += 4) {
    const hidden = 255 - tile.data[at]; // dark where the mask hides the picture
    tile.data.set([12, 14, 20, Math.round(0.86 * hidden)], at);
  }
  context.putImageData(tile, 0, 0);
};
const peek = (group) => { // a bar's mask, while it is pointed at
  const place = place_of(group);
  cover(find("[data-mask=hovered]"), group);
  find(".gc-step-hovered").textContent = props.value.dead[place] ? say("peeked_empty", { group: group + 1 }) : say("peeked", { group: group + 1, score: score(place) });
};
const peek_in_list = (group) => { // a row's mask, over the map
  listed = group;
  for (const canvas of all("[data-mask=listed]")) {
    canvas.hidden = group === null;
    if (group !== null) cover(canvas, group);
  }
};

// --- questions to the server -----------------------------------------------------------------------

const choose = (group) => {
  if (!has_run() || group === chosen) return;
  chosen = group;
  picker.value = String(group);
  draw_bars();
  draw_counted();
  draw_sizes();
  peek(group);
  asked.group = ++serial;
  trigger("choose", { group, serial });
};
const ask_map = () => {
  const on = props.value.order.filter((group) => !off.has(group));
  draw_switches();
  peek_in_list(null); // it would hide the answer
  curves = null;
  clearTimeout(wait);
  draw_curves();
  asked.map = ++serial;
  trigger("switch", { groups: on, serial });
};
const ask_curves = ({ blank }) => {
  if (blank || !off.size) return;
  const question = { groups: props.value.order.filter((group) => !off.has(group)), serial: asked.map };
  wait = setTimeout(() => trigger("trace", question), 300);
};

// --- the parts of the page -------------------------------------------------------------------------

const fill = (name, nodes) => find(`[data-fill=${name}]`).replaceChildren(...nodes);

const draw_overview = () => {
  const value = props.value;
  find(".gc-steps-caption").textContent = value.caption;
  root.style.setProperty("--aspect", value.aspect);
  for (const image of all(".gc-step-picture")) image.src = value.picture;
  find(".gc-step-blurred").src = value.blurred;
  find("[data-number=pBlurred]").innerHTML = value.pBlurred;
  find("[data-note=channels]").innerHTML = say("channels_note", { channel: "<i>A</i><sub>k</sub>", score: "<i>y</i>" });
  find("[data-note=probability]").innerHTML = say("probability_note", { p: "<i>p</i>", picture: value.pPicture, mask: "<i>M′</i>" });
  fill("channels", value.channels.map((channel) => {
    const text = made("span", {}, channel.name, made("br"), made("b", { innerHTML: `${channel.helps ? "+" : ""}${channel.weight}` }), made("br"), channel.helps ? say("speaks_for", { group: channel.group + 1 }) : say("speaks_against", { group: channel.group + 1 }));
    const button = figure(channel.picture, text, "button");
    button.type = "button";
    button.className = "gc-step-channel";
    button.setAttribute("aria-label", say("go_to_group", { group: channel.group + 1, channel: channel.name, weight: text.querySelector("b").textContent }));
    button.addEventListener("click", () => choose(channel.group));
    return button;
  }));
  const terms = value.terms.shown.flatMap((term, at) => {
    const caption = made("figcaption", {}, made("b", { innerHTML: term.alpha }), ` ${say("times_group", { group: term.group + 1 })}`);
    return [...(at ? [made("span", { className: "gc-step-sign", textContent: "+" })] : []), figure(term.picture, caption)];
  });
  if (value.terms.more) terms.push(made("span", { className: "gc-step-sign", textContent: say("more", { count: value.terms.more }) }));
  if (value.terms.shown.length) {
    terms.push(made("span", { className: "gc-step-sign", textContent: "→" }));
    const whole = made("figure", {}, made("img", { className: "gc-step-sum", src: value.map.heat || "", alt: "" }), made("figcaption", { textContent: say("the_map") }));
    whole.hidden = !value.map.heat;
    terms.push(whole);
  }
  fill("terms", terms);
  picker.replaceChildren(...value.order.map((group, place) => made("option", { value: String(group), textContent: place === 0 ? say("heaviest_option", { group: group + 1, score: score(place) }) : say("option", { group: group + 1, score: score(place) }) })));
  const scored = value.alphas.filter((alpha) => alpha > 0).length;
  find(".gc-step-scored").textContent = say("scored", { scored, groups: value.order.length });
  draw_list();
};

const draw_detail = () => {
  all(".gc-step").forEach((step, at) => {
    step.querySelector(".gc-step-say").innerHTML = detail.say[at];
    step.querySelector(".gc-step-formula").innerHTML = detail.formula[at];
  });
  for (const image of all("[data-src]")) image.src = detail[image.dataset.src];
  find(".gc-step-through").src = detail.seen;
  find("[data-number=pMasked]").innerHTML = detail.pMasked;
  const members = detail.members.flatMap((member, at) => {
    const caption = made("figcaption", {}, member.name, made("br"), made("b", { innerHTML: member.adds }));
    return [...(at ? [made("span", { className: "gc-step-sign", textContent: "+" })] : []), figure(member.picture, caption)];
  });
  const more = detail.memberCount - detail.members.length;
  if (more > 0) members.push(made("span", { className: "gc-step-sign", textContent: say("more", { count: more }) }));
  if (!detail.memberCount) members.push(made("span", { className: "gc-step-note", textContent: say("no_channel") }));
  fill("members", members);
  cover(find("[data-mask=chosen]"), detail.group);
  draw_curve();
  draw_way();
};

const draw_way = () => {
  const value = props.value;
  const scored = value.alphas.filter((alpha) => alpha > 0).length;
  const numbers = [
    say("channels", { count: value.channelCount }),
    value.order.length === 1 ? say("one_group") : say("groups", { count: value.order.length }),
    say("cells", { kept: detail.kept, all: detail.cellCount }),
    `p ${detail.pMasked}`,
    `α ${detail.alpha}`,
    value.map.blank ? say("blank") : scored === 1 ? say("from_one_mask") : say("from_masks", { count: scored }),
  ];
  find(".gc-steps-way").replaceChildren(...STEPS.map((step, at) => {
    const button = made("button", { type: "button" }, made("b", { textContent: `${at + 1} ${say(`way_${step}`)}` }), made("small", { innerHTML: numbers[at] }));
    button.addEventListener("click", () => {
      const heading = find(`#gc-step-${at + 1}`);
      heading.focus({ preventScroll: true });
      heading.scrollIntoView({ block: "start", behavior: matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth" });
    });
    return made("li", {}, button);
  }));
};

const draw_sizes = () => {
  const value = props.value, chart = find(".gc-step-sizes svg"), count = value.order.length;
  const largest = Math.max(...value.sizes, 1);
  chart.setAttribute("viewBox", `0 0 ${count} 20`);
  chart.setAttribute("preserveAspectRatio", "none");
  chart.replaceChildren();
  value.sizes.forEach((size, place) => {
    const height = Math.max(0.4, 20 * size / largest);
    gcSvg(chart, "rect", { x: place + 0.1, y: 20 - height, width: 0.8, height, class: value.order[place] === chosen ? "gc-here" : "" });
  });
  const size = value.sizes[place_of(chosen)];
  const text = say("sizes", { group: chosen + 1, least: Math.min(...value.sizes), most: largest, size });
  chart.setAttribute("aria-label", text);
  find(".gc-step-sizes figcaption").textContent = text;
};

const draw_curve = () => {
  const chart = find(".gc-step-curve"), cells = detail.cells, top = Math.max(cells[0] || 0, 1e-30);
  chart.setAttribute("viewBox", "0 0 200 100");
  chart.setAttribute("preserveAspectRatio", "none");
  chart.replaceChildren();
  const up = (value) => 100 - 96 * value / top;
  cells.forEach((value, at) => {
    const width = 200 / cells.length, stays = detail.threshold === null || value > detail.threshold;
    gcSvg(chart, "rect", { x: at * width, y: up(value), width: Math.max(width * 0.85, 0.3), height: Math.max(0.5, 100 - up(value)), class: stays ? "gc-here" : "" });
  });
  if (detail.threshold !== null) gcSvg(chart, "line", { x1: 0, x2: 200, y1: up(detail.threshold), y2: up(detail.threshold), class: "gc-marker", "vector-effect": "non-scaling-stroke" });
  const count = { kept: detail.kept, all: detail.cellCount };
  chart.setAttribute("aria-label", detail.threshold === null ? say("cells_stay", count) : say("cells_above_line", count));
};

const draw_bars = () => {
  const value = props.value, count = value.order.length, top = Math.max(...value.alphas, 1e-30);
  bars.setAttribute("viewBox", `0 0 ${count} 100`);
  bars.setAttribute("preserveAspectRatio", "none");
  bars.replaceChildren();
  value.order.forEach((group, place) => {
    const height = Math.max(0.8, 98 * value.alphas[place] / top);
    gcSvg(bars, "rect", { x: place + 0.08, y: 100 - height, width: 0.84, height, class: group === chosen ? "gc-here" : off.has(group) ? "gc-off" : "" });
    gcSvg(bars, "rect", { x: place, y: 0, width: 1, height: 100, class: "gc-hit", "data-group": group }); // easy to point at
  });
  const place = place_of(chosen);
  for (const [name, text] of [["valuemin", 1], ["valuemax", count], ["valuenow", place + 1], ["valuetext", say("bar", { group: chosen + 1, score: score(place), place: place + 1, count })]]) bars.setAttribute(`aria-${name}`, text);
};

const draw_list = () => {
  const value = props.value, top = Math.max(...value.alphas, 1e-30);
  list.replaceChildren(...value.order.map((group, place) => {
    const box = made("input", { type: "checkbox", checked: !off.has(group) });
    const bar = made("span", { className: "gc-inspector-bar" });
    bar.style.setProperty("--share", value.alphas[place] / top);
    const alone = made("button", { type: "button", className: "gc-step-button", textContent: say("solo") });
    alone.setAttribute("aria-label", say("show_alone", { group: group + 1 }));
    const row = made("li", {}, made("label", {}, box, made("span", { textContent: say("listed", { group: group + 1 }) })), bar, made("span", { className: "gc-inspector-score", textContent: score(place) }), alone);
    row.dataset.group = group;
    return row;
  }));
  draw_switches();
};

const draw_switches = () => {
  const value = props.value, count = value.order.length, on = value.order.filter((group) => !off.has(group));
  for (const row of list.children) {
    const group = Number(row.dataset.group), is_on = !off.has(group);
    row.querySelector("input").checked = is_on;
    row.classList.toggle("gc-off", !is_on);
    row.querySelector("button").setAttribute("aria-pressed", String(is_on && on.length === 1));
  }
  find(".gc-inspector-state").textContent = on.length === count ? say("all_on", { count }) : on.length === 1 ? say("only_on", { group: on[0] + 1 }) : say("some_on", { on: on.length, count });
  find(".gc-inspector-all").disabled = on.length === count;
  draw_counted();
  draw_bars();
};

const draw_counted = () => { // the chosen group's own switch, beside its score
  const is_on = !off.has(chosen);
  find(".gc-step-counts").checked = is_on;
  find(".gc-step-counted").textContent = say("counts", { group: chosen + 1 });
  find(".gc-step-alone").setAttribute("aria-pressed", String(is_on && off.size === props.value.order.length - 1));
};

const show_heat = (image, source) => {
  image.hidden = !source;
  if (source) image.src = source;
};
const draw_map = (answer) => {
  const heat = find(".gc-inspector .gc-step-heat"), blank = find(".gc-inspector .gc-blank");
  show_heat(heat, answer.heat);
  heat.alt = say("map_of_groups", { words: answer.words });
  // Beside the group, which stays in sight: the step that was changed may be far above the map.
  if (answer.heat !== mapped.heat) mapped = { heat: answer.heat, before: mapped.heat, picture: props.value.picture };
  find("[data-map=before]").classList.toggle("gc-none", mapped.before === undefined);
  show_heat(find("[data-map=before] .gc-step-heat"), mapped.before);
  show_heat(find("[data-map=now] .gc-step-heat"), mapped.heat);
  blank.textContent = answer.blank;
  blank.hidden = !answer.blank;
};

const draw_curves = () => { // of the groups that are on, and faintly of all
  const chart = find(".gc-inspector-curves"), note = find(".gc-inspector-areas");
  const [left, right, top, bottom] = [26, 296, 8, 132];
  const across = (part) => left + part * (right - left), up = (part) => bottom - part * (bottom - top);
  chart.replaceChildren();
  for (const part of [0, 0.5, 1]) {
    gcSvg(chart, "line", { x1: left, x2: right, y1: up(part), y2: up(part), class: "gc-grid" });
    gcSvg(chart, "text", { x: left - 5, y: up(part) + 4, "text-anchor": "end" }, part);
    gcSvg(chart, "text", { x: across(part), y: 147, "text-anchor": ["start", "middle", "end"][2 * part] }, `${100 * part}%`);
  }
  for (const [points, kind] of [[curves?.whole, "gc-whole"], [curves, ""]]) {
    for (const name of ["insertion", "deletion"]) {
      if (!points) continue;
      const places = points[name].x.map((part, at) => `${across(part).toFixed(1)},${up(points[name].y[at]).toFixed(1)}`);
      gcSvg(chart, "polyline", { points: places.join(" "), class: `gc-line-${name} ${kind}` });
    }
  }
  const is_blank = !find(".gc-inspector .gc-blank").hidden;
  const area = (points, name) => {
    const { auc, error } = points[name]; // an estimate while points are missing, at first of no use
    return error === undefined ? auc.toFixed(3) : error > 0.1 ? "…" : `≈ ${auc.toFixed(2)}`;
  };
  const areas = (points) => ({ insertion: area(points, "insertion"), deletion: area(points, "deletion") });
  note.textContent = !off.size ? say("curves_of_all") : !curves ? (is_blank ? "" : say("curves_come"))
    : [say("areas_of_some", areas(curves)), ...(curves.whole ? [say("areas_of_all", areas(curves.whole))] : [])].join(" ");
  chart.setAttribute("aria-label", say("curves_of_some", { areas: note.textContent }));
};

// --- settings: the controls on the left are the source ---------------------------------------------

const shown_as = (control) => { // what a control says beside itself
  const output = control.parentNode.querySelector("output");
  if (output) output.textContent = `${control.value}${control.dataset.setting === "blur_sigma_px" ? " px" : ""}`;
};
const draw_settings = () => {
  const { settings, choices, channelCount } = props.value;
  find("[data-setting=groups]").max = channelCount;
  find("[data-setting=blur_sigma_px]").min = choices.least_sigma;
  for (const control of all("[data-setting]")) {
    const name = control.dataset.setting, value = settings[name];
    const offered = choices[name]?.join("\n"); // the layers change with the network
    if (offered !== undefined && control.dataset.offered !== offered) {
      control.dataset.offered = offered;
      control.replaceChildren(...choices[name].map((one) => made("option", { value: one, textContent: one })));
      control.value = String(value);
    }
    if (name === "percentile") control.disabled = value === null;
    if (control === document.activeElement || value === null) continue; // a hand is on it
    if (control.type === "checkbox") control.checked = value; else control.value = String(value);
    shown_as(control);
  }
};
for (const control of all("[data-setting]")) {
  control.addEventListener("input", () => shown_as(control));
  control.addEventListener("change", () => {
    const value = control.type === "checkbox" ? control.checked : control.type === "range" ? Number(control.value) : control.value;
    trigger("adjust", { name: control.dataset.setting, value });
  });
}

// --- hands -----------------------------------------------------------------------------------------

picker.addEventListener("change", () => choose(Number(picker.value)));
const move = (steps) => {
  const place = Math.min(Math.max(place_of(chosen) + steps, 0), props.value.order.length - 1);
  choose(props.value.order[place]);
};
for (const button of all("[data-move]")) button.addEventListener("click", (event) => { event.preventDefault(); move(Number(button.dataset.move)); });
bars.addEventListener("keydown", (event) => {
  const far = props.value.order.length;
  const steps = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1, Home: -far, End: far }[event.key];
  if (steps === undefined) return;
  event.preventDefault();
  move(steps);
});
const pointed = (event) => event.target.dataset?.group === undefined ? null : Number(event.target.dataset.group);
bars.addEventListener("pointermove", (event) => { const group = pointed(event); if (group !== null) peek(group); });
bars.addEventListener("pointerleave", () => peek(chosen));
bars.addEventListener("click", (event) => { const group = pointed(event); if (group !== null) choose(group); });

const turn = (group, is_on) => {
  if (is_on) off.delete(group); else off.add(group);
  ask_map();
};
const leave_alone = (group) => { // once more: all back
  const is_alone = off.size === props.value.order.length - 1 && !off.has(group);
  off = new Set(is_alone ? [] : props.value.order.filter((one) => one !== group));
  ask_map();
};
find(".gc-step-counts").addEventListener("change", (event) => turn(chosen, event.target.checked));
find(".gc-step-alone").addEventListener("click", () => leave_alone(chosen));

const row_of = (event) => event.target.closest("li");
list.addEventListener("change", (event) => turn(Number(row_of(event).dataset.group), event.target.checked));
list.addEventListener("click", (event) => {
  if (!row_of(event) || event.target.closest("label")) return;
  const group = Number(row_of(event).dataset.group);
  if (!event.target.closest("button")) return peek_in_list(group === listed ? null : group); // a tap
  leave_alone(group);
});
list.addEventListener("pointerover", (event) => { const row = row_of(event); if (row && event.pointerType === "mouse") peek_in_list(Number(row.dataset.group)); });
list.addEventListener("pointerleave", (event) => { if (event.pointerType === "mouse") peek_in_list(null); }); // a finger always leaves
list.addEventListener("focusin", (event) => peek_in_list(event.target.matches(":focus-visible") ? Number(row_of(event).dataset.group) : null));
list.addEventListener("focusout", () => peek_in_list(null));
find(".gc-inspector-all").addEventListener("click", () => { off = new Set(); ask_map(); });

// --- answers ---------------------------------------------------------------------------------------

const is_fresh = (answer, about) => has_run() && answer.run === props.value.run && answer.serial === asked[about];
document.addEventListener("gc-steps-group", ({ detail: answer }) => {
  if (!is_fresh(answer, "group")) return;
  detail = answer;
  draw_detail();
});
document.addEventListener("gc-steps-map", ({ detail: answer }) => {
  if (!is_fresh(answer, "map")) return;
  draw_map(answer);
  draw_curves();
  ask_curves(answer);
});
document.addEventListener("gc-steps-curves", ({ detail: answer }) => {
  if (!is_fresh(answer, "map")) return; // they are those of the map
  curves = answer;
  draw_curves();
});

// What the shared status line says of a run on its way or one that failed, where eyes are.
const tell_status = () => {
  const line = document.querySelector("#gc-status .gc-status");
  const matters = line && (line.classList.contains("gc-busy") || line.classList.contains("gc-error"));
  const state = find(".gc-steps-state"), failed = Boolean(line?.classList.contains("gc-error"));
  state.textContent = matters ? failed ? say("run_before", { status: line.textContent.trim() }) : line.textContent.trim() : "";
  state.classList.toggle("gc-failed", failed);
};
const status = document.querySelector("#gc-status");
if (status) new MutationObserver(tell_status).observe(status, { subtree: true, childList: true, characterData: true, attributes: true });

const draw = () => {
  const value = props.value, has = has_run();
  find(".gc-empty").hidden = has;
  find(".gc-empty").textContent = value?.empty || "";
  find(".gc-steps-body").hidden = !has;
  if (!has) { run = null; return; }
  tell_status();
  const is_recoloured = run === value.run;
  if (!is_recoloured) { // another run: all groups on; the heaviest is chosen
    off = new Set();
    chosen = value.detail.group;
    detail = value.detail;
    asked.group = asked.map = ++serial;
    run = value.run;
  } else { // other colours
    asked.map = asked.group = ++serial;
    if (chosen !== value.detail.group) { trigger("choose", { group: chosen, serial }); } else detail = value.detail;
  }
  if (mapped.picture !== value.picture || is_recoloured) mapped = {}; // nothing to compare with
  sheet = null;
  const image = new Image();
  image.addEventListener("load", () => {
    if (props.value?.sprite?.sheet !== value.sprite.sheet) return;
    sheet = image;
    cover(find("[data-mask=chosen]"), chosen);
    peek(chosen);
  });
  image.src = value.sprite.sheet;
  draw_overview();
  picker.value = String(chosen);
  draw_settings();
  draw_sizes();
  draw_detail();
  draw_map(value.map);
  if (off.size) { ask_map(); } else { clearTimeout(wait); curves = null; draw_curves(); }
};
draw();
watch("value", draw);
