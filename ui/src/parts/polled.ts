// Data of the operators' pages: read at once, again when the server says that something moved, and every few seconds while somebody looks.
import { type Signal, effect, useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { adminNews } from "../live/store";

const EVERY_MS = 5000;
const LEAST_MS = 700;

export interface Polled<T> { data: Signal<T | null>; problem: Signal<string>; again: () => void }

export function usePolled<T>(read: () => Promise<T>, key = ""): Polled<T> {
  const data = useSignal<T | null>(null);
  const problem = useSignal("");
  const again = useSignal(0);
  useEffect(() => {
    let isOver = false;
    let isBusy = false;
    let isDirty = false;
    let soon: ReturnType<typeof setTimeout> | undefined;
    const ask = async () => {
      if (isBusy) { isDirty = true; return; }
      isBusy = true;
      isDirty = false;
      try {
        const found = await read();
        if (!isOver) { data.value = found; problem.value = ""; }
      } catch (error) {
        if (!isOver) problem.value = error instanceof Error ? error.message : "It could not be read.";
      }
      setTimeout(() => { isBusy = false; if (isDirty && !isOver) void ask(); }, LEAST_MS);
    };
    const stop = effect(() => { void adminNews.value; void again.value; soon = setTimeout(() => void ask(), 0); });
    const timer = setInterval(() => { if (!document.hidden) void ask(); }, EVERY_MS);
    return () => { isOver = true; stop(); clearTimeout(soon); clearInterval(timer); };
  }, [key]);
  return { data, problem, again: () => { again.value += 1; } };
}
