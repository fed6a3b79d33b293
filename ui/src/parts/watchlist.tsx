// The watchlist: one line a watch. A number that is old, or whose session is over, never looks alive.
import { computed, useSignal } from "@preact/signals";
import { type Line, type Watch, call } from "../api/client";
import { now } from "../live/clock";
import { chartChoice } from "../live/prefs";
import { hasSession, lines, meta, monitoring, readOverviewSoon, refresh } from "../live/store";
import { Action, Dialog, Empty, Icon, Loading } from "./bits";
import { age, price, resolutionName, shortSymbol, signed, whenIst } from "./format";
import { isBeforeOpen } from "./readiness";
import { WatchDialog } from "./watch_form";

const staleMs = computed(() => (meta.value?.staleAfterSeconds ?? 15) * 1000);

export const isStale = (line: Line): boolean =>
  !hasSession.value || !line.quotedAt || now.value - Date.parse(line.quotedAt) > staleMs.value;

const tone = (value: number | null | undefined): string | undefined =>
  value ? (value > 0 ? "up" : "down") : undefined;

export function Watchlist() {
  const isAdding = useSignal(false);
  const edited = useSignal<Watch | null>(null);
  const removed = useSignal<Watch | null>(null);
  const all = lines.value;
  return (
    <section class="panel watchlist" aria-label="Watchlist">
      <header class="panel-head">
        <h2>Watchlist</h2>
        <Monitoring />
        <button type="button" class="small" onClick={() => { isAdding.value = true; }}><Icon name="plus" />Add symbol</button>
      </header>
      {!all ? <Loading rows={5} label="Loading the watchlist" />
        : all.length === 0 ? <Empty title="Nothing is watched yet"><button type="button" class="primary" onClick={() => { isAdding.value = true; }}>Add your first symbol</button></Empty>
        : <Table all={all} onEdit={(watch) => { edited.value = watch; }} onRemove={(watch) => { removed.value = watch; }} />}
      {isAdding.value && <WatchDialog onClose={() => { isAdding.value = false; }} />}
      {edited.value && <WatchDialog watch={edited.value} onClose={() => { edited.value = null; }} />}
      {removed.value && <RemoveDialog watch={removed.value} onClose={() => { removed.value = null; }} />}
    </section>
  );
}

function Monitoring() {
  const state = monitoring.value;
  if (!state) return null;
  const change = async (path: "/api/monitoring/start" | "/api/monitoring/stop") => {
    monitoring.value = await call("post", path);
    readOverviewSoon();
  };
  return (
    <>
      {!isBeforeOpen.value && <span class="status" role="status" data-status={state.status}><i class="dot" aria-hidden="true" /><span>{state.reason}</span></span>}
      {state.isWanted
        ? <Action class="small" run={() => change("/api/monitoring/stop")}><Icon name="stop" />Stop monitoring</Action>
        : <Action class="small primary" run={() => change("/api/monitoring/start")}><Icon name="play" />Start monitoring</Action>}
    </>
  );
}

function Table({ all, onEdit, onRemove }: { all: Line[]; onEdit: (watch: Watch) => void; onRemove: (watch: Watch) => void }) {
  return (
    <div class="scroll" tabIndex={0} role="region" aria-label="Watchlist table">
      <table>
        <thead><tr>
          <th scope="col">Symbol</th><th scope="col" class="n">LTP ₹</th><th scope="col" class="n">Change</th><th scope="col" class="n">HMA ₹</th>
          <th scope="col" class="n">To HMA</th><th scope="col">Last signal</th><th scope="col" class="n">Age</th><th scope="col"><span class="away">Actions</span></th>
        </tr></thead>
        <tbody>{all.map((line) => <Row key={line.watch.id} line={line} onEdit={onEdit} onRemove={onRemove} />)}</tbody>
      </table>
    </div>
  );
}

function Row({ line, onEdit, onRemove }: { line: Line; onEdit: (watch: Watch) => void; onRemove: (watch: Watch) => void }) {
  const { watch, quote } = line;
  const hma = line.preview ?? line.hma;
  const distance = quote?.ltp != null && hma != null ? ((quote.ltp - hma) / hma) * 100 : null;
  const stale = isStale(line);
  const chosen = chartChoice.value;
  const isChosen = chosen?.symbol === watch.symbol && chosen.resolution === watch.resolution && chosen.period === watch.period;
  const show = () => { chartChoice.value = { symbol: watch.symbol, resolution: watch.resolution, period: watch.period, rule: watch.rule }; };
  const isRefused = monitoring.value?.refusedSymbols.includes(watch.symbol);
  return (
    <tr data-stale={stale} data-symbol={watch.symbol} aria-current={isChosen ? "true" : undefined}>
      <th scope="row">
        <button type="button" class="symbol" onClick={show}>{shortSymbol(watch.symbol)}</button>
        <span class="sub">{watch.symbol.split(":")[0]} · HMA {watch.period} · {resolutionName(watch.resolution).replace(" ", "\u00a0")}{watch.rule === "turn" ? " · turn" : ""}</span>
        {isRefused && <span class="sub problem">Fyers does not serve it</span>}
      </th>
      <td class="n price">{price(quote?.ltp)}</td>
      <td class="n" data-tone={stale ? undefined : tone(quote?.change)}>{signed(quote?.change)}<span class="sub">{signed(quote?.changePercent, " %")}</span></td>
      <td class="n">{price(hma)}</td>
      <td class="n" data-tone={stale ? undefined : tone(distance)}>{signed(distance, " %")}</td>
      <td>{line.lastSignal ? <span class="sig" data-tone={line.lastSignal.direction}>
        <Icon name={line.lastSignal.direction} />{line.lastSignal.direction} <span class="num sub">{whenIst(line.lastSignal.candleClosedAt, now.value)}{line.lastSignal.isLate ? ", late" : ""}</span>
      </span> : <span class="sub">none yet</span>}</td>
      <td class="n age">{line.quotedAt ? age(line.quotedAt, now.value) : "–"}{stale && line.quotedAt && <span class="sub">old</span>}</td>
      <td class="acts">
        <button type="button" class="quiet square" aria-label={`Change ${watch.symbol}`} onClick={() => onEdit(watch)}><Icon name="edit" /></button>
        <button type="button" class="quiet square" aria-label={`Remove ${watch.symbol}`} onClick={() => onRemove(watch)}><Icon name="trash" /></button>
      </td>
    </tr>
  );
}

function RemoveDialog({ watch, onClose }: { watch: Watch; onClose: () => void }) {
  const remove = async () => {
    await call("delete", "/api/monitoring/watches/{watch_id}", { path: { watch_id: watch.id } });
    if (chartChoice.value?.symbol === watch.symbol) chartChoice.value = null;
    await refresh();
    onClose();
  };
  return (
    <Dialog title={`Stop watching ${shortSymbol(watch.symbol)}?`} onClose={onClose}>
      <p>The line leaves your watchlist; its signals stay in the list.</p>
      <div class="buttons"><Action class="primary danger" run={remove}>Remove</Action><button type="button" onClick={onClose}>Keep it</button></div>
    </Dialog>
  );
}
