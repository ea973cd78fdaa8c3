// Gradio's own words become the page's: a place in the line, "queue: 3/5 | 0.7s" (see page.css), and
// the headings of the messages in the corner.
const headings = Object.entries({ warning: say("warning"), info: say("info"), error: say("error") })
const tell = () => {
  for (const words of document.querySelectorAll("[data-testid=status-tracker] .progress-text")) {
    const place = /queue: (\d+)\//.exec(words.textContent)
    const before = place ? say("before", {count: place[1]}) : ""
    if ((words.dataset.before ?? "") !== before) words.dataset.before = before
  }
  for (const title of document.querySelectorAll("[data-testid=toast-body] .toast-title")) {
    const heading = headings.find(([kind]) => title.classList.contains(kind))?.[1]
    const text = title.firstChild
    if (heading && text && text.data.trim() !== heading) text.data = `${heading} `
  }
}
new MutationObserver(tell).observe(document.body, {
  childList: true, characterData: true, subtree: true,
})
