// Five lessons. The value comes from LessonsTab.show(): texts are set as text; only the drawings,
// which the server makes, are markup. What was predicted and opened is kept for this visit.
const root = element.querySelector(".gc-lessons");
const find = (selector) => root.querySelector(selector);
const all = (selector) => [...root.querySelectorAll(selector)];
const KEPT = "gc-lessons";

const read = () => {
  try { return JSON.parse(sessionStorage.getItem(KEPT)) || {}; } catch { return {}; }
};
let at = 0;
let visit = {};      // by lesson's name: {option, committed, opened}
let told = {};       // by lesson's name: the server's last answer
let serial = 0;      // of the last question to the server: answers to older ones are stale

const keep = () => {
  try { sessionStorage.setItem(KEPT, JSON.stringify({ at, visit })); } catch { /* it may be forbidden */ }
};
const lessons = () => props.value?.lessons || [];
const lesson = () => lessons()[at];
const state_of = (name) => (visit[name] ??= { option: null, committed: false, opened: false });
const here = () => state_of(lesson().name);
const made = (name, properties = {}, ...children) => {
  const node = Object.assign(document.createElement(name), properties);
  node.append(...children);
  return node;
};
const paragraphs = (texts) => texts.map((text) => made("p", { textContent: text }));
const smooth = () => matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth";

// --- questions to the server -----------------------------------------------------------------------

const ask = () => {
  const { name } = lesson(), { option } = here();
  trigger("ask", { lesson: name, option, serial: ++serial });
};
document.addEventListener("gc-lessons-answer", ({ detail }) => {
  if (detail.serial !== serial || !lesson() || detail.lesson !== lesson().name || !here().opened) return;
  told[detail.lesson] = detail;
  draw_answer();
});

// --- the parts of the page -------------------------------------------------------------------------

const draw_way = () => {
  const done = lessons().filter(({ name }) => state_of(name).opened).length;
  find(".gc-lessons-progress").textContent = say("progress", { done, lessons: lessons().length });
  find(".gc-lessons-way").replaceChildren(...lessons().map((one, place) => {
    const is_done = state_of(one.name).opened;
    const button = made("button", { type: "button" }, made("b", { textContent: `${place + 1}${is_done ? " ✓" : ""}` }), made("span", { textContent: one.short }));
    const named = { number: place + 1, title: one.title };
    button.setAttribute("aria-label", is_done ? say("lesson_done", named) : say("lesson", named));
    if (place === at) button.setAttribute("aria-current", "step");
    button.addEventListener("click", () => go(place));
    return made("li", {}, button);
  }));
  for (const button of all("[data-move]")) {
    const place = at + Number(button.dataset.move);
    button.disabled = place < 0 || place >= lessons().length;
  }
};

const draw_question = () => {
  const { name, pictures, question, options } = lesson(), { option, committed } = here();
  find(".gc-lesson-pictures").replaceChildren(...pictures.map(({ source, says }) => made("figure", {}, made("img", { src: source, alt: says }), made("figcaption", { textContent: says }))));
  find(".gc-lesson-question legend").textContent = question;
  find(".gc-lesson-question").disabled = committed;
  find(".gc-lesson-options").replaceChildren(...options.map((text, place) => {
    const radio = made("input", { type: "radio", name: `gc-lesson-${name}`, value: String(place), checked: place === option });
    radio.addEventListener("change", () => { here().option = place; keep(); draw_commit(); });
    return made("label", {}, radio, made("span", { textContent: text }));
  }));
  draw_commit();
};

const draw_commit = () => {
  const { option, committed } = here();
  const button = find(".gc-lesson-commit");
  button.disabled = option === null || committed;
  button.textContent = committed ? say("committed") : say("commit");
};

const draw_parts = () => {
  const { committed, opened } = here();
  for (const part of all(".gc-lesson-locked")) part.hidden = committed;
  for (const part of all(".gc-lesson-open")) part.hidden = !committed;
  find(".gc-lesson-reveal").closest(".gc-lesson-open").hidden = !committed || opened;
};

const draw_scenes = () => {
  const { scenes, look, look_in } = lesson();
  find(".gc-lesson-look").textContent = look;
  const buttons = scenes.map((text, scene) => {
    const button = made("button", { type: "button", className: "gc-lesson-button gc-lesson-first", textContent: text });
    button.addEventListener("click", () => trigger("scene", { lesson: lesson().name, scene }));
    return button;
  });
  const there = made("button", { type: "button", className: "gc-lesson-button", textContent: say("look_in", { tab: look_in }) });
  there.addEventListener("click", () => open_tab(look_in));
  find(".gc-lesson-scenes").replaceChildren(...buttons, there);
  tell_status();
};

const draw_answer = () => {
  const { opened } = here(), answer = told[lesson().name];
  const has = opened && Boolean(answer);
  find(".gc-lesson-told").hidden = !has;
  const verdict = find(".gc-lesson-verdict");
  verdict.classList.toggle("gc-right", has && answer.is_right);
  const text = has ? answer.verdict : "";
  if (verdict.textContent !== text) verdict.textContent = text; // else it would be read out again
  if (!has) return;
  find(".gc-lesson-words").replaceChildren(...paragraphs([...answer.answer, ...answer.numbers]));
  find(".gc-lesson-missing").textContent = answer.missing;
  find(".gc-lesson-results").replaceChildren(...answer.results.map((result) => {
    const facts = made("dl", {}, ...result.facts.map(([name, value]) => made("div", {}, made("dt", { textContent: name }), made("dd", { textContent: value }))));
    return made("figure", {}, made("img", { src: result.picture, alt: say("map_of", { scene: result.title }) }), made("figcaption", {}, made("b", { textContent: result.title }), facts));
  }));
};

// --- hands -----------------------------------------------------------------------------------------

const go = (place, is_moved = true) => {
  at = Math.min(Math.max(place, 0), lessons().length - 1);
  keep();
  draw();
  if (!is_moved) return;
  const title = find(".gc-lessons-title");
  title.focus({ preventScroll: true });
  find(".gc-lessons-way").scrollIntoView({ block: "nearest", behavior: smooth() });
};
const open_tab = (title) => {
  const tab = [...document.querySelectorAll("#gc-tabs [role=tab]")].find((one) => one.textContent.trim() === title);
  tab?.click();
  tab?.focus();
};
for (const button of all("[data-move]")) button.addEventListener("click", () => go(at + Number(button.dataset.move)));
find(".gc-lesson-commit").addEventListener("click", () => {
  here().committed = true;
  keep();
  draw_question();
  draw_parts();
  find(".gc-lesson-scenes button").focus(); // the button that had the focus is off now
});
find(".gc-lesson-reveal").addEventListener("click", () => {
  here().opened = true;
  keep();
  draw_parts();
  draw_way();
  ask();
  find("#gc-lesson-answer").focus({ preventScroll: true });
});
find(".gc-lesson-again").addEventListener("click", () => {
  visit[lesson().name] = undefined;
  told[lesson().name] = undefined;
  keep();
  draw();
  find(".gc-lesson-options input")?.focus();
});

// What the shared status line says; and once a run is done, its numbers belong into an open answer.
let was_done = false;
const tell_status = () => {
  const line = document.querySelector("#gc-status .gc-status");
  const kind = ["busy", "done", "error"].find((one) => line?.classList.contains(`gc-${one}`));
  const shown = find(".gc-lesson-state");
  shown.textContent = kind ? line.textContent.trim() : "";
  shown.classList.toggle("gc-failed", kind === "error");
  if (kind === "done" && !was_done && lesson() && here().opened) ask();
  was_done = kind === "done";
};
// The Compare tab may have more numbers by the time that the visitor comes back.
document.addEventListener("gc-tab", () => {
  if (document.querySelector("#gc-main").dataset.tab === "lessons" && lesson() && here().opened) ask();
});
const status = document.querySelector("#gc-status");
if (status) new MutationObserver(tell_status).observe(status, { subtree: true, childList: true, characterData: true, attributes: true });

const draw = () => {
  const has = lessons().length > 0;
  find(".gc-empty").hidden = has;
  find(".gc-lessons-body").hidden = !has;
  if (!has) return;
  const { title, explanation, figure } = lesson();
  find(".gc-lessons-title").textContent = say("lesson", { number: at + 1, title });
  find(".gc-lessons-say").replaceChildren(...paragraphs(explanation));
  find(".gc-lessons-figure").innerHTML = figure;
  draw_way();
  draw_question();
  draw_scenes();
  draw_parts();
  draw_answer();
  if (here().opened) ask();
};
const begin = () => {
  if (!lessons().length) { draw(); return; }
  const kept = read();
  visit = kept.visit || {};
  go(Number.isInteger(kept.at) ? kept.at : 0, false);
};
begin();
watch("value", begin);
