// Indian number formats and IST times.
const PRICE = new Intl.NumberFormat("en-IN", { minimumFractionDigits: 2, maximumFractionDigits: 2 });
const COUNT = new Intl.NumberFormat("en-IN");
const zone = "Asia/Kolkata";
const CLOCK = new Intl.DateTimeFormat("en-GB", { timeZone: zone, hour: "2-digit", minute: "2-digit" });
const SECONDS = new Intl.DateTimeFormat("en-GB", { timeZone: zone, hour: "2-digit", minute: "2-digit", second: "2-digit" });
const DAY = new Intl.DateTimeFormat("en-GB", { timeZone: zone, day: "numeric", month: "short" });

export const NONE = "–";
const MINUS = "−";

type Moment = string | number | null | undefined;
const ms = (moment: Moment): number => (typeof moment === "number" ? moment : Date.parse(moment ?? ""));

export const price = (value: number | null | undefined): string =>
  value === null || value === undefined ? NONE : PRICE.format(value).replace("-", MINUS);

export const rupees = (value: number | null | undefined): string =>
  value === null || value === undefined ? NONE : `₹\u00a0${price(value)}`;

export const signed = (value: number | null | undefined, unit = ""): string =>
  value === null || value === undefined ? NONE : `${isZero(value) ? "" : value > 0 ? "+" : MINUS}${price(Math.abs(value))}${unit}`;

/** Whether the rounded number is zero, which has no sign. */
const isZero = (value: number): boolean => Math.abs(value) < 0.005;

export const count = (value: number): string => COUNT.format(value);

/** `14:05` for today, `22 Nov, 14:05` for other days; `at` is the current time. */
export function when(moment: Moment, at: number, withSeconds = false): string {
  const then = ms(moment);
  if (Number.isNaN(then)) return NONE;
  const clock = (withSeconds ? SECONDS : CLOCK).format(then);
  return DAY.format(then) === DAY.format(at) ? clock : `${DAY.format(then)}, ${clock}`;
}

export const whenIst = (moment: Moment, at: number, withSeconds = false): string =>
  Number.isNaN(ms(moment)) ? NONE : `${when(moment, at, withSeconds)} IST`;

export const clockIst = (moment: Moment): string => `${SECONDS.format(ms(moment))} IST`;

const DAY_NAME = new Intl.DateTimeFormat("en-GB", { timeZone: "UTC", weekday: "short", day: "numeric", month: "short", year: "numeric" });
/** A trading day: `Mon, 23 Nov 2026`. */
export const dayName = (day: string): string => DAY_NAME.format(Date.parse(day));

/** The time since a moment: `3 s`, `12 min`, `5 h`, `2 d`. */
export function age(moment: Moment, at: number): string {
  const seconds = Math.max(0, Math.floor((at - ms(moment)) / 1000));
  if (Number.isNaN(seconds)) return NONE;
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 86_400) return `${Math.floor(seconds / 3600)} h`;
  return `${Math.floor(seconds / 86_400)} d`;
}

/** The time until a moment: `7 h 05 min`, `4:59`; empty when it has passed. */
export function until(moment: Moment, at: number): string {
  const seconds = Math.ceil((ms(moment) - at) / 1000);
  if (Number.isNaN(seconds) || seconds <= 0) return "";
  const two = (value: number) => String(value).padStart(2, "0");
  if (seconds < 3600) return `${Math.floor(seconds / 60)}:${two(seconds % 60)}`;
  const days = Math.floor(seconds / 86_400);
  const clock = `${Math.floor((seconds % 86_400) / 3600)} h ${two(Math.floor((seconds % 3600) / 60))} min`;
  return days ? `${days} d ${clock}` : clock;
}

export const resolutionName = (code: string): string => (code === "1D" ? "1 day" : `${code} min`);
export const shortSymbol = (symbol: string): string => symbol.replace(/^[A-Z]+:/, "").replace(/-(EQ|INDEX)$/, "");
/** Codes whose plain spelling says too little. */
const CODE_TEXTS: Record<string, string> = { not_wanted: "monitoring off", assumed: "not verified yet", held: "kept during the outage", mass_refusal: "kept during the outage", unclear_refusal: "on hold: refused without HTTP 401" };
/** The text of an API code, for example `never connected` for `never_connected`. */
export const codeText = (code: string): string => CODE_TEXTS[code] ?? code.replaceAll("_", " ").replaceAll(".", " · ");

/** A duration in minutes and seconds. */
export const span = (minutes: number): string => {
  const seconds = minutes > 0 ? Math.max(1, Math.round(minutes * 60)) : 0;
  const [whole, rest] = [Math.floor(seconds / 60), seconds % 60];
  if (seconds && !whole) return `${rest} s`;
  return rest ? `${count(whole)} min ${rest} s` : `${count(whole)} min`;
};
