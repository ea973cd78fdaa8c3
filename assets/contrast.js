// Two classes held against each other: a map for each, its words, its strongest groups. The value
// comes from question_views.contrast(); texts are set as text, never as HTML.
const find = (selector) => element.querySelector(selector);

const node = (tag, name, text) => {
  const made = document.createElement(tag);
  if (name) made.className = name;
  if (text !== undefined) made.textContent = text;
  return made;
};

const picture_of = (value, side) => {
  const figure = node("figure"), title = node("figcaption", "", side.label), stage = node("div", "gc-card-stage");
  title.append(" ", node("small", "", say("against", side)));
  stage.style.setProperty("--aspect", value.aspect);
  const picture = node("img", "gc-picture"), seen = node("div", "gc-seen");
  picture.src = value.picture;
  picture.alt = side.heat ? "" : side.alt;
  const [left, top, width, height] = value.box.map((part) => `${(100 * part).toFixed(3)}%`);
  Object.assign(seen.style, { left, top, width, height });
  stage.append(picture, seen);
  if (side.heat) {
    const heat = node("img", "gc-heat");
    heat.src = side.heat;
    heat.alt = side.alt;
    Object.assign(heat.style, { left, top, width, height });
    stage.append(heat);
  }
  figure.append(title, stage);
  return figure;
};

const words_of = (side) => {
  const words = node("div", "gc-contrast-words");
  words.append(node("p", side.isBlank ? "gc-blank" : "", side.say));
  if (side.tiles.length === 0) return words;
  words.append(node("h5", "", say("strongest_groups", side)));
  const list = node("ul", "gc-contrast-tiles");
  list.append(...side.tiles.map((tile) => {
    const item = node("li"), mask = node("img");
    mask.src = tile.picture;
    mask.alt = tile.alt;
    item.append(mask, node("b", "", tile.name), node("span", "", tile.score), node("span", "", tile.share));
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
