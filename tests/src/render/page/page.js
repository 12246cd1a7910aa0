// The page: panels in their places, and a list of what does not fit.

const KINDS = { timeseries: lines, "state-timeline": timeline, stat, table, nodeGraph: graph, bargauge: barGauge };
const CUT = [];
function cut(panel, what) {
  CUT.push({ panel: panel.title, what });
}

function nothing(body, panel) {
  element(body, "div", "none", panel.fieldConfig.defaults.noValue ?? "No data");
}

function draw() {
  const { dashboard, answers } = PAGE;
  const header = element(document.body, "header", "", dashboard.title);
  element(header, "small", "", Object.entries(PAGE.variables).filter(([name]) =>
    dashboard.templating.list.some((one) => one.name === name && one.hide !== 2)).map(([name, value]) => `${name}: ${value}`).join("   "));
  const grid = element(document.body, "div", "");
  grid.id = "grid";
  const unit = grid.clientWidth / 24;
  for (const panel of dashboard.panels) {
    const { x, y, w, h } = panel.gridPos;
    const box = element(grid, "section", panel.type === "row" ? "row" : "panel", panel.type === "row" ? `⌄ ${panel.title}` : undefined);
    // Rows of 30 pixels with 8 between them.
    Object.assign(box.style, { left: `${x * unit + 4}px`, top: `${y * 38}px`, width: `${w * unit - 8}px`, height: `${h * 38 - 8}px` });
    if (panel.type === "row") continue;
    element(box, "div", "title", panel.title).dataset.cut = "the title";
    const body = element(box, "div", "body");
    (KINDS[panel.type] ?? ((_, one) => cut(one, `no drawing for ${panel.type}`)))(body, panel, answers[panel.id]);
    for (const part of box.querySelectorAll("[data-cut]")) {
      if (part.scrollWidth > part.clientWidth + 1 && part.clientWidth > 0) cut(panel, `${part.dataset.cut} does not fit`);
      else if (part.className === "legend" && part.scrollHeight > part.clientHeight + 1) cut(panel, `${part.dataset.cut} does not fit`);
      // An entry of a legend that is wider than its panel.
      else if (part.parentElement.className === "legend" && part.offsetWidth > body.clientWidth - 16) cut(panel, `${part.dataset.cut} does not fit`);
    }
  }
  const list = element(document.body, "script", "");
  list.type = "application/json";
  list.id = "cut";
  list.textContent = JSON.stringify(CUT).replaceAll("<", "\\u003c");
}

draw();
