// Numbers as people read them. A value that was never observed is a dash, not a zero.

export const DASH = "–";
const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const compact = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });
const none = (value) => value === null || value === undefined || Number.isNaN(value);

export const count = (value) => (none(value) ? DASH : value < 10000 ? whole.format(value) : compact.format(value));

export function ms(value) {
  if (none(value)) return DASH;
  if (value === 0) return "0";
  if (value < 10) return `${value.toFixed(value < 1 ? 2 : 1)} ms`;
  if (value < 1000) return `${Math.round(value)} ms`;
  return value < 60000 ? `${(value / 1000).toFixed(value < 10000 ? 2 : 1)} s` : `${(value / 60000).toFixed(1)} min`;
}

export function usd(value) {
  if (none(value)) return DASH;
  if (value === 0) return "$0";
  const size = Math.abs(value);
  const digits = size >= 100 ? 0 : size >= 1 ? 2 : Math.min(8, 1 - Math.floor(Math.log10(size)));
  return `${value < 0 ? "−" : ""}$${size.toLocaleString("en", { minimumFractionDigits: Math.min(digits, 2), maximumFractionDigits: digits })}`;
}

export function share(value, digits = 1) {
  if (none(value)) return DASH;
  const text = (value * 100).toFixed(digits);
  return `${value < 1 && Number(text) === 100 ? (Math.floor(value * 10 ** (digits + 2)) / 10 ** digits).toFixed(digits) : text} %`;
}

export const points = (value) => (none(value) ? DASH : value.toFixed(1));
export const unit = (value) => (none(value) ? DASH : value.toFixed(2));
export const words = (name) => String(name ?? "").replaceAll("_", " ");

export function clock(seconds) {
  const at = new Date(seconds * 1000);
  const today = new Date().toDateString() === at.toDateString();
  const time = at.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false });
  return today ? time : `${at.toLocaleDateString([], { month: "short", day: "numeric" })} ${time}`;
}

export function wait(seconds) {
  if (none(seconds)) return "";
  return seconds < 90 ? `${Math.ceil(seconds)} s` : seconds < 5400 ? `${Math.round(seconds / 60)} min` : `${(seconds / 3600).toFixed(1)} h`;
}
