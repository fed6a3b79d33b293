// What people call kinds of notices, kinds of channels and states of deliveries.
import type { Channel, Delivery } from "../api/client";

type Kind = Channel["kinds"][number];

export const KINDS: Record<Kind, string> = {
  session_expiring: "Session ends before the close", session_disconnected: "Session ended", login_renewed: "Connected again",
  not_ready: "Not ready for the bell", now_ready: "Ready after all", signal: "Signals", daily_summary: "Summary of the day",
  broker_outage: "Fyers has trouble", broker_recovered: "Fyers recovered", job_restarting: "A job keeps restarting",
  job_recovered: "The job runs again", calendar_ending: "Calendar runs out", calendar_known: "Calendar is whole again",
  delivery_failed: "A notice was set aside",
  channel_failing: "A channel fails", channel_recovered: "A channel works again", test: "Test",
};

export const CHANNELS: Record<Channel["kind"], string> = {
  email: "E-mail", webhook: "Webhook", telegram: "Telegram", slack: "Slack", apprise: "Another service",
};

/** In words, and the colour of a connection's state that fits. */
export const STATES: Record<Delivery["state"], [string, string]> = {
  waiting: ["on its way", "expiring"], sent: ["delivered", "connected"], failed: ["not delivered", "disconnected"],
};
