// Gradio clones the properties of many components at each report of an event, one call a value,
// and the page has thousands of names to choose from. A plain value is its own clone.
const cloneObject = window.structuredClone
window.structuredClone = (value, ...options) =>
  value === null || !['object', 'function', 'symbol'].includes(typeof value)
    ? value
    : cloneObject(value, ...options)

// Adds an SVG element to a parent and returns it; every chart of the page is drawn with this.
window.gcSvg = (parent, name, attributes = {}, text) => {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name)
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value)
  if (text !== undefined) made.textContent = text
  parent.append(made)
  return made
}

// Returns a new HTML element with its class and its text, either of which may be missing.
window.gcNode = (tag, name, text) => {
  const made = document.createElement(tag)
  if (name) made.className = name
  if (text !== undefined) made.textContent = text
  return made
}

// Numbers in words: a share of pixels, and a probability.
window.gcShare = (part) => `${Number((100 * part).toFixed(1))}%`
window.gcOdds = (value) => value > 0 && value < 0.0005 ? "<0.1%" : `${(100 * value).toFixed(1)}%`

// Returns what looks up a sentence by its name and fills its braces; components.from_assets() gives
// every script its own, with the sentences of its section.
window.gcSpeaker = (texts) => (name, values = {}) => {
  if (!(name in texts)) throw new Error(`No sentence is called "${name}".`)
  return texts[name].replace(/\{(\w+)\}/g, (braces, key) => values[key] ?? braces)
}

// Gradio brings the parts of a page one after the other, and each would push others away. All stay
// hidden until they are in their places and nothing has come for a while, or until it takes too
// long; page.css hides them.
const PARTS = [
  "#gc-title h1", "#gc-picture *", "#gc-backbone *", "#gc-layers *", "#gc-top *", "#gc-link *", "[role=tab]",
  "#gc-status *", "#gc-viewer *", "#gc-downloads button", "#gc-curves *", "#gc-perturbed *", "#gc-masks *",
  "#gc-controls [type=range]", "#gc-controls [type=radio]",
]
const CALM_MS = 100
const MOST_HIDDEN_MS = 5000
const hiddenSince = performance.now()
let latestPart = hiddenSince
const newParts = new MutationObserver(() => { latestPart = performance.now() })
newParts.observe(document, { childList: true, subtree: true })
const showWhenComplete = () => {
  const now = performance.now()
  const isComplete = PARTS.every((part) => document.querySelector(part)) && now > latestPart + CALM_MS
  if (!isComplete && now < hiddenSince + MOST_HIDDEN_MS) return requestAnimationFrame(showWhenComplete)
  newParts.disconnect()
  document.documentElement.classList.add("gc-complete")
}
requestAnimationFrame(showWhenComplete)
