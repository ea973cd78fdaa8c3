// The group masks as a gallery of buttons, heaviest first. The value comes from views.masks().
const list = element.querySelector(".gc-tiles");
const percent = (part) => `${(100 * part).toFixed(part < 0.0995 ? 2 : 1)}%`;

const draw = () => {
  const value = props.value;
  list.replaceChildren();
  const note = element.querySelector(".gc-tiles-note");
  if (!value || !value.tiles) { note.textContent = ""; return; }
  const heaviest = Math.max(...value.tiles.map((tile) => tile.weight), 1e-12);
  const blurred = percent(value.blurred);
  note.textContent = say("note", { blurred, label: value.label });
  value.tiles.forEach((tile, place) => {
    const button = document.createElement("button");
    button.type = "button";
    button.className = tile.weight > 0 ? "gc-tile" : "gc-tile gc-idle";
    button.dataset.group = tile.group;
    button.setAttribute("aria-pressed", "false");
    const picture = gcNode("span", "gc-tile-picture");
    const column = place % value.columns, row = Math.floor(place / value.columns);
    picture.style.backgroundImage = `url(${value.sprite})`;
    picture.style.backgroundSize = `${100 * value.columns}% ${100 * value.rows}%`;
    picture.style.backgroundPosition =
      `${value.columns > 1 ? 100 * column / (value.columns - 1) : 0}% ${value.rows > 1 ? 100 * row / (value.rows - 1) : 0}%`;
    const bar = gcNode("span", "gc-tile-bar");
    bar.style.setProperty("--share", tile.weight / heaviest);
    const masked = say("masked", { masked: percent(tile.masked) });
    const [group, weight] = tile.caption.split(" · ");
    const numbers = gcNode("span", "gc-tile-numbers");
    numbers.append(
      gcNode("span", "gc-tile-weight", weight),
      " ", // for who hears the two, not for who sees them
      gcNode("span", "gc-tile-masked", tile.dead ? say("not_scored") : say("p", { p: percent(tile.masked) })),
    );
    button.title = `${tile.caption}\n${masked}\n${say("blurred", { blurred })}`;
    button.append(picture, bar, gcNode("span", "gc-tile-name", group), numbers);
    button.addEventListener("click", () => {
      for (const other of list.children) other.setAttribute("aria-pressed", String(other === button));
      trigger("pick", { group: tile.group });
    });
    list.append(button);
  });
};

draw();
watch("value", draw);
