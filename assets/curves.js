// Deletion and insertion curves as an SVG that grows while its points arrive. The value comes from
// views.curves(); the slider below the chart moves the marker by the event "gc-fraction".
const chart = element.querySelector(".gc-chart");
let fraction = 0.2;

const add = (...part) => gcSvg(chart, ...part);

// The area; while points are missing, about how large it will be.
const areaText = (curve) => {
  if (curve === undefined) return "…";
  const { auc, error } = curve;
  return error > 0 ? `≈ ${auc.toFixed(2)} ± ${error < 0.005 ? "0.01" : error.toFixed(2)}` : auc.toFixed(3);
};

const draw = () => {
  const value = props.value || {};
  const width = Math.max(260, chart.clientWidth || 480);
  const height = Math.min(320, Math.max(210, width * 0.56));
  const [left, right, top, bottom] = [38, 22, 12, 40];
  const across = (part) => left + part * (width - left - right);
  const up = (part) => height - bottom - part * (height - top - bottom);
  chart.setAttribute("viewBox", `0 0 ${width} ${height}`);
  chart.style.height = `${height}px`;
  chart.replaceChildren();

  for (const part of [0, 0.25, 0.5, 0.75, 1]) {
    add("line", { x1: left, x2: width - right, y1: up(part), y2: up(part), class: "gc-grid" });
    add("text", { x: left - 6, y: up(part) + 4, "text-anchor": "end" }, part);
    add("text", { x: across(part), y: height - bottom + 16, "text-anchor": "middle" }, `${100 * part}%`);
  }
  add("text", { x: across(0.5), y: height - 6, "text-anchor": "middle" }, "pixels changed, most salient first");

  if (value.insertion === undefined) {
    add("text", { x: across(0.5), y: up(0.5), "text-anchor": "middle" }, "the curves draw themselves here");
    chart.setAttribute("aria-label", "Deletion and insertion curves: nothing yet");
    return;
  }
  add("line", { x1: across(fraction), x2: across(fraction), y1: up(0), y2: up(1), class: "gc-marker" });
  for (const name of ["deletion", "insertion"]) {
    const { x, y, color } = value[name];
    if (x.length === 0) continue;
    const points = x.map((part, index) => `${across(part)},${up(y[index])}`);
    const area = [`${across(x[0])},${up(0)}`, ...points, `${across(x[x.length - 1])},${up(0)}`];
    add("polygon", { points: area.join(" "), fill: color, opacity: 0.1 });
    add("polyline", { points: points.join(" "), fill: "none", stroke: color, "stroke-width": 2, class: `gc-${name}` });
    const nearest = x.reduce((best, part, index) => Math.abs(part - fraction) < Math.abs(x[best] - fraction) ? index : best, 0);
    add("circle", { cx: across(x[nearest]), cy: up(y[nearest]), r: 4, fill: color });
  }
  const summary = ["insertion", "deletion"].map((name) => `${name} AUC ${areaText(value[name])}`);
  chart.setAttribute("aria-label", `Probability of ${value.label}: ${summary.join(", ")}`);
};

const drawAll = () => {
  const value = props.value || {};
  for (const name of ["insertion", "deletion"]) {
    const key = element.querySelector(`.gc-key-${name}`);
    key.querySelector("b").textContent = areaText(value[name]);
    key.querySelector("i").style.background = value[name]?.color || "currentColor";
  }
  element.querySelector(".gc-curve-label").textContent = value.label ? `probability of ${value.label}` : "";
  draw();
};

new ResizeObserver(draw).observe(chart.parentElement);
document.addEventListener("gc-fraction", (event) => { fraction = event.detail / 100; draw(); });
drawAll();
watch("value", drawAll);
