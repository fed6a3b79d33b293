// The signals, newest first, with filters.
import { useSignal } from "@preact/signals";
import type { Signal } from "../api/client";
import { now } from "../live/clock";
import { signals } from "../live/store";
import { Empty, Icon, Loading } from "./elements";
import { count, price, resolutionName, shortSymbol, whenIst } from "./format";

const STEP = 50;

export function Signals() {
  const symbol = useSignal("");
  const direction = useSignal("");
  const kind = useSignal("");
  const shown = useSignal(STEP);
  const all = signals.value;
  if (!all) return <section class="panel" aria-label="Signals"><header class="panel-head"><h2>Signals</h2></header><Loading label="Loading signals" /></section>;
  const matches = (one: Signal) =>
    (!symbol.value || one.symbol === symbol.value) && (!direction.value || one.direction === direction.value)
    && (!kind.value || (kind.value === "late" ? one.isLate : kind.value === "fresh" ? !one.isLate : one.rule === kind.value));
  const found = all.filter(matches);
  const symbols = [...new Set(all.map((one) => one.symbol))].sort();
  return (
    <section class="panel signals" aria-label="Signals">
      <header class="panel-head">
        <h2>Signals <span class="num detail">{count(found.length)}</span></h2>
        <div class="filters">
          <select aria-label="Symbol" value={symbol.value} onChange={(event) => { symbol.value = event.currentTarget.value; }}>
            <option value="">All symbols</option>{symbols.map((one) => <option key={one} value={one}>{shortSymbol(one)}</option>)}
          </select>
          <select aria-label="Direction" value={direction.value} onChange={(event) => { direction.value = event.currentTarget.value; }}>
            <option value="">Up and down</option><option value="up">Up</option><option value="down">Down</option>
          </select>
          <select aria-label="Kind" value={kind.value} onChange={(event) => { kind.value = event.currentTarget.value; }}>
            <option value="">All kinds</option><option value="cross">Crossings</option><option value="turn">Turns</option>
            <option value="fresh">On time</option><option value="late">Late</option>
          </select>
        </div>
      </header>
      {found.length === 0
        ? <Empty title={all.length ? "No signal matches the filters" : "No signals yet"}>{!all.length && "A signal appears when a candle closes above or below its HMA, or when the HMA changes direction."}</Empty>
        : <div class="scroll tall" tabIndex={0} role="region" aria-label="Signals table"><table>
          <thead><tr><th scope="col">Candle closed</th><th scope="col">Symbol</th><th scope="col">Signal</th><th scope="col" class="align-right">Close ₹</th><th scope="col" class="align-right">HMA ₹</th></tr></thead>
          <tbody>{found.slice(0, shown.value).map((one) => (
            <tr key={`${one.watchId} ${one.rule} ${one.resolution} ${one.candleOpenedAt}`}>
              <td class="num">{whenIst(one.candleClosedAt, now.value)}{one.isLate && <span class="tag" title={`Found at ${whenIst(one.detectedAt, now.value)}, when missed candles were loaded`}>late</span>}</td>
              <th scope="row">{shortSymbol(one.symbol)}<span class="detail">HMA {one.period} · {resolutionName(one.resolution)}</span></th>
              <td><span class="signal" data-tone={one.direction}><Icon name={one.direction} />{one.rule === "cross" ? "crossed" : "turned"} {one.direction}</span></td>
              <td class="align-right">{price(one.close)}</td><td class="align-right">{price(one.hma)}</td>
            </tr>
          ))}</tbody>
        </table>
        {found.length > shown.value && <button type="button" class="more" onClick={() => { shown.value += STEP; }}>Show more</button>}
        </div>}
    </section>
  );
}
