// The page's languages; a change keeps all that the address holds. The value comes from Layout.
const { present, languages } = props.value;
document.documentElement.lang = present;
for (const { code, name, path } of languages) {
  const link = Object.assign(document.createElement("a"), { textContent: name, lang: code, hreflang: code, href: path });
  if (code === present) link.setAttribute("aria-current", "page");
  link.addEventListener("click", () => { link.search = window.location.search; });
  element.querySelector("nav").append(link);
}
