// The push channel: one WebSocket per tab. It reconnects by itself and asks for the messages after the last one it received.
import { signal } from "@preact/signals";
import { setServerTime } from "./clock";

export interface Message { seq: number; type: string; at: string; data: unknown }

/** `open`: updates arrive; `reconnecting`: the page may be out of date; `off`: nobody is signed in. */
export const pushState = signal<"off" | "connecting" | "open" | "reconnecting">("off");

const SIGNED_OUT = 4401;
/** A new password gives this browser a new login, and the answer with it may come a moment after the socket's end. */
const NEW_LOGIN_PAUSE_MS = 1_000;
const TOO_MANY = 4429;
const TOO_MANY_PAUSE_MS = 20_000;
/** The server refused this socket because the user has too many tabs open. */
export const hasTooManyTabs = signal(false);

const NO_MESSAGE_MS = 50_000; // the server sends a heartbeat every 20 s
const MAX_PAUSE_MS = 10_000;

interface Listener { message(message: Message): void; caughtUp(isFirst: boolean): void; signedOut(): void }

let socket: WebSocket | undefined;
let listener: Listener | undefined;
let user = "";
let lastSeq: number | undefined;
let failures = 0;
let isRefused = false;
let lastMessageAt = 0;
let timer: ReturnType<typeof setTimeout> | undefined;

export function openSocket(userId: string, newListener: Listener): void {
  closeSocket();
  user = userId;
  listener = newListener;
  lastSeq = undefined;
  pushState.value = "connecting";
  connect();
}

export function closeSocket(): void {
  clearTimeout(timer);
  listener = undefined;
  pushState.value = "off";
  drop();
}

function drop(): void {
  const old = socket;
  socket = undefined;
  old?.close();
}

function connect(): void {
  clearTimeout(timer);
  if (!listener) return;
  drop();
  const address = new URL("/api/events", location.href);
  address.protocol = location.protocol === "https:" ? "wss:" : "ws:";
  address.searchParams.set("user", user);
  if (lastSeq !== undefined) address.searchParams.set("after", String(lastSeq));
  const opened = socket = new WebSocket(address);
  lastMessageAt = Date.now();
  opened.onmessage = (event) => { if (opened === socket) handleMessage(JSON.parse(String(event.data)) as Message); };
  opened.onclose = (event) => { if (opened === socket) handleClose(event.code); };
}

function handleMessage(message: Message): void {
  lastMessageAt = Date.now();
  setServerTime(message.at);
  lastSeq = message.seq;
  if (message.type === "hello" || message.type === "missed") {
    const isReturn = pushState.value === "reconnecting";
    failures = 0;
    isRefused = false;
    pushState.value = "open";
    hasTooManyTabs.value = false;
    listener?.caughtUp(message.type === "hello" && !isReturn);
  } else if (message.type !== "heartbeat") {
    listener?.message(message);
  }
}

function handleClose(code: number): void {
  socket = undefined;
  if (code === SIGNED_OUT && isRefused) {
    isRefused = false;
    listener?.signedOut();
    return;
  }
  pushState.value = "reconnecting";
  if (code === SIGNED_OUT) {
    isRefused = true;
    clearTimeout(timer);
    timer = setTimeout(connect, NEW_LOGIN_PAUSE_MS);
    return;
  }
  failures += 1;
  hasTooManyTabs.value = code === TOO_MANY;
  const pause = code === TOO_MANY ? TOO_MANY_PAUSE_MS : Math.min(MAX_PAUSE_MS, 250 * 2 ** Math.min(failures, 6)) * (0.5 + Math.random() / 2);
  clearTimeout(timer);
  timer = setTimeout(connect, pause);
}

/** Reconnect when no message has arrived for too long: after sleep or a network loss the socket itself reports nothing. */
function checkMessages(): void {
  if (!listener || pushState.value === "off") return;
  if (socket && Date.now() - lastMessageAt > NO_MESSAGE_MS) {
    pushState.value = "reconnecting";
    connect();
  }
}

function retryNow(): void {
  if (listener && pushState.value === "reconnecting") connect();
}

export function startSocketChecks(): void {
  setInterval(checkMessages, 5000);
  addEventListener("online", retryNow);
  addEventListener("offline", () => {
    if (!listener) return;
    drop();
    handleClose(0);
  });
  document.addEventListener("visibilitychange", () => { if (!document.hidden) { checkMessages(); retryNow(); } });
}
