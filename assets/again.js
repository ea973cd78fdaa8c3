// Work in turns (ui/turns.py): every new value asks for the next turn.
let last = props.value?.turn;
watch("value", () => {
  if (props.value?.turn === last) return;
  last = props.value?.turn;
  trigger("again", {});
});
