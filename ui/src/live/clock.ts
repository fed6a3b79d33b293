// The server's time. It may be another than this machine's, and in the demo it runs faster than life.
import { signal } from "@preact/signals";

const SPAN_MS = 1500;
let serverMs = Date.now();
let realMs = Date.now();
let rate = 1;
let measuredFrom = { server: serverMs, real: realMs, isSet: false };

/** The server's present moment, ticking once a second. */
export const now = signal(serverMs);

export function serverNow(): number {
  return serverMs + (Date.now() - realMs) * rate;
}

/** Real milliseconds until the server's clock shows a moment. */
export function realUntil(moment: number): number {
  return Math.max(0, (moment - serverNow()) / Math.max(rate, 0.01));
}

/** Take note of a moment that the server has just said. */
export function heard(at: string): void {
  const said = Date.parse(at);
  if (Number.isNaN(said)) return;
  serverMs = said;
  realMs = Date.now();
  const passed = realMs - measuredFrom.real;
  if (!measuredFrom.isSet || passed > 20 * SPAN_MS) {
    measuredFrom = { server: said, real: realMs, isSet: true };
  } else if (passed >= SPAN_MS) {
    const seen = (said - measuredFrom.server) / passed;
    // Ordinary clocks run at the speed of life; only a clear difference counts.
    rate = seen > 0.9 && seen < 1.1 ? 1 : Math.min(Math.max(seen, 0), 3600);
    measuredFrom = { server: said, real: realMs, isSet: true };
  }
  if (Math.abs(serverMs - now.value) > 900) now.value = serverMs;
}

export function startClock(): void {
  setInterval(() => { now.value = serverNow(); }, 1000);
}
