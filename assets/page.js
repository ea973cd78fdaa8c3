// Gradio clones the properties of many components at each report of an event, one call a value,
// and the page has thousands of names to choose from. A plain value is its own clone.
const cloneObject = window.structuredClone
window.structuredClone = (value, ...options) =>
  value === null || !['object', 'function', 'symbol'].includes(typeof value)
    ? value
    : cloneObject(value, ...options)
