// How the compared maps answer to the box: a sentence here, the numbers on the cards.
const draw = () => {
  element.querySelector(".gc-pointing").textContent = props.value?.text || "";
  document.dispatchEvent(new CustomEvent("gc-pointing", { detail: props.value?.cards || [] }));
};
draw();
watch("value", draw);
