// The state of the connections to Fyers and to the server: header, dialog after a disconnect, banners.
import { computed } from "@preact/signals";
import { now } from "../live/clock";
import { dismiss, dismissed } from "../live/preferences";
import { hasTooManyTabs, pushState } from "../live/socket";
import { connection, hasSession, isBrokerOutage, loadError, monitoring } from "../live/store";
import { Action, Dialog } from "./elements";
import { until, whenIst } from "./format";
import { openFyersLogin } from "./fyers_login";

const STATE_NAMES: Record<string, string> = {
  never_connected: "Not connected", connected: "Connected", expiring: "Expires soon", disconnected: "Disconnected",
};

/** The incident that needs a login, if there is one. */
const incident = computed(() => {
  const known = connection.value;
  return known?.state === "disconnected" ? known.incidentId ?? "unknown" : null;
});

/** The text about a failure of Fyers, which needs no action by the user. */
const outage = computed(() => {
  if (isBrokerOutage.value && hasSession.value) {
    return "Fyers is refusing many sessions at once. Yours is kept; you do not need to do anything.";
  }
  const status = monitoring.value?.status ?? "";
  if (["fyers_unavailable", "rate_limited", "checking_login", "session_held"].includes(status) && hasSession.value) {
    return monitoring.value?.reason ?? "";
  }
  return "";
});

export function ConnectionPill() {
  const known = connection.value;
  if (!known) return <span class="pill" data-state="unknown">…</span>;
  const isUnconfirmed = hasSession.value && !known.verified;
  const left = hasSession.value ? until(known.expiresAt, now.value) : "";
  return (
    <a class="pill" href="#/fyers" data-state={known.state} data-unconfirmed={isUnconfirmed} title={known.message}>
      <i class="dot" aria-hidden="true" />
      <b>{STATE_NAMES[known.state]}</b>
      {hasSession.value && known.expiresAt && (
        <span class="num"><span class="long">until {whenIst(known.expiresAt, now.value)}, </span>{left ? `${left} left` : "expiring"}</span>
      )}
      {isUnconfirmed && <span class="long">unconfirmed</span>}
    </a>
  );
}

const PUSH_STATES = { off: "", connecting: "connecting …", open: "live", reconnecting: "reconnecting …" };

export const PushStatus = () => (
  <span class="push-status" data-push={pushState.value} role="status" title="Live updates from the server">
    <i class="dot" aria-hidden="true" />{PUSH_STATES[pushState.value]}
  </span>
);

const UNTIL_LOGIN = "Nothing is watched until you log in. Then monitoring continues, and missed signals are added and marked late.";

export function ReconnectDialog() {
  const id = incident.value;
  const known = connection.value;
  if (!id || !known || dismissed.value === id) return null;
  return (
    <Dialog title="You are disconnected from Fyers" class="reconnect" onClose={() => dismiss(id)} key={id}>
      <p class="lead">{known.message}</p>
      <p>{UNTIL_LOGIN}</p>
      <div class="buttons">
        <Action class="primary" run={() => openFyersLogin()}>Log in to Fyers</Action>
        <button type="button" onClick={() => dismiss(id)}>Later</button>
      </div>
    </Dialog>
  );
}

export function Banners() {
  const id = incident.value;
  return (
    <div class="banners">
      {loadError.value && <p class="banner warn" role="status">{loadError.value}</p>}
      {pushState.value === "reconnecting" && (
        <p class="banner warn" role="status" data-banner="reconnecting">{hasTooManyTabs.value
          ? "Too many tabs are open, so this one does not update live. Close some and it will reconnect."
          : "Reconnecting to the server. What you see may be out of date until then."}</p>
      )}
      {outage.value && <p class="banner warn" role="status" data-banner="outage">{outage.value}</p>}
      {id && dismissed.value === id && (
        <p class="banner bad" role="status" data-banner="incident">
          <span>{connection.value?.message}</span>
          <Action class="primary small" run={() => openFyersLogin()}>Log in to Fyers</Action>
        </p>
      )}
    </div>
  );
}
