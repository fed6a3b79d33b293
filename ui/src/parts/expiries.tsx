// A chart of session expiries over the next 24 hours, one bar per half hour, IST.
import type { Account } from "../api/client";

const SLOTS = 48;
const WIDTH = 960;
const HEIGHT = 120;
const FOOT = 22;
const HALF_HOUR_MS = 1_800_000;
const IST_MS = 19_800_000;

const clock = (slot: number) => `${String(Math.floor(slot / 2)).padStart(2, "0")}:${slot % 2 ? "30" : "00"}`;

export function Expiries({ accounts, at }: { accounts: Account[]; at: number }) {
  const slots = Array.from({ length: SLOTS }, () => 0);
  for (const one of accounts) {
    if (!one.expiresAt || !["connected", "expiring"].includes(one.state)) continue;
    const expiresAt = Date.parse(one.expiresAt);
    if (expiresAt - at > SLOTS * HALF_HOUR_MS) continue;
    const slot = Math.floor((expiresAt + IST_MS) / HALF_HOUR_MS) % SLOTS;
    slots[slot] = (slots[slot] ?? 0) + 1;
  }
  const total = slots.reduce((sum, number) => sum + number, 0);
  const most = Math.max(1, ...slots);
  const step = WIDTH / SLOTS;
  const nowX = (((at + IST_MS) / HALF_HOUR_MS) % SLOTS) * step;
  const busiest = slots.indexOf(Math.max(...slots));
  const text = total ? `${total} ${total === 1 ? "session expires" : "sessions expire"} within 24 hours, most at ${clock(busiest)} IST.` : "No session expires within 24 hours.";
  return (
    <figure class="expiries">
      <svg viewBox={`0 0 ${WIDTH} ${HEIGHT + FOOT}`} role="img" aria-label={text}>
        <line class="axis" x1="0" x2={WIDTH} y1={HEIGHT} y2={HEIGHT} />
        {slots.map((number, slot) => number > 0 && (
          <g key={slot}>
            <rect class="bar" x={slot * step + 2} width={step - 4} rx="2" y={HEIGHT - (number / most) * (HEIGHT - 22)} height={(number / most) * (HEIGHT - 22)} />
            <text class="bar-count" x={slot * step + step / 2} y={HEIGHT - (number / most) * (HEIGHT - 22) - 5}>{number}</text>
          </g>
        ))}
        <line class="now" x1={nowX} x2={nowX} y1="0" y2={HEIGHT} />
        {[0, 6, 12, 18].map((hour) => <text key={hour} class="tick" x={(hour * 2 * step) + 2} y={HEIGHT + 16}>{clock(hour * 2)}</text>)}
      </svg>
      <figcaption class="hint">{text} The dashed line is the current time.</figcaption>
    </figure>
  );
}
