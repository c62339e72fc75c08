// Puts the "Ask the docs" box into a page: <script src="…/embed.js" data-… defer></script>
// docs/how-to/widget.md says what each data-… does. All styles are set through the CSSOM, so that a
// page's strict style-src is no obstacle.
(() => {
  "use strict";
  // An element of the page may bear any name: <img name="currentScript"> takes that one.
  const script = [document.currentScript, ...document.querySelectorAll('script[src*="/embed.js"]')]
    .find((element) => element instanceof HTMLScriptElement);
  if (!script) return console.warn("askdocs: embed.js works only as a script tag of its own");
  // Evaluated again (by a page that loads its content itself), it is already at work. A symbol,
  // because <h1 id="askdocs"> makes `window.askdocs`.
  const running = Symbol.for("askdocs");
  if (window[running]) return;
  window[running] = true;

  const source = new URL(script.src);
  const base = new URL(".", source);
  const html = document.documentElement;
  const mac = /Mac|iP(hone|ad|od)/.test(navigator.platform);

  // Where a wiki's settings take an address but no attributes, options stand in the address.
  const option = (name) => script.getAttribute(`data-${name}`) ?? source.searchParams.get(name) ?? "";
  const wrong = (name, fix) =>
    console.warn(`askdocs: data-${name}="${option(name)}" is not used: write ${fix}`);

  // What is said before the frame is there: the button, and why there is no frame.
  const words = {
    en: ["Ask the docs", "The box cannot be shown: {box} does not answer, or does not list {page} among its origins."],
    de: ["Frag die Doku", "Die Box kann nicht gezeigt werden: {box} antwortet nicht, oder lässt {page} nicht zu."],
    es: ["Pregunta a la documentación", "No se puede mostrar la caja: {box} no responde, o no admite {page}."],
    fr: ["Demander à la doc", "Impossible d’afficher la boîte : {box} ne répond pas, ou n’admet pas {page}."],
    ja: ["ドキュメントに質問", "表示できません。{box} が応答しないか、{page} を許可していません。"],
    zh: ["向文档提问", "无法显示：{box} 没有响应，或者不允许 {page}。"],
  };
  const wanted = option("lang") || html.lang;
  const tag = wanted.slice(0, 2).toLowerCase();
  const lang = words[tag] ? tag : "en";
  const title = option("title") || words[lang][0];

  const make = (name, properties, ...children) => {
    const element = Object.assign(document.createElement(name), properties);
    element.append(...children);
    return element;
  };

  // `important` on the element itself wins over any rule of the page's stylesheets.
  const style = (element, rules) => {
    for (const [name, value] of Object.entries(rules)) {
      element.style.setProperty(name, value, "important");
    }
  };

  const aria = (element, states) => {
    for (const [name, value] of Object.entries(states)) element.setAttribute(`aria-${name}`, value);
  };

  // Without what was asked by the address, which is no part of the page's own.
  const here = () => {
    const address = new URL(location);
    address.hash = "";
    if (address.searchParams.has("ask")) address.searchParams.delete("ask");
    return address.href;
  };

  // Of the page's tree, but without a size; it also lets the browser reckon with colours.
  const host = make("askdocs-box", { lang });
  style(host, {
    all: "initial", position: "fixed", "z-index": "2147483000", right: "0", bottom: "0",
    "color-scheme": "inherit", background: "Canvas",
  });

  // Three components in that colour space and the alpha, of any colour that CSS knows.
  const components = (colour, space, names) => {
    style(host, { color: "#000" });
    style(host, { color: `color(from ${colour} ${space} ${names} / alpha)` });
    const parts = getComputedStyle(host).color.split(" ");
    return [1, 2, 3, 5].map((index) => parseFloat(parts[index] || 1));
  };

  // White has more contrast than black on a colour whose luminance is below this (WCAG 2).
  const isDark = (colour) => components(colour, "xyz-d65", "x y z")[1] < 0.179;

  // Whatever a wiki calls its modes, the reader sees the ground that its text stands on.
  const scheme = () => {
    if (/^(light|dark)$/.test(option("color-scheme"))) return option("color-scheme");
    let element = document.querySelector("main, [role=main]") || document.body;
    const colour = () => getComputedStyle(element || host).backgroundColor;
    while (element && components(colour(), "srgb", "r g b")[3] < 0.5) element = element.parentElement;
    return isDark(colour()) ? "dark" : "light";
  };

  let accent = option("accent");
  if (accent && !CSS.supports("color", accent)) {
    wrong("accent", "a colour as in CSS, like #0a7f5a");
    accent = "";
  }
  const ground = accent || "#2f4fc4";

  // mod is Command on a Mac and Control elsewhere.
  let shortcut = option("shortcut").toLowerCase() || "mod+k";
  if (!/^((mod|ctrl|alt|shift|meta)\+)*[^\s+]+$/.test(shortcut)) {
    wrong("shortcut", "mod+k, /, or off");
    shortcut = "off";
  }
  const held = shortcut.replace("mod", mac ? "meta" : "ctrl").split("+");
  const key = held.pop();
  const named = { ctrl: "Control", alt: "Alt", shift: "Shift", meta: "Meta" };
  const keys = [...held.map((name) => named[name]), key[1] ? key : key.toUpperCase()];

  const isShortcut = (event) => {
    // Of a keyboard that has no Latin letters, the place of the key counts.
    const pressed = event.key > "~" ? event.code.replace("Key", "") : event.key;
    if (pressed?.toLowerCase() !== key || event.isComposing) return false;
    // Some keyboards need Shift for a sign, like / on a German one.
    const checked = /^[a-z0-9]/.test(key) ? ["ctrl", "alt", "meta", "shift"] : ["ctrl", "alt", "meta"];
    return checked.every((name) => event[`${name}Key`] === held.includes(name));
  };

  const isField = (element) =>
    element?.isContentEditable || /^(input|textarea|select)$/i.test(element?.tagName);

  const selected = () =>
    isField(document.activeElement) ? "" : String(getSelection()).trim().slice(0, 2000);

  // Frames, and what each of them reported.
  const frames = new Map();

  const tell = (frame, state) =>
    frame.contentWindow?.postMessage(
      { askdocs: { scheme: scheme(), page: here(), identity: option("identity"), ...state } }, base.origin);

  // Questions and quotes are not put into the frame's address: it would be too long, and be logged.
  const deliver = (frame, report) => {
    tell(frame, report.later);
    report.later = {};
  };

  const enter = (frame, state) => {
    const report = frames.get(frame);
    if (!report) return;
    Object.assign(report.later, { focus: true, ...state });
    if (report.ready) deliver(frame, report);
    frame.focus();
  };

  const frameFor = (mode, onMessage, onMissing) => {
    const address = new URL("box", base);
    const [red, green, blue] = components(ground, "srgb", "r g b")
      .map((part) => Math.round(Math.min(1, Math.max(0, part)) * 255).toString(16).padStart(2, "0"));
    address.search = new URLSearchParams({ mode, page: here(), scheme: scheme() });
    const options = { lang: wanted, accent: accent && red + green + blue, shortcut };
    for (const name of ["title", "placeholder", "examples"]) options[name] = option(name);
    for (const [name, value] of Object.entries(options)) {
      if (value) address.searchParams.set(name, value);
    }
    // The widget learns which wiki it is in, whatever that wiki's own referrer policy is.
    const frame = make("iframe", {
      title, src: address.href, allow: "clipboard-write", referrerPolicy: "origin",
    });
    const report = { onMessage, ready: false, later: {} };
    const check = () => {
      if (report.ready || !frames.has(frame) || !frame.isConnected) return;
      frames.delete(frame);
      const sentence = words[lang][1].replace("{box}", base.host).replace("{page}", location.origin);
      onMissing(make("p", { textContent: sentence }));
    };
    // A frame that was refused loads too, with an error page; a server that hangs never does.
    frame.addEventListener("load", () => setTimeout(check, 1000));
    setTimeout(check, 15000);
    frames.set(frame, report);
    return frame;
  };

  addEventListener("message", (event) => {
    if (event.origin !== base.origin || !event.data?.askdocs) return;
    for (const [frame, report] of frames) {
      if (frame.contentWindow !== event.source) continue;
      if (event.data.askdocs === "ready") {
        report.ready = true;
        deliver(frame, report);
      }
      report.onMessage(event.data.askdocs, frame);
    }
  });

  // The launcher and its panel, in a shadow tree that the page's stylesheets do not reach.
  const side = /^(left|right)$/.test(option("position")) ? option("position") : "inset-inline-end";
  const sheet = new CSSStyleSheet();
  sheet.replaceSync(`
    button { all: unset; box-sizing: border-box; position: fixed; z-index: 1; ${side}: 20px; bottom: 20px;
      display: flex; align-items: center; gap: 9px; max-width: calc(100vw - 40px); min-height: 46px;
      padding: 10px 16px; border: 1px solid #0000; border-radius: 999px; cursor: pointer; user-select: none;
      background: var(--accent); color: var(--on-accent); box-shadow: 0 2px 6px #0003, 0 6px 20px #0003;
      font: 600 15px/1.4 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif }
    button[hidden] { display: none }
    button::before { content: ""; flex: none; width: 20px; height: 20px; background: currentColor;
      clip-path: path(evenodd, "M4 1h12a3 3 0 0 1 3 3v8a3 3 0 0 1-3 3H9l-5 4v-4a3 3 0 0 1-3-3V4a3 3 0 0 1 3-3zM5 5h10v1.8H5zM5 9h7v1.8H5z") }
    [data-key]::after { content: attr(data-key); padding: 0 6px; border: 1px solid; border-radius: 5px;
      font-size: 12px; font-weight: 400 }
    [aria-expanded=true]::before { clip-path: path("M4 2.6l6 6 6-6L17.4 4l-6 6 6 6-1.4 1.4-6-6-6 6L2.6 16l6-6-6-6z") }
    [aria-expanded=true] { padding: 10px 12px }
    [aria-expanded=true]::after, [aria-expanded=true] span { display: none }
    @media (hover: none) { button::after { display: none } }
    button:hover { box-shadow: 0 2px 8px #0006, 0 6px 24px #0006 }
    button:focus-visible { outline: 3px solid var(--on-accent); box-shadow: 0 0 0 6px var(--accent) }
    dialog { position: fixed; inset: auto; ${side}: 20px; bottom: 76px; width: 420px; max-width: none;
      height: min(680px, 100vh - 96px); height: min(680px, 100dvh - 96px); max-height: none;
      margin: 0; padding: 0; overflow: hidden; border-radius: 14px; color-scheme: light; background: #fff;
      border: 1px solid #dcdfe5; box-shadow: 0 12px 48px #0005 }
    .dark { color-scheme: dark; background: #16181d; border-color: #343a45 }
    iframe { display: block; width: 100%; height: 100%; border: 0 }
    p { margin: 20px; font: 15px/1.5 system-ui, sans-serif; color: CanvasText }
    dialog:has(p) { height: auto; max-width: calc(100vw - 42px) }
    @media (max-width: 520px) {
      dialog:not(:has(p)) { inset: 0; width: 100%; height: 100%; border: 0; border-radius: 0 }
    }
    @media (prefers-reduced-motion: no-preference) {
      dialog { animation: rise .16s ease-out }
      @keyframes rise { from { opacity: 0; transform: translateY(12px) } }
    }
    @media print { :host { display: none !important } }`);

  const panel = make("dialog", { id: "panel" });
  const label = option("button") || title;
  const launcher = make("button", { type: "button" }, make("span", { textContent: label }));
  style(launcher, { "--accent": ground });
  aria(panel, { label: title });
  aria(launcher, { label, expanded: false, haspopup: "dialog", controls: "panel" });
  if (shortcut !== "off") {
    aria(launcher, { keyshortcuts: keys.join("+") });
    launcher.dataset.key = keys.join(" ").replace("Meta", "⌘").replace("Control", "Ctrl");
  }
  const shadow = host.attachShadow({ mode: "open" });
  shadow.adoptedStyleSheets = [sheet];
  shadow.append(launcher, panel);

  const small = matchMedia("(max-width: 520px)");
  let frame;

  // On a small screen it is modal: Tab stays inside.
  const show = () => (small.matches ? panel.showModal() : panel.show());

  const load = () => {
    if (frames.has(frame)) return;
    frame = frameFor("panel", (message) => {
      if (message === "close") close();
      if (message === "toggle" && shortcut !== "off") toggle();
    }, (sentence) => panel.replaceChildren(sentence));
    panel.replaceChildren(frame);
  };

  const open = ({ ask, quote } = {}) => {
    const state = {};
    if (ask) state.ask = ask;
    if (quote ??= selected()) state.quote = quote.slice(0, 2000);
    if (launcher.hidden) return enter([...frames.keys()].find((each) => each !== frame), state);
    if (!panel.open) show();
    aria(launcher, { expanded: true });
    load();
    enter(frame, state);
  };

  const close = () => panel.close();

  // The dialog itself gives the focus back to what had it, if something had.
  panel.addEventListener("close", () => {
    if (panel.open) return;
    aria(launcher, { expanded: false });
    if ([document.body, host].includes(document.activeElement)) launcher.focus();
  });

  small.addEventListener("change", () => {
    if (!panel.open) return;
    close();
    show();
    enter(frame);
  });

  const toggle = () => (panel.open ? close() : open());

  const mount = (place) => {
    const inline = frameFor("inline", (message, from) => {
      if (message.height) style(from, { height: `${message.height + 2}px` }); // and the borders
    }, (sentence) => place.replaceChildren(sentence));
    style(inline, {
      all: "initial", display: "block", "box-sizing": "border-box", width: "100%", height: "170px",
      border: "1px solid #8884", "border-radius": "14px",
    });
    place.replaceChildren(inline);
    return inline;
  };

  // Pages that swap their content (instant navigation) may drop ours or bring a new place for it.
  const places = new WeakMap();
  const place = () => {
    if (!host.isConnected) html.append(host); // not into the body, which such pages replace
    const found = document.querySelectorAll("[data-askdocs]:not(script)");
    for (const element of found) {
      if (!places.has(element)) places.set(element, mount(element));
    }
    launcher.hidden = found.length > 0;
    if (launcher.hidden && panel.open) close();
    for (const each of frames.keys()) if (!each.isConnected) frames.delete(each);
  };

  const attributes = new MutationObserver(() => refresh());
  let body;
  let known;
  const refresh = () => {
    place();
    if (body !== document.body) attributes.observe((body = document.body), { attributes: true });
    const now = scheme();
    style(launcher, { "--on-accent": isDark(ground) ? "#fff" : "#000" });
    panel.className = now;
    if (known === (known = now + here())) return;
    for (const each of frames.keys()) tell(each, {});
  };

  launcher.addEventListener("mousedown", (event) => event.preventDefault()); // keeps what is selected
  launcher.addEventListener("pointerenter", load); // before the click
  launcher.addEventListener("click", toggle);
  shadow.addEventListener("keydown", (event) => { if (event.key === "Escape") close(); });
  addEventListener("keydown", (event) => {
    // What the page has done with the key counts, and so does a reader who is writing.
    if (event.defaultPrevented || !isShortcut(event)) return;
    if (isField(event.composedPath()[0]) && !(event.ctrlKey || event.metaKey || event.altKey)) return;
    event.preventDefault();
    toggle();
  });

  const start = () => {
    refresh();
    let waiting = false;
    new MutationObserver(() => {
      if (waiting) return;
      waiting = true;
      requestAnimationFrame(() => { waiting = false; refresh(); });
    }).observe(html, { childList: true, subtree: true });
    attributes.observe(html, { attributes: true });
    addEventListener("transitionend", (event) => { if (/color/.test(event.propertyName)) refresh(); });
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", refresh);
    const ask = new URLSearchParams(location.search).get("ask");
    if (ask) open({ ask, quote: "" });
  };

  if (!Object.hasOwn(window, "askdocs")) window.askdocs = { open, close };
  if (document.body && document.readyState !== "loading") start();
  else addEventListener("DOMContentLoaded", start);
})();
