// What training sees: a row a picture. The value comes from augment_views.Rows. Texts are set as text.
const find = (selector) => element.querySelector(selector);

const figure = (title, source, alt) => {
  const made = document.createElement("figure");
  const picture = document.createElement("img");
  const caption = document.createElement("figcaption");
  Object.assign(picture, { src: source, alt });
  caption.textContent = title;
  made.append(picture, caption);
  return made;
};

const draw = () => {
  const rows = props.value?.rows ?? [];
  for (const one of element.querySelectorAll(".gc-augment-rows, .gc-quiet")) one.hidden = rows.length === 0;
  find(".gc-empty").hidden = rows.length > 0;
  find(".gc-augment-rows").replaceChildren(...rows.map((row) => {
    const item = document.createElement("li");
    const words = document.createElement("p");
    const label = document.createElement("strong");
    label.textContent = row.label;
    words.append(label, ` · ${row.note}`);
    const pictures = document.createElement("div");
    pictures.className = "gc-augment-row";
    pictures.append(
      figure(say("original"), row.original, say("original_alt", { label: row.label })),
      figure(row.isAugmented ? say("mask") : say("no_mask"), row.mask, row.words),
      figure(say("seen"), row.augmented, row.isAugmented ? say("seen_alt", { label: row.label }) : say("left_alt", { label: row.label })),
    );
    item.append(words, pictures);
    return item;
  }));
};

draw();
watch("value", draw);
