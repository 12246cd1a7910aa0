// The node graph, in layers: whoever calls is left of whom it calls.

function graph(body, panel, [circles, arrows]) {
  if (!circles?.length) return nothing(body, panel);
  const plot = svg(body, "svg", { width: "100%" });
  const { width, height } = plot.getBoundingClientRect();
  const layer = new Map(circles.map(({ metric }) => [metric.id, 0]));
  const known = arrows.filter(({ metric }) => layer.has(metric.source) && layer.has(metric.target));
  if (known.length < arrows.length) cut(panel, `${arrows.length - known.length} arrows have no circle at one end`);
  // The first way to a circle decides, so that a cycle is none.
  const called = new Set(known.filter(({ metric }) => metric.source !== metric.target).map(({ metric }) => metric.target));
  let reached = circles.map(({ metric }) => metric.id).filter((id) => !called.has(id));
  for (const seen = new Set(reached); reached.length > 0;) {
    const next = known.filter(({ metric }) => reached.includes(metric.source) && !seen.has(metric.target));
    for (const { metric } of next) { layer.set(metric.target, layer.get(metric.source) + 1); seen.add(metric.target); }
    reached = [...new Set(next.map(({ metric }) => metric.target))];
  }
  const layers = Math.max(...layer.values()) + 1;
  const place = new Map();
  const filled = Array.from({ length: layers }, (_, one) => circles.filter(({ metric }) => layer.get(metric.id) === one));
  // Those that would lie on each other are beside each other, and their layer is as much wider.
  const columns = filled.map((here) => Math.ceil(here.length / Math.max(1, Math.floor(height / 90))));
  const all = columns.reduce((sum, of) => sum + of, 0);
  let left = 0;
  filled.forEach((here, one) => {
    const rows = Math.ceil(here.length / columns[one]);
    here.forEach(({ metric }, index) => place.set(metric.id, {
      x: (left + index % columns[one] + 0.5) / all * width, y: (Math.floor(index / columns[one]) + 0.5) / rows * height - 12,
    }));
    left += columns[one];
  });
  const unit = (of) => ({ unit: panel.options[of]?.mainStatUnit });
  for (const { metric, value } of known) {
    const [a, b] = [place.get(metric.source), place.get(metric.target)];
    svg(plot, "line", { x1: a.x, y1: a.y, x2: b.x, y2: b.y, stroke: "#8e8e9b" });
    svg(plot, "circle", { cx: b.x + (a.x - b.x) * 0.15, cy: b.y + (a.y - b.y) * 0.15, r: 4, fill: "#ccccdc" });
    if (known.length <= 40) svg(plot, "text", { x: (a.x + b.x) / 2, y: (a.y + b.y) / 2 - 4, "text-anchor": "middle" }, shown(value, unit("edges")));
  }
  for (const { metric, value } of circles) {
    const { x, y } = place.get(metric.id);
    svg(plot, "circle", { cx: x, cy: y, r: 26, fill: "#181b1f", stroke: "#5794F2", "stroke-width": 2 });
    svg(plot, "text", { x, y: y + 4, "text-anchor": "middle", style: "font-size:10px" }, shown(value, unit("nodes")));
    svg(plot, "text", { x, y: y + 40, "text-anchor": "middle" }, metric.title ?? "");
    svg(plot, "text", { x, y: y + 54, "text-anchor": "middle", style: "fill:#8e8e9b" }, metric.subtitle ?? "");
  }
}
