// The target layers as a tree: one branch a stage, that is a run of layers with the same grid.
// The value comes from views.layers().
const box = element.querySelector(".gc-layers-box");
const list = element.querySelector(".gc-layers-list");
const chosen = element.querySelector(".gc-layer-chosen");
const group = `gc-layer-${Math.random().toString(36).slice(2)}`;

const paint = (picture, layer) => {
  const { sprite, columns, rows } = props.value;
  picture.hidden = !sprite || layer.tile === null;
  if (picture.hidden) return;
  const column = layer.tile % columns, row = Math.floor(layer.tile / columns);
  picture.style.backgroundImage = `url(${sprite})`;
  picture.style.backgroundSize = `${100 * columns}% ${100 * rows}%`;
  picture.style.backgroundPosition =
    `${columns > 1 ? 100 * column / (columns - 1) : 0}% ${rows > 1 ? 100 * row / (rows - 1) : 0}%`;
};

const mark = (layer) => layer.isDefault ? `  · ${say("default")}` : "";

const show_chosen = (layer) => {
  chosen.textContent = `${layer.name}  ·  ${layer.shape}${mark(layer)}`;
  paint(box.querySelector("summary .gc-layer-picture"), layer);
};

const entry = (layer) => {
  const line = gcNode("label", layer.usable ? "gc-layer" : "gc-layer gc-layer-barred");
  const choice = document.createElement("input");
  choice.type = "radio";
  choice.name = group;
  choice.value = layer.name;
  choice.checked = layer.name === props.value.chosen;
  choice.disabled = !layer.usable;
  choice.addEventListener("change", () => {
    show_chosen(layer);
    trigger("pick", { name: layer.name });
  });
  const picture = gcNode("span", "gc-layer-picture");
  paint(picture, layer);
  const words = gcNode("span", "gc-layer-words");
  words.append(
    gcNode("span", "gc-layer-name", layer.name + mark(layer)),
    gcNode("span", "gc-layer-shape", layer.usable ? layer.shape : `${layer.shape} · ${layer.reason}`),
  );
  line.append(choice, picture, words);
  if (choice.checked) show_chosen(layer);
  return line;
};

const draw = () => {
  const stages = props.value?.stages ?? [];
  const open = new Set([...list.querySelectorAll("details[open]")].map((stage) => stage.dataset.title));
  const focused = list.contains(document.activeElement) ? document.activeElement.value : null;
  list.replaceChildren();
  for (const stage of stages) {
    const branch = document.createElement("details");
    branch.dataset.title = stage.title;
    const holds = stage.layers.some((layer) => layer.name === props.value.chosen);
    branch.open = holds || open.has(stage.title);
    branch.append(gcNode("summary", "gc-stage-title", stage.title), ...stage.layers.map(entry));
    list.append(branch);
  }
  if (focused !== null) list.querySelector(`input[value="${CSS.escape(focused)}"]`)?.focus();
};

box.addEventListener("toggle", () => {
  const checked = list.querySelector("input:checked");
  if (box.open && checked) list.scrollTop = checked.offsetTop - list.offsetTop - list.clientHeight / 2;
});
draw();
watch("value", draw);
