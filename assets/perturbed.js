// What the network saw at the marker of the curves, and what it made of it. The value comes from
// curve_views.perturbed(); the marker's place and the numbers come by the event "gc-curve-point".
// The pictures are put together here, pixel by pixel, so they follow the marker at once.
const root = element.querySelector(".gc-perturbed");
const ROWS = 5;
const SIDES = {
  insertion: { before: "insertion_start", after: "picture" },
  deletion: { before: "picture", after: "deletion_end" },
};

let pictures = null;  // the decoded value: pixels as numbers of 32 bits
let point = null;     // what the curves told last
let drawn = "";       // what the canvases show: run and place


for (const list of root.querySelectorAll(".gc-side-top"))
  for (let row = 0; row < ROWS; row += 1) {
    const item = gcNode("li");
    item.append(gcNode("span", "gc-top-name"), gcNode("span", "gc-top-bar"), gcNode("span", "gc-top-value"));
    list.append(item);
  }

const pixels_of = async (source) => {
  const image = new Image();
  image.src = source;
  await image.decode();
  const canvas = Object.assign(gcNode("canvas"), { width: image.naturalWidth, height: image.naturalHeight });
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(image, 0, 0);
  const { data, width, height } = context.getImageData(0, 0, canvas.width, canvas.height);
  return { all: new Uint32Array(data.buffer), bytes: data, width, height };
};

const decode = async () => {
  const value = props.value;
  if (!value?.run) { pictures = null; draw(); return; }
  const names = ["steps", "picture", "insertion_start", "deletion_end"];
  const decoded = await Promise.all(names.map((name) => pixels_of(value[name])));
  if (props.value.run !== value.run) return; // another run came meanwhile
  const [steps, ...others] = decoded;
  pictures = {
    run: value.run, width: steps.width, height: steps.height,
    steps: steps.bytes.filter((_, index) => index % 4 === 0),
    ...Object.fromEntries(names.slice(1).map((name, index) => [name, others[index].all])),
  };
  drawn = "";
  root.querySelector(".gc-perturbed-note").textContent = value.note;
  document.dispatchEvent(new CustomEvent("gc-curve-ask"));
};

const paint = (canvas, side) => {
  const { width, height, steps } = pictures, before = pictures[side.before], after = pictures[side.after];
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
  canvas.style.aspectRatio = `${width} / ${height}`;
  const context = canvas.getContext("2d"), made = context.createImageData(width, height);
  const pixels = new Uint32Array(made.data.buffer);
  for (let at = 0; at < pixels.length; at += 1) pixels[at] = steps[at] <= point.place ? after[at] : before[at];
  context.putImageData(made, 0, 0);
};

const fill_top = (list, found) => {
  [...list.children].forEach((item, rank) => {
    const one = found?.top[rank];
    const [name, bar, value] = item.children;
    item.classList.toggle("gc-target", Boolean(one?.isTarget));
    name.textContent = name.title = one ? one.name : "";
    value.textContent = one ? gcOdds(one.value) : "";
    bar.style.setProperty("--share", one ? one.value : 0);
  });
};

const draw = () => {
  root.hidden = point === null;
  if (point === null) return;
  const has_pictures = pictures !== null && pictures.run === point.run;
  root.classList.toggle("gc-stale", !has_pictures); // those of the last run, for a moment
  const now = `${point.run} ${point.place}`;
  for (const [name, side] of Object.entries(SIDES)) {
    const figure = root.querySelector(`[data-curve=${name}]`), canvas = figure.querySelector("canvas");
    const { color, found } = point.sides[name], find = (part) => figure.querySelector(part);
    if (has_pictures && now !== drawn) paint(canvas, side);
    figure.style.setProperty("--side", color);
    figure.classList.toggle("gc-about", !found?.exact);
    canvas.setAttribute("aria-label", say(`${name}_picture`, { share: gcShare(point.fraction) }));
    find(".gc-side-share").textContent = say(`${name}_share`, { share: gcShare(point.fraction) });
    const [label, value] = find(".gc-side-class").children;
    label.textContent = label.title = point.label;
    value.textContent = found ? `${found.exact ? "" : "≈ "}${gcOdds(found.value)}` : "…";
    find(".gc-side-from").textContent = !found ? say("unseen") : found.exact ? say("top") : say("top_so_far", { share: gcShare(found.from) });
    fill_top(find(".gc-side-top"), found);
  }
  if (has_pictures) drawn = now;
};

document.addEventListener("gc-curve-point", (event) => { point = event.detail; draw(); });
decode();
watch("value", decode);
