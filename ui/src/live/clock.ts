// The server's time. It can differ from this computer's time, and in the demo it runs faster.
import { signal } from "@preact/signals";

const SPAN_MS = 1500;
let serverMs = Date.now();
let realMs = Date.now();
let rate = 1;
let measuredFrom = { server: serverMs, real: realMs, isSet: false };

/** The server's time in milliseconds, updated once a second. */
export const now = signal(serverMs);

export function serverNow(): number {
  return serverMs + (Date.now() - realMs) * rate;
}

/** Real milliseconds until the server's clock shows a moment. */
export function realMsUntil(moment: number): number {
  return Math.max(0, (moment - serverNow()) / Math.max(rate, 0.01));
}

/** Set the clock to a time that the server has just sent. */
export function setServerTime(at: string): void {
  const sent = Date.parse(at);
  if (Number.isNaN(sent)) return;
  serverMs = sent;
  realMs = Date.now();
  const passed = realMs - measuredFrom.real;
  if (!measuredFrom.isSet || passed > 20 * SPAN_MS) {
    measuredFrom = { server: sent, real: realMs, isSet: true };
  } else if (passed >= SPAN_MS) {
    const measured = (sent - measuredFrom.server) / passed;
    // Network delay distorts the measurement, so a small difference counts as real time.
    rate = measured > 0.9 && measured < 1.1 ? 1 : Math.min(Math.max(measured, 0), 3600);
    measuredFrom = { server: sent, real: realMs, isSet: true };
  }
  if (Math.abs(serverMs - now.value) > 900) now.value = serverMs;
}

export function startClock(): void {
  setInterval(() => { now.value = serverNow(); }, 1000);
}
