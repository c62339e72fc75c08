// Puts the "Ask the docs" box into a page: <script src="…/embed.js" defer></script>
// Options: data-title, data-button, data-placeholder, data-color-scheme, data-shortcut="off".
// All styles are set through the CSSOM, so that a page's strict style-src is no obstacle.
(() => {
  "use strict";
  const script = document.currentScript || document.querySelector('script[src*="/embed.js"]');
  // Evaluated again (by a page that loads its content itself), it is already at work.
  if (!script || window.askdocs) return;

  const base = new URL(".", script.src);
  const option = (name, otherwise) => script.dataset[name] || otherwise;
  const title = option("title", "Ask the docs");
  const mac = /Mac|iP(hone|ad|od)/.test(navigator.platform);
  const shortcut = option("shortcut") !== "off";

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

  const here = () => location.href.split("#")[0];

  const scheme = () => {
    const html = document.documentElement;
    for (const element of [script, html, document.body]) {
      const { colorScheme, mdColorScheme, theme } = element.dataset;
      const name = colorScheme || mdColorScheme || theme;
      if (name && !/auto|system/.test(name)) return /dark|slate|night|black/.test(name) ? "dark" : "light";
    }
    if (html.classList.contains("dark")) return "dark";
    return matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
  };

  // Frames, and what each of them reported.
  const frames = new Map();

  const tell = (frame, state) =>
    frame.contentWindow?.postMessage({ askdocs: { scheme: scheme(), page: here(), ...state } }, base.origin);

  const frameFor = (mode, onMessage, onMissing) => {
    const address = new URL("box", base);
    address.search = new URLSearchParams({ mode, page: here(), scheme: scheme() });
    for (const name of ["title", "placeholder"]) {
      if (option(name)) address.searchParams.set(name, option(name));
    }
    const frame = make("iframe", { title, src: address.href });
    const report = { onMessage, ready: false };
    const check = () => {
      if (report.ready || !frames.has(frame) || !frame.isConnected) return;
      frames.delete(frame);
      onMissing(make("p", {
        textContent: `The box cannot be shown: ${base.host} does not answer, or does not list ${location.origin} among its origins.`,
      }));
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
      if (event.data.askdocs === "ready") report.ready = true;
      report.onMessage(event.data.askdocs, frame);
    }
  });

  // The launcher and its panel, in a shadow tree that the page's stylesheets do not reach.
  const sheet = new CSSStyleSheet();
  sheet.replaceSync(`
    :host { color-scheme: light }
    :host([data-scheme=dark]) { color-scheme: dark }
    button { all: unset; box-sizing: border-box; position: fixed; right: 20px; bottom: 20px;
      padding: 11px 18px; border-radius: 999px; cursor: pointer; background: #2f4fc4; color: #fff;
      font: 600 15px/1.4 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif;
      box-shadow: 0 2px 6px #0003, 0 6px 20px #0003 }
    button:hover { background: #2743a8 }
    button:focus-visible { outline: 3px solid #fff; box-shadow: 0 0 0 6px #2f4fc4 }
    div { position: fixed; right: 20px; bottom: 76px; width: 420px; height: min(680px, 100vh - 96px);
      height: min(680px, 100dvh - 96px); overflow: hidden; border-radius: 14px; background: light-dark(#fff, #16181d);
      border: 1px solid light-dark(#dcdfe5, #343a45); box-shadow: 0 12px 48px #0005 }
    div[hidden] { display: none }
    iframe { display: block; width: 100%; height: 100%; border: 0 }
    p { margin: 20px; font: 15px/1.5 system-ui, sans-serif; color: light-dark(#1c2027, #e6e8ec) }
    div:has(p) { height: auto; max-width: calc(100vw - 42px) }
    @media (max-width: 520px) {
      div:not(:has(p)) { inset: 0; width: 100%; height: 100%; border: 0; border-radius: 0 }
    }
    @media (prefers-reduced-motion: no-preference) {
      div { animation: rise .16s ease-out }
      @keyframes rise { from { opacity: 0; transform: translateY(12px) } }
    }
    @media print { :host { display: none !important } }`);

  const host = make("askdocs-box");
  style(host, { all: "initial", position: "fixed", "z-index": "2147483000", right: "0", bottom: "0" });
  const panel = make("div", { id: "panel", hidden: true, role: "dialog" });
  const launcher = make("button", {
    type: "button", textContent: option("button", title),
  });
  const aria = (element, states) => {
    for (const [name, value] of Object.entries(states)) element.setAttribute(`aria-${name}`, value);
  };
  aria(panel, { label: title });
  aria(launcher, { expanded: false, haspopup: "dialog", controls: "panel" });
  if (shortcut) aria(launcher, { keyshortcuts: mac ? "Meta+K" : "Control+K" });
  const shadow = host.attachShadow({ mode: "open" });
  shadow.adoptedStyleSheets = [sheet];
  shadow.append(launcher, panel);

  let frame;
  let before;

  const open = () => {
    before = document.activeElement;
    panel.hidden = false;
    aria(launcher, { expanded: true });
    if (frames.has(frame)) {
      tell(frame, { focus: true });
    } else {
      frame = frameFor("panel", (message, from) => {
        if (message === "ready" && !panel.hidden) tell(from, { focus: true });
        if (message === "close") close();
        if (message === "toggle" && shortcut) toggle();
      }, (sentence) => panel.replaceChildren(sentence));
      panel.replaceChildren(frame);
    }
    frame.focus();
  };

  const close = () => {
    if (panel.hidden) return;
    panel.hidden = true;
    aria(launcher, { expanded: false });
    // Opened by the button or from nowhere: the button. Else what had the focus then.
    const known = before && before !== host && before !== document.body && before.isConnected;
    (known ? before : launcher).focus();
  };

  const toggle = () => (panel.hidden ? open() : close());

  const mount = (place) => {
    const inline = frameFor("inline", (message, from) => {
      if (message === "ready") tell(from, {});
      if (message.height) style(from, { height: `${message.height}px` });
    }, (sentence) => place.replaceChildren(sentence));
    style(inline, {
      all: "initial", display: "block", width: "100%", height: "170px",
      border: "1px solid #8884", "border-radius": "14px",
    });
    place.replaceChildren(inline);
    return inline;
  };

  // Pages that swap their content (instant navigation) may drop ours or bring a new place for it.
  const places = new WeakMap();
  const place = () => {
    const found = document.querySelectorAll("[data-askdocs]:not(script)");
    for (const element of found) {
      if (!places.has(element)) places.set(element, mount(element));
    }
    if (found.length) {
      close();
      host.remove();
    } else if (!host.isConnected) {
      document.body.append(host);
    }
    for (const known of frames.keys()) if (!known.isConnected) frames.delete(known);
  };

  const recolour = () => {
    host.dataset.scheme = scheme();
    for (const known of frames.keys()) tell(known, {});
  };

  launcher.addEventListener("click", toggle);
  shadow.addEventListener("keydown", (event) => { if (event.key === "Escape") close(); });
  addEventListener("keydown", (event) => {
    const command = mac ? event.metaKey : event.ctrlKey;
    if (!shortcut || !command || event.shiftKey || event.altKey || event.key.toLowerCase() !== "k") return;
    event.preventDefault();
    if (host.isConnected) return toggle();
    for (const known of frames.keys()) {
      known.focus();
      return tell(known, { focus: true });
    }
  });

  const start = () => {
    place();
    recolour();
    let waiting = false;
    new MutationObserver(() => {
      if (waiting) return;
      waiting = true;
      requestAnimationFrame(() => { waiting = false; place(); });
    }).observe(document.documentElement, { childList: true, subtree: true });
    const names = ["class", "data-color-scheme", "data-md-color-scheme", "data-theme"];
    const colours = new MutationObserver(recolour);
    for (const element of [document.documentElement, document.body, script]) {
      colours.observe(element, { attributes: true, attributeFilter: names });
    }
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", recolour);
  };

  window.askdocs = { open, close };
  if (document.body && document.readyState !== "loading") start();
  else addEventListener("DOMContentLoaded", start);
})();
