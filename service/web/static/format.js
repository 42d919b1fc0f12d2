// Numbers and times as text.

// metric: its sign, the unit of a difference, factor, decimals; as in studies/results/wording.py
const UNITS = { accuracy: ["%", "percentage points", 100, 1], PSNR: [" dB", "dB", 1, 2] };
const RAW = ["", "", 1, 4];
const unit = (metric) => UNITS[metric] ?? RAW;

/** Return a number that the service sent: "inf" and "-inf" are sent as texts, a missing number as null. */
export function toNumber(value) {
  if (value === null || value === undefined) return NaN;
  return value === "inf" ? Infinity : value === "-inf" ? -Infinity : Number(value);
}

/** Return a value for a chart's axis in the metric's unit, null if there is nothing to draw. */
export const scaled = (value, metric) => {
  const x = toNumber(value);
  return Number.isFinite(x) ? x * unit(metric)[2] : null;
};

export const signOf = (metric) => unit(metric)[0].trim();

/** Return the text with a true minus sign, and with none before a zero. */
function minus(text) {
  if (!text.startsWith("-")) return text;
  return /[1-9∞]/.test(text) ? `−${text.slice(1)}` : text.slice(1);
}

/** Return a number with so many decimals; exactly between two it goes to the even one, as in a report by Python. */
export function rounded(x, decimals) {
  const away = x.toFixed(decimals);
  const between = Math.abs(x * 2 ** (decimals + 1)) % 2 === 1; // then only is its binary fraction half a decimal
  if (!between || Number(away.at(-1)) % 2 === 0) return away;
  return (Number(away) - Math.sign(x) * 10 ** -decimals).toFixed(decimals);
}

function fixed(value, factor, decimals) {
  const x = toNumber(value);
  if (Number.isNaN(x)) return "–";
  return minus(Number.isFinite(x) ? rounded(x * factor, decimals) : x > 0 ? "∞" : "-∞");
}

/** Return an objective in the metric's unit, a dash if there is none. */
export function objective(value, metric) {
  const [sign, , factor, decimals] = unit(metric);
  const text = fixed(value, factor, decimals);
  return text === "–" ? text : text + sign;
}

/** Return what a paper prints, with all of its digits: `84.3% ± 0.3` if it has a standard deviation. */
export function printed(test, sd, metric) {
  const [sign, , factor, decimals] = unit(metric);
  const digits = (x) => {
    const [whole, rest] = (x * factor).toFixed(6).split(".");
    return minus(`${whole}.${rest.replace(/0+$/, "").padEnd(decimals, "0")}`);
  };
  return `${digits(test)}${sign}${sd === null ? "" : ` ± ${digits(sd)}`}`;
}

/** Return a difference of two objectives, in the metric's unit. */
export function points(value, metric) {
  const [, , factor, decimals] = unit(metric);
  return fixed(value, factor, decimals + 1);
}

/** Return the unit of a difference of two objectives, with a space before it. */
export const unitOf = (metric) => (unit(metric)[1] ? ` ${unit(metric)[1]}` : "");

export const decimal = (value) => fixed(value, 1, 1);

export const percent = (share) => (share === null ? "–" : `${fixed(share, 100, 0)}%`);

export const level = (share) => `${rounded(100 * share, 1).replace(/\.0$/, "")}%`;

export function pValue(p) {
  if (p === null) return "–";
  return p < 0.001 ? "p < 0.001" : `p = ${rounded(p, p < 0.1 ? 3 : 2)}`;
}

/** Return the extra trials after one n: `9 (4 to 12)`, or `≥ 13 (≥ 4)` if the curve or its upper end falls short. */
export function extra(entry, of) {
  if (entry.at_least === null) return "–";
  const count = entry.extra === null ? `≥ ${entry.at_least}` : minus(String(entry.extra));
  if (of === null) return count;
  const low = minus(String(entry.low ?? entry.at_least));
  return `${count} (${entry.high === null ? `≥ ${low}` : `${low} to ${minus(String(entry.high))}`})`;
}

/** Return a hyperparameter's value with every digit. */
export const setting = (x) => (x === true ? "on" : x === false ? "off" : minus(String(x)));

/** Return a hyperparameter's value with three digits; near 1, three digits of its distance from 1. */
export function value(x) {
  if (typeof x !== "number") return setting(x);
  if (Number.isInteger(x) && Math.abs(x) < 1e5) return String(x);
  const size = Math.abs(x);
  const left = Math.abs(1 - size);
  if (left < 0.1) return minus(String(Number(x.toFixed(Math.min(16, 2 - Math.floor(Math.log10(left)))))));
  if (size >= 1e-2 && size < 1e4) return minus(String(Number(x.toPrecision(3))));
  const [digits, exponent] = x.toExponential(2).split("e");
  return minus(`${Number(digits)}e${Number(exponent)}`);
}

/** Return a search space's entry for one hyperparameter, in words. */
export function range(entry) {
  if (Array.isArray(entry)) return entry.map(setting).join(" or ");
  if (entry?.to !== undefined) {
    return entry.product === undefined ? `${setting(entry.ratio)} × ${entry.to}` : `${setting(entry.product)} / ${entry.to}`;
  }
  if (entry !== null && typeof entry === "object") {
    return `${setting(entry.low)} to ${setting(entry.high)}${entry.log ? ", logarithmic" : ""}`;
  }
  return `${setting(entry)} (fixed)`;
}

export function seconds(s) {
  if (s === null || s === undefined) return "–";
  if (s < 10) return `${s.toFixed(s < 0.1 ? 3 : 2)} s`;
  if (s < 100) return `${s.toFixed(0)} s`;
  const minutes = Math.round(s / 60);
  if (minutes < 100) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  return hours < 48 ? `${hours} h ${String(minutes % 60).padStart(2, "0")} min` : `${Math.round(hours / 24)} d`;
}

export const count = (n, noun) => `${n.toLocaleString("en")} ${noun}${n === 1 ? "" : "s"}`;

export const exact = (time) => `${new Date(time).toISOString().slice(0, 19).replace("T", " ")} UTC`;

export const capital = (text) => text[0].toUpperCase() + text.slice(1);

/** Return how long ago a time was, in the largest unit that fits; the date if it is long past. */
export function ago(time) {
  const s = Math.max(0, (Date.now() - new Date(time)) / 1000);
  if (s < 5) return "just now";
  if (s < 60) return `${Math.floor(s)} s ago`;
  if (s < 3600) return `${Math.floor(s / 60)} min ago`;
  if (s < 86_400) return `${Math.floor(s / 3600)} h ago`;
  return s < 30 * 86_400 ? `${Math.floor(s / 86_400)} d ago` : exact(time).slice(0, 10);
}
