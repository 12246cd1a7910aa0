// Panels over time: lines, and when states lasted.

const SVG = "http://www.w3.org/2000/svg";
function svg(parent, kind, attributes, text) {
  const made = document.createElementNS(SVG, kind);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  if (text !== undefined) made.textContent = text;
  return parent.appendChild(made);
}

function element(parent, kind, className, text) {
  const made = document.createElement(kind);
  made.className = className;
  if (text !== undefined) made.textContent = text;
  return parent.appendChild(made);
}

// All series of a panel: the name in the legend, the values by time, and how they are shown.
function series(panel, answers) {
  return answers.flatMap((answer, index) => answer.map(({ metric, values }) => {
    const name = named(panel.targets[index].legendFormat, metric).trim();
    return { name, values, config: overridden(panel, name) };
  }));
}

function clock(seconds, withSeconds) {
  const date = new Date(seconds * 1000);
  return [date.getHours(), date.getMinutes(), ...(withSeconds ? [date.getSeconds()] : [])]
    .map((part) => String(part).padStart(2, "0")).join(":");
}

// Marks at round distances, at most `most` of them.
function marks(low, high, most) {
  const span = (high - low || 1) / most;
  const power = 10 ** Math.floor(Math.log10(span));
  const step = power * [1, 2, 2.5, 5, 10].find((one) => one * power >= span);
  const found = [];
  for (let at = Math.ceil(low / step); at * step <= high + step / 1e6; at += 1) found.push(Number((at * step).toPrecision(12)));
  return found;
}

function timeAxis(plot, { left, right, bottom, top }) {
  const { from, to } = PAGE.range;
  const across = (at) => left + (at - from) / (to - from) * (right - left);
  const steps = [5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 10800, 21600];
  const step = steps.find((one) => (to - from) / one <= (right - left) / 70) ?? 86400;
  for (let at = Math.ceil(from / step) * step; at <= to; at += step) {
    svg(plot, "line", { x1: across(at), x2: across(at), y1: top, y2: bottom, stroke: "#2a2d33" });
    svg(plot, "text", { x: across(at), y: bottom + 16, "text-anchor": "middle" }, clock(at, step < 60));
  }
  return across;
}

function lines(body, panel, answers) {
  const all = series(panel, answers);
  if (all.length === 0) return nothing(body, panel);
  if (panel.options.legend.placement === "right") body.classList.add("beside");
  // The legend takes its place first.
  const legend = element(body, "div", "legend");
  all.forEach(({ name, config }, index) => {
    const entry = element(legend, "span", "");
    entry.dataset.cut = `the legend's “${name}”`;
    element(entry, "i", "").style.background = strokeOf(config, index);
    entry.append(name);
  });
  legend.dataset.cut = `the legend of ${all.length} lines`;
  const plot = svg(body, "svg", { width: "100%" });
  body.prepend(plot);
  const { width, height } = plot.getBoundingClientRect();
  const values = all.flatMap((one) => one.values.map(([, value]) => value)).filter(Number.isFinite);
  const defaults = panel.fieldConfig.defaults;
  const low = Math.min(defaults.min ?? Infinity, ...values);
  const high = Math.max(defaults.max ?? -Infinity, defaults.custom?.axisSoftMax ?? -Infinity, ...values);
  const top = high > low ? high + (high - low) * 0.05 : low + 1;
  const ticks = marks(low, top, Math.max(2, Math.floor(height / 40)));
  const places = Math.max(...ticks.map((tick) => String(Number(tick.toPrecision(6))).split(".")[1]?.length ?? 0));
  const labels = ticks.map((tick) => shown(tick, { ...defaults, decimals: defaults.unit === "s" || defaults.unit === "percentunit" ? undefined : places > 3 ? undefined : tick >= 1000 ? undefined : places }));
  const frame = { left: 12 + 7 * Math.max(...labels.map((label) => label.length)), right: width - 6, top: 6, bottom: height - 24 };
  const across = timeAxis(plot, frame);
  const up = (value) => frame.bottom - (value - low) / (top - low) * (frame.bottom - frame.top);
  ticks.forEach((tick, index) => {
    svg(plot, "line", { x1: frame.left, x2: frame.right, y1: up(tick), y2: up(tick), stroke: "#2a2d33" });
    svg(plot, "text", { x: frame.left - 6, y: up(tick) + 4, "text-anchor": "end" }, labels[index]);
  });
  for (const { color, value } of defaults.custom?.thresholdsStyle?.mode === "dashed" ? defaults.thresholds.steps : []) {
    if (value === null || value > top) continue;
    svg(plot, "line", { x1: frame.left, x2: frame.right, y1: up(value), y2: up(value), stroke: colour(color), "stroke-dasharray": "6 4" });
  }
  all.forEach(({ values: points, config }, index) => {
    const gap = config.custom?.spanNulls === true ? Infinity : Math.max(config.custom?.spanNulls / 1000 || 0, PAGE.range.step * 1.5);
    const numbers = points.filter(([, value]) => Number.isFinite(value));
    const path = numbers.map(([at, value], one) =>
      `${one > 0 && at - numbers[one - 1][0] <= gap ? "L" : "M"}${across(at).toFixed(1)},${up(value).toFixed(1)}`).join("");
    for (const [at, value] of config.custom?.showPoints === "auto" && numbers.length < 20 ? numbers : []) {
      svg(plot, "circle", { cx: across(at), cy: up(value), r: 2, fill: strokeOf(config, index) });
    }
    svg(plot, "path", { d: path, fill: "none", stroke: strokeOf(config, index), "stroke-width": config.custom?.lineWidth ?? 1,
      "stroke-dasharray": config.custom?.lineStyle?.fill === "dash" ? "8 6" : "none" });
  });
}

const strokeOf = (config, index) =>
  config.color?.mode === "fixed" ? colour(config.color.fixedColor) : PALETTE[index % PALETTE.length];

function timeline(body, panel, answers) {
  const all = series(panel, answers);
  if (all.length === 0) return nothing(body, panel);
  const plot = svg(body, "svg", { width: "100%" });
  const { width, height } = plot.getBoundingClientRect();
  // Grafana gives names up to half of the panel.
  const longest = Math.max(...all.map(({ name }) => name.length)) * 6.6;
  const left = Math.min(longest, width / 2) + 8;
  if (longest > width / 2) cut(panel, "names of states are longer than half of the panel");
  const frame = { left, right: width - 6, top: 6, bottom: height - 24 };
  const across = timeAxis(plot, frame);
  const each = (frame.bottom - frame.top) / all.length;
  if (each < 14) cut(panel, `${all.length} states of ${each.toFixed(0)} pixels each`);
  const step = PAGE.range.step;
  all.forEach(({ name, values, config }, index) => {
    const y = frame.top + index * each;
    svg(plot, "text", { x: left - 6, y: y + each / 2 + 4, "text-anchor": "end" }, name);
    for (const [at, value] of values) {
      svg(plot, "rect", { x: across(at), width: Math.max(1, across(at + step) - across(at) + 0.5), y: y + each * 0.1, height: each * 0.8,
        fill: colour(threshold(value, config)), "fill-opacity": (config.custom?.fillOpacity ?? 70) / 100 });
    }
  });
}

function stat(body, panel, answers) {
  const all = series(panel, answers);
  if (all.length === 0) return nothing(body, panel);
  for (const { values, config } of all) {
    const value = values.map(([, one]) => one).filter(Number.isFinite).at(-1);
    const shownAs = element(body, "div", "stat", shown(value, config));
    shownAs.dataset.cut = "the number";
    if (panel.options.colorMode === "none") continue;
    const name = threshold(value, config);
    if (panel.options.colorMode === "background") body.style.background = colour(name);
    else {
      shownAs.style.color = colour(name);
      if (name === "transparent") cut(panel, `the number ${shown(value, config)} is transparent`);
    }
  }
}

// A bar for each series, as long as its last value.
function barGauge(body, panel, answers) {
  const all = series(panel, answers);
  if (all.length === 0) return nothing(body, panel);
  const last = (one) => one.values.map(([, value]) => value).filter(Number.isFinite).at(-1) ?? 0;
  const most = panel.fieldConfig.defaults.max ?? Math.max(...all.map(last));
  for (const one of all) {
    element(body, "div", "", `${one.name}: ${shown(last(one), one.config)}`);
    const bar = element(body, "div", "");
    Object.assign(bar.style, { height: "12px", width: `${Math.min(1, last(one) / (most || 1)) * 100}%`, background: colour(threshold(last(one), one.config)) });
  }
}
