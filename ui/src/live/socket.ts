// The push channel: one socket a tab, which comes back by itself and says what it last heard, so that nothing is missed.
import { signal } from "@preact/signals";
import { heard } from "./clock";

export interface Message { seq: number; type: string; at: string; data: unknown }

/** `open`: pushed; `reconnecting`: the page may be behind; `off`: nobody is signed in. */
export const line = signal<"off" | "connecting" | "open" | "reconnecting">("off");

const SIGNED_OUT = 4401;
const TOO_MANY = 4429;
const TOO_MANY_PAUSE_MS = 20_000;
/** The server holds no more sockets of this user: other tabs have them. */
export const hasTooMany = signal(false);

const SILENCE_MS = 50_000; // the server says every 20 s that it lives
const LONGEST_PAUSE_MS = 10_000;

interface Listener { message(message: Message): void; caughtUp(isWhole: boolean): void; signedOut(): void }

let socket: WebSocket | undefined;
let listener: Listener | undefined;
let user = "";
let lastSeq: number | undefined;
let failures = 0;
let lastHeard = 0;
let timer: ReturnType<typeof setTimeout> | undefined;

export function openLine(userId: string, told: Listener): void {
  closeLine();
  user = userId;
  listener = told;
  lastSeq = undefined;
  line.value = "connecting";
  connect();
}

export function closeLine(): void {
  clearTimeout(timer);
  listener = undefined;
  line.value = "off";
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
  const mine = socket = new WebSocket(address);
  lastHeard = Date.now();
  mine.onmessage = (event) => { if (mine === socket) take(JSON.parse(String(event.data)) as Message); };
  mine.onclose = (event) => { if (mine === socket) closed(event.code); };
}

function take(message: Message): void {
  lastHeard = Date.now();
  heard(message.at);
  lastSeq = message.seq;
  if (message.type === "hello" || message.type === "missed") {
    const isReturn = line.value === "reconnecting";
    failures = 0;
    line.value = "open";
    hasTooMany.value = false;
    listener?.caughtUp(message.type === "hello" && !isReturn);
  } else if (message.type !== "heartbeat") {
    listener?.message(message);
  }
}

function closed(code: number): void {
  socket = undefined;
  if (code === SIGNED_OUT) {
    listener?.signedOut();
    return;
  }
  line.value = "reconnecting";
  failures += 1;
  hasTooMany.value = code === TOO_MANY;
  const pause = code === TOO_MANY ? TOO_MANY_PAUSE_MS : Math.min(LONGEST_PAUSE_MS, 250 * 2 ** Math.min(failures, 6)) * (0.5 + Math.random() / 2);
  clearTimeout(timer);
  timer = setTimeout(connect, pause);
}

/** Look after the line: a machine that slept, or a network that fell silent, is noticed here and not by the socket. */
function look(): void {
  if (!listener || line.value === "off") return;
  if (socket && Date.now() - lastHeard > SILENCE_MS) {
    line.value = "reconnecting";
    connect();
  }
}

function again(): void {
  if (listener && line.value === "reconnecting") connect();
}

export function watchLine(): void {
  setInterval(look, 5000);
  addEventListener("online", again);
  addEventListener("offline", () => {
    if (!listener) return;
    drop();
    closed(0);
  });
  document.addEventListener("visibilitychange", () => { if (!document.hidden) { look(); again(); } });
}
