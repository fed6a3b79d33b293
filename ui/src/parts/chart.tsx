// The chart: candles, HMA and signals. The server computes them; each quote moves the forming candle.
import {
  CandlestickSeries, type IChartApi, type ISeriesApi, type ISeriesMarkersPluginApi, LineSeries, type Time, type UTCTimestamp,
  createChart, createSeriesMarkers,
} from "lightweight-charts";
import { effect, useSignal } from "@preact/signals";
import { useLayoutEffect, useRef } from "preact/hooks";
import { type Chart as ChartData, call } from "../api/client";
import { realMsUntil, serverNow, setServerTime } from "../live/clock";
import { type ChartChoice, isDark } from "../live/preferences";
import { pushState } from "../live/socket";
import { closedCandle, connection, watchRows } from "../live/store";
import { Empty } from "./elements";
import { rupees, shortSymbol } from "./format";

const IST_S = 19_800; // the library has no time zones, so times are shifted to IST
const SETTLE_MS = 1200;
const UNWATCHED_MS = 10_000;
const NO_CANDLES = "Fyers has no candles for this symbol.";
const at = (moment: string): UTCTimestamp => (Date.parse(moment) / 1000 + IST_S) as UTCTimestamp;
const colour = (name: string): string => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

/** The library chart with its candles, HMA line and signal markers. */
class Drawing {
  readonly chart: IChartApi;
  readonly candles: ISeriesApi<"Candlestick">;
  readonly average: ISeriesApi<"Line">;
  readonly markers: ISeriesMarkersPluginApi<Time>;
  private data: ChartData | undefined;
  private forming: { time: UTCTimestamp; open: number; high: number; low: number; close: number } | undefined;
  private shown = "";

  constructor(container: HTMLElement) {
    this.chart = createChart(container, { autoSize: true, timeScale: { timeVisible: true, secondsVisible: false, rightOffset: 4 } });
    this.candles = this.chart.addSeries(CandlestickSeries, { borderVisible: false });
    this.average = this.chart.addSeries(LineSeries, { lineWidth: 2, priceLineVisible: false, lastValueVisible: true, title: "HMA", crosshairMarkerVisible: false });
    this.markers = createSeriesMarkers(this.candles, []);
  }

  paint(): void {
    const [up, down, text, edge] = [colour("--up"), colour("--down"), colour("--muted"), colour("--edge")];
    this.chart.applyOptions({
      layout: { background: { color: "transparent" }, textColor: text, fontFamily: colour("--font"), fontSize: 11 },
      grid: { vertLines: { color: edge }, horzLines: { color: edge } },
      rightPriceScale: { borderColor: edge }, timeScale: { borderColor: edge },
      localization: { priceFormatter: (value: number) => value.toLocaleString("en-IN", { minimumFractionDigits: 2, maximumFractionDigits: 2 }) },
    });
    this.candles.applyOptions({ upColor: up, downColor: down, wickUpColor: up, wickDownColor: down });
    this.average.applyOptions({ color: colour("--brass") });
    if (this.data) this.setMarkers(this.data);
  }

  show(data: ChartData): void {
    this.data = data;
    this.candles.setData(data.candles.map((one) => ({ time: at(one.openedAt), open: one.open, high: one.high, low: one.low, close: one.close })));
    this.average.setData(data.candles.flatMap((one) => (one.hma === null ? [] : [{ time: at(one.openedAt), value: one.hma }])));
    this.setMarkers(data);
    this.forming = data.forming ? { ...data.forming, time: at(data.forming.openedAt) } : undefined;
    this.drawForming();
    const what = `${data.symbol} ${data.resolution}`;
    if (what !== this.shown) this.chart.timeScale().setVisibleLogicalRange({ from: data.candles.length - 110, to: data.candles.length + 4 });
    this.shown = what;
  }

  /** Remove what is drawn. Quotes move nothing until the next `show`. */
  clear(): void {
    this.data = this.forming = undefined;
    this.shown = "";
    this.candles.setData([]);
    this.average.setData([]);
    this.markers.setMarkers([]);
  }

  private setMarkers(data: ChartData): void {
    this.markers.setMarkers(data.candles.flatMap((one) => (one.direction === null ? [] : [{
      time: at(one.openedAt), position: one.direction === "up" ? "belowBar" as const : "aboveBar" as const,
      shape: one.direction === "up" ? "arrowUp" as const : "arrowDown" as const, color: colour(one.direction === "up" ? "--up" : "--down"), size: 1.2,
    }])));
  }

  /** Move the forming candle to a price that was quoted within it. After the candle closes the chart is loaded again. */
  moveForming(ltp: number, quotedAt: string): void {
    if (!this.forming || !this.data?.forming) return;
    const moment = Date.parse(quotedAt);
    if (moment < Date.parse(this.data.forming.openedAt) || moment >= Date.parse(this.data.nextCloseAt)) return;
    this.forming.close = ltp;
    this.forming.high = Math.max(this.forming.high, ltp);
    this.forming.low = Math.min(this.forming.low, ltp);
    this.drawForming();
  }

  private drawForming(): void {
    if (!this.forming) return;
    this.candles.update(this.forming);
    const line = this.data?.line;
    if (line) this.average.update({ time: this.forming.time, value: line.base + line.slope * this.forming.close });
  }
}

function summary(data: ChartData): string {
  const last = data.forming ?? data.candles.at(-1);
  const hma = data.candles.findLast((one) => one.hma !== null)?.hma;
  const found = data.candles.filter((one) => one.direction).length;
  return `${shortSymbol(data.symbol)}: ${data.candles.length} candles, last price ${rupees(last?.close)}, HMA ${rupees(hma)}, ${found} signals.`;
}

/** What is drawn, and what the page writes about it. It counts only for the choice with the same key. */
interface Shown { key: string; isDrawn: boolean; message: string; description: string }

const keyOf = (choice: ChartChoice): string => `${choice.symbol} ${choice.resolution} ${choice.period} ${choice.rule}`;

export function Chart({ choice }: { choice: ChartChoice }) {
  const container = useRef<HTMLDivElement | null>(null);
  const drawing = useRef<Drawing | null>(null);
  const latest = useSignal<Shown | null>(null);
  const key = keyOf(choice);
  const shown = latest.value?.key === key ? latest.value
    : { key, isDrawn: false, message: `Loading the candles of ${shortSymbol(choice.symbol)} …`, description: "" };

  useLayoutEffect(() => {
    if (!container.current) return undefined;
    const drawn = drawing.current = new Drawing(container.current);
    const stop = effect(() => { void isDark.value; drawn.paint(); });
    return () => { stop(); drawing.current = null; drawn.chart.remove(); };
  }, []);

  // Before the browser paints the new title, so that no frame has it above the old candles.
  useLayoutEffect(() => {
    drawing.current?.clear();
    latest.value = null; // a choice that is taken back must not find what was drawn for it before
    return follow(choice, () => drawing.current, (isDrawn, message, description) => {
      const wasDrawn = latest.peek()?.key === key && latest.peek()?.isDrawn === true;
      latest.value = { key, isDrawn: isDrawn || wasDrawn, message, description };
    });
  }, [key]);

  return (
    <div class="chart">
      <div ref={container} class="canvas" role="group" aria-label={shown.description || "Chart"} data-ready={shown.description !== ""} data-drawn={shown.isDrawn} />
      {shown.message && <div class="chart-message" role="status"><Empty title={shown.message} /></div>}
    </div>
  );
}

/**
 * Keep the chart of one choice current: load it when a candle closes, follow quotes in between. Returns a function that stops it.
 * An answer that arrives after the stop is dropped, whichever choice it is for.
 */
function follow(choice: ChartChoice, drawing: () => Drawing | null, report: (isDrawn: boolean, message: string, description: string) => void): () => void {
  let isCancelled = false;
  let isLoading = false;
  let mustReload = false;
  let timer: ReturnType<typeof setTimeout> | undefined;
  const isWatched = () => (watchRows.peek() ?? []).some((row) => row.watch.symbol === choice.symbol);

  const load = async () => {
    if (isLoading) { mustReload = true; return; }
    isLoading = true;
    mustReload = false;
    clearTimeout(timer);
    let pause = UNWATCHED_MS;
    try {
      const data = await call("get", "/api/market/chart", { query: { ...choice } });
      if (isCancelled) return;
      setServerTime(data.at);
      const isGood = data.outcome === "ok";
      if (isGood) drawing()?.show(data);
      report(isGood, isGood ? "" : data.reason ?? NO_CANDLES, isGood ? summary(data) : "");
      if (isGood && isWatched()) pause = Math.min(realMsUntil(Date.parse(data.nextCloseAt)) + SETTLE_MS * Math.random() + 150, 10 * 60_000);
    } catch (error) {
      if (!isCancelled) report(false, error instanceof Error ? error.message : "", "");
    } finally {
      isLoading = false;
      if (!isCancelled) timer = setTimeout(() => void load(), mustReload ? 200 : pause);
    }
  };

  const disposers = [
    effect(() => {
      const quote = watchRows.value?.find((row) => row.watch.symbol === choice.symbol);
      if (quote?.quote?.ltp != null && !quote.quote.isDoubtful && quote.quotedAt) drawing()?.moveForming(quote.quote.ltp, quote.quotedAt);
    }),
    effect(() => {
      const closed = closedCandle.value;
      if (closed && closed.symbol === choice.symbol && closed.resolution === choice.resolution && closed.at > serverNow() - 60_000) void load();
    }),
    effect(() => { void `${connection.value?.state} ${connection.value?.incidentId} ${pushState.value === "open"}`; void load(); }),
  ];
  return () => { isCancelled = true; clearTimeout(timer); disposers.forEach((stop) => stop()); };
}
