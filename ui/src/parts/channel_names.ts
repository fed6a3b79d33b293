// Names of notice kinds, channel kinds and delivery states.
import type { Channel, Delivery } from "../api/client";

type Kind = Channel["kinds"][number];

export const NOTICE_KINDS: Record<Kind, string> = {
  session_expiring: "Expiry before market close", session_disconnected: "Session disconnected", login_renewed: "Connected again",
  not_ready: "Not ready for market open", now_ready: "Ready again", signal: "Signals", signals_corrected: "Corrections of signals", account_changed: "Changes of your account", symbols_unmonitored: "Symbols not monitored", symbols_monitored: "Symbols monitored again",
  permission_missing: "Missing permission at Fyers", permission_granted: "Permission at Fyers granted", daily_summary: "Daily summary",
  broker_outage: "Fyers outage", broker_recovered: "Fyers recovered", job_restarting: "Background job failing",
  job_recovered: "Background job recovered", storage_unavailable: "Database unavailable", storage_recovered: "Database recovered",
  calendar_ending: "Holidays missing", calendar_known: "Holidays known",
  delivery_failed: "Undelivered notice",
  channel_failing: "Channel failing", channel_recovered: "Channel recovered", test: "Test",
};

export const CHANNEL_KINDS: Record<Channel["kind"], string> = {
  email: "E-mail", webhook: "Webhook", telegram: "Telegram", slack: "Slack", apprise: "Another service",
};

/** The text of each state, and the connection state whose colour it shares. */
export const DELIVERY_STATES: Record<Delivery["state"], [string, string]> = {
  waiting: ["being sent", "expiring"], sent: ["delivered", "connected"], failed: ["undelivered", "disconnected"],
};
