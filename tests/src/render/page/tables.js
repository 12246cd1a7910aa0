// Tables and matrices, after the transformations that the dashboards use.

// Rows of all queries in table format: their labels, and the value of each query.
function rows(panel, answers) {
  const found = new Map();
  answers.forEach((answer, index) => {
    const field = answers.length === 1 ? "Value" : `Value #${panel.targets[index].refId}`;
    for (const { metric, value } of answer) {
      // `merge`: rows that agree in every label are one.
      const key = JSON.stringify(Object.entries(metric).sort());
      if (!found.has(key)) found.set(key, { ...metric });
      found.get(key)[field] = value;
    }
  });
  return [...found.values()];
}

const transformation = (panel, id) => panel.transformations?.find((one) => one.id === id)?.options;

// The fields that are shown, in their order: the name of each in the data, and what it is called.
function columns(panel, data) {
  const { excludeByName = {}, renameByName = {}, indexByName = {} } = transformation(panel, "organize") ?? {};
  const fields = [...new Set(data.flatMap((row) => Object.keys(row)))].filter((field) => !excludeByName[field]);
  fields.sort((a, b) => (indexByName[a] ?? 1e9) - (indexByName[b] ?? 1e9));
  const { regex, renamePattern } = transformation(panel, "renameByRegex") ?? {};
  const renamed = (field) => (regex ? field.replace(new RegExp(regex), renamePattern) : renameByName[field] ?? field);
  return fields.map((field) => ({ field, title: renamed(field) }));
}

const sorted = (data, field) => data.toSorted((a, b) => (a[field] ?? "").localeCompare(b[field] ?? "", undefined, { numeric: true }));

function matrix(data, { rowField, columnField, valueField }) {
  const corner = `${rowField}\\${columnField}`;
  const heads = [...new Set(data.map((row) => row[columnField] ?? ""))];
  const made = new Map();
  for (const row of data) {
    const name = row[rowField] ?? "";
    if (!made.has(name)) made.set(name, { [corner]: name, ...Object.fromEntries(heads.map((head) => [head, null])) });
    made.get(name)[row[columnField] ?? ""] = row[valueField];
  }
  return [...made.values()];
}

function table(body, panel, answers) {
  let data = rows(panel, answers);
  if (data.length === 0) return nothing(body, panel);
  const grouping = transformation(panel, "groupingToMatrix");
  if (grouping) {
    const [columnsBy, rowsBy] = panel.transformations.filter((one) => one.id === "sortBy").map((one) => one.options.sort[0].field);
    data = sorted(matrix(sorted(data, columnsBy), grouping), rowsBy);
  }
  const shownColumns = columns(panel, data).map((column) => ({ ...column, config: overridden(panel, column.title) }));
  const visible = shownColumns.filter(({ config }) => !config.custom?.hidden);
  const sort = panel.options.sortBy?.[0];
  const by = visible.find(({ title }) => title === sort?.displayName);
  const order = (a, b) => (typeof a === "string" || typeof b === "string" ? (b ?? "").localeCompare(a ?? "") : (b ?? -Infinity) - (a ?? -Infinity));
  if (by) data.sort((a, b) => order(a[by.field], b[by.field]) * (sort.desc ? 1 : -1));
  else if (sort && !Object.values(transformation(panel, "organize")?.renameByName ?? {}).includes(sort.displayName)) cut(panel, `there is no column “${sort.displayName}” to sort by`);
  const width = widths(visible, body.clientWidth - 16);
  if (width.reduce((sum, one) => sum + one, 0) > body.clientWidth) {
    const fit = width.filter((_, index) => width.slice(0, index + 1).reduce((sum, one) => sum + one, 0) <= body.clientWidth).length;
    // Where each has a width, what is beyond the edge is meant to be.
    const isMeant = visible.every(({ config }) => config.custom?.width !== undefined);
    if (!isMeant) cut(panel, `${visible.length - fit} of ${visible.length} columns are beyond the right edge`);
  }
  const grid = element(body, "div", "table");
  const head = element(grid, "div", "line head");
  visible.forEach(({ title }, index) => cell(head, title, width[index], "").dataset.cut = `the heading “${title}”`);
  for (const row of data) {
    const line = element(grid, "div", "line");
    visible.forEach(({ field, config, title }, index) => {
      const value = row[field] ?? null;
      const made = cell(line, shown(value, config), width[index], typeof value === "number" ? "number" : "");
      made.dataset.cut = `“${made.textContent}” in “${title}”`;
      if (config.links && value !== null) made.classList.add("link");
      if (typeof value === "number" && config.custom?.cellOptions?.type === "color-background") {
        const name = threshold(value, config);
        made.style.background = colour(name);
        if (name === "yellow") made.style.color = "#111";
      } else if (config.custom?.cellOptions?.type === "color-text") made.style.color = colour(threshold(value, config));
    });
  }
  const space = Math.floor(grid.clientHeight / 36) - 1;
  if (data.length > space) element(body, "div", "", `(${data.length - space} more rows below)`).style.fontSize = "11px";
}

function cell(line, text, width, className) {
  const made = element(line, "div", className, text);
  made.style.width = `${width}px`;
  return made;
}

// Columns without a width share what is left, each with 150 pixels at least.
function widths(visible, space) {
  const given = visible.map(({ config }) => config.custom?.width);
  const rest = space - given.reduce((sum, one) => sum + (one ?? 0), 0);
  const open = given.filter((one) => one === undefined).length;
  return given.map((one, index) => one ?? Math.max(visible[index].config.custom?.minWidth ?? 150, rest / open));
}
