// The data of this tab as signals: loaded from the API, then updated by pushed messages.
import { batch, computed, signal } from "@preact/signals";
import {
  type Connection, type WatchRow, type MarketStatus, type Meta, type MonitoringState, type Notice, type Quote,
  type Signal, type User, ApiError, setCurrentUser, call,
} from "../api/client";
import { serverNow, setServerTime } from "./clock";
import { type Message, closeSocket, openSocket } from "./socket";

export const meta = signal<Meta | null>(null);
export const user = signal<User | null | undefined>(undefined); // undefined while it is being loaded
export const connection = signal<Connection | null>(null);
export const monitoring = signal<MonitoringState | null>(null);
export const market = signal<MarketStatus | null>(null);
export const watchRows = signal<WatchRow[] | null>(null);
export const signals = signal<Signal[] | null>(null);
export const notices = signal<Notice[] | null>(null);
export const isBrokerOutage = signal(false);
export const loadError = signal(""); // why the data could not be loaded
/** The newest candle event; a chart reloads when it matches. */
export const closedCandle = signal<{ symbol: string; resolution: string; at: number } | null>(null);
/** Counts pushed admin events; admin pages reload when it changes. */
export const adminChanges = signal(0);
/** Counts pushed readiness events; the readiness line reloads when it changes. */
export const readinessChanges = signal(0);
export const sweep = signal<{ done: number; total: number } | null>(null);

export const unread = computed(() => (notices.value ?? []).filter((notice) => !notice.readAt).length);
export const hasSession = computed(() => ["connected", "expiring"].includes(connection.value?.state ?? ""));

const tabs = new BroadcastChannel("hullwatch");
let statusTimer: ReturnType<typeof setInterval> | undefined;

/** Load the signed-in user. */
export async function loadUser(): Promise<void> {
  try {
    meta.value = await call("get", "/api/dashboard");
    setServerTime(meta.value.now);
    signedIn(await call("get", "/api/auth/me"));
  } catch (error) {
    if (error instanceof ApiError && error.status === 401) {
      user.value = null;
      return;
    }
    loadError.value = error instanceof Error ? error.message : "";
    setTimeout(() => void loadUser(), 2000);
  }
}

export function signedIn(signedInUser: User): void {
  loadError.value = "";
  setCurrentUser(signedInUser.id, signedOut);
  user.value = signedInUser;
  openSocket(signedInUser.id, { message: handleMessage, caughtUp: (isFirst) => { if (!isFirst) void readUser(); void refresh(isFirst); }, signedOut });
  void refresh(true);
  clearInterval(statusTimer);
  statusTimer = setInterval(() => void checkStatus(), (meta.value?.checkMinutes ?? 15) * 60_000);
}

/** Read the user again after a pause of the socket: the server closes it when the role changes. */
async function readUser(): Promise<void> {
  try {
    const found = await call("get", "/api/auth/me");
    if (user.value?.id === found.id) user.value = found;
  } catch { /* the push status shows that the server cannot be reached */ }
}

export function signedOut(): void {
  clearInterval(statusTimer);
  closeSocket();
  setCurrentUser("", signedOut);
  batch(() => {
    user.value = null;
    connection.value = monitoring.value = market.value = null;
    watchRows.value = signals.value = notices.value = null;
    isBrokerOutage.value = false;
    loadError.value = "";
    sweep.value = null;
  });
}

export async function signOut(): Promise<void> {
  await call("post", "/api/auth/logout").catch(() => undefined);
  tabs.postMessage("signed-out");
  signedOut();
}

tabs.onmessage = () => { if (user.value) void call("get", "/api/auth/me").catch(() => undefined); };

/** Check the Fyers session by polling, so that the page is right without the push channel too. */
async function checkStatus(): Promise<void> {
  try {
    const status = await call("get", "/api/token-validation/status");
    const known = connection.value;
    if (known && (known.state !== status.state || known.verified !== status.verified)) {
      connection.value = await call("get", "/api/fyers/status");
    }
  } catch { /* the push status shows that the server cannot be reached */ }
}

let loading: Promise<void> | undefined;

/** Reload all data. A first load reuses a reload that is under way. */
export function refresh(isFirst = false): Promise<void> {
  if (!isFirst || !loading) {
    loading = readAll().finally(() => { loading = undefined; });
  }
  return loading;
}

async function readAll(): Promise<void> {
  const userId = user.value?.id;
  try {
    const [overview, status, signalList, noticeList] = await Promise.all([
      call("get", "/api/monitoring/overview"),
      call("get", "/api/market/status"),
      call("get", "/api/monitoring/signals", { query: { limit: 200 } }),
      call("get", "/api/notifications", { query: { limit: 50 } }),
    ]);
    if (userId === undefined || user.value?.id !== userId) return;
    setServerTime(overview.at);
    batch(() => {
      connection.value = overview.connection;
      monitoring.value = overview.state;
      watchRows.value = overview.lines;
      isBrokerOutage.value = overview.isBrokerOutage;
      market.value = status;
      signals.value = signalList.signals;
      notices.value = noticeList.notifications;
      loadError.value = "";
    });
  } catch (error) {
    if (user.value) loadError.value = error instanceof Error ? error.message : "";
  }
}

const OVERVIEW_PAUSE_MS = 300;
let overviewTimer: ReturnType<typeof setTimeout> | undefined;

/** Reload the watchlist soon; several requests within the pause make one call. */
export function readOverviewSoon(): void {
  clearTimeout(overviewTimer);
  overviewTimer = setTimeout(() => void refresh(), OVERVIEW_PAUSE_MS);
}

/** Reload the market status when the known hours have passed. */
export function startMarketRefresh(): void {
  setInterval(() => {
    const known = market.value;
    if (!known || !user.value) return;
    const changesAt = Math.min(Date.parse(known.changesAt), Date.parse(known.derivatives.changesAt));
    if (serverNow() < changesAt) return;
    void call("get", "/api/market/status").then((status) => { market.value = status; }, () => undefined);
  }, 2000);
}

interface Quotes { quotes: Quote[]; previews: Record<string, number>; at: string }

function handleMessage(message: Message): void {
  const { type, data } = message;
  switch (type) {
    case "connection":
      connection.value = data as Connection;
      readOverviewSoon();
      break;
    case "quotes": applyQuotes(data as Quotes); break;
    case "candle": {
      const { symbol, resolution } = data as { symbol: string; resolution: string };
      closedCandle.value = { symbol, resolution, at: serverNow() };
      break;
    }
    case "signal": applySignal(data as Signal); break;
    case "signalsCorrected": applyCorrections((data as { signals: Signal[] }).signals); break;
    case "notification": {
      const notice = data as Notice;
      notices.value = [notice, ...(notices.value ?? []).filter((other) => other.id !== notice.id)].slice(0, 100);
      break;
    }
    case "monitoring": readOverviewSoon(); break;
    case "readiness": readinessChanges.value += 1; break;
    case "brokerOutage": isBrokerOutage.value = (data as { isOngoing: boolean }).isOngoing; adminChanges.value += 1; break;
    case "admin.sweep": sweep.value = data as { done: number; total: number }; break;
    default: if (type.startsWith("admin.")) adminChanges.value += 1;
  }
}

function applyQuotes(update: Quotes): void {
  const found = new Map(update.quotes.map((quote) => [quote.symbol, quote]));
  watchRows.value = (watchRows.value ?? []).map((one) => {
    const quote = found.get(one.watch.symbol);
    return quote ? { ...one, quote, quotedAt: update.at, preview: update.previews[one.watch.id] ?? null } : one;
  });
}

const isSame = (one: Signal, other: Signal): boolean =>
  other.watchId === one.watchId && other.rule === one.rule && other.resolution === one.resolution && other.candleOpenedAt === one.candleOpenedAt;

/** Show corrected signals at once, and reload what depends on them: the last signal of a watch, and the charts of the symbols. */
function applyCorrections(corrected: Signal[]): void {
  signals.value = (signals.value ?? []).map((known) => corrected.find((one) => isSame(one, known)) ?? known);
  readOverviewSoon();
  for (const { symbol, resolution } of corrected) closedCandle.value = { symbol, resolution, at: serverNow() };
}

function applySignal(one: Signal): void {
  batch(() => {
    signals.value = [one, ...(signals.value ?? []).filter((other) => !isSame(one, other))]
      .sort((a, b) => Date.parse(b.candleOpenedAt) - Date.parse(a.candleOpenedAt)).slice(0, 500);
    watchRows.value = (watchRows.value ?? []).map((known) => {
      const last = known.lastSignal;
      const isNewer = !last || Date.parse(last.candleOpenedAt) <= Date.parse(one.candleOpenedAt);
      return known.watch.id === one.watchId && isNewer ? { ...known, lastSignal: one } : known;
    });
  });
}
