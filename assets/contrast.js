// Two classes held against each other: a map for each, its words, its strongest groups. The value
// comes from question_views.contrast(); texts are set as text, never as HTML.
const find = (selector) => element.querySelector(selector);

const picture_of = (value, side) => {
  const figure = gcNode("figure"), title = gcNode("figcaption", "", side.label), stage = gcNode("div", "gc-card-stage");
  title.append(" ", gcNode("small", "", say("against", side)));
  stage.style.setProperty("--aspect", value.aspect);
  const picture = gcNode("img", "gc-picture"), seen = gcNode("div", "gc-seen");
  picture.src = value.picture;
  picture.alt = side.heat ? "" : side.alt;
  const [left, top, width, height] = value.box.map((part) => `${(100 * part).toFixed(3)}%`);
  Object.assign(seen.style, { left, top, width, height });
  stage.append(picture, seen);
  if (side.heat) {
    const heat = gcNode("img", "gc-heat");
    heat.src = side.heat;
    heat.alt = side.alt;
    Object.assign(heat.style, { left, top, width, height });
    stage.append(heat);
  }
  figure.append(title, stage);
  return figure;
};

const words_of = (side) => {
  const words = gcNode("div", "gc-contrast-words");
  words.append(gcNode("p", side.isBlank ? "gc-blank" : "", side.say));
  if (side.tiles.length === 0) return words;
  words.append(gcNode("h5", "", say("strongest_groups", side)));
  const list = gcNode("ul", "gc-contrast-tiles");
  list.append(...side.tiles.map((tile) => {
    const item = gcNode("li"), mask = gcNode("img");
    mask.src = tile.picture;
    mask.alt = tile.alt;
    item.append(mask, gcNode("b", "", tile.name), gcNode("span", "", tile.score), gcNode("span", "", tile.share));
    return item;
  }));
  words.append(list);
  return words;
};

const draw = () => {
  const value = props.value, has = Boolean(value?.sides);
  find(".gc-empty").hidden = has;
  find(".gc-contrast-body").hidden = !has;
  if (!has) return;
  find(".gc-contrast-verdict").textContent = value.verdict;
  find(".gc-compare-caption").textContent = value.caption;
  find(".gc-contrast-note").textContent = value.note;
  find(".gc-contrast-sides").replaceChildren(
    ...value.sides.map((side) => picture_of(value, side)),
    ...value.sides.map(words_of),
  );
};

draw();
watch("value", draw);
