// The page's address follows what is shown, so that it can be kept or sent. The value comes from
// Opener.link_of(): the query of the shared controls; the open tab is added here.
const button = element.querySelector("button");
const field = element.querySelector("input");
const note = element.querySelector("p");

const address = () => {
  const url = new URL(window.location.href);
  for (const name of props.value.names) url.searchParams.delete(name);
  for (const [name, value] of new URLSearchParams(props.value.query)) url.searchParams.set(name, value);
  const tab = document.querySelector("#gc-main").dataset.tab || "explain";
  if (tab !== "explain") url.searchParams.set("tab", tab);
  return url.href;
};

const follow = () => {
  const has = props.value?.query !== undefined;
  button.disabled = !has;
  note.textContent = "";
  field.hidden = true;
  if (has) window.history.replaceState(window.history.state, "", address());
};

button.addEventListener("click", async () => {
  const kept = props.value.has_picture ? "" : ` ${say("without_picture")}`;
  field.value = address();
  try {
    await navigator.clipboard.writeText(field.value);
    note.textContent = `${say("copied")}${kept}`;
  } catch { // some frames may not write to the clipboard
    field.hidden = false;
    field.select();
    note.textContent = `${say("copy_from_here")}${kept}`;
  }
});
document.addEventListener("gc-tab", follow);
follow();
watch("value", follow);
