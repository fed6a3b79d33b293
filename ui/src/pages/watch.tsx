// The Watch page: watchlist, chart, signals, coverage of the day.
import { computed, useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { call } from "../api/client";
import { now } from "../live/clock";
import { type ChartChoice, chartChoice } from "../live/preferences";
import { market, meta, watchRows } from "../live/store";
import { Dialog, Empty, Icon, Loading } from "../parts/elements";
import { FirstSteps, isNewUser } from "../parts/first_steps";
import { codeText, dayName, resolutionName, rupees, shortSymbol, signed, span, when } from "../parts/format";
import { ReadinessStatus } from "../parts/readiness";
import { Signals } from "../parts/signals";
import { SymbolSearch } from "../parts/symbol_search";
import { RULES } from "../parts/watch_form";
import { Watchlist, isStale } from "../parts/watchlist";

export function WatchPage() {
  if (!watchRows.value) return <Loading rows={8} label="Loading your watchlist" />;
  if (isNewUser()) return <FirstSteps />;
  return (
    <div class="watch-page">
      <h1 class="visually-hidden">Watch</h1>
      <ReadinessStatus />
      <Watchlist />
      <ChartPanel />
      <Signals />
      <Coverage />
    </div>
  );
}

function ChartPanel() {
  const isSearching = useSignal(false);
  const choice = chosen();
  if (!choice) return <section class="panel chart-panel" aria-label="Chart"><Empty title="No chart yet">Add a symbol to your watchlist.</Empty></section>;
  const set = (change: Partial<typeof choice>) => { chartChoice.value = { ...choice, ...change }; };
  const codes = meta.value?.resolutions ?? [choice.resolution];
  return (
    <section class="panel chart-panel" aria-label="Chart">
      <header class="panel-head">
        <h2 title={choice.symbol}>{shortSymbol(choice.symbol)} <Price symbol={choice.symbol} /></h2>
        <div class="filters">
          <select aria-label="Candles" value={choice.resolution} onChange={(event) => set({ resolution: event.currentTarget.value })}>
            {codes.map((code) => <option key={code} value={code}>{resolutionName(code)}</option>)}
          </select>
          <label class="inline">HMA <input class="num" type="number" aria-label="HMA period" min={meta.value?.shortestPeriod} max={meta.value?.longestPeriod} value={choice.period}
            onChange={(event) => { const period = event.currentTarget.valueAsNumber; if (event.currentTarget.checkValidity() && period) set({ period }); }} /></label>
          <select aria-label="Signal when" value={choice.rule} onChange={(event) => set({ rule: event.currentTarget.value === "turn" ? "turn" : "cross" })}>
            {Object.entries(RULES).map(([rule, text]) => <option key={rule} value={rule}>{text}</option>)}
          </select>
          <button type="button" class="small" onClick={() => { isSearching.value = true; }}>Show another symbol</button>
        </div>
      </header>
      <LazyChart choice={choice} />
      <p class="hint chart-note">Times are IST. {market.value?.isOpen && "The newest candle is still forming. "}Only closed candles give signals.</p>
      {isSearching.value && (
        <Dialog title="Show another symbol" onClose={() => { isSearching.value = false; }}>
          <form class="form" onSubmit={(event) => {
            event.preventDefault();
            const symbol = String(new FormData(event.currentTarget).get("symbol") ?? "").trim().toUpperCase();
            if (symbol) { set({ symbol }); isSearching.value = false; }
          }}>
            <SymbolSearch value="" onChoose={() => undefined} />
            <div class="buttons"><button type="submit" class="primary">Show</button></div>
          </form>
        </Dialog>
      )}
    </section>
  );
}

/** The last price, in a component of its own: each quote renders it again, and a field beside it would lose what is being typed. */
function Price({ symbol }: { symbol: string }) {
  const row = watchRows.value?.find((one) => one.watch.symbol === symbol);
  if (!row?.quote) return null;
  const isOld = isStale(row);
  return (
    <span class="num big-price" data-stale={isOld}>{row.quote.isDoubtful
      ? <><s>{rupees(row.quote.ltp)}</s> <small class="problem" title={row.quote.doubtfulReason ?? undefined}>doubtful</small></> : rupees(row.quote.ltp)}
      <small data-tone={isOld ? undefined : (row.quote.change ?? 0) >= 0 ? "up" : "down"}>{signed(row.quote.changePercent, " %")}</small></span>
  );
}

/** The chart of the first watch as text, which does not change with its quotes. */
const firstChart = computed(() => {
  const first = watchRows.value?.[0]?.watch;
  return first ? JSON.stringify({ symbol: first.symbol, resolution: first.resolution, period: first.period, rule: first.rule }) : "null";
});

/** Return the chosen chart, or that of the first watch. */
const chosen = (): ChartChoice | null => chartChoice.value ?? JSON.parse(firstChart.value) as ChartChoice | null;

type ChartComponent = typeof import("../parts/chart").Chart;
let loadedChart: ChartComponent | undefined;

/** Loads the chart code after the page, so that prices appear first. */
function LazyChart({ choice }: { choice: ChartChoice }) {
  const isLoaded = useSignal(loadedChart !== undefined);
  useEffect(() => {
    if (!loadedChart) void import("../parts/chart").then((found) => { loadedChart = found.Chart; isLoaded.value = true; }, () => undefined);
  }, []);
  const Chart = loadedChart;
  return isLoaded.value && Chart ? <Chart choice={choice} /> : <div class="chart"><div class="canvas"><Loading rows={6} label="Loading the chart" /></div></div>;
}

type Day = Awaited<ReturnType<typeof loadCoverage>>;
const loadCoverage = () => call("get", "/api/monitoring/coverage");

/** One line about the watched and blind time of the day. */
function Coverage() {
  const day = useSignal<Day | null>(null);
  const minute = Math.floor(now.value / 60_000);
  useEffect(() => { loadCoverage().then((found) => { day.value = found; }, () => undefined); }, [Math.floor(minute / 5)]);
  const known = day.value;
  if (!known) return null;
  const blind = known.stretches.filter((one) => one.minutes >= 1);
  return (
    <p class="coverage num"><Icon name="refresh" />{dayName(known.day)}: watched {span(known.watchedMinutes)}, blind {span(known.blindMinutes)}
      {blind.length > 0 && <> ({blind.slice(-3).map((one) => `${when(one.beganAt, now.value)}–${when(one.endedAt, now.value)} ${codeText(one.reason)}`).join("; ")}; IST)</>}
      <a href="#/coverage">Show coverage</a></p>
  );
}
