// The readiness line on the Watch page. The server writes its text.
import { computed, signal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { type Readiness, call } from "../api/client";
import { connection, market, monitoring, readinessChanges, user, watchRows } from "../live/store";
import { Action } from "./elements";
import { openFyersLogin } from "./fyers_login";

const EVERY_MS = 15_000;
/** The one reason for which this line offers a login. After an expiry the dialog and the banner offer it. */
const LOGIN_REASON = "expires_before_close";
/** Reasons that the monitoring status beside the watchlist does not show in trading hours. */
const SHOWN_ONLY_HERE = new Set(["all_refused"]);
/** Reasons about single symbols, which the monitoring status names in trading hours. */
const SHOWN_BY_STATUS = new Set(["symbol_refused", "symbol_not_permitted", "symbol_unavailable", "no_history", "price_jump"]);

const readiness = signal<Readiness | null>(null);

/** Whether the market has not opened yet and monitoring is on. Then this line replaces the monitoring status. */
export const isBeforeOpen = computed(() => ["ready", "not_ready"].includes(readiness.value?.result ?? ""));

const isShown = (one: Readiness): boolean =>
  isBeforeOpen.value || (one.result === "watching" && one.reason !== null && !SHOWN_BY_STATUS.has(one.reason)) || (one.result === "not_watching" && SHOWN_ONLY_HERE.has(one.reason ?? ""));

/** The colour of a readiness: `partial` is ready with a remark, or not ready for a reason the user cannot change. */
export function tone(one: Pick<Readiness, "isReady" | "result" | "reason" | "isForUser">): "good" | "partial" | "bad" | "none" {
  if (one.isReady) return one.reason ? "partial" : "good";
  if (one.result === "not_wanted" || one.result === "market_closed") return "none";
  return one.isForUser ? "bad" : "partial";
}

export function ReadinessStatus() {
  const inputs = [
    readinessChanges.value, connection.value?.state, connection.value?.verified, monitoring.value?.status, monitoring.value?.isWanted,
    market.value?.isOpen, watchRows.value?.length,
  ].join();
  useEffect(() => {
    let isCancelled = false;
    const userId = user.value?.id;
    const load = () => call("get", "/api/monitoring/readiness").then(
      (found) => { if (!isCancelled && user.value?.id === userId) readiness.value = found; }, () => undefined);
    void load();
    const timer = setInterval(() => { if (!document.hidden) void load(); }, EVERY_MS);
    return () => { isCancelled = true; clearInterval(timer); };
  }, [inputs]);
  useEffect(() => () => { readiness.value = null; }, []);
  const known = readiness.value;
  if (!known || !isShown(known)) return null;
  return (
    <p class="readiness" role="status" data-result={known.result} data-tone={tone(known)}>
      <span>{known.line}</span>
      {known.reason === LOGIN_REASON && <Action class="primary small" run={() => openFyersLogin()}>Log in to Fyers</Action>}
    </p>
  );
}
