// What this tab knows, in signals: filled by snapshots, kept true by what is pushed. Who may see what is the server's business.
import { batch, computed, signal } from "@preact/signals";
import {
  type Connection, type Line, type MarketStatus, type Meta, type MonitoringState, type Notice, type Quote,
  type Signal, type User, Refused, belongsTo, call,
} from "../api/client";
import { heard, serverNow } from "./clock";
import { type Message, closeLine, openLine } from "./socket";

export const meta = signal<Meta | null>(null);
export const user = signal<User | null | undefined>(undefined); // undefined: not known yet
export const connection = signal<Connection | null>(null);
export const monitoring = signal<MonitoringState | null>(null);
export const market = signal<MarketStatus | null>(null);
export const lines = signal<Line[] | null>(null);
export const signals = signal<Signal[] | null>(null);
export const notices = signal<Notice[] | null>(null);
export const isBrokerOutage = signal(false);
export const trouble = signal(""); // why a snapshot could not be loaded
/** The newest candle event, so that a chart knows when to ask. */
export const closedCandle = signal<{ symbol: string; resolution: string; at: number } | null>(null);
/** Counts what operators were told; pages of theirs look again when it moves. */
export const adminNews = signal(0);
/** Counts what was pushed about the own readiness; whoever shows it asks again when it moves. */
export const readinessNews = signal(0);
export const sweep = signal<{ done: number; total: number } | null>(null);

export const unread = computed(() => (notices.value ?? []).filter((notice) => !notice.readAt).length);
export const hasSession = computed(() => ["connected", "expiring"].includes(connection.value?.state ?? ""));

const tabs = new BroadcastChannel("hullwatch");
let checking: ReturnType<typeof setInterval> | undefined;

/** Find out who is signed in. */
export async function begin(): Promise<void> {
  try {
    meta.value = await call("get", "/api/dashboard");
    heard(meta.value.now);
    signedIn(await call("get", "/api/auth/me"));
  } catch (error) {
    if (error instanceof Refused && error.status === 401) {
      user.value = null;
      return;
    }
    trouble.value = error instanceof Error ? error.message : "";
    setTimeout(() => void begin(), 2000);
  }
}

export function signedIn(who: User): void {
  trouble.value = "";
  belongsTo(who.id, signedOut);
  user.value = who;
  openLine(who.id, { message: take, caughtUp: (isFirst) => void (isFirst ? refresh(true) : refresh(false)), signedOut });
  void refresh(true);
  clearInterval(checking);
  checking = setInterval(() => void check(), (meta.value?.checkMinutes ?? 15) * 60_000);
}

export function signedOut(): void {
  clearInterval(checking);
  closeLine();
  belongsTo("", signedOut);
  batch(() => {
    user.value = null;
    connection.value = monitoring.value = market.value = null;
    lines.value = signals.value = notices.value = null;
    isBrokerOutage.value = false;
    trouble.value = "";
    sweep.value = null;
  });
}

export async function signOut(): Promise<void> {
  await call("post", "/api/auth/logout").catch(() => undefined);
  tabs.postMessage("signed-out");
  signedOut();
}

tabs.onmessage = () => { if (user.value) void call("get", "/api/auth/me").catch(() => undefined); };

/** Ask whether the session is good: what makes the page right even without the push channel. */
async function check(): Promise<void> {
  try {
    const status = await call("get", "/api/token-validation/status");
    const known = connection.value;
    if (known && (known.state !== status.state || known.verified !== status.verified)) {
      connection.value = await call("get", "/api/fyers/status");
    }
  } catch { /* said by the line */ }
}

let loading: Promise<void> | undefined;

/** Read everything afresh; while that is under way nobody else asks. */
export function refresh(isFirst = false): Promise<void> {
  if (!isFirst || !loading) {
    loading = readAll().finally(() => { loading = undefined; });
  }
  return loading;
}

async function readAll(): Promise<void> {
  const who = user.value?.id;
  try {
    const [overview, status, found, told] = await Promise.all([
      call("get", "/api/monitoring/overview"),
      call("get", "/api/market/status"),
      call("get", "/api/monitoring/signals", { query: { limit: 200 } }),
      call("get", "/api/notifications", { query: { limit: 50 } }),
    ]);
    if (who === undefined || user.value?.id !== who) return;
    heard(overview.at);
    batch(() => {
      connection.value = overview.connection;
      monitoring.value = overview.state;
      lines.value = overview.lines;
      isBrokerOutage.value = overview.isBrokerOutage;
      market.value = status;
      signals.value = found.signals;
      notices.value = told.notifications;
      trouble.value = "";
    });
  } catch (error) {
    if (user.value) trouble.value = error instanceof Error ? error.message : "";
  }
}

const AGAIN_MS = 300;
let overviewTimer: ReturnType<typeof setTimeout> | undefined;

/** Read the watchlist afresh soon; several reasons at once make one call. */
export function readOverviewSoon(): void {
  clearTimeout(overviewTimer);
  overviewTimer = setTimeout(() => void refresh(), AGAIN_MS);
}

/** Read what hours the market keeps once the known ones have passed. */
export function keepMarketCurrent(): void {
  setInterval(() => {
    const known = market.value;
    if (!known || !user.value) return;
    const turns = Math.min(Date.parse(known.changesAt), Date.parse(known.derivatives.changesAt));
    if (serverNow() < turns) return;
    void call("get", "/api/market/status").then((status) => { market.value = status; }, () => undefined);
  }, 2000);
}

interface Quotes { quotes: Quote[]; previews: Record<string, number>; at: string }

function take(message: Message): void {
  const { type, data } = message;
  switch (type) {
    case "connection":
      connection.value = data as Connection;
      readOverviewSoon();
      break;
    case "quotes": takeQuotes(data as Quotes); break;
    case "candle": {
      const { symbol, resolution } = data as { symbol: string; resolution: string };
      closedCandle.value = { symbol, resolution, at: serverNow() };
      break;
    }
    case "signal": takeSignal(data as Signal); break;
    case "notification": {
      const notice = data as Notice;
      notices.value = [notice, ...(notices.value ?? []).filter((other) => other.id !== notice.id)].slice(0, 100);
      break;
    }
    case "monitoring": readOverviewSoon(); break;
    case "readiness": readinessNews.value += 1; break;
    case "brokerOutage": isBrokerOutage.value = (data as { isOngoing: boolean }).isOngoing; adminNews.value += 1; break;
    case "admin.sweep": sweep.value = data as { done: number; total: number }; break;
    default: if (type.startsWith("admin.")) adminNews.value += 1;
  }
}

function takeQuotes(news: Quotes): void {
  const found = new Map(news.quotes.map((quote) => [quote.symbol, quote]));
  lines.value = (lines.value ?? []).map((one) => {
    const quote = found.get(one.watch.symbol);
    return quote ? { ...one, quote, quotedAt: news.at, preview: news.previews[one.watch.id] ?? null } : one;
  });
}

function takeSignal(one: Signal): void {
  const isSame = (other: Signal) =>
    other.watchId === one.watchId && other.rule === one.rule && other.resolution === one.resolution && other.candleOpenedAt === one.candleOpenedAt;
  batch(() => {
    signals.value = [one, ...(signals.value ?? []).filter((other) => !isSame(other))]
      .sort((a, b) => Date.parse(b.candleOpenedAt) - Date.parse(a.candleOpenedAt)).slice(0, 500);
    lines.value = (lines.value ?? []).map((known) => {
      const last = known.lastSignal;
      const isNewer = !last || Date.parse(last.candleOpenedAt) <= Date.parse(one.candleOpenedAt);
      return known.watch.id === one.watchId && isNewer ? { ...known, lastSignal: one } : known;
    });
  });
}
