// The page in the frame. Asking and streaming is htmx' work; this adds the keyboard, the focus,
// and the few words spoken with embed.js on the host page.
(() => {
  "use strict";
  const byId = (id) => document.getElementById(id);
  const root = document.documentElement;
  const form = byId("ask");
  const question = byId("question");
  const framed = window.parent !== window;
  const mac = /Mac|iP(hone|ad|od)/.test(navigator.platform);

  // What is said holds no secret, and only pages listed in frame-ancestors can be listening.
  const tell = (message) => framed && window.parent.postMessage({ askdocs: message }, "*");
  const say = (text) => { byId("status").textContent = text; };

  const focusQuestion = () => question.focus({ preventScroll: true });

  question.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
      event.preventDefault();
      form.requestSubmit();
    }
  });

  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && !event.isComposing) tell("close");
    const command = mac ? event.metaKey : event.ctrlKey;
    if (framed && command && !event.shiftKey && !event.altKey && event.key.toLowerCase() === "k") {
      event.preventDefault();
      tell("toggle");
    }
  });

  form.addEventListener("htmx:afterRequest", (event) => {
    if (event.target === form && event.detail.successful) form.reset();
  });

  // The widget itself is not there: the question stays in the field.
  document.addEventListener("htmx:sendError", () => {
    const sentence = document.createElement("p");
    sentence.className = "note bad";
    sentence.setAttribute("role", "alert");
    sentence.textContent = "The box has lost its server. Please try again in a moment.";
    byId("problem").replaceChildren(sentence);
  });

  document.addEventListener("htmx:sseError", (event) => {
    const line = event.target.querySelector(".live .reading");
    const sentence = "The connection was lost. Trying again…";
    if (line && line.textContent !== sentence) {
      line.textContent = sentence;
      say(sentence);
    }
  });

  document.addEventListener("htmx:load", (event) => {
    if (event.target.matches?.("article")) event.target.scrollIntoView({ block: "start" });
  });

  // A button that had the focus may be gone with the state it belonged to.
  let holder;
  const remember = () => { holder = document.activeElement; };
  const restore = () => { if (holder && !holder.isConnected) focusQuestion(); };
  document.addEventListener("htmx:beforeSwap", remember);
  document.addEventListener("htmx:afterSwap", restore);
  document.addEventListener("htmx:sseBeforeMessage", remember);
  document.addEventListener("htmx:sseMessage", restore);

  if (!framed) {
    focusQuestion();
    return;
  }

  byId("close").hidden = !root.classList.contains("panel");
  byId("close").addEventListener("click", () => tell("close"));

  window.addEventListener("message", (event) => {
    const state = event.source === window.parent && event.data?.askdocs;
    if (!state) return;
    if (state.scheme) root.dataset.scheme = state.scheme;
    if (state.page) form.elements.page.value = state.page;
    if (state.focus) focusQuestion();
  });

  if (root.classList.contains("inline")) {
    new ResizeObserver(() => tell({ height: Math.ceil(document.body.getBoundingClientRect().height) }))
      .observe(document.body);
  }
  tell("ready");
})();
