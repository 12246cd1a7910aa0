// Numbers, colours and names as Grafana shows them.

const PALETTE = ["#7EB26D", "#EAB839", "#6ED0E0", "#EF843C", "#E24D42", "#1F78C1", "#BA43A9", "#705DA0", "#508642", "#CCA300",
  "#447EBC", "#C15C17", "#890F02", "#0A437C", "#6D1F62", "#584477", "#B7DBAB", "#F4D598", "#70DBED", "#F9BA8F"];
const COLOURS = { transparent: "rgba(0,0,0,0)", text: "#ccccdc", green: "#73BF69", yellow: "#FADE2A", orange: "#FF9830",
  red: "#F2495C", blue: "#5794F2", purple: "#B877D9" };
const colour = (name) => COLOURS[name] ?? name;

// packages/grafana-data/src/valueFormats: as many decimals as tell values of this size apart.
function decimals(value) {
  if (value === 0) return 0;
  const size = -Math.floor(Math.log10(Math.abs(value)));
  let places = size + 1;
  if (value / 10 ** -places > 2.25) places += 1;
  return value % 1 === 0 ? 0 : Math.max(0, places);
}

const fixed = (value, places) => value.toFixed(places ?? decimals(value));

function scaled(value, places, steps, suffixes) {
  let step = 0;
  while (step + 1 < suffixes.length && Math.abs(value) >= steps) { value /= steps; step += 1; }
  return fixed(value, places) + suffixes[step];
}

const counted = (unit) => (value, places) => scaled(value, places, 1000, ["", "K", " Mil", " Bil", " Tri"].map((one) => one + unit));

function seconds(value, places) {
  const size = Math.abs(value);
  const steps = [[1e-6, 1e9, " ns"], [1e-3, 1e6, " µs"], [1, 1e3, " ms"], [60, 1, " s"], [3600, 1 / 60, " mins"],
    [86400, 1 / 3600, " hours"], [Infinity, 1 / 86400, " days"]];
  if (value === 0) return "0 s";
  const [, factor, suffix] = steps.find(([below]) => size < below);
  return fixed(Number((value * factor).toPrecision(12)), places) + suffix;
}

const UNITS = {
  short: counted(""), cps: counted(" c/s"), ops: counted(" ops/s"), pps: counted(" p/s"), reqps: counted(" req/s"),
  Bps: (value, places) => scaled(value, places, 1000, [" B/s", " kB/s", " MB/s", " GB/s", " TB/s"]),
  bytes: (value, places) => scaled(value, places, 1024, [" B", " KiB", " MiB", " GiB", " TiB"]),
  percentunit: (value, places) => fixed(Number((value * 100).toPrecision(12)), places) + "%",
  none: fixed, string: (value) => String(value), s: seconds,
};

// The text of a value, with the value mappings of a field.
function shown(value, config) {
  for (const mapping of config.mappings ?? []) {
    const found = mapping.type === "value" ? mapping.options[String(value)] : undefined;
    if (found?.text !== undefined) return found.text;
  }
  if (value === null || value === undefined) return config.noValue ?? "";
  if (typeof value !== "number") return String(value);
  const format = UNITS[config.unit ?? "none"];
  return format ? format(value, config.decimals) : `${value} (no such unit: ${config.unit})`;
}

// The colour that thresholds give a value.
function threshold(value, config) {
  for (const mapping of config.mappings ?? []) {
    const found = mapping.type === "value" ? mapping.options[String(value)] : undefined;
    if (found?.color !== undefined) return found.color;
  }
  if (config.color?.mode === "fixed") return config.color.fixedColor;
  const steps = config.thresholds?.steps ?? [{ color: "green", value: null }, { color: "red", value: 80 }];
  return steps.filter((step) => step.value === null || value >= step.value).at(-1)?.color ?? "transparent";
}

// pkg/promlib/converter: a label that a series does not have is nothing.
function named(legend, metric) {
  if (legend) return legend.replace(/\{\{\s*(.+?)\s*\}\}/g, (_, label) => metric[label] ?? "");
  return "{" + Object.entries(metric).map(([label, value]) => `${label}="${value}"`).join(", ") + "}";
}

// A configuration with the overrides of a field.
function overridden(panel, name) {
  const config = structuredClone(panel.fieldConfig.defaults);
  for (const one of panel.fieldConfig.overrides ?? []) {
    const is = one.matcher.id === "byName" ? one.matcher.options === name
      : one.matcher.id === "byRegexp" && new RegExp(one.matcher.options.replace(/^\/|\/$/g, "")).test(name);
    if (!is) continue;
    for (const { id, value } of one.properties) {
      if (id.startsWith("custom.")) config.custom = { ...config.custom, [id.slice(7)]: value };
      else config[id] = value;
    }
  }
  return config;
}
