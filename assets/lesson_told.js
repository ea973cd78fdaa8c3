// The server's answer to a prediction (ui/lessons_tab.py); the lessons listen for it.
watch("value", () => {
  if (props.value?.lesson) document.dispatchEvent(new CustomEvent("gc-lessons-answer", { detail: props.value }));
});
