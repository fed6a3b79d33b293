// How the connection stands: the pill in the header, the dialog when a session ends, and the banners.
import { computed } from "@preact/signals";
import { now } from "../live/clock";
import { dismiss, dismissed } from "../live/prefs";
import { hasTooMany, line } from "../live/socket";
import { connection, hasSession, isBrokerOutage, monitoring, trouble } from "../live/store";
import { Action, Dialog } from "./bits";
import { until, whenIst } from "./format";
import { goToFyers } from "./login";

const NAMES: Record<string, string> = {
  never_connected: "Not connected", connected: "Connected", expiring: "Ends soon", disconnected: "Disconnected",
};

/** The incident that asks for a login, if there is one. */
const incident = computed(() => {
  const known = connection.value;
  return known?.state === "disconnected" ? known.incidentId ?? "unknown" : null;
});

/** Fyers' trouble, not the person's. */
const outage = computed(() => {
  if (isBrokerOutage.value && hasSession.value) {
    return "Fyers is refusing many sessions at once. Yours is kept; you need do nothing.";
  }
  const status = monitoring.value?.status ?? "";
  if (["fyers_unavailable", "rate_limited", "checking_login"].includes(status) && hasSession.value) {
    return monitoring.value?.reason ?? "";
  }
  return "";
});

export function Pill() {
  const known = connection.value;
  if (!known) return <span class="pill" data-state="unknown">…</span>;
  const isDoubtful = hasSession.value && !known.verified;
  const left = hasSession.value ? until(known.expiresAt, now.value) : "";
  return (
    <a class="pill" href="#/fyers" data-state={known.state} data-doubt={isDoubtful} title={known.message}>
      <i class="dot" aria-hidden="true" />
      <b>{NAMES[known.state]}</b>
      {hasSession.value && known.expiresAt && (
        <span class="num"><span class="long">until {whenIst(known.expiresAt, now.value)}, </span>{left ? `${left} left` : "ending"}</span>
      )}
      {isDoubtful && <span class="long">unconfirmed</span>}
    </a>
  );
}

const LINES = { off: "", connecting: "connecting …", open: "live", reconnecting: "reconnecting …" };

export const LineState = () => (
  <span class="line-state" data-line={line.value} role="status" title="The push channel to the server">
    <i class="dot" aria-hidden="true" />{LINES[line.value]}
  </span>
);

const WHAT_RUNS = "Your watchlist is kept, and monitoring goes on by itself after the login. No call is made for you until then; what was missed is fetched afterwards and marked late. Nobody else is affected.";

export function ReconnectDialog() {
  const id = incident.value;
  const known = connection.value;
  if (!id || !known || dismissed.value === id) return null;
  return (
    <Dialog title="Your Fyers session has ended" class="reconnect" onClose={() => dismiss(id)} key={id}>
      <p class="lead">{known.message}</p>
      <p>{WHAT_RUNS}</p>
      <div class="buttons">
        <Action class="primary" run={() => goToFyers()}>Log in to Fyers</Action>
        <button type="button" onClick={() => dismiss(id)}>Later</button>
      </div>
    </Dialog>
  );
}

export function Banners() {
  const id = incident.value;
  return (
    <div class="banners">
      {trouble.value && <p class="banner warn" role="status">{trouble.value}</p>}
      {line.value === "reconnecting" && (
        <p class="banner warn" role="status" data-banner="line">{hasTooMany.value
          ? "Too many of your tabs are open, so this one is not pushed. Close some; it goes on by itself."
          : "Reconnecting to the server. What you see may be behind; it catches up by itself."}</p>
      )}
      {outage.value && <p class="banner warn" role="status" data-banner="outage">{outage.value}</p>}
      {id && dismissed.value === id && (
        <p class="banner bad" role="status" data-banner="incident">
          <span>{connection.value?.message}</span>
          <Action class="primary small" run={() => goToFyers()}>Log in to Fyers</Action>
        </p>
      )}
    </div>
  );
}
