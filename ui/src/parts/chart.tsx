// The chart: candles, their HMA and signals; the forming candle moves with each quote. All rules behind it are the server's.
import {
  CandlestickSeries, type IChartApi, type ISeriesApi, type ISeriesMarkersPluginApi, LineSeries, type Time, type UTCTimestamp,
  createChart, createSeriesMarkers,
} from "lightweight-charts";
import { effect, useSignal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { type Chart as ChartData, call } from "../api/client";
import { heard, realUntil, serverNow } from "../live/clock";
import { type ChartChoice, isDark } from "../live/prefs";
import { line as pushLine } from "../live/socket";
import { closedCandle, connection, lines } from "../live/store";
import { Empty } from "./bits";
import { rupees, shortSymbol } from "./format";

const IST_S = 19_800; // the library knows no zones: moments are shifted, so that its axis reads IST
const SETTLE_MS = 1200;
const UNWATCHED_MS = 10_000;
const OUTCOMES: Record<string, string> = {
  no_data: "Fyers has no candles of it.", disconnected: "There is no Fyers session: log in to Fyers to see its candles.",
  rate_limited: "Fyers asked us to wait; the chart comes by itself.", unavailable: "Fyers cannot be asked at the moment; the chart comes by itself.",
  bad_request: "Fyers does not know this symbol or does not keep these candles.", not_permitted: "Your Fyers app lacks the permission to read market data.",
};
const at = (moment: string): UTCTimestamp => (Date.parse(moment) / 1000 + IST_S) as UTCTimestamp;
const colour = (name: string): string => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

/** The drawn chart and its three layers. */
class Drawing {
  readonly chart: IChartApi;
  readonly candles: ISeriesApi<"Candlestick">;
  readonly average: ISeriesApi<"Line">;
  readonly marks: ISeriesMarkersPluginApi<Time>;
  private data: ChartData | undefined;
  private forming: { time: UTCTimestamp; open: number; high: number; low: number; close: number } | undefined;
  private shown = "";

  constructor(place: HTMLElement) {
    this.chart = createChart(place, { autoSize: true, timeScale: { timeVisible: true, secondsVisible: false, rightOffset: 4 } });
    this.candles = this.chart.addSeries(CandlestickSeries, { borderVisible: false });
    this.average = this.chart.addSeries(LineSeries, { lineWidth: 2, priceLineVisible: false, lastValueVisible: true, title: "HMA", crosshairMarkerVisible: false });
    this.marks = createSeriesMarkers(this.candles, []);
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
    if (this.data) this.mark(this.data);
  }

  show(data: ChartData): void {
    this.data = data;
    this.candles.setData(data.candles.map((one) => ({ time: at(one.openedAt), open: one.open, high: one.high, low: one.low, close: one.close })));
    this.average.setData(data.candles.flatMap((one) => (one.hma === null ? [] : [{ time: at(one.openedAt), value: one.hma }])));
    this.mark(data);
    this.forming = data.forming ? { ...data.forming, time: at(data.forming.openedAt) } : undefined;
    this.drawForming();
    const what = `${data.symbol} ${data.resolution}`;
    if (what !== this.shown) this.chart.timeScale().setVisibleLogicalRange({ from: data.candles.length - 110, to: data.candles.length + 4 });
    this.shown = what;
  }

  private mark(data: ChartData): void {
    this.marks.setMarkers(data.candles.flatMap((one) => (one.direction === null ? [] : [{
      time: at(one.openedAt), position: one.direction === "up" ? "belowBar" as const : "aboveBar" as const,
      shape: one.direction === "up" ? "arrowUp" as const : "arrowDown" as const, color: colour(one.direction === "up" ? "--up" : "--down"), size: 1.2,
    }])));
  }

  /** Let the forming candle follow a price, until its end; whatever comes then is asked for. */
  move(ltp: number, quotedAt: string): void {
    if (!this.forming || !this.data || Date.parse(quotedAt) >= Date.parse(this.data.nextCloseAt)) return;
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

export function Chart({ choice }: { choice: ChartChoice }) {
  const place = useRef<HTMLDivElement | null>(null);
  const drawing = useRef<Drawing | null>(null);
  const note = useSignal("Loading the candles …");
  const about = useSignal("");

  useEffect(() => {
    if (!place.current) return undefined;
    const drawn = drawing.current = new Drawing(place.current);
    const stop = effect(() => { void isDark.value; drawn.paint(); });
    return () => { stop(); drawing.current = null; drawn.chart.remove(); };
  }, []);

  useEffect(() => follow(choice, () => drawing.current, (text, words) => { note.value = text; about.value = words; }),
    [choice.symbol, choice.resolution, choice.period, choice.rule]);

  return (
    <div class="chart">
      <div ref={place} class="canvas" role="group" aria-label={about.value || "Chart"} data-ready={about.value !== ""} />
      {note.value && <div class="over"><Empty title={note.value} /></div>}
    </div>
  );
}

/** Keep one choice's chart true: ask when a candle ends, follow quotes in between. Returns how to end it. */
function follow(choice: ChartChoice, drawing: () => Drawing | null, say: (note: string, about: string) => void): () => void {
  let isOver = false;
  let isAsking = false;
  let mustAskAgain = false;
  let timer: ReturnType<typeof setTimeout> | undefined;
  const isWatched = () => (lines.peek() ?? []).some((line) => line.watch.symbol === choice.symbol);

  const ask = async () => {
    if (isAsking) { mustAskAgain = true; return; }
    isAsking = true;
    mustAskAgain = false;
    clearTimeout(timer);
    let pause = UNWATCHED_MS;
    try {
      const data = await call("get", "/api/market/chart", { query: { ...choice } });
      if (isOver) return;
      heard(data.at);
      const isGood = data.outcome === "ok";
      if (isGood) drawing()?.show(data);
      say(isGood ? "" : OUTCOMES[data.outcome] ?? "", isGood ? summary(data) : "");
      if (isGood && isWatched()) pause = Math.min(realUntil(Date.parse(data.nextCloseAt)) + SETTLE_MS * Math.random() + 150, 10 * 60_000);
    } catch (error) {
      if (!isOver) say(error instanceof Error ? error.message : "", "");
    } finally {
      isAsking = false;
      if (!isOver) timer = setTimeout(() => void ask(), mustAskAgain ? 200 : pause);
    }
  };

  const stops = [
    effect(() => {
      const quote = lines.value?.find((line) => line.watch.symbol === choice.symbol);
      if (quote?.quote?.ltp != null && quote.quotedAt) drawing()?.move(quote.quote.ltp, quote.quotedAt);
    }),
    effect(() => {
      const closed = closedCandle.value;
      if (closed && closed.symbol === choice.symbol && closed.resolution === choice.resolution && closed.at > serverNow() - 60_000) void ask();
    }),
    effect(() => { void `${connection.value?.state} ${connection.value?.incidentId} ${pushLine.value === "open"}`; void ask(); }),
  ];
  return () => { isOver = true; clearTimeout(timer); stops.forEach((stop) => stop()); };
}
