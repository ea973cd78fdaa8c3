// The map on its picture: one draggable divider, or both side by side. The value comes from
// views.viewer(); texts are set as text, never as HTML.
const root = element.querySelector(".gc-viewer");
const find = (selector) => root.querySelector(selector);

const draw = () => {
  const value = props.value;
  const hasResult = Boolean(value && value.picture);
  find(".gc-empty").hidden = hasResult;
  find(".gc-stage").hidden = !hasResult;
  find(".gc-legend").hidden = !hasResult;
  if (!hasResult) return;
  root.style.setProperty("--aspect", value.aspect);
  const [left, top, width, height] = value.box.map((part) => `${(100 * part).toFixed(3)}%`);
  const place = { left, top, width, height };
  for (const picture of root.querySelectorAll(".gc-picture")) picture.src = value.picture;
  const heat = find(".gc-heat");
  heat.hidden = !value.heat;
  if (value.heat) heat.src = value.heat;
  Object.assign(heat.style, place);
  Object.assign(find(".gc-seen").style, place);
  find(".gc-overlay .gc-picture").alt = say("overlay", value);
  find(".gc-outside").hidden = value.box[2] * value.box[3] > 0.999;
  find(".gc-words").textContent = value.words;
  find(".gc-caption").textContent = value.caption;
  find(".gc-blank").textContent = value.blank && `${value.blank} ${say("questions_tell_more")}`;
  find(".gc-blank").hidden = !value.blank;
  find(".gc-scale").style.background = `linear-gradient(to right, ${value.colors.join(",")})`;
};

const divider = find(".gc-divider");
const divide = () => {
  root.style.setProperty("--divide", `${divider.value}%`);
  find(".gc-tag-left").hidden = divider.value < 25; // no room left of the handle
};
divider.addEventListener("input", divide);
divide();
draw();
watch("value", draw);
