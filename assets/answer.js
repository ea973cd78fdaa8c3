// The server's answer to a question of the steps (ui/steps_tab.py); they listen for it.
watch("value", () => {
  if (props.value?.about) document.dispatchEvent(new CustomEvent(`gc-steps-${props.value.about}`, { detail: props.value }));
});
