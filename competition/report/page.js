// Charts drawn when they come near, tables that sort, galleries that filter, the choice of a run, light and dark.
// Everything of the page's data goes in as text: no markup is built here.
"use strict";

const one = (selector, root = document) => root.querySelector(selector);
const all = (selector, root = document) => [...root.querySelectorAll(selector)];

// ---- Charts

const CONFIG = { displayModeBar: false, responsive: true, scrollZoom: false };
const touched = matchMedia("(pointer: coarse)").matches; // a drag on a chart would keep a phone from scrolling
let library;

async function unpacked() {
  const bytes = Uint8Array.from(atob(one("#plotly").textContent), (letter) => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  const script = document.createElement("script");
  script.textContent = await new Response(stream).text();
  document.head.append(script);
  return window.Plotly;
}

/** The figure's layout in the colours and letters of the page, as they are where the plot stands. */
function dressed(layout, plot) {
  const style = getComputedStyle(plot);
  const [ink, line, surface] = [style.color, style.borderTopColor, style.backgroundColor];
  const painted = { gridcolor: line, zerolinecolor: line, linecolor: line, tickcolor: line };
  const names = new Set(["xaxis", "yaxis", ...Object.keys(layout).filter((key) => /^[xy]axis\d*$/.test(key))]);
  const titled = (title) => (title?.text ? { standoff: 12, ...title } : undefined); // an empty one would take room
  const axis = (given) => ({ automargin: true, ...given, ...painted, title: titled(given?.title) });
  return {
    margin: { l: 8, r: 8, t: 16, b: 8 },
    dragmode: touched ? false : "zoom",
    ...layout,
    ...Object.fromEntries([...names].map((key) => [key, axis(layout[key])])),
    legend: { orientation: "h", x: 0, xanchor: "left", y: 1.02, yanchor: "bottom", ...layout.legend, bgcolor: "rgba(0,0,0,0)" },
    height: Number(plot.dataset.tall),
    autosize: true,
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    font: { ...layout.font, family: style.fontFamily, size: 12, color: ink },
    hoverlabel: { ...layout.hoverlabel, bgcolor: surface, bordercolor: line, align: "left", font: { color: style.outlineColor } },
  };
}

/** Letters within the plot in the ink of the page: on cells plotly would choose their colour for a white page. */
function lettered(trace, plot) {
  const inside = trace.type === "heatmap" || trace.mode?.includes("text");
  return inside ? { ...trace, textfont: { color: getComputedStyle(plot).outlineColor, ...trace.textfont } } : trace;
}

/** Draws it, or draws it again where its colours or its width are no longer those of the page. */
function draw(Plotly, plot) {
  const look = `${getComputedStyle(plot).color} ${plot.clientWidth}`;
  if (plot.dataset.look === look || !plot.clientWidth) return;
  plot.figure ??= JSON.parse(one("script", plot.parentNode).textContent);
  plot.dataset.look = look;
  const traces = plot.figure.data.map((trace) => lettered(trace, plot));
  Plotly.react(plot, traces, dressed(plot.layout ?? plot.figure.layout, plot), CONFIG);
}

const near = new IntersectionObserver(
  async (entries) => {
    const plots = entries.filter((entry) => entry.isIntersecting).map((entry) => entry.target);
    if (!plots.length) return;
    library ??= unpacked();
    const Plotly = await library;
    plots.forEach((plot) => draw(Plotly, plot));
  },
  { rootMargin: "600px 0px" },
);

function watch(root) {
  for (const plot of all(".plot", root)) {
    plot.style.height = `${plot.dataset.tall}px`;
    near.observe(plot);
  }
}

function redraw() {
  for (const plot of all(".plot")) {
    near.unobserve(plot);
    near.observe(plot);
  }
}

// ---- Tables

const valueOf = (cell) => ("value" in cell.dataset ? Number(cell.dataset.value) : cell.textContent.trim());
const collator = new Intl.Collator(undefined, { numeric: true });
const compared = (a, b) => (typeof a === "number" && typeof b === "number" ? a - b : collator.compare(a, b));

/** By one column, up and then down; gaps are last both ways, equal rows stay in their order. */
function sort(button) {
  const heading = button.closest("th");
  const body = one("tbody", heading.closest("table"));
  const up = heading.ariaSort !== "ascending";
  const gap = (row) => "empty" in row.cells[heading.cellIndex].dataset;
  const key = (row) => valueOf(row.cells[heading.cellIndex]);
  const rows = [...body.rows].sort((a, b) => gap(a) - gap(b) || (up ? 1 : -1) * compared(key(a), key(b)));
  for (const other of heading.parentNode.cells) other.ariaSort = "none";
  heading.ariaSort = up ? "ascending" : "descending";
  body.append(...rows);
  tell(`sorted by ${button.textContent.trim()}, ${heading.ariaSort}`);
}

function filterRows(table) {
  const word = one("input", table).value.trim().toLowerCase();
  const rows = all("tbody tr", table);
  for (const row of rows) row.hidden = !row.textContent.toLowerCase().includes(word);
  one("output", table).value = `${rows.filter((row) => !row.hidden).length} of ${rows.length} rows`;
}

// ---- Galleries

function sift(gallery) {
  const word = one("input", gallery).value.trim().toLowerCase();
  const chosen = all("select", gallery).filter((select) => select.value);
  const tiles = all(".tiles > li", gallery);
  for (const tile of tiles) {
    const fits = chosen.every((select) => tile.dataset[select.dataset.by].split("\n").includes(select.value));
    tile.hidden = !fits || !tile.dataset.id.toLowerCase().includes(word);
  }
  one("output", gallery).value = `${tiles.filter((tile) => !tile.hidden).length} of ${tiles.length}`;
}

function layers(button) {
  const shown = button.ariaPressed !== "true";
  button.ariaPressed = String(shown);
  for (const layer of all(".tiles .layer", button.closest(".gallery"))) layer.hidden = !shown;
}

const viewer = one("#viewer");
let opened; // the tile whose picture is large

function view(tile) {
  opened = tile;
  const pictures = document.createElement("div");
  pictures.className = "viewer-pictures";
  for (const picture of all("img", tile)) {
    const copy = picture.cloneNode();
    copy.hidden = false;
    copy.alt ||= `${tile.dataset.id}: truth ${tile.dataset.truth}, predicted ${tile.dataset.predicted}`;
    pictures.append(copy);
  }
  const name = document.createElement("bdi");
  name.textContent = tile.dataset.id;
  one("#viewer-title").replaceChildren(name);
  one(".viewer-body", viewer).replaceChildren(pictures, one("dl", tile).cloneNode(true));
}

function step(by) {
  const tiles = all("li:not([hidden])", opened.parentNode).filter((tile) => one(".open", tile));
  view(tiles[(tiles.indexOf(opened) + by + tiles.length) % tiles.length]);
}

viewer.addEventListener("keydown", (event) => {
  const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  if (by) step(by);
});
viewer.addEventListener("click", (event) => event.target === viewer && viewer.close());
viewer.addEventListener("close", () => one(".open", opened).focus());

// ---- The run in detail, kept in the address as #section:run

const choice = one("#run");

function showRun() {
  const n = String(choice.selectedIndex);
  for (const template of all(`template[data-run="${n}"]`)) {
    const content = template.content.firstElementChild;
    template.replaceWith(content);
    watch(content);
  }
  for (const blocks of all(".blocks[data-run]")) blocks.hidden = blocks.dataset.run !== n;
  for (const section of all(".detail section")) {
    section.hidden = !one(`.blocks[data-run="${n}"]`, section);
    one(`nav a[href="#${section.id}"]`).parentNode.hidden = section.hidden;
  }
  for (const name of all("[data-run-name]")) name.textContent = choice.value;
}

function address() {
  const [section, run] = location.hash.slice(1).split(":", 2);
  return { section, run: run && decodeURIComponent(run) };
}

function keep(section) {
  history.replaceState(null, "", `#${section}:${encodeURIComponent(choice.value)}`);
}

/** Shows what the address names; one of a section of runs that names no run takes the one that is shown. */
function follow() {
  const { section, run } = address();
  const place = document.getElementById(section);
  if (choice && run && run !== choice.value && [...choice.options].some((option) => option.value === run)) {
    choice.value = run;
    showRun();
  }
  if (run && place) place.scrollIntoView();
  else if (choice && place?.closest(".detail")) keep(section);
}

addEventListener("hashchange", follow);
choice?.addEventListener("change", () => {
  showRun();
  const current = one('nav a[aria-current]');
  keep(current && one(current.hash).closest(".detail") ? current.hash.slice(1) : one(".detail section").id);
});

// ---- Light and dark, contents, copying

const system = matchMedia("(prefers-color-scheme: dark)");
const isDark = () => (document.documentElement.dataset.theme ?? (system.matches ? "dark" : "light")) === "dark";

function themed() {
  one('[data-do="theme"]').ariaPressed = String(isDark());
  redraw();
}

function theme() {
  document.documentElement.dataset.theme = isDark() ? "light" : "dark";
  themed();
}

system.addEventListener("change", themed);
addEventListener("resize", redraw);

let before; // the theme that was chosen before printing, which is light
addEventListener("beforeprint", () => {
  before = document.documentElement.dataset.theme;
  document.documentElement.dataset.theme = "light";
  if (window.Plotly) all(".plot").forEach((plot) => draw(window.Plotly, plot));
});
addEventListener("afterprint", () => {
  if (before) document.documentElement.dataset.theme = before;
  else delete document.documentElement.dataset.theme;
  redraw();
});

function menu(shown) {
  one("nav").classList.toggle("shown", shown);
  one(".menu").ariaExpanded = String(shown);
}

addEventListener("keydown", (event) => event.key === "Escape" && menu(false));

const seen = new IntersectionObserver(
  (entries) => {
    for (const { isIntersecting, target } of entries) {
      if (!isIntersecting) continue;
      for (const link of all("nav a")) link.ariaCurrent = link.hash === `#${target.id}` ? "true" : null;
    }
  },
  { rootMargin: "-15% 0px -75% 0px" },
);

function tell(text) {
  one("#told").textContent = text;
}

/** A page in a file may not be let at the clipboard: then the text is marked, to be copied by hand. */
function copy(button) {
  const text = one("pre", button.parentNode);
  const mark = () => {
    getSelection().selectAllChildren(text);
    tell("marked; copy it with the keyboard");
  };
  const done = () => {
    button.textContent = "Copied";
    tell("copied");
    setTimeout(() => (button.textContent = "Copy"), 2000);
  };
  if (navigator.clipboard) navigator.clipboard.writeText(text.textContent).then(done, mark);
  else mark();
}

// ---- Who does what

const ACTIONS = {
  sort,
  layers,
  copy,
  theme,
  menu: (button) => menu(button.ariaExpanded !== "true"),
  open: (button) => {
    view(button.closest("li"));
    viewer.showModal();
  },
  step: (button) => step(Number(button.dataset.by)),
  close: () => viewer.close(),
};

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-do]");
  if (button) ACTIONS[button.dataset.do](button);
  if (event.target.closest("nav a")) menu(false);
});
document.addEventListener("input", (event) => {
  const place = event.target.closest("[data-table], [data-gallery]");
  if (place) ("gallery" in place.dataset ? sift : filterRows)(place);
});

if (choice) showRun();
themed();
watch(document);
follow(); // last: charts have their heights by now
all("main section, .intro").forEach((section) => seen.observe(section));
