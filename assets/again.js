// Work in turns (ui/turns.py): every new value asks for the next turn, at once or in some seconds.
let last = props.value?.turn;
watch("value", () => {
  if (props.value?.turn === last) return;
  last = props.value?.turn;
  setTimeout(() => trigger("again", {}), 1000 * (props.value?.in_s ?? 0));
});
