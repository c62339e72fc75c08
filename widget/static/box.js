// The page in the frame. Asking and streaming is htmx' work; this adds the keyboard, the focus,
// copying, and the few words spoken with embed.js on the host page.
(() => {
  "use strict";
  const byId = (id) => document.getElementById(id);
  const root = document.documentElement;
  const form = byId("ask");
  const question = byId("question");
  const words = JSON.parse(document.body.dataset.words);
  const framed = window.parent !== window;
  const mac = /Mac|iP(hone|ad|od)/.test(navigator.platform);

  const make = (name, properties, ...children) => {
    const element = Object.assign(document.createElement(name), properties);
    element.append(...children);
    return element;
  };

  // What is said holds no secret, and only pages listed in frame-ancestors can be listening.
  const tell = (message) => framed && window.parent.postMessage({ askdocs: message }, "*");
  const say = (text) => { byId("status").textContent = text; };
  const focusQuestion = () => question.focus({ preventScroll: true });

  root.classList.add("scripted");
  if (root.dataset.accent) root.style.setProperty("--accent", root.dataset.accent);

  question.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
      event.preventDefault();
      form.requestSubmit();
    }
  });

  // As embed.js has it on the host page, which hears no keys while the focus is in here.
  const held = (root.dataset.shortcut ?? "").replace("mod", mac ? "meta" : "ctrl").split("+");
  const key = held.pop();
  const isShortcut = (event) => {
    // Of a keyboard that has no Latin letters, the place of the key counts.
    const pressed = event.key > "~" ? event.code.replace("Key", "") : event.key;
    const typing = event.target.matches("textarea") && !held.some((name) => name !== "shift");
    const names = /^[a-z0-9]/.test(key) ? ["ctrl", "alt", "meta", "shift"] : ["ctrl", "alt", "meta"];
    return key && pressed.toLowerCase() === key && !event.isComposing && !typing
      && names.every((name) => event[`${name}Key`] === held.includes(name));
  };
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && !event.isComposing) tell("close");
    if (framed && isShortcut(event)) {
      event.preventDefault();
      tell("toggle");
    }
  });

  // The text of the host page that the question is about.
  const quote = (text) => {
    form.elements.quote.value = text;
    byId("quoted").querySelector(".about").textContent = text;
    byId("quoted").hidden = !text;
  };
  byId("unquote").addEventListener("click", (event) => {
    event.preventDefault();
    quote("");
    focusQuestion();
  });

  document.addEventListener("htmx:afterRequest", ({ target, detail }) => {
    if (target === form && detail.successful) {
      question.value = "";
      quote("");
    }
  });

  // A captcha is gone once it was solved, and comes back, unsolved, when that was too long ago.
  document.addEventListener("htmx:afterRequest", ({ detail }) => {
    const captcha = byId("captcha");
    if (!captcha || detail.pathInfo?.requestPath.replace(/\?.*/, "") !== "asks") return;
    if (detail.successful) captcha.hidden = true;
    else if (detail.xhr.status === 403) {
      captcha.hidden = false;
      (window.turnstile ?? window.hcaptcha)?.reset?.();
    }
  });

  // A token lasts for minutes, an open page for days.
  const TEN_MINUTES = 600_000;
  let renewed = Date.now();
  document.addEventListener("htmx:confirm", (event) => {
    const { verb, issueRequest } = event.detail;
    if (verb !== "post" || Date.now() - renewed < TEN_MINUTES) return;
    event.preventDefault();
    renewed = Date.now();
    const { page, token } = form.elements;
    const body = new URLSearchParams({ page: page.value, token: token.value });
    fetch("token", { method: "POST", body })
      .then((response) => response.json())
      .then((fresh) => { byId("token").value = fresh.token; })
      .catch(() => { renewed = 0; }) // what is asked now then fails with a sentence
      .finally(() => issueRequest(true));
  });

  // The widget itself is not there: what was typed stays, and one click tries again.
  const lost = ({ target, detail }) => {
    const again = make("button", { type: "button", textContent: words.retry });
    again.addEventListener("click", () => {
      byId("problem").replaceChildren();
      if (target.matches("form")) target.requestSubmit(detail.requestConfig.triggeringEvent?.submitter);
      else target.click();
    });
    const sentence = make("p", { className: "note bad", textContent: words.lost_server }, " ", again);
    sentence.setAttribute("role", "alert");
    byId("problem").replaceChildren(sentence);
  };
  document.addEventListener("htmx:sendError", lost);
  document.addEventListener("htmx:timeout", lost);

  const progress = (answer, sentence) => {
    const line = answer.querySelector(".live .reading");
    if (!line || line.textContent === sentence) return;
    line.dataset.before ??= line.textContent;
    line.textContent = sentence;
    say(sentence);
  };
  document.addEventListener("htmx:sseError", ({ target }) => progress(target, words.reconnecting));
  document.addEventListener("htmx:sseOpen", ({ target }) => {
    const line = target.querySelector(".live .reading");
    if (line?.dataset.before) line.textContent = line.dataset.before;
  });

  // The marks in an answer lead to its cards, in the page as it is.
  document.addEventListener("click", (event) => {
    const mark = event.target.closest(".cite a");
    const card = mark && byId(mark.hash.slice(1));
    if (!card) return;
    event.preventDefault();
    for (const passage of card.querySelectorAll("details")) passage.open = true;
    card.scrollIntoView({ block: "nearest" });
    card.focus({ preventScroll: true });
  });

  // Frames may write to the clipboard only where the host page lets them; selecting always works.
  const copy = async (text, button, said = words.copied) => {
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      const before = document.activeElement;
      const field = make("textarea", { value: text, className: "unseen" });
      document.body.append(field);
      field.select();
      document.execCommand("copy");
      field.remove();
      before?.focus();
    }
    say(said);
    button.classList.add("done");
    setTimeout(() => button.classList.remove("done"), 2000);
  };
  document.addEventListener("click", ({ target }) => {
    const button = target.closest("[data-copy]");
    if (!button) return;
    if (button.dataset.copy === "answer") {
      copy(answerOf(button.closest("article")), button);
      return;
    }
    const source = button.parentElement.querySelector("pre, a");
    copy(source.href ?? source.textContent, button);
  });
  // The text with its sources, without numbers and buttons.
  const answerOf = (article) => {
    const shown = article.querySelectorAll(".text:not(details .text)");
    const sources = new Set([...article.querySelectorAll("figcaption a, .source > p a")]
      .map((link) => `${link.textContent}: ${link.href.replace(/#?:~:.*/, "")}`));
    for (const extra of article.querySelectorAll(".cite, .code > .icon")) extra.hidden = true;
    const texts = [...shown].map((text) => text.innerText.trim());
    for (const extra of article.querySelectorAll(".cite, .code > .icon")) extra.hidden = false;
    return [...texts, [...sources].join("\n")].join("\n\n").trim();
  };
  document.addEventListener("click", ({ target }) => {
    const button = target.closest("[data-edit]");
    if (!button) return;
    question.value = button.dataset.edit;
    question.focus();
    question.select();
  });
  const addCopying = (element) => {
    for (const pre of element.querySelectorAll("article pre, .text > pre")) {
      if (pre.closest(".live, .code")) continue;
      const frame = make("div", { className: "code" });
      pre.replaceWith(frame);
      frame.append(pre, byId("copying").content.cloneNode(true));
    }
  };

  const SLOW = 20_000;
  document.addEventListener("htmx:load", ({ target }) => {
    addCopying(target);
    // One click shares: the link is there, and in the clipboard.
    if (target.matches?.(".shared")) {
      copy(target.querySelector("a").href, target.querySelector("button"), words.link_copied);
    }
    target.querySelector?.(".vote .note")?.scrollIntoView({ block: "nearest" });
    if (!target.matches?.("article")) return;
    byId("restart").hidden = false;
    target.scrollIntoView({ block: "start" });
    setTimeout(() => {
      if (!target.querySelector(".live .text")?.childElementCount) progress(target, words.slow);
    }, SLOW);
  });

  // A button that had the focus may be gone with the state it belonged to.
  let holder;
  const remember = () => { holder = document.activeElement; };
  const restore = () => {
    const free = document.activeElement === document.body;
    if (holder && !holder.isConnected && free) focusQuestion();
  };
  document.addEventListener("htmx:beforeSwap", remember);
  document.addEventListener("htmx:afterSwap", restore);
  document.addEventListener("htmx:sseBeforeMessage", remember);
  document.addEventListener("htmx:sseMessage", restore);

  if ("now" in form.dataset) {
    // htmx is ready by then: its script stands before this one.
    document.addEventListener("DOMContentLoaded", () => form.requestSubmit());
  }
  addCopying(document);

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
    if (state.page) {
      for (const field of document.querySelectorAll("#ask [name=page], .start [name=page]")) {
        field.value = state.page;
      }
    }
    if (state.identity) form.elements.identity.value = state.identity;
    if (state.quote) quote(state.quote.slice(0, 2000));
    if (state.focus) focusQuestion();
    if (state.ask) {
      question.value = state.ask;
      form.requestSubmit();
    }
  });

  if (root.classList.contains("inline")) {
    new ResizeObserver(() => tell({ height: Math.ceil(document.body.getBoundingClientRect().height) }))
      .observe(document.body);
  }
  tell("ready");
})();
