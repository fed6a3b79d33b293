// A user's one line before the opening: ready or not, why, and what to do. The words are the server's.
import { computed, signal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { type Readiness, call } from "../api/client";
import { connection, lines, market, monitoring, readinessNews, user } from "../live/store";
import { Action } from "./bits";
import { goToFyers } from "./login";

const EVERY_MS = 15_000;
/** The reason that a login ends; where the session is over, dialog or banner offer that already. */
const LOGIN_HELPS = "expires_before_close";
/** In trading hours the line beside the watchlist says why nothing is watched; these it does not know. */
const SAID_NOWHERE_ELSE = new Set(["not_permitted", "all_refused"]);

const readiness = signal<Readiness | null>(null);

/** Whether the bell is ahead and this account is to be ready for it: then this line speaks, and no other. */
export const isBeforeOpen = computed(() => ["ready", "not_ready"].includes(readiness.value?.verdict ?? ""));

const isShown = (one: Readiness): boolean =>
  isBeforeOpen.value || (one.verdict === "watching" && one.reason !== null) || (one.verdict === "not_watching" && SAID_NOWHERE_ELSE.has(one.reason ?? ""));

/** Colours of a verdict: good, good with a word, bad through no fault of the person, bad. */
export function tone(one: Pick<Readiness, "isReady" | "verdict" | "reason" | "isForUser">): "good" | "but" | "bad" | "none" {
  if (one.isReady) return one.reason ? "but" : "good";
  if (one.verdict === "not_wanted" || one.verdict === "market_closed") return "none";
  return one.isForUser ? "bad" : "but";
}

export function ReadinessLine() {
  const moved = [
    readinessNews.value, connection.value?.state, connection.value?.verified, monitoring.value?.status, monitoring.value?.isWanted,
    market.value?.isOpen, lines.value?.length,
  ].join();
  useEffect(() => {
    let isOver = false;
    const who = user.value?.id;
    const read = () => call("get", "/api/monitoring/readiness").then(
      (found) => { if (!isOver && user.value?.id === who) readiness.value = found; }, () => undefined);
    void read();
    const timer = setInterval(() => { if (!document.hidden) void read(); }, EVERY_MS);
    return () => { isOver = true; clearInterval(timer); };
  }, [moved]);
  useEffect(() => () => { readiness.value = null; }, []);
  const known = readiness.value;
  if (!known || !isShown(known)) return null;
  return (
    <p class="ready-line" role="status" data-verdict={known.verdict} data-tone={tone(known)}>
      <span>{known.line}</span>
      {known.reason === LOGIN_HELPS && <Action class="primary small" run={() => goToFyers()}>Log in to Fyers</Action>}
    </p>
  );
}
