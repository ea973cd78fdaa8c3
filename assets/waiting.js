// Gradio's own words for a place in the line, "queue: 3/5 | 0.7s", become plain ones; see page.css.
const tell = () => {
  for (const words of document.querySelectorAll("[data-testid=status-tracker] .progress-text")) {
    const place = /queue: (\d+)\//.exec(words.textContent)
    const before = place ? say("before", {count: place[1]}) : ""
    if ((words.dataset.before ?? "") !== before) words.dataset.before = before
  }
}
new MutationObserver(tell).observe(document.body, {
  childList: true, characterData: true, subtree: true,
})
