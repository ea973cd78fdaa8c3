// How the compared maps answer to the box: a sentence here, the numbers on the cards.
let newest = 0; // of the boxes that were answered: an older one's answer may come later
const draw = () => {
  if ((props.value?.serial ?? 0) < newest) return;
  newest = props.value?.serial ?? 0;
  element.querySelector(".gc-pointing").textContent = props.value?.text || "";
  document.dispatchEvent(new CustomEvent("gc-pointing", { detail: props.value?.cards || [] }));
};
draw();
watch("value", draw);
