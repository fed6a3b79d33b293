// The signals, newest first, with filters.
import { useSignal } from "@preact/signals";
import type { Signal } from "../api/client";
import { now } from "../live/clock";
import { signals } from "../live/store";
import { Empty, Icon, Loading } from "./elements";
import { count, price, resolutionName, shortSymbol, whenIst } from "./format";

const STEP = 50;

const KINDS: Record<string, (one: Signal) => boolean> = {
  "": () => true,
  cross: (one) => one.rule === "cross", turn: (one) => one.rule === "turn",
  fresh: (one) => !one.isLate && !one.withdrawnAt, late: (one) => one.isLate && !one.withdrawnAt,
  withdrawn: (one) => one.withdrawnAt !== null,
};

export function Signals() {
  const symbol = useSignal("");
  const direction = useSignal("");
  const kind = useSignal("");
  const shown = useSignal(STEP);
  const all = signals.value;
  if (!all) return <section class="panel" aria-label="Signals"><header class="panel-head"><h2>Signals</h2></header><Loading label="Loading signals" /></section>;
  const matches = (one: Signal) =>
    (!symbol.value || one.symbol === symbol.value) && (!direction.value || one.direction === direction.value) && KINDS[kind.value]?.(one);
  const found = all.filter(matches);
  const withdrawn = found.filter((one) => one.withdrawnAt).length;
  const symbols = [...new Set(all.map((one) => one.symbol))].sort();
  return (
    <section class="panel signals" aria-label="Signals">
      <header class="panel-head">
        <h2>Signals <span class="num detail">{count(found.length - withdrawn)}{withdrawn > 0 && `, ${count(withdrawn)} withdrawn`}</span></h2>
        <div class="filters">
          <select aria-label="Symbol" value={symbol.value} onChange={(event) => { symbol.value = event.currentTarget.value; }}>
            <option value="">All symbols</option>{symbols.map((one) => <option key={one} value={one}>{shortSymbol(one)}</option>)}
          </select>
          <select aria-label="Direction" value={direction.value} onChange={(event) => { direction.value = event.currentTarget.value; }}>
            <option value="">Up and down</option><option value="up">Up</option><option value="down">Down</option>
          </select>
          <select aria-label="Kind" value={kind.value} onChange={(event) => { kind.value = event.currentTarget.value; }}>
            <option value="">All kinds</option><option value="cross">Crossings</option><option value="turn">Turns</option>
            <option value="fresh">On time</option><option value="late">Late</option><option value="withdrawn">Withdrawn</option>
          </select>
        </div>
      </header>
      {found.length === 0
        ? <Empty title={all.length ? "No signal matches the filters" : "No signals yet"}>{!all.length && "A signal appears when a candle closes above or below its HMA, or when the HMA changes direction."}</Empty>
        : <div class="scroll tall" tabIndex={0} role="region" aria-label="Signals table"><table>
          <thead><tr><th scope="col">Candle closed</th><th scope="col">Symbol</th><th scope="col">Signal</th><th scope="col" class="align-right">Close ₹</th><th scope="col" class="align-right">HMA ₹</th></tr></thead>
          <tbody>{found.slice(0, shown.value).map((one) => <Row key={`${one.watchId} ${one.rule} ${one.resolution} ${one.candleOpenedAt}`} one={one} />)}</tbody>
        </table>
        {found.length > shown.value && <button type="button" class="more" onClick={() => { shown.value += STEP; }}>Show more</button>}
        </div>}
    </section>
  );
}

function Row({ one }: { one: Signal }) {
  const what = <><Icon name={one.direction} />{one.rule === "cross" ? "crossed" : "turned"} {one.direction}</>;
  const isCorrected = one.revision > 1 || one.historyChangedAt !== null;
  return (
    <tr data-corrected={isCorrected ? "true" : undefined} data-withdrawn={one.withdrawnAt ? "true" : undefined}>
      <td class="num">{whenIst(one.candleClosedAt, now.value)}{one.isLate && <span class="tag" title={`Found at ${whenIst(one.detectedAt, now.value)}, when missed or corrected candles were loaded`}>late</span>}</td>
      <th scope="row">{shortSymbol(one.symbol)}<span class="detail">HMA {one.period} · {resolutionName(one.resolution)}</span></th>
      <td><span class="signal" data-tone={one.withdrawnAt ? undefined : one.direction}>{one.withdrawnAt ? <s>{what}</s> : what}</span><Corrections one={one} /></td>
      <td class="align-right">{price(one.close)}</td><td class="align-right">{price(one.hma)}</td>
    </tr>
  );
}

/** What happened to the signal after it was found, in words: a line through it alone is not read aloud. */
function Corrections({ one }: { one: Signal }) {
  if (one.withdrawnAt) return <span class="detail">Withdrawn {whenIst(one.withdrawnAt, now.value)}. {one.withdrawnReason}</span>;
  if (one.historyChangedAt) return <span class="detail">Fyers has changed the prices of this candle or of earlier ones since ({whenIst(one.historyChangedAt, now.value)}).</span>;
  return one.revision > 1 ? <span class="detail">Corrected, because Fyers changed its history.</span> : null;
}
