// The watchlist, one row per watch. Old numbers, and numbers without a Fyers session, are shown as stale.
import { computed, useSignal } from "@preact/signals";
import { type Watch, type WatchRow, call } from "../api/client";
import { now } from "../live/clock";
import { chartChoice } from "../live/preferences";
import { hasSession, meta, monitoring, readOverviewSoon, refresh, watchRows } from "../live/store";
import { Action, Dialog, Empty, Icon, Loading } from "./elements";
import { age, price, resolutionName, shortSymbol, signed, whenIst } from "./format";
import { isBeforeOpen } from "./readiness";
import { WatchDialog } from "./watch_form";

const staleMs = computed(() => (meta.value?.staleAfterSeconds ?? 15) * 1000);

export const isStale = (row: WatchRow): boolean =>
  !hasSession.value || !row.quotedAt || now.value - Date.parse(row.quotedAt) > staleMs.value;

/** The states of a watch that differ from the state of its account. */
const OWN_PROBLEMS = new Set(["symbol_refused", "symbol_not_permitted", "symbol_unavailable", "no_history", "price_jump", "candles_missing", "off_grid", "too_young", "warming"]);

const isOwnProblem = (watch: Watch): boolean => OWN_PROBLEMS.has(watch.status);

const tone = (value: number | null | undefined): string | undefined =>
  value ? (value > 0 ? "up" : "down") : undefined;

export function Watchlist() {
  const isAdding = useSignal(false);
  const edited = useSignal<Watch | null>(null);
  const removed = useSignal<Watch | null>(null);
  const all = watchRows.value;
  return (
    <section class="panel watchlist" aria-label="Watchlist">
      <header class="panel-head">
        <h2>Watchlist</h2>
        <MonitoringStatus />
        <button type="button" class="small" onClick={() => { isAdding.value = true; }}><Icon name="plus" />Add symbol</button>
      </header>
      {!all ? <Loading rows={5} label="Loading the watchlist" />
        : all.length === 0 ? <Empty title="Your watchlist is empty"><button type="button" class="primary" onClick={() => { isAdding.value = true; }}>Add your first symbol</button></Empty>
        : <Table all={all} onEdit={(watch) => { edited.value = watch; }} onRemove={(watch) => { removed.value = watch; }} />}
      {isAdding.value && <WatchDialog onClose={() => { isAdding.value = false; }} />}
      {edited.value && <WatchDialog watch={edited.value} onClose={() => { edited.value = null; }} />}
      {removed.value && <RemoveDialog watch={removed.value} onClose={() => { removed.value = null; }} />}
    </section>
  );
}

function MonitoringStatus() {
  const state = monitoring.value;
  if (!state) return null;
  const change = async (path: "/api/monitoring/start" | "/api/monitoring/stop") => {
    monitoring.value = await call("post", path);
    readOverviewSoon();
  };
  return (
    <>
      {!isBeforeOpen.value && <span class="status" role="status" data-status={state.isPartial && state.status === "watching" ? "partial" : state.status}><i class="dot" aria-hidden="true" /><span>{state.reason}</span></span>}
      {state.isWanted
        ? <Action class="small" run={() => change("/api/monitoring/stop")}><Icon name="stop" />Stop monitoring</Action>
        : <Action class="small primary" run={() => change("/api/monitoring/start")}><Icon name="play" />Start monitoring</Action>}
    </>
  );
}

function Table({ all, onEdit, onRemove }: { all: WatchRow[]; onEdit: (watch: Watch) => void; onRemove: (watch: Watch) => void }) {
  return (
    <div class="scroll" tabIndex={0} role="region" aria-label="Watchlist table">
      <table>
        <thead><tr>
          <th scope="col">Symbol</th><th scope="col" class="align-right">LTP ₹</th><th scope="col" class="align-right">Change</th><th scope="col" class="align-right">HMA ₹</th>
          <th scope="col" class="align-right">To HMA</th><th scope="col">Last signal</th><th scope="col" class="align-right">Age</th><th scope="col"><span class="visually-hidden">Actions</span></th>
        </tr></thead>
        <tbody>{all.map((row) => <Row key={row.watch.id} row={row} onEdit={onEdit} onRemove={onRemove} />)}</tbody>
      </table>
    </div>
  );
}

function Row({ row, onEdit, onRemove }: { row: WatchRow; onEdit: (watch: Watch) => void; onRemove: (watch: Watch) => void }) {
  const { watch, quote } = row;
  const hma = row.preview ?? row.hma;
  const distance = quote?.ltp != null && !quote.isDoubtful && hma != null ? ((quote.ltp - hma) / hma) * 100 : null;
  const stale = isStale(row);
  const chosen = chartChoice.value;
  const isChosen = chosen?.symbol === watch.symbol && chosen.resolution === watch.resolution && chosen.period === watch.period;
  const show = () => { chartChoice.value = { symbol: watch.symbol, resolution: watch.resolution, period: watch.period, rule: watch.rule }; };
  return (
    <tr data-stale={stale} data-symbol={watch.symbol} data-status={watch.status} aria-current={isChosen ? "true" : undefined}>
      <th scope="row">
        <button type="button" class="symbol" onClick={show}>{shortSymbol(watch.symbol)}</button>
        <span class="detail">{watch.symbol.split(":")[0]} · HMA {watch.period} · {resolutionName(watch.resolution).replace(" ", "\u00a0")}{watch.rule === "turn" ? " · turn" : ""}</span>
        {isOwnProblem(watch) && <span class="detail problem">{watch.reason}</span>}
      </th>
      <td class="align-right price">{quote?.isDoubtful
        ? <><s>{price(quote.ltp)}</s><span class="detail problem" title={quote.doubtfulReason ?? undefined}>doubtful<span class="visually-hidden">: {quote.doubtfulReason}</span></span></>
        : price(quote?.ltp)}</td>
      <td class="align-right" data-tone={stale ? undefined : tone(quote?.change)}>{signed(quote?.change)}<span class="detail">{signed(quote?.changePercent, " %")}</span></td>
      <td class="align-right">{price(hma)}</td>
      <td class="align-right" data-tone={stale ? undefined : tone(distance)}>{signed(distance, " %")}</td>
      <td>{row.lastSignal ? <span class="signal" data-tone={row.lastSignal.direction}>
        <Icon name={row.lastSignal.direction} />{row.lastSignal.direction} <span class="num detail">{whenIst(row.lastSignal.candleClosedAt, now.value)}{row.lastSignal.isLate ? ", late" : ""}</span>
      </span> : <span class="detail">none yet</span>}</td>
      <td class="align-right age">{row.quotedAt ? age(row.quotedAt, now.value) : "–"}{stale && row.quotedAt && <span class="detail">old</span>}</td>
      <td class="actions">
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
      <p>It leaves your watchlist. Its past signals stay in the list.</p>
      <div class="buttons"><Action class="primary danger" run={remove}>Remove</Action><button type="button" onClick={onClose}>Cancel</button></div>
    </Dialog>
  );
}
