// The sanity check: a slider through the maps of a network that forgets. The value comes from
// sanity_views.Scrubber; all maps are here, so the slider needs no server. Texts are set as text.
const find = (selector) => element.querySelector(selector);
const slider = find(".gc-scrub input");
const chart = find(".gc-cascade");
let isFollowing = true; // the newest map, until a hand is on the slider

const LINES = [["spearman", "Spearman", ""], ["ssim", "SSIM", "7 4"]];

const draw_chart = (value, place) => {
  const count = value.titles.length;
  const width = Math.max(260, chart.clientWidth || 480), height = 250;
  const [left, right, top, bottom] = [34, 16, 12, 86];
  const across = (step) => left + step / count * (width - left - right);
  const up = (part) => height - bottom - (part + 1) / 2 * (height - top - bottom);
  chart.setAttribute("viewBox", `0 0 ${width} ${height}`);
  chart.style.height = `${height}px`;
  chart.replaceChildren();
  for (const part of [-1, -0.5, 0, 0.5, 1]) {
    gcSvg(chart, "line", { x1: left, x2: width - right, y1: up(part), y2: up(part), class: "gc-grid" });
    gcSvg(chart, "text", { x: left - 5, y: up(part) + 4, "text-anchor": "end" }, part);
  }
  const short = (title) => title.length > 15 ? `${title.slice(0, 14)}…` : title;
  [say("axis_trained"), ...value.titles].forEach((title, step) => {
    const at = { x: across(step), y: up(-1) + 12 };
    gcSvg(chart, "text", { ...at, "text-anchor": "end", transform: `rotate(-40 ${at.x} ${at.y})`, class: step === place ? "gc-here" : "" }, short(title));
  });
  gcSvg(chart, "line", { x1: across(place), x2: across(place), y1: up(-1), y2: up(1), class: "gc-marker" });
  for (const [name, , dash] of LINES) {
    const values = [1, ...value[name]], color = value.colors[name];
    gcSvg(chart, "polyline", {
      points: values.map((part, step) => `${across(step)},${up(part)}`).join(" "),
      fill: "none", stroke: color, "stroke-width": 2.2, "stroke-dasharray": dash, class: `gc-cascade-${name}`,
    });
    values.forEach((part, step) => gcSvg(chart, "circle", { cx: across(step), cy: up(part), r: step === place ? 5 : 2.5, fill: color }));
  }
  const told = value.titles.slice(0, value.spearman.length)
    .map((title, step) => `${title} Spearman ${value.spearman[step].toFixed(2)}, SSIM ${value.ssim[step].toFixed(2)}`);
  chart.setAttribute("aria-label", told.length ? say("chart_told", { values: told.join("; ") }) : say("chart_empty"));
};

const show = () => {
  const value = props.value, place = Math.min(Number(slider.value), value.heats.length - 1);
  const name = place === 0 ? say("no_layer") : value.titles[place - 1];
  const numbers = place === 0 ? "" : `Spearman ${value.spearman[place - 1].toFixed(2)}, SSIM ${value.ssim[place - 1].toFixed(2)}`;
  find(".gc-scrub b").textContent = name;
  slider.setAttribute("aria-valuetext", numbers ? `${name}: ${numbers}` : name);
  const blank = value.blank[place] ? ` · ${say("is_blank")}` : "";
  const small = document.createElement("small");
  small.textContent = place === 0 ? say("nothing_random") : `${numbers}${blank}`;
  find(".gc-sanity-now").replaceChildren(place === 0 ? say("same") : say("random_to", { layer: name }), " ", small);
  const heat = find("[data-side=random] .gc-heat");
  heat.src = value.heats[place];
  const words = value.words[place];
  heat.alt = place === 0 ? say("same_picture", { words }) : say("random_picture", { layer: name, words });
  draw_chart(value, place);
};

const draw = () => {
  const value = props.value, has = Boolean(value?.heats);
  find(".gc-empty").hidden = has;
  find(".gc-sanity-body").hidden = !has;
  if (!has) return;
  if (value.heats.length === 1) isFollowing = true; // a new check
  slider.max = Math.max(1, value.heats.length - 1);
  slider.disabled = value.heats.length === 1;
  // As far as its maps are there, so that the handle stands where the chart's marker does.
  slider.style.setProperty("--part", Math.max(1, value.heats.length - 1) / value.titles.length);
  if (isFollowing) slider.value = value.heats.length - 1;
  for (const stage of element.querySelectorAll(".gc-card-stage")) {
    stage.style.setProperty("--aspect", value.aspect);
    stage.querySelector(".gc-picture").src = value.picture;
    const [left, top, width, height] = value.box.map((part) => `${(100 * part).toFixed(3)}%`);
    for (const one of stage.querySelectorAll(".gc-seen, .gc-heat")) Object.assign(one.style, { left, top, width, height });
  }
  find("[data-side=trained] .gc-heat").src = value.heats[0];
  find(".gc-compare-caption").textContent = value.caption;
  find(".gc-line-keys").replaceChildren(...LINES.map(([key, title, dash]) => {
    const item = document.createElement("li");
    const sample = gcSvg(item, "svg", { viewBox: "0 0 30 8", class: "gc-sample" });
    gcSvg(sample, "line", { x1: 0, x2: 30, y1: 4, y2: 4, stroke: value.colors[key], "stroke-width": 3, "stroke-dasharray": dash });
    item.append(title);
    return item;
  }));
  show();
};

slider.addEventListener("input", () => { isFollowing = false; show(); });
new ResizeObserver(() => { if (props.value?.heats) show(); }).observe(find(".gc-sanity"));
draw();
watch("value", draw);
