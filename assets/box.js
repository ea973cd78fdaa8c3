// A box on the picture, drawn, moved by keys or typed. The value is the picture with its size;
// "draw" tells [left, top, right, bottom] in pixels of the picture, or null.
const root = element.querySelector(".gc-boxer");
const stage = root.querySelector(".gc-boxer-stage");
const picture = stage.querySelector("img");
const frame = stage.querySelector(".gc-boxer-box");
const fields = [...root.querySelectorAll("input")];
let box = null;
let waiting;
let serial = 0; // of the last box that was told

const size = () => [props.value?.width || 1, props.value?.height || 1];
const within = (value, most) => Math.round(Math.min(Math.max(value, 0), most));

const show = () => {
  const [width, height] = size();
  frame.hidden = box === null;
  if (box) {
    const [left, top, right, bottom] = box;
    Object.assign(frame.style, {
      left: `${100 * left / width}%`, top: `${100 * top / height}%`,
      width: `${100 * (right - left) / width}%`, height: `${100 * (bottom - top) / height}%`,
    });
  }
  fields.forEach((field, place) => {
    field.max = place % 2 ? height : width;
    if (field !== document.activeElement) field.value = box ? box[place] : "";
  });
};

const tell = () => {
  clearTimeout(waiting);
  waiting = setTimeout(() => trigger("draw", { box, serial: ++serial }), 80); // keys and cards come in bursts
};

const set = (left, top, right, bottom) => {
  const [width, height] = size();
  box = [within(Math.min(left, right), width), within(Math.min(top, bottom), height),
    within(Math.max(left, right), width), within(Math.max(top, bottom), height)];
  if (box[2] - box[0] < 1 || box[3] - box[1] < 1) box = null;
  show();
};

const clear = () => {
  box = null;
  for (const field of fields) field.value = "";
  show();
  tell();
};

const place_of = (event) => {
  const area = stage.getBoundingClientRect(), [width, height] = size();
  return [(event.clientX - area.left) / area.width * width, (event.clientY - area.top) / area.height * height];
};

let start = null;
stage.addEventListener("pointerdown", (event) => {
  if (event.button !== 0) return;
  start = place_of(event);
  stage.setPointerCapture(event.pointerId);
});
stage.addEventListener("pointermove", (event) => {
  if (start) set(...start, ...place_of(event));
});
stage.addEventListener("pointerup", (event) => {
  if (!start) return;
  set(...start, ...place_of(event)); // a mere click gives no box: it removes one
  start = null;
  tell();
});
stage.addEventListener("pointercancel", () => { start = null; });

stage.addEventListener("keydown", (event) => {
  const [width, height] = size();
  if (event.key === "Enter" && !box) set(width * 0.25, height * 0.25, width * 0.75, height * 0.75);
  else if ((event.key === "Delete" || event.key === "Backspace") && box) { event.preventDefault(); clear(); return; }
  else if (event.key.startsWith("Arrow") && box) {
    const step = Math.max(1, Math.round(Math.max(width, height) / 50));
    const x = { ArrowLeft: -step, ArrowRight: step }[event.key] || 0, y = { ArrowUp: -step, ArrowDown: step }[event.key] || 0;
    const [left, top, right, bottom] = box;
    if (event.shiftKey) set(left, top, Math.max(left + 1, right + x), Math.max(top + 1, bottom + y));
    else {
      const dx = Math.min(Math.max(x, -left), width - right), dy = Math.min(Math.max(y, -top), height - bottom);
      set(left + dx, top + dy, right + dx, bottom + dy);
    }
  } else return;
  event.preventDefault();
  tell();
});

for (const field of fields) {
  field.addEventListener("change", () => {
    if (fields.some((one) => one.value === "")) return;
    set(...fields.map((one) => Number(one.value)));
    tell();
  });
}
root.querySelector(".gc-boxer-clear").addEventListener("click", clear);
// Maps that came since must answer too.
document.addEventListener("gc-compared", () => { if (box) tell(); });

const draw = () => {
  const value = props.value;
  root.hidden = !value?.picture;
  if (root.hidden) return;
  if (picture.src !== value.picture) {
    if (box) clear();
    picture.src = value.picture;
  }
  stage.style.setProperty("--aspect", value.width / value.height);
  show();
};
draw();
watch("value", draw);
