// A bar of a day's trading sessions with watched and blind times. The table below it shows the same as text.
import { when } from "./format";

interface Stretch { beganAt: string; endedAt: string }
interface Session { opensAt: string; closesAt: string }

const HOUR_MS = 3_600_000;
const HALF_HOUR_MS = 1_800_000;

export function Timeline({ sessions, watched, blind }: { sessions: Session[]; watched: Stretch[]; blind: Stretch[] }) {
  const opensAt = Math.min(...sessions.map((one) => Date.parse(one.opensAt)));
  const closesAt = Math.max(...sessions.map((one) => Date.parse(one.closesAt)));
  const percent = (moment: number) => `${(100 * (moment - opensAt)) / (closesAt - opensAt)}%`;
  const position = (from: string, to: string) => ({ left: percent(Date.parse(from)), width: percent(opensAt + Date.parse(to) - Date.parse(from)) });
  const clock = (moment: number) => when(moment, moment);
  // India is half an hour off UTC's full hours. An hour close to an end is left out, because its label would overlap.
  const hours: number[] = [];
  for (let hour = Math.ceil((opensAt + HALF_HOUR_MS) / HOUR_MS) * HOUR_MS - HALF_HOUR_MS; hour < closesAt; hour += HOUR_MS) {
    if (Math.min(hour - opensAt, closesAt - hour) > (closesAt - opensAt) / 12) hours.push(hour);
  }
  const label = `From ${clock(opensAt)} to ${clock(closesAt)} IST: ${blind.length === 0 ? "no gaps" : `blind ${blind.map((one) => `${clock(Date.parse(one.beganAt))} to ${clock(Date.parse(one.endedAt))}`).slice(0, 10).join(", ")}${blind.length > 10 ? ` and ${blind.length - 10} more` : ""}`}.`;
  return (
    <div class="timeline" role="img" aria-label={label}>
      {sessions.map((one) => <i key={one.opensAt} class="track" style={position(one.opensAt, one.closesAt)} />)}
      {watched.map((one) => <i key={one.beganAt} class="part" data-part="watched" style={position(one.beganAt, one.endedAt)} />)}
      {blind.map((one) => <i key={one.beganAt} class="part" data-part="blind" style={position(one.beganAt, one.endedAt)} />)}
      {[opensAt, ...hours, closesAt].map((hour, number) => (
        <span key={hour} class="tick num" data-every={number % 2 && hour !== closesAt ? "second" : undefined} style={{ left: percent(hour) }}>{clock(hour)}</span>
      ))}
    </div>
  );
}
